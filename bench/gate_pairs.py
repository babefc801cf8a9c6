"""The correlation of two versions that the gate compares, and a model's AUC on its own training rows, by real fits.

Production was fitted on six generated months. The candidate's recipe is graded by its twin, fitted on those months
without the oldest, on the gate cohort of a month that neither saw.
"""

from datetime import date
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from bench import ours
from bench.figures import Row, significant
from bench.measure import Watch
from churn import statistics
from churn.features.store import feature_types
from churn.scoring.scorer import score
from churn.training import recipe
from churn.training.families import FAMILIES
from churn.training.recipe import Recipe, Rows
from churn.training.selection import run_at_once
from churn.training.training_set import TrainingSet

MONTHS = 7
ROWS = 1_400
"""Standard errors are reported for the cohort of a drop of 7,000 customers."""

PARAMETERS = recipe.Parameters()


def study(_: Watch, url: str, landing: Path, dates: list[date]) -> Row:
    """Load the months; return the standard error of each pair's difference of AUC, and the naive Production's AUC.

    The largest errors are kept for pairs of one recipe and for pairs of two families, so that the gate's power is that
    for the hardest pair.
    """
    ours.prepare(Watch(), url)
    for as_of in dates:
        ours.load_and_validate(Watch(), url, landing, as_of)
        ours.snapshot(Watch(), url, landing, as_of)
    earlier, now = (ours.read_training_set(url, as_of) for as_of in dates[-2:])
    newest = now.on(now.dates[-1])
    graded = now.cohort & newest
    labels, features = now.labels(graded), now.features(graded)
    recipes = {name: Recipe(name, family.grid[-1]) for name, family in FAMILIES.items()}
    learned = [_rows(now, ~now.cohort & ~now.audit & ~newest), _rows(earlier, ~earlier.cohort & ~earlier.audit)]
    types = feature_types(now.service)
    jobs = [partial(recipe.fit, each, rows, types, PARAMETERS) for rows in learned for each in recipes.values()]
    scores = [score(fitted, features) for fitted in run_at_once(jobs)]
    twins, productions = (
        dict(zip(recipes, part, strict=True)) for part in (scores[: len(recipes)], scores[len(recipes) :])
    )
    pairs, errors = [], {"one recipe": 0.0, "two families": 0.0}
    for candidate, production in product(recipes, recipes):
        found = statistics.auc_difference(labels, twins[candidate], productions[production])
        assert found is not None
        error = float(found.error * np.sqrt(len(labels) / ROWS))
        kind = "one recipe" if candidate == production else "two families"
        errors[kind] = max(errors[kind], error)
        pairs.append({
            "candidate": candidate,
            "production": production,
            "difference": significant(found.value),
            "error": significant(error),
        })  # fmt: skip
    return {
        "rows": ROWS,
        "churn_rate": significant(float(labels.mean())),
        "auc": {name: significant(_auc(labels, each)) for name, each in twins.items()},
        "pairs": pairs,
        "errors": {kind: significant(error) for kind, error in errors.items()},
        "naive": _naive(now, newest),
    }


def _naive(now: TrainingSet, newest: np.ndarray) -> Row:
    """Return the AUC of scikit-learn's default random forest on its training rows and on others."""
    types = feature_types(now.service)
    learn, others = newest & ~now.cohort, newest & now.cohort
    pipeline = recipe.make_pipeline(Recipe("random forest", FAMILIES["random forest"].grid[0]), types, PARAMETERS, 1)
    pipeline.set_params(classifier=RandomForestClassifier(random_state=PARAMETERS.random_state))
    pipeline.fit(now.features(learn), now.labels(learn))
    on_training, on_others = (_auc(now.labels(rows), score(pipeline, now.features(rows))) for rows in (learn, others))
    return {"training_auc": significant(on_training), "auc": significant(on_others)}


def _rows(of: TrainingSet, learn: np.ndarray) -> Rows:
    return Rows(of.features(learn), of.labels(learn), of.users(learn).to_numpy(), of.on(of.dates[-1])[learn])


def _auc(labels: np.ndarray, scores: np.ndarray) -> float:
    found = statistics.auc(labels, scores)
    assert found is not None
    return found.value
