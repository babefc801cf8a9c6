"""Which version a row of gate.decisions or gate.moves is of: number and run.

The number alone does not say: where the registered model was deleted and made again, or MLflow was restored, numbers
begin again. A row from before runs were recorded, of a version that the gate never decided on, has no run; its number
alone counts, as it did then.
"""

from dataclasses import dataclass

from churn.registry.model_version import ModelVersion


@dataclass(frozen=True)
class Held:
    """A version as the history knows it. `run_id` is empty for a version without a run, None where it is not known."""

    version: int
    run_id: str | None

    def same(self, other: "Held | ModelVersion | None") -> bool:
        """Tell whether that is this version."""
        if other is None or other.version != self.version:
            return False
        return self.run_id is None or other.run_id is None or other.run_id == self.run_id


def held(version: int | None, run_id: str | None) -> Held | None:
    """Return the version of a row, None where the row is of none."""
    return None if version is None else Held(version, run_id)


def bound(version: ModelVersion | None) -> dict[str, int | str | None]:
    """Return the values for `%(version)s` and `%(run_id)s` of a statement."""
    return {"version": version.version, "run_id": version.run_id} if version else {"version": None, "run_id": None}
