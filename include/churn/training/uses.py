"""The AS_OFs that used a version, and the drops of its training set: tags that training renews.

Many AS_OFs use one version, as their training sets have the same rows. The drops of an AS_OF's training set are those
of a later one up to that AS_OF, so one tag holds them for all.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from mlflow import MlflowClient

from churn.registry.model_version import MODEL_NAME, ModelNotLoadable, ModelVersion

log = logging.getLogger(__name__)

DROPS = "drops"
"""The tag of a version: the drops of its training set at the newest AS_OF that used it, as JSON."""

USED_BY = "used_by"
"""The tag of a version: the AS_OFs whose training returned it, as JSON. Without it: its own AS_OF."""

Drops = Mapping[date, str]
"""The drops of a training set: AS_OF → sha256 of the content."""


@dataclass(frozen=True)
class Uses:
    """A version, the AS_OFs that used it, and the drops of the newest of them."""

    version: ModelVersion
    as_ofs: frozenset[date]
    drops: Drops

    def drops_at(self, as_of: date) -> Drops:
        """Return the drops that its training set had at an AS_OF that used it."""
        return {drop: digest for drop, digest in self.drops.items() if drop <= as_of}


def uses_of(version: ModelVersion) -> Uses | None:
    """Return the uses of a version; None without the tag DROPS, or if its tags are unreadable, so that one version does
    not block the others."""
    if DROPS not in version.tags:
        return None
    try:
        drops = {date.fromisoformat(as_of): digest for as_of, digest in json.loads(version.tags[DROPS]).items()}
        version.as_of  # noqa: B018 — raises if unreadable
        return Uses(version, used_by(version.tags), drops)
    except (ModelNotLoadable, TypeError, ValueError, AttributeError) as error:
        log.warning("cannot tell whether version %d is superseded: %s", version.version, error)
        return None


def used_by(tags: Mapping[str, str]) -> frozenset[date]:
    """Return the AS_OFs that used a version, given its tags; none without any.

    Raises:
        ValueError, TypeError: the tags are unreadable.
    """
    said = json.loads(tags[USED_BY]) if USED_BY in tags else [tags["as_of"]] if "as_of" in tags else []
    return frozenset(map(date.fromisoformat, said))


def to_tag(drops: Drops) -> str:
    """Return the value of the tag DROPS."""
    return json.dumps({as_of.isoformat(): digest for as_of, digest in sorted(drops.items())})


def add_use(client: MlflowClient, version: ModelVersion, as_of: date, drops: Drops) -> None:
    """Record that `as_of` uses a version, with the drops of its training set."""
    before = uses_of(version)
    as_ofs = before.as_ofs if before else frozenset()
    later = {drop: digest for drop, digest in before.drops.items() if drop > as_of} if before else {}
    days = json.dumps([day.isoformat() for day in sorted(as_ofs | {as_of})])
    for tag, value in ((DROPS, to_tag({**later, **drops})), (USED_BY, days)):
        if version.tags.get(tag) != value:
            client.set_model_version_tag(MODEL_NAME, str(version.version), tag, value)
