"""Seconds and memory of each step of an AS_OF, by customers: naive, ours and the limit up to the training set, then
ours alone."""

from importlib import import_module

import mlflow

from bench import limit, naive, naive_feast, ours
from bench.context import Bench
from bench.figures import Row
from bench.processes import mlflow_server
from bench.sides import Steps, compare_sides

PREPARE = {"naive": naive_feast.prepare, "ours": ours.prepare}
STEPS: Steps = {
    "load + validate": {"naive": naive.load, "ours": ours.load_and_validate, "limit": limit.load},
    "snapshot": {"naive": naive.snapshot, "ours": ours.snapshot, "limit": limit.snapshot},
    "materialize": {"naive": naive_feast.materialize, "ours": ours.materialize_online, "limit": limit.materialize},
    "training set": {"naive": naive_feast.training_set, "ours": ours.training_set, "limit": limit.training_set},
    "train": {"ours": ours.train_version},
    "gate": {"ours": ours.decide},
    "score": {"ours": ours.score},
    "outcome": {"ours": ours.judge},
}

# Modules that Feast imports at first use; importing is not measured.
for _module in ("passthrough_provider", "registry.sql", "online_stores.helpers", "compute_engines.local.compute"):
    import_module(f"feast.infra.{_module}")
import_module("feast.repo_operations")


def run(bench: Bench) -> Row:
    """Measure every size; each repetition starts with an empty database."""
    with mlflow_server(bench.server.directory / "mlflow") as tracking:
        # Each step runs in a process that is forked from this one.
        mlflow.set_tracking_uri(tracking)
        return compare_sides(bench, PREPARE, STEPS)
