"""The steps of the proof: what is done to the running services, and what must be seen then."""

import csv
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import date
from pathlib import Path

from containers.engine import COMPOSE_FILE, SPARK, ComposeError, Project
from embedded.commands.airflow_api import Airflow, Ref, Task
from embedded.commands.chain import CHAIN, HEAD, Link, follow, wait_for_dag, why_failed
from embedded.commands.drops import find_drops, land
from embedded.commands.erasure import DAG as ERASURE
from embedded.commands.prediction import PredictionError, predict_by
from embedded.operator.model_registry import production_version
from embedded.settings import Settings
from embedded.stack.lifecycle import Progress
from embedded.stack.services import session
from embedded.table import table

SEARCH = Path(__file__).with_name("search.py")
BACKUP = COMPOSE_FILE.parent / "docs" / "backup.md"

UP = 600.0
"""Seconds in which every service must do its work. All of Airflow imports itself at once."""

FOLLOWS = 90.0
"""Seconds in which serving must have a new version; it looks every ten."""

SLOW_CLIENTS = 80
"""Above SERVING_MAX_WAITING, below the connections that the proxy takes from one address."""

BUDGET = 8 * 2**10
"""MiB that the whole stack may take, without Spark."""

DRIVER, CLUSTER = "worker-spark", ("spark-worker-1", "spark-worker-2")
BY_SPARK = {"parquet", "train", "gate", "report", "score"}
"""Tasks of every chain that the driver of Spark takes, with the profile `spark`."""

EXECUTORS = """
import json, urllib.request
print(len(json.load(urllib.request.urlopen("http://127.0.0.1:8081/json/", timeout=30))["executors"]))"""
"""Python: asks a worker of Spark how many executors it runs."""

FILES = {
    "worker-1": ("/archive", "/scores", "/snapshots", "/logs"),
    "mlflow": ("/artifacts",),
    DRIVER: ("/scratch",),
}
"""Where files with rows of customers may lie, by a service that sees them."""

IN_DATABASES = "lines of the databases"
IN_POSTGRES = f"""set -e
pg_dumpall -U postgres >/tmp/dump
found=$(grep -cF -- "$0" /tmp/dump || [ $? = 1 ])
rm /tmp/dump
if [ "$found" != 0 ]; then echo "$found {IN_DATABASES}"; fi
grep -rlaF --exclude-dir=pg_wal -- "$0" /var/lib/postgresql || true"""
"""Shell: searches what the databases hold, and their files, some of which may go meanwhile. Old segments of the WAL are
overwritten in time."""


