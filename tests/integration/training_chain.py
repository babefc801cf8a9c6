"""The chain from a drop to Production, one call per step, for tests of training and gate."""

import mlflow
from mlflow import MlflowClient

from churn.features.store import FEATURE_SERVICES, open_store
from churn.gate import promotion, rule
from churn.gate.grading import grade
from churn.registry import client as registry
from churn.training import recipe
from churn.training.train import train
from churn.training.training_set import build_training_set

QUICK = recipe.Parameters(families=("logistic regression",))


def last_report(version):
    """The report of the last decision, from the version's run."""
    run_id = registry.get_version(MlflowClient(), version).run_id
    folders = [each.path for each in MlflowClient().list_artifacts(run_id, "decisions")]
    newest = max(folders, key=lambda folder: int(folder.rpartition("/")[2]))
    return mlflow.artifacts.load_dict(f"runs:/{run_id}/{newest}/report.json")


class Chain:
    """The chain of an AS_OF up to the gate's decision and its promotion."""

    def __init__(self, pipeline):
        self.pipeline, self.database_url = pipeline, pipeline.database_url

    def __call__(self, as_of, parameters=None):
        self.pipeline.serve(as_of)
        trained = train(as_of, self.database_url, parameters)
        decided = grade(trained.figures["version"], self.database_url)
        moved = self.promote(decided) if decided.figures["decision"] == rule.PROMOTE else None
        return trained, decided, moved

    def promote(self, decided):
        figures = decided.figures
        return promotion.promote(
            figures["version"],
            figures["production_version"],
            decided.reason,
            self.database_url,
            superior=figures["superior"],
        )

    def training_set(self, as_of):
        return build_training_set(open_store(self.database_url), FEATURE_SERVICES, as_of, self.database_url)
