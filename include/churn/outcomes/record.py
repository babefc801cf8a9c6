"""What a judgement depends on, and its rows in outcomes.judgements and outcomes.performance."""

from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass
from datetime import date
from typing import Any

from psycopg.types.json import Jsonb

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
    """

    as_of: date
    known_as_of: date
    list_revision: int | None
    list_version: int | None
    answering_version: int | None
    answering_run_id: str | None
    labelled_by: dict[str, str]
    code_digest: str


def was_answered(connection: Connection, question: Question) -> bool:
    """Tell whether the newest judgement as known at that drop, or before it, is of the same labels, scores and code."""
    asked = {"as_of": question.as_of, "known_as_of": question.known_as_of}
    last = execute(connection, "outcomes/last_judgement", asked).fetchone()
    return last == astuple(question)[2:]


def record(connection: Connection, question: Question, parts: Iterable[Part]) -> int:
    """Add a judgement and its figures in one transaction; return its revision."""
    with connection.transaction():
        lock(connection, "outcomes of", question.as_of.isoformat())
        asked = {**asdict(question), "labelled_by": Jsonb(question.labelled_by)}
        revision = int(one(connection, "outcomes/judge", asked)[0])
        for part in parts:
            row = {"as_of": question.as_of, "revision": revision, **_columns(part)}
            execute(connection, "outcomes/record_performance", row)
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


def _estimate(name: str, found: Estimate | None) -> dict[str, float | None]:
    low, high = found.interval() if found else (None, None)
    return {
        name if name == "auc" else f"{name}_auc": found.value if found else None,
        f"{name}_error": found.error if found else None,
        f"{name}_low": low,
        f"{name}_high": high,
    }
