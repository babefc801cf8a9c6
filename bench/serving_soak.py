"""Minutes at 60 % of the maximum rate of ours, while stage Production changes every 20 s between two versions.

Every answer is compared with the one that the version it names gives to that customer. --repeats is the minutes.
"""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean

import mlflow
from mlflow import MlflowClient

from bench.context import Bench
from bench.figures import MEGABYTE, Row, milliseconds, number, significant
from bench.load import find_wrk, load
from bench.measure import Watch, measure
from bench.open_loop import OpenLoop
from bench.processes import memory
from bench.serving_world import Service, World, world
from churn.features.store import FEATURE_SERVICE, open_store, read_online
from churn.registry.client import get_version
from churn.registry.loading import load_pipeline
from churn.scoring.scorer import score_online

MINUTES = 10
SECONDS_BETWEEN_CHANGES = 20
SECONDS_BETWEEN_LOOKS = 5
SECONDS_OF_MAXIMUM = 5
CONNECTIONS = (8, 64)
SHARE = 0.6
CUSTOMERS = 1_000
TOLERANCE = 1e-6
"""Of a probability: answers are rounded, and a micro-batch may differ in the last bits."""

Truth = Mapping[int, tuple[float, Sequence[float]]]
"""By version, its threshold and the probability of each customer."""


@dataclass
class Judge:
    """Compares answers with the truth.

    Attributes:
        in_production: the version in stage Production since `changed_at`; None while it changes.
        versions: how many answers each version gave.
        mixed: answers that are not those of their version; `example` is the first of them.
        slowest_change: the most seconds after a change at which a request was sent that the previous version answered.
    """

    users: Sequence[str]
    truth: Truth
    in_production: int | None
    changed_at: float = 0.0
    versions: Counter[int] = field(default_factory=Counter)
    mixed: int = 0
    example: str | None = None
    slowest_change: float = 0.0

    def judge(self, index: int, sent: float, body: bytes) -> None:
        """Take the answer about a user, by index, to a request that was sent then."""
        answer = json.loads(body)
        version = answer["model"]["version"]
        self.versions[version] += 1
        if self.in_production not in {None, version}:
            self.slowest_change = max(self.slowest_change, sent - self.changed_at)
        if not self._is_whole(answer, index):
            self.mixed += 1
            self.example = self.example or body.decode()

    def _is_whole(self, answer: Row, index: int) -> bool:
        version, probability = answer["model"]["version"], answer["churn_probability"]
        if version not in self.truth:
            return False
        threshold, probabilities = self.truth[version]
        return bool(
            answer["user_id"] == self.users[index]
            and abs(probability - probabilities[index]) <= TOLERANCE
            and answer["threshold"] == threshold
            and answer["prediction"] == int(probability >= threshold)
        )


def run(bench: Bench) -> Row:
    """Load ours for minutes.

    Raises:
        BenchError: wrk is not installed, or the service does not start.
    """
    find_wrk()
    minutes = bench.repeats or MINUTES
    with world(bench) as asked:
        users = asked.users[:CUSTOMERS]
        versions = [*asked.versions.values()]
        truth = measure(bench.server, find_truth, asked.url, asked.settings.mlflow_url, users, versions).result
        asked.to_production(versions[0])
        judge = Judge(users, truth, versions[0])
        with asked.service("ours") as service:
            loads = [load(service.url, asked.questions, each, SECONDS_OF_MAXIMUM) for each in CONNECTIONS]
            most = max(each["requests/s"] for each in loads)
            bodies = [json.dumps({"user_id": user}).encode() for user in users]
            loop = OpenLoop(service.port, "/predict", bodies, SHARE * most, 60.0 * minutes, judge.judge)
            bench.say(f"{minutes} minutes at {number(loop.rate)} requests/s, {SHARE:.0%} of {number(most)}")
            found = asyncio.run(_soak(bench, asked, judge, service, loop))
    return {"customers": bench.customers[0], "minutes": minutes, "maximum requests/s": most, **found}


def find_truth(_: Watch, url: str, tracking: str, users: list[str], versions: list[int]) -> Truth:
    """Return the threshold and the probabilities of each version, by the pipeline itself."""
    mlflow.set_tracking_uri(tracking)
    mlflow.set_registry_uri(tracking)
    store = open_store(url)
    service = store.get_feature_service(FEATURE_SERVICE)
    rows = [each.values for each in read_online(store, service, users)]
    return {
        version: (
            get_version(MlflowClient(), version).threshold,
            score_online(load_pipeline(version, url), rows, service).tolist(),
        )
        for version in versions
    }


async def _soak(bench: Bench, asked: World, judge: Judge, service: Service, loop: OpenLoop) -> Row:
    over, began = asyncio.Event(), time.monotonic()
    looking = asyncio.create_task(_look(service, over))
    changing = asyncio.create_task(_change(bench, asked, judge, over))
    try:
        answers = await loop.run()
        took = time.monotonic() - began
    finally:
        over.set()
    held, changes = await looking, await changing
    # When both versions have been loaded, and at the end.
    fifth = max(1, len(held) // 5)
    early, late = held[fifth : 2 * fifth] or held, held[-fifth:]
    return {
        "asked requests/s": significant(loop.rate),
        "requests/s": significant((answers.good + answers.failed.total()) / took),
        "answers": answers.good,
        **milliseconds(answers.seconds, 50, 99, 99.9, 100),
        "sent late": answers.late,
        "mixed": judge.mixed,
        "first mixed": judge.example or "-",
        "changes of Production": changes,
        "s from a change to the last answer before it": significant(judge.slowest_change),
        "MB in the second fifth": significant(mean(early) / MEGABYTE),
        "MB in the last fifth": significant(mean(late) / MEGABYTE),
        "most MB": significant(max(held) / MEGABYTE),
        "failed": [{"answer": what, "times": count} for what, count in answers.failed.items()],
        "versions": [{"version": version, "answers": count} for version, count in sorted(judge.versions.items())],
    }


async def _change(bench: Bench, asked: World, judge: Judge, over: asyncio.Event) -> int:
    """Move Production to the other version again and again, and return how often."""
    changes = 0
    for version in itertools.cycle([*asked.versions.values()][::-1]):
        if not await _pause(SECONDS_BETWEEN_CHANGES, over):
            break
        judge.in_production = None
        await asyncio.to_thread(asked.to_production, version)
        judge.in_production, judge.changed_at = version, asyncio.get_running_loop().time()
        changes += 1
        bench.say(f"change {changes}, to version {version}: {judge.versions.total():,} answers, {judge.mixed} mixed")
    return changes


async def _look(service: Service, over: asyncio.Event) -> list[int]:
    """Return the bytes that the service holds, again and again."""
    held = []
    while await _pause(SECONDS_BETWEEN_LOOKS, over):
        held.append(await asyncio.to_thread(memory, service.pid))
    return held


async def _pause(seconds: float, over: asyncio.Event) -> bool:
    """Wait so long and return True, or until it is over and return False."""
    try:
        async with asyncio.timeout(seconds):
            await over.wait()
    except TimeoutError:
        return True
    return False
