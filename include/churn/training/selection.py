"""Selection of the recipe: every family with every setting and feature service, compared out of fold by customer.

With more than one labelled date, the comparison is also out of time: fit on the earlier dates, grade on the newest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import joblib
import numpy as np
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from churn import statistics
from churn.scoring.scorer import score
from churn.statistics import Estimate
from churn.training.families import FAMILIES
from churn.training.memory import available_memory, jobs_at_once
from churn.training.profit import profit_metrics
from churn.training.recipe import Parameters, Recipe, Rows, assign_folds, choose_threshold, fit

T = TypeVar("T")

COPIES = 5
"""Memory of a running fit as a multiple of its rows: the rows, and the copies of imputing, arcsinh and scaling, rounded
up."""


@dataclass(frozen=True)
class Contender:
    """A recipe over a feature service, its out-of-fold scores, one per graded row, and their AUC and Brier score."""

    recipe: Recipe
    service: str
    auc: Estimate | None
    brier: float
    scores: np.ndarray


@dataclass(frozen=True)
class Selection:
    """The chosen recipe over a feature service, its threshold, out-of-fold AUC and profit, and all contenders."""

    recipe: Recipe
    service: str
    threshold: float
    auc: Estimate | None
    contenders: tuple[Contender, ...]
    profit: Mapping[str, float] = field(default_factory=dict)


def select(
    rows: Rows, services: Mapping[str, Mapping[str, Any]], parameters: Parameters, *, forward: bool
) -> Selection:
    """Return the simplest recipe of those with the best out-of-fold AUC, calibrated if that helps, and its threshold.

    Args:
        services: {feature service: {feature: Feast type}}, simplest first.
        forward: fit on the earlier dates and grade on the newest; otherwise fit and grade on all dates.
    """
    rows = rows.take(at_most(rows, parameters))
    fold = assign_folds(rows.labels, rows.users, parameters)
    graded = rows.newest if forward else np.ones(len(rows), dtype=bool)
    learned = ~rows.newest if forward else graded

    def score_fold(recipe: Recipe, service: str, k: int) -> np.ndarray:
        quick = replace(recipe, settings={**recipe.settings, **FAMILIES[recipe.family].in_folds})
        pipeline = fit(quick, rows.take(learned & (fold != k)), services[service], parameters)
        return score(pipeline, rows.features[graded & (fold == k)])

    asked = [
        (Recipe(name, settings), service)
        for name in parameters.families
        for service in services
        for settings in FAMILIES[name].grid
    ]
    jobs = [(*each, k) for each in asked for k in range(parameters.folds)]
    scores = run_at_once([partial(score_fold, *job) for job in jobs], rows.bytes)
    labels, fold = rows.labels[graded], fold[graded]
    contenders = []
    for index, (recipe, service) in enumerate(asked):
        out_of_fold = np.empty(len(labels))
        for k in range(parameters.folds):
            out_of_fold[fold == k] = scores[index * parameters.folds + k]
        contenders.append(_contender(recipe, service, labels, out_of_fold))
    best = simplest_of_best(contenders, labels)
    # One thread, because the number of threads changes the last bits of a sum.
    [calibrated] = run_at_once([partial(_calibrate, best, labels, fold, parameters)])
    gain = statistics.brier_difference(labels, calibrated, best.scores)
    if gain is not None and gain.interval(0.90)[1] < 0:
        best = _contender(replace(best.recipe, calibrated=True), best.service, labels, calibrated)
        contenders.append(best)
    threshold = choose_threshold(labels, best.scores, parameters.value)
    profit = profit_metrics("out_of_fold", labels, best.scores, threshold, parameters.value)
    return Selection(best.recipe, best.service, threshold, best.auc, tuple(contenders), profit)


def simplest_of_best(contenders: Sequence[Contender], labels: np.ndarray) -> Contender:
    """Return the first contender whose AUC is within one standard error of the best one's.

    The one-standard-error rule of Breiman et al. (Classification and Regression Trees, 1984), with the standard error
    of the paired difference, since all are graded on the same customers.

    Args:
        contenders: simplest first.
    """
    best = max(contenders, key=lambda each: each.auc.value if each.auc else 0.0)
    for each in contenders:
        aucs = statistics.paired_aucs(labels, best.scores, each.scores)
        if aucs is None or aucs[2].value <= aucs[2].error:
            return each
    return best


def run_at_once(jobs: Sequence[Callable[[], T]], rows_bytes: int = 0) -> list[T]:
    """Run the jobs in parallel, as many as cores and memory allow, and return their results.

    Each job uses one thread, so that results do not depend on the number of cores.

    Args:
        rows_bytes: size of the rows that each job fits on; 0 for jobs with negligible copies.
    """
    # Unlike os.cpu_count(), joblib.cpu_count() respects container limits and CPU affinity.
    workers = jobs_at_once(joblib.cpu_count(), COPIES * rows_bytes, available_memory())
    with _one_thread_each() as start, ThreadPoolExecutor(workers, initializer=start) as pool:
        return list(pool.map(lambda job: job(), jobs))


@contextmanager
def _one_thread_each() -> Iterator[Callable[[], Any]]:
    """Limit OpenBLAS for the process; yield a function that limits OpenMP, whose limit is per thread."""
    with threadpool_limits(1):
        yield lambda: threadpool_limits(1, user_api="openmp")


def at_most(rows: Rows, parameters: Parameters) -> np.ndarray:
    """Return a mask of all rows, or of the rows of customers drawn at random if there are more than selection_rows."""
    if len(rows) <= parameters.selection_rows:
        return np.ones(len(rows), dtype=bool)
    names, customer = np.unique(rows.users, return_inverse=True)
    drawn = np.random.default_rng(parameters.random_state).random(len(names))
    return drawn[customer] < parameters.selection_rows / len(rows)


def _contender(recipe: Recipe, service: str, labels: np.ndarray, scores: np.ndarray) -> Contender:
    return Contender(recipe, service, statistics.auc(labels, scores), float(np.mean((scores - labels) ** 2)), scores)


def _calibrate(best: Contender, labels: np.ndarray, fold: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Return the scores after Platt scaling, each fold's sigmoid fitted on the other folds. Families with a decision
    function are scaled on log odds, as in scikit-learn's calibration."""
    classifier = FAMILIES[best.recipe.family].make(len(labels), parameters.random_state, **best.recipe.settings)
    scores, calibrated = best.scores, np.array(best.scores)
    if hasattr(classifier, "decision_function"):
        scores = logit(np.clip(scores, 1e-12, 1 - 1e-12))
    for k in range(parameters.folds):
        learn, grade = fold != k, fold == k
        if grade.any() and len(np.unique(labels[learn])) == 2:
            # No penalty: two parameters, hundreds of rows.
            sigmoid = LogisticRegression(C=np.inf).fit(scores[learn, None], labels[learn])
            calibrated[grade] = sigmoid.predict_proba(scores[grade, None])[:, 1]
    return calibrated
