"""A candidate: the chosen recipe, fitted, with the evidence that the gate reads.

No version trains on customers of the gate cohort or the audit cohort. The shipped pipeline is fitted on all labelled
dates since the last regime change. With two or more of them, the recipe is graded out of time by a twin that was fitted
without the newest date.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import FeatureService
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import Pipeline

from churn import statistics
from churn.features.store import feature_types
from churn.registry.evidence import RunEvidence
from churn.scoring.scorer import score
from churn.training import recipe
from churn.training.profit import profit_metrics
from churn.training.recipe import Rows
from churn.training.regime import Judged, judge_dates, learned_dates
from churn.training.selection import Selection, run_at_once, select
from churn.training.training_set import LABEL, TrainingSet, score_rows

log = logging.getLogger(__name__)

GOLDEN_ROWS = 50
"""Rows whose scores verify the model wherever it is loaded."""


class NotEnoughToLearn(RuntimeError):
    """The training set is too small to fit a model or choose a threshold."""


@dataclass(frozen=True)
class Candidate:
    """A fitted recipe with its scores on the cohorts.

    Attributes:
        service: the features that it reads.
        learned_from: the labelled dates that the pipeline learned from.
        change: the regime change on `graded_on`, None without one.
        grades: scores of the gate cohort on `graded_on`: user_id, churn_label, score.
        audit: the same for the audit cohort.
        trained_on: each customer in the training data of the pipeline or its twin, once.
        golden: feature rows, some with NULLs, with the pipeline's `score`.
    """

    pipeline: Pipeline
    selection: Selection
    service: FeatureService
    graded_on: date
    learned_from: Sequence[date]
    change: Judged | None
    out_of_time: bool
    grades: pa.Table
    audit: pa.Table
    trained_on: pa.Table
    golden: pd.DataFrame
    metrics: Mapping[str, float]

    @property
    def threshold(self) -> float:
        """The probability at or above which the prediction is churn."""
        return self.selection.threshold

    @property
    def evidence(self) -> RunEvidence:
        """The tables that its MLflow run keeps."""
        golden = pa.Table.from_pandas(self.golden, preserve_index=False)
        return RunEvidence(self.grades, self.audit, self.trained_on, golden)

    def __str__(self) -> str:
        auc = "undefined"
        if "cohort_auc" in self.metrics:
            auc = "{cohort_auc:.3f} ({cohort_auc_low:.3f} to {cohort_auc_high:.3f})".format(**self.metrics)
        change = f"; {self.change}" if self.change else ""
        chosen = f"{self.selection.recipe} over {self.service.name}"
        return f"{chosen}, AUC {auc} on the gate cohort on {self.graded_on}{change}"


def fit_candidate(training_set: TrainingSet, parameters: recipe.Parameters) -> Candidate:
    """Choose recipe and feature service, fit them on all rows outside the cohorts, and grade them on the newest date.

    Raises:
        NotEnoughToLearn: the training rows have one class only, or too few customers for the folds.
    """
    services = {each.name: each for each in (*training_set.others, training_set.service)}
    types = {name: feature_types(service) for name, service in services.items()}
    newest = training_set.on(training_set.dates[-1])
    learn = ~training_set.cohort & ~training_set.audit
    users = training_set.users(learn).to_numpy()
    rows = Rows(training_set.features(learn), training_set.labels(learn), users, newest[learn])
    judged = judge_dates(rows, training_set.days[learn], types[training_set.service.name], parameters)
    learned_from = learned_dates(training_set.dates, judged)
    if len(learned_from) < len(training_set.dates):
        rows = rows.take(np.isin(training_set.days[learn], np.array(learned_from, dtype="datetime64[D]")))
    _require_enough(rows.labels, rows.users, parameters)
    _warn_of_constants(rows.features)
    started = time.monotonic()
    forward = rows.forward_in_time(parameters)
    selection = select(rows, types, parameters, forward=forward)
    learned = [rows, rows.take(~rows.newest)] if forward else [rows]
    chosen = training_set.of(services[selection.service])
    fits = [partial(recipe.fit, selection.recipe, of, types[selection.service], parameters) for of in learned]
    pipeline, *twin = run_at_once(fits, rows.bytes)
    seconds = time.monotonic() - started
    graded = twin[0] if twin else pipeline
    grades = _grade(graded, chosen, training_set.cohort & newest)
    golden = _golden_rows(chosen.features(np.ones(len(newest), dtype=bool)))
    of_cohort = "cohort", grades[LABEL].to_numpy(), grades["score"].to_numpy(), selection.threshold
    metrics = {
        **_metrics(*of_cohort),
        **profit_metrics(*of_cohort, parameters.value),
        **selection.profit,
        "train_seconds": seconds,
        "train_rows": float(len(rows)),
        "train_churned": float(rows.labels.sum()),
        "cohort_rows": float(len(grades)),
    }
    if selection.auc:
        metrics |= {"out_of_fold_auc": selection.auc.value, "out_of_fold_auc_error": selection.auc.error}
    return Candidate(
        pipeline=pipeline,
        selection=selection,
        service=chosen.service,
        graded_on=training_set.dates[-1],
        learned_from=learned_from,
        change=judged[-1] if judged and learned_from == [judged[-1].day] else None,
        out_of_time=bool(twin),
        grades=grades,
        audit=_grade(graded, chosen, training_set.audit & newest),
        trained_on=pa.table({"user_id": np.unique(rows.users)}),
        golden=golden.assign(score=score(pipeline, golden)),
        metrics=metrics,
    )


def _require_enough(labels: np.ndarray, users: np.ndarray, parameters: recipe.Parameters) -> None:
    for churned in (True, False):
        customers = len(set(users[labels == churned]))
        if customers < parameters.folds:
            raise NotEnoughToLearn(
                f"{customers} customers outside the cohorts have the label {churned}, {parameters.folds} folds need "
                "one each: load drops with more labels"
            )


def _warn_of_constants(features: pd.DataFrame) -> None:
    for name in features.columns[features.nunique(dropna=False) <= 1]:
        log.warning("the feature %s has one value in the whole training set: it carries no information", name)


def _grade(pipeline: Pipeline, training_set: TrainingSet, rows: np.ndarray) -> pa.Table:
    scores = score_rows(pipeline, training_set, rows)
    return pa.table({"user_id": training_set.users(rows), LABEL: training_set.labels(rows), "score": scores})


def _golden_rows(features: pd.DataFrame) -> pd.DataFrame:
    """Return rows spread over the set, and up to two rows with a NULL for each feature."""
    spread = np.linspace(0, len(features) - 1, GOLDEN_ROWS).astype(int)
    null = [np.flatnonzero(features[name].isna())[:2] for name in features]
    return features.iloc[np.unique(np.concatenate([spread, *null]))].reset_index(drop=True)


def _metrics(name: str, labels: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, float]:
    """Return F1, accuracy, and AUC with its 95 % interval; AUC is left out if there is only one class."""
    if len(labels) == 0:
        return {}
    said = scores >= threshold
    metrics = {
        f"{name}_f1": f1_score(labels, said, zero_division=0.0),
        f"{name}_accuracy": accuracy_score(labels, said),
    }
    if auc := statistics.auc(labels, scores):
        low, high = auc.interval()
        metrics |= {f"{name}_auc": auc.value, f"{name}_auc_low": low, f"{name}_auc_high": high}
    return {key: float(value) for key, value in metrics.items()}
