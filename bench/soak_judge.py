"""Whether an answer of the service is what the version that it names gives to that customer."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import mlflow
from mlflow import MlflowClient

from bench.figures import Row
from bench.measure import Watch
from churn.features.store import FEATURE_SERVICE, open_store, read_online
from churn.registry.client import get_version
from churn.registry.loading import load_pipeline
from churn.scoring.scorer import score_online

ALLOWED = 1e-6

Truth = Mapping[int, tuple[float, Sequence[float]]]
"""By version, its threshold and the probability of each customer."""


def find_truth(_: Watch, url: str, tracking: str, users: list[str], versions: list[int]) -> Truth:
    """Return what each version gives to the users, by the pipeline itself."""
    mlflow.set_tracking_uri(tracking)
    mlflow.set_registry_uri(tracking)
    store = open_store(url)
    service = store.get_feature_service(FEATURE_SERVICE)
    rows = [each.values for each in read_online(store, service, users)]
    asyncio.run(store.close())
    return {
        version: (
            get_version(MlflowClient(), version).threshold,
            score_online(load_pipeline(version, url), rows, service).tolist(),
        )
        for version in versions
    }


@dataclass
class Judge:
    """Compares answers with the truth.

    Attributes:
        in_production: what stage Production holds, since `changed_at`; None while it changes.
        versions: how many answers each version gave.
        mixed: answers that are not what their version gives; `example` is the first of them.
        slowest_change: the most seconds after a change at which a request was sent that the version before answered.
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
            and abs(probability - probabilities[index]) <= ALLOWED
            and answer["threshold"] == threshold
            and answer["prediction"] == int(probability >= threshold)
        )
