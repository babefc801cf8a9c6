"""Seconds and memory of erasing a thousand customers in one request, place by place, by customers.

One AS_OF is loaded, snapshotted, served, trained on and scored before; every further one adds its own. There is no
naive side: what a script by hand would do is not known.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from bench import ours
from bench.context import Bench
from bench.figures import Row, number, significant
from bench.measure import Watch, measure
from bench.processes import mlflow_server
from bench.scores import SHARE, Place
from churn.drops.contract import USERS
from churn.erasure.archive import erase_archive
from churn.erasure.landing import erase_landing
from churn.erasure.lists import erase_lists
from churn.erasure.models import erase_models
from churn.erasure.request import bury, open_request, read_ids, required_directory, write_ids
from churn.erasure.rows import erase_rows
from churn.erasure.sweep import sweep
from churn.features.store import FEATURE_SERVICE
from churn.gate.grading import grade
from churn.gate.promotion import promote
from churn.outcome import Outcome
from churn.scores.scoring_step import score_customers
from churn.training.recipe import Parameters
from churn.training.train import train

ERASED = 1_000


def run(bench: Bench) -> Row:
    """Measure every size."""
    rows: list[Row] = []
    for customers in bench.customers:
        directory = bench.server.directory / f"erasure_{customers}"
        directory.mkdir()
        with (
            mlflow_server(directory / "mlflow") as tracking,
            bench.drops(customers) as drops,
            bench.server.database() as url,
        ):
            at = Place(url, tracking, drops[-1].path.parent, drops[-1].as_of)
            measure(bench.server, prepare, at, directory)
            request = measure(bench.server, begin, at, directory).result
            for place in PLACES:
                found = measure(bench.server, erase_place, at, directory, request, place)
                bench.say(f"{customers:,} customers, {place}: {number(found.seconds)} s")
                rows.append(
                    {
                        "customers": customers,
                        "place": place,
                        "s": significant(found.seconds),
                        "MB": significant(found.peak_bytes / 1e6),
                        "rows": found.result,
                    }
                )
            of_all = [row for row in rows if row["customers"] == customers]
            rows.append(
                {
                    "customers": customers,
                    "place": "all",
                    "s": significant(sum(row["s"] for row in of_all)),
                    "MB": max(row["MB"] for row in of_all),
                    "rows": sum(row["rows"] for row in of_all),
                }
            )
    return {"erased": ERASED, "places": rows}


def prepare(watch: Watch, at: Place, directory: Path) -> None:
    """Take one AS_OF through the chain."""
    at.use()
    at.snapshot(watch)
    ours.materialize_online(watch, at.url, at.landing, at.as_of)
    trained = train(
        at.as_of, at.url, Parameters(families=("logistic regression",), feature_services=(FEATURE_SERVICE,))
    )
    decided = grade(trained.figures["version"], at.url)
    promote(trained.figures["version"], None, decided.reason, at.url, superior=True)
    score_customers(at.as_of, at.url, str(directory / "scores"), SHARE)


def begin(_watch: Watch, at: Place, directory: Path) -> str:
    """Ask for the erasure of a thousand customers, spread over the drop; return the request."""
    os.environ["CHURN_ERASURE_DIR"] = str(directory / "erasure")
    users = pyarrow.csv.read_csv(at.landing / at.as_of.isoformat() / USERS.name)["user_id"].cast(pa.string())
    chosen = users.take(pa.array(range(0, len(users), max(1, len(users) // ERASED)))).to_pylist()[:ERASED]
    request = write_ids(chosen, required_directory())
    open_request(request, "bench", "to measure it", at.url)
    bury(request, at.url)
    return request


def erase_place(watch: Watch, at: Place, directory: Path, request: str, place: str) -> int:
    """Erase the customers from a place; return the rows removed."""
    at.use()
    os.environ["CHURN_ERASURE_DIR"] = str(directory / "erasure")
    users = read_ids(request, required_directory())
    with watch:
        outcome = PLACES[place](request, users, at, directory)
    return int(outcome.figures.get("rows", 0))


Erase = Callable[[str, frozenset[str], Place, Path], Outcome]

PLACES: dict[str, Erase] = {
    "models": lambda request, users, at, _: erase_models(request, users, at.url),
    "landing": lambda request, users, at, _: erase_landing(request, users, at.url, at.landing),
    "archive": lambda request, users, at, _: erase_archive(request, users, at.url, at.landing.parent / "archive"),
    "rows": lambda request, users, at, _: erase_rows(request, users, at.url),
    "lists": lambda request, users, at, directory: erase_lists(request, users, at.url, str(directory / "scores")),
    "sweep": lambda request, users, at, _: sweep(request, users, at.url),
}
