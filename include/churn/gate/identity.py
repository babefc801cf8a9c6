"""Identity of a version in gate.decisions and gate.moves: number and run id.

The number alone is ambiguous: numbers restart when the registered model is recreated or MLflow is restored. Old rows
without a run id match by number alone.
"""

from dataclasses import dataclass

from churn.registry.model_version import ModelVersion


@dataclass(frozen=True)
class Held:
    """A version in the history. `run_id` is empty for a version without a run, None if unknown."""

    version: int
    run_id: str | None

    def same(self, other: "Held | ModelVersion | None") -> bool:
        """Tell whether both are the same version."""
        if other is None or other.version != self.version:
            return False
        return self.run_id is None or other.run_id is None or other.run_id == self.run_id


def held(version: int | None, run_id: str | None) -> Held | None:
    """Return the version of a row, None if the row has none."""
    return None if version is None else Held(version, run_id)


def bound(version: ModelVersion | None) -> dict[str, int | str | None]:
    """Return the values for `%(version)s` and `%(run_id)s` of a statement."""
    return {"version": version.version, "run_id": version.run_id} if version else {"version": None, "run_id": None}
