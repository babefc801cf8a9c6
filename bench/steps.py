"""Seconds and memory of each step from a drop to a training set: naive, ours and the limit, by customers."""

from importlib import import_module

from bench import limit, naive, naive_feast, ours
from bench.context import Bench
from bench.figures import Row
from bench.sides import Steps, compare_sides

PREPARE = {"naive": naive_feast.prepare, "ours": ours.prepare}
STEPS: Steps = {
    "load + validate": {"naive": naive.load, "ours": ours.load_and_validate, "limit": limit.load},
    "snapshot": {"naive": naive.snapshot, "ours": ours.snapshot, "limit": limit.snapshot},
    "materialize": {"naive": naive_feast.materialize, "ours": ours.materialize_online, "limit": limit.materialize},
    "training set": {"naive": naive_feast.training_set, "ours": ours.training_set, "limit": limit.training_set},
}

# Modules that Feast imports at first use; importing is not measured.
for _module in ("passthrough_provider", "registry.sql", "online_stores.helpers", "compute_engines.local.compute"):
    import_module(f"feast.infra.{_module}")
import_module("feast.repo_operations")


def run(bench: Bench) -> Row:
    """Measure every size; each repetition starts with an empty database."""
    return compare_sides(bench, PREPARE, STEPS)
