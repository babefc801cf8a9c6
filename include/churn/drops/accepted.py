"""A drop that was accepted, as validate hands it to the steps that load it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from churn.drops.holds.acceptance import Accept
from churn.drops.holds.profile import Profile


@dataclass(frozen=True)
class AcceptedFile:
    """A file of an accepted drop.

    `modified_ns` and `bytes` are of the file as it lay in the landing directory, and reveal a changed one without
    reading it.
    """

    sha256: str
    rows: int
    bytes: int
    modified_ns: int


@dataclass(frozen=True)
class AcceptedDrop:
    """A drop that obeys the contract and is in the archive. `validated_at` is when reading began.

    `rules` are those it was accepted by. `profile` is compared with the next drop. `accept` is its _ACCEPT file. Both
    are None when unknown. `landed_digest` is the digest of the drop as it landed, if `erased_rows` were left out.
    """

    as_of: date
    validated_at: datetime
    digest: str
    files: Mapping[str, AcceptedFile]
    rules: int
    profile: Profile | None = None
    accept: Accept | None = None
    landed_digest: str | None = None
    erased_rows: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "as_of": self.as_of.isoformat(),
            "validated_at": self.validated_at.isoformat(),
            "digest": self.digest,
            "files": {name: asdict(file) for name, file in self.files.items()},
            "rules": self.rules,
            "profile": self.profile,
            "accept": self.accept and asdict(self.accept),
            "landed_digest": self.landed_digest,
            "erased_rows": self.erased_rows,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "AcceptedDrop":
        files = {name: AcceptedFile(**file) for name, file in value["files"].items()}
        validated_at = datetime.fromisoformat(value["validated_at"])
        as_of = date.fromisoformat(value["as_of"])
        accept = value.get("accept")
        return AcceptedDrop(
            as_of,
            validated_at,
            value["digest"],
            files,
            # Drops written before rules were numbered were accepted by rules 1.
            value.get("rules", 1),
            value.get("profile"),
            Accept(**accept) if accept else None,
            value.get("landed_digest"),
            value.get("erased_rows", 0),
        )
