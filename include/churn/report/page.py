"""The model card as one self-contained HTML page, without scripts, with light and dark colours."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from churn.registry.model_version import MODEL_NAME
from churn.report.plotting import DARK, Picture, variable

TEMPLATE = Path(__file__).with_name("templates") / "report.html"

KNOWN_TAGS = {
    "as_of": "AS_OF",
    "git_commit": "code commit",
    "code_digest": "sha256 of the code of training and its libraries",
    "data_digest": "sha256 of the training set",
    "graded_digest": "sha256 of the graded rows",
    "cohort_salt": "salt of the gate cohort",
    "feature_service": "feature service",
    "threshold": "threshold",
    "parameters": "parameters",
}
"""Tags of a version's inputs, with their names on the page."""


NOTHING = "\N{EN DASH}"


LONG = 600
"""Length in characters above which a text, such as a query, is folded."""


def render(record: Any, pictures: Sequence[Picture]) -> str:
    """Return the page of a record (churn.report.model_card.Record). Everything but the pictures is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"said": said, "fixed": fixed, "interval": interval, "words": words}
    environment.tests["long"] = lambda value: isinstance(value, str) and len(value) > LONG
    report = record.report
    return environment.get_template(TEMPLATE.name).render(
        record=record,
        report=report,
        model_name=MODEL_NAME,
        models=[(who, report[who.lower()]) for who in ("Candidate", "Production", "Anchor") if report.get(who.lower())],
        value=record.lineage.get("parameters", {}).get("value"),
        drops=json.loads(record.tags.get("drops", "{}")),
        made_of={name: record.tags[tag] for tag, name in KNOWN_TAGS.items() if tag in record.tags},
        gate_tags={tag: value for tag, value in sorted(record.tags.items()) if tag.startswith("gate.")},
        label_age_days=(date.fromisoformat(report["as_of"]) - date.fromisoformat(report["graded_on"])).days,
        failed=[check for check in report["checks"] if check["outcome"] == "FAIL"],
        pictures=[(each, Markup(each.inline)) for each in pictures],
        light={variable(colour): colour for colour in DARK},
        dark={variable(colour): dark for colour, dark in DARK.items()},
    )  # fmt: skip


def said(value: Any) -> str:
    """Format a value for people."""
    match value:
        case None | "" | []:
            text = NOTHING
        case bool():
            text = "yes" if value else "no"
        case float() if value != round(value) or abs(value) < 1:
            text = f"{value:.4g}"
        case int() | float():
            text = f"{value:,.0f}"
        case {"value": float(), "low": float(), "high": float()}:
            text = interval(value)
        case dict():
            text = ", ".join(f"{name} {said(each)}" for name, each in value.items()) or NOTHING
        case [*entries]:
            text = ", ".join(map(said, entries)) if len(entries) <= 3 else f"{len(entries)} entries"
        case _:
            text = str(value)
    return text


def fixed(value: float | None) -> str:
    """Format a score, a share or a p-value."""
    return NOTHING if value is None else f"{value:.4f}"


def interval(found: Mapping[str, float] | None, digits: int = 3) -> str:
    """Format a figure with its 95 % interval."""
    if found is None:
        return NOTHING
    sign = "+" if found["low"] < 0 else ""
    return f"{found['value']:{sign}.{digits}f} ({found['low']:{sign}.{digits}f} to {found['high']:{sign}.{digits}f})"


def words(name: str) -> str:
    """Return the name of a check, a threshold or a parameter as words."""
    return name.replace("_", " ")