class Proof:
    """One run: the project, where its front doors are, and how long each step took."""

    def __init__(self, project: Project, settings: dict[str, str], drops: Path) -> None:
        self.project, self.settings, self.drops = project, settings, find_drops(drops)
        self.landing = Path(settings["LANDING_DIR"])
        lasting = _lasting_customers(self.drops.values())
        self.customer, self.erased = lasting[0], lasting[-1]
        airflow, mlflow, serving = (int(settings[f"{name}_PORT"]) for name in ("AIRFLOW", "MLFLOW", "SERVING"))
        here = project.env_file.parent
        self.stack = Settings(here, airflow, mlflow, serving, here / "erasure")
        self.airflow = Airflow(self.stack.airflow_url, ("admin", settings["AIRFLOW_ADMIN_PASSWORD"]))
        self.say, self.took = Progress(), dict[str, float]()

    def run(self) -> None:
        """Take every step; raises where one is not as it should be."""
        first, second, third = list(self.drops)
        own = ["databases", "serving", *([DRIVER] if self.by_spark else [])]
        self.timed("build", lambda: self.project.compose("build", *own))
        began = time.monotonic()
        self.timed("up, all healthy", self.up)
        self.chain(first)
        one = self.production()
        self.served(one)
        self.took["from up to the first prediction"] = time.monotonic() - began
        self.chain(second)
        two = self.production()
        check(two != one, f"{second} was not promoted: version {two} is in Production still")
        self.timed("serving follows a promotion", lambda: self.served(two))
        lose = self.lose_an_executor if self.by_spark else self.lose_a_worker
        self.timed("a chain whose worker is killed", lambda: lose(third))
        self.served(self.production())
        memory = self.project.memory()
        self.scraped()
        self.timed("slow clients", self.slow_clients)
        sizes = self.project.image_sizes()
        self.timed("erasure, and the training after it", self.erase)
        answer = self.served(self.production())
        self.timed("down, and up in another order", self.again)
        check(self.served(self.production()) == answer, "after a restart the same question has another answer")
        self.timed("backup, and restore on new volumes", self.restore)
        check(self.served(self.production()) == answer, "after a restore the same question has another answer")
        self.project.compose("down", "-v")
        check(not (left := self.project.left_over()), f"`down -v` left behind: {left}")
        self.report(memory, sizes)

    @property
    def by_spark(self) -> bool:
        return DRIVER in self.project.services

    def timed(self, step: str, do: Callable[[], object]) -> None:
        self.say(step)
        began = time.monotonic()
        do()
        self.took[step] = time.monotonic() - began

    def up(self) -> None:
        self.project.up()
        self.project.wait(UP)
        wait_for_dag(self.airflow)

    def again(self) -> None:
        """Each service comes before what it needs: it waits by itself, whatever the engine knows of an order."""
        self.project.compose("down")
        for service in reversed(self.project.services):
            self.project.up_alone(service)
        self.project.wait(UP)

    def restore(self) -> None:
        """Back up what runs, take it away with its volumes, restore it and start it, by the lines of the manual."""
        (backup, restore), directory = recipes(), self.landing.parent / "backup"
        self.project.script(f"to={directory}\n{backup}")
        self.project.compose("down", "-v")
        self.project.script(f"from={directory}\n{restore}")
        self.up()

    def chain(self, as_of: date) -> None:
        """Land the drop of `as_of`, trigger its chain and follow it to its end."""
        land(self.drops[as_of], self.landing)
        self.finish(self.trigger(as_of), as_of)

    def trigger(self, as_of: date) -> Ref:
        return self.airflow.trigger(HEAD, {"as_of": str(as_of)}).ref

    def finish(self, head: Ref, as_of: date) -> None:
        links = self.follow(head, str(as_of))
        ran = sorted(link.run.ref.dag_id for link in links)
        check(ran == sorted(CHAIN), f"the chain of {as_of} is {ran}")
        if self.by_spark:
            self.joined_by_spark(links, as_of)

    def follow(self, head: Ref, label: str) -> list[Link]:
        """Follow a run and what it starts to their end; return the runs, none of which failed."""
        links = follow(self.airflow, {head: label}, self.say, lambda: None)
        failed = [why_failed(self.airflow, link.run.ref) for link in links if link.failed]
        check(not failed, "\n".join(failed))
        return links

    def joined_by_spark(self, links: list[Link], as_of: date) -> None:
        """See that the driver of Spark took the tasks that join, and that the snapshot lies there as Parquet."""
        tasks = [task for link in links for task in self.airflow.tasks(link.run.ref)]
        took = {task.task_id for task in tasks if task.hostname == DRIVER}
        check(not BY_SPARK - took, f"{DRIVER} took {sorted(took)}")
        self.project.execute(DRIVER, "test", "-s", f"/snapshots/as_of={as_of}/manifest.json")

    def lose_a_worker(self, as_of: date) -> None:
        """Kill the worker that trains, in the middle of it, and see the task finished by the other one."""
        land(self.drops[as_of], self.landing)
        head = self.trigger(as_of)
        victim = self.training()
        self.say(f"killing {victim.hostname}, which runs {victim.ref.dag_id}.{victim.task_id}, try {victim.try_number}")
        self.project.kill(str(victim.hostname))
        self.finish(head, as_of)
        (trained,) = [task for task in self.airflow.tasks(victim.ref) if task.task_id == victim.task_id]
        check(
            trained.state == "success" and trained.hostname != victim.hostname,
            f"the task is {trained.state} on {trained.hostname}, and was begun on {victim.hostname}",
        )
        self.say(f"finished by {trained.hostname}, try {trained.try_number}")
        self.project.up_alone(str(victim.hostname))
        self.project.wait(UP)

    def lose_an_executor(self, as_of: date) -> None:
        """Kill a worker of Spark that works for a training, and see the chain finished by the other one."""
        land(self.drops[as_of], self.landing)
        head = self.trigger(as_of)
        victim = self.executing()
        self.say(f"killing {victim}, which runs an executor of the training")
        self.project.kill(victim)
        self.finish(head, as_of)
        self.project.up_alone(victim)
        self.project.wait(UP)

    def executing(self) -> str:
        """Wait for a worker of Spark that runs an executor of a training, and return it."""
        while True:
            self.training()
            for worker in CLUSTER:
                if self.project.execute(worker, "python", "-c", EXECUTORS) != "0":
                    return worker

    def erase(self) -> None:
        """Erase a customer who is in every place; see that none of them holds the id then, nor serving knows it."""
        predict_by(self.stack, self.erased, None, 0)
        held = self.holding(self.erased)
        places = {
            "/archive",
            "/scores",
            "/artifacts",
            "/var/lib/postgresql",
            IN_DATABASES,
            *(["/snapshots"] if self.by_spark else []),
        }
        missing = {place for place in places if not any(place in each for each in held)}
        check(not missing, f"{self.erased} is not in {missing} before, which the search should find: {held}")
        # Workers may only read what has landed, so a person removes it; the archive has what was loaded.
        for drop in self.landing.iterdir():
            shutil.rmtree(drop)
        request = self.project.execute("worker-1", "sh", "-c", f"echo '{self.erased}' | python -m churn.erasure.ids")
        self.follow(self.airflow.trigger(ERASURE, {"request": request, "why": "the proof"}).ref, "erasure")
        self.follow(Ref("churn_train", f"erase__{request}"), "after it")
        check(not (left := self.holding(self.erased)), f"after the erasure {self.erased} is in {left}")
        self.unknown(self.erased)

    def holding(self, user: str) -> list[str]:
        """Return the files that hold the text `user`, as service and path, and how many lines of the databases do."""
        search = ("python", "-c", SEARCH.read_text(encoding="utf-8"), user)
        found = {
            service: self.project.execute(service, *search, *directories)
            for service, directories in FILES.items()
            if service in self.project.services
        }
        found["postgres"] = self.project.execute("postgres", "sh", "-c", IN_POSTGRES, user)
        return [f"{service} {line}" for service, lines in found.items() for line in lines.splitlines()]

    def unknown(self, user: str) -> None:
        """See that serving answers about `user` as about somebody who was never a customer."""
        answer = session().post(f"{self.stack.serving_url}/predict", json={"user_id": user}, timeout=10)
        unknown = answer.status_code == 404 and "unknown-user" in answer.text
        check(unknown, f"serving answers {answer.status_code} about an erased customer: {answer.text}")

    def training(self) -> Task:
        """Wait for a task `train` that runs, and return it."""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            for task in self.airflow.running_tasks():
                if task.task_id == "train" and task.state == "running" and task.hostname:
                    return task
            time.sleep(0.2)
        raise ComposeError("no task `train` began within five minutes")

    def production(self) -> int:
        """Return the version in stage Production."""
        production = production_version(self.stack)
        if production is None:
            raise ComposeError("no version is in Production")
        return production.version

    def served(self, version: int) -> str:
        """Return the serving API's answer about a customer of every drop, once that version gives it."""
        try:
            return predict_by(self.stack, self.customer, version, FOLLOWS)
        except PredictionError as error:
            raise ComposeError(f"{error}\n{self.project.log('serving')}") from error

    def scraped(self) -> None:
        """See that Prometheus, where it runs, reads the serving API's metrics."""
        if "prometheus" in self.project.services:
            query = ("promtool", "query", "instant", "http://127.0.0.1:9090", 'up{job="serving"}')
            found = self.project.call("exec", str(self.project.container("prometheus")), *query)
            check("=> 1 " in found, f"Prometheus does not read the metrics of serving: {found or 'no answer'}")

    def slow_clients(self) -> None:
        """Send requests by halves, more of them than a worker of serving takes at a time; see customers predicted
        meanwhile, and the proxy hang up."""
        with ExitStack() as slow:
            clients = [slow.enter_context(self._half_a_request()) for _ in range(SLOW_CLIENTS)]
            question = {"user_id": self.customer}
            answers = [
                session().post(f"{self.stack.serving_url}/predict", json=question, timeout=10) for _ in range(20)
            ]
            statuses = {answer.status_code for answer in answers}
            check(statuses == {200}, f"beside slow clients predictions are answered with {statuses}")
            check(not any(map(_received, clients)), "the proxy answers half a request")

    def _half_a_request(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", int(self.settings["SERVING_PORT"])), timeout=30)
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        return client

    def report(self, memory: dict[str, float], sizes: dict[str, float]) -> None:
        total = sum(used for service, used in memory.items() if service not in SPARK)
        tables = {
            ("step", "seconds"): self.took,
            ("image", "MB on disk"): sizes,
            ("service", "MiB of memory"): memory | {"all but Spark": total},
        }
        for header, figures in tables.items():
            print(f"\n{table(header, [(name, f'{figure:.0f}') for name, figure in figures.items()])}")  # noqa: T201
        check(total <= BUDGET, f"the stack takes {total:.0f} MiB, more than {BUDGET:.0f}")


def recipes() -> tuple[str, str]:
    """Return the lines of shell by which the manual backs up and restores containers."""
    section = BACKUP.read_text(encoding="utf-8").partition("\n## Containers\n")[2]
    _, backup, restore = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return backup, restore


def _received(client: socket.socket) -> bytes:
    """Return what comes over the connection until the other side hangs up."""
    try:
        return client.recv(1000)
    except ConnectionResetError:
        return b""


def check(holds: bool, what: str) -> None:
    if not holds:
        raise ComposeError(what)


def _lasting_customers(drops: Iterable[Path]) -> list[str]:
    """Return the customers who are in every drop, sorted."""
    ids = []
    for drop in drops:
        with (drop / "users.csv").open(encoding="utf-8", newline="") as file:
            ids.append({row["user_id"] for row in csv.DictReader(file)})
    return sorted(set.intersection(*ids))
