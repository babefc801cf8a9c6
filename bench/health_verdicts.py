"""How often the verdict on a version is wrong: generated months without drift, with drift, and with a campaign.

Each month a version is trained on the months before, whose labels are known, and scores the month; its labels then
judge it. This is the chain without Postgres, Feast and MLflow, with one logistic regression and every version promoted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.context import Bench
from bench.figures import Row
from churn import statistics
from churn.features.store import feature_types, load_definitions
from churn.outcomes.standing import ALARMS, AS_PROMISED, CHANCE, TOO_FEW, WORSE
from churn.outcomes.verdict import Verdict, judge
from churn.scores.arms import CONTROL, arms
from churn.scoring.frame import to_model_types
from churn.scoring.scorer import score
from churn.synthetic.drops import SyntheticDrop, simulate
from churn.training.cohort import cohorts
from churn.training.recipe import Parameters, Rows, fit
from churn.training.regime import RECIPE
from churn.training.sources import LABELLED_DATES

WORDS = (AS_PROMISED, WORSE, CHANCE, TOO_FEW)
CUSTOMERS, MONTHS, SEEDS = 7_000, 12, 20
CONTROL_SHARE = 0.10
DRIFT = 0.1
KEPT = 0.5
"""A campaign keeps this share of the treated leavers of the top decile."""


@dataclass(frozen=True)
class Month:
    """The customers of a drop, with the labels that come a month later."""

    users: np.ndarray
    features: pd.DataFrame
    labels: np.ndarray
    gate: np.ndarray
    audit: np.ndarray

    def rows(self, chosen: np.ndarray, *, newest: bool) -> Rows:
        return Rows(self.features[chosen], self.labels[chosen], self.users[chosen], np.full(chosen.sum(), newest))


def verdicts(bench: Bench) -> list[Row]:
    """Count the verdicts by scenario and seed."""
    seeds = bench.repeats or SEEDS
    rows: list[Row] = []
    for name, drift, treated in (("stable", 0.0, False), ("drift", DRIFT, False), ("campaign", 0.0, True)):
        for seed in range(seeds):
            found = list(_judged(seed, drift, treated=treated))
            rows.append({
                "scenario": name, "seed": seed, "dates": len(found),
                "realized AUC": float(np.mean([each.all_auc for each in found])),
                "promised AUC": float(np.mean([each.promised for each in found])),
                "alarms": sum(each.verdict.word in ALARMS for each in found),
                "alarms over all": sum(each.over_all.word in ALARMS for each in found),
                **{word: sum(each.verdict.word == word for each in found) for word in WORDS},
            })  # fmt: skip
        of_scenario = [row for row in rows if row["scenario"] == name]
        dates, alarms, over_all = (
            sum(row[key] for row in of_scenario) for key in ("dates", "alarms", "alarms over all")
        )
        bench.say(f"{name}: {alarms} alarms at {dates} dates of {seeds} seeds ({over_all} if all arms decided)")
    return rows


@dataclass(frozen=True)
class _Judged:
    all_auc: float
    promised: float
    verdict: Verdict
    over_all: Verdict


def _judged(seed: int, drift: float, *, treated: bool) -> Iterator[_Judged]:
    """Yield the judgement of each month of a seed."""
    parameters = Parameters()
    service = next(each for each in load_definitions() if getattr(each, "name", "") == "churn_v1")
    types = feature_types(service)
    drops = simulate(customers=CUSTOMERS, months=MONTHS + 2, seed=seed, churn_drift=drift)
    months = [_month(drop, types) for drop in drops]
    for place in range(2, len(months)):
        learned = months[max(0, place - LABELLED_DATES) : place]
        twin = fit(RECIPE, _training_rows(learned[:-1]), types, parameters)
        graded = learned[-1]
        promised = statistics.auc(graded.labels[graded.gate], score(twin, graded.features[graded.gate]))
        month = months[place]
        scores = score(fit(RECIPE, _training_rows(learned), types, parameters), month.features)
        labels = _after_a_campaign(month, scores, seed) if treated else month.labels
        unseen = month.gate | month.audit
        realized = statistics.auc(labels[unseen], scores[unseen])
        assert promised is not None
        assert realized is not None
        over_all = judge(realized, int(unseen.sum()), int(labels[unseen].sum()), promised)
        # With a campaign the control arm decides: of the date, which the version had not learned from.
        control = arms(month.users, CONTROL_SHARE) == CONTROL
        decides = control if treated else unseen
        auc = statistics.auc(labels[decides], scores[decides])
        verdict = judge(auc, int(decides.sum()), int(labels[decides].sum()), promised)
        yield _Judged(realized.value, promised.value, verdict, over_all)


def _month(drop: SyntheticDrop, types: dict[str, object]) -> Month:
    tables = drop.tables
    joined = tables["subscriptions"]
    for name in ("usage_agg_30d", "payments_agg_90d", "support_agg_90d", "labels"):
        joined = joined.join(tables[name], "user_id")
    joined = joined.sort_by("user_id")
    users = joined["user_id"].to_numpy()
    gate, audit = cohorts(users)
    frame = to_model_types(joined.select([*types]).to_pandas(), types)
    return Month(users, frame, joined["churn_label"].to_numpy(), gate, audit)


def _training_rows(months: list[Month]) -> Rows:
    parts = [month.rows(~month.gate & ~month.audit, newest=month is months[-1]) for month in months]
    return Rows(
        pd.concat([part.features for part in parts], ignore_index=True),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "users", "newest")),
    )


def _after_a_campaign(month: Month, scores: np.ndarray, seed: int) -> np.ndarray:
    """Return the labels where half of the treated leavers of the top decile stayed."""
    top = scores >= np.quantile(scores, 0.9)
    treat = arms(month.users, CONTROL_SHARE) != CONTROL
    stays = np.random.default_rng([seed, len(scores)]).random(len(scores)) < KEPT
    labels: np.ndarray = month.labels & ~(top & treat & stays)
    return labels
