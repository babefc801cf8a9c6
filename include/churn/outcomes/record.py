"""What a judgement depends on, and its rows in outcomes.judgements and outcomes.performance."""

from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass
from datetime import date
from typing import Any

from psycopg.types.json import Jsonb

from churn.outcomes.campaign import Effect
from churn.outcomes.judging import Part
from churn.postgres.database import Connection, execute, lock, one
from churn.statistics import Estimate


@dataclass(frozen=True)
class Question:
    """What a judgement depends on: the columns of outcomes.judgements.

    Attributes:
        as_of: the date whose scores are judged.
        known_as_of: labels of drops up to this one count.
        labelled_by: {drop: sha256} of the drops that delivered these labels.
        treated_by: the same of the drops that delivered actions of the date; empty without a campaign.
        label_days: the days that a label covers.
    """

    as_of: date
    known_as_of: date
    list_revision: int | None
    list_version: int | None
    answering_version: int | None
    answering_run_id: str | None
    labelled_by: dict[str, str]
    treated_by: dict[str, str]
    label_days: int
    code_digest: str


def was_answered(connection: Connection, question: Question) -> bool:
    """Tell whether the newest judgement as known at that drop, or before it, is of the same labels, scores and code."""
    asked = {"as_of": question.as_of, "known_as_of": question.known_as_of}
    last = execute(connection, "outcomes/last_judgement", asked).fetchone()
    return last == astuple(question)[2:]


def record(connection: Connection, question: Question, parts: Iterable[Part], effect: Effect | None) -> int:
    """Add a judgement, its figures and the effect of a campaign in one transaction; return its revision."""
    with connection.transaction():
        lock(connection, "outcomes of", question.as_of.isoformat())
        drops = {name: Jsonb(getattr(question, name)) for name in ("labelled_by", "treated_by")}
        revision = int(one(connection, "outcomes/judge", {**asdict(question), **drops})[0])
        for part in parts:
            row = {"as_of": question.as_of, "revision": revision, **_columns(part)}
            execute(connection, "outcomes/record_performance", row)
        if effect:
            counts = {name: value for name, value in asdict(effect).items() if name != "difference"}
            row = {"as_of": question.as_of, "revision": revision, **counts, **_effect(effect.difference)}
            execute(connection, "outcomes/record_effect", row)
    return revision


def _columns(part: Part) -> dict[str, Any]:
    figures = asdict(part.performance)
    figures.pop("auc")
    return {
        "model_version": part.version.version,
        "model_run_id": part.version.run_id,
        "source": part.source,
        "basis": part.basis,
        "arm": part.arm,
        "slice": part.slice,
        "decides": part.decides,
        **figures,
        **_estimate("auc", part.performance.auc),
        **_estimate("promised", part.promised),
        "verdict": part.verdict.word,
        "reason": part.verdict.reason,
    }


def _effect(found: Estimate | None) -> dict[str, float | None]:
    low, high = found.interval() if found else (None, None)
    return {"effect": found.value if found else None, "effect_low": low, "effect_high": high}


def _estimate(name: str, found: Estimate | None) -> dict[str, float | None]:
    low, high = found.interval() if found else (None, None)
    return {
        name if name == "auc" else f"{name}_auc": found.value if found else None,
        f"{name}_error": found.error if found else None,
        f"{name}_low": low,
        f"{name}_high": high,
    }
