"""A version of the registered model and its tags.

It does not import MLflow or scikit-learn, so that status and doctor, which read versions by HTTP, start fast.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from churn.as_of import AsOfError, parse_as_of

MODEL_NAME = "streamflow_churn"
PRODUCTION = "Production"
STAGING = "Staging"
CHAMPION = "champion"

LONGEST_VALUE = 100
"""Maximum characters of a tag in an error; any user with write access to the registry can set a long one."""


class ModelNotLoadable(RuntimeError):
    """A version whose model is not a trusted scikit-learn pipeline, or whose tags are unreadable."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of the model.

    Reading a missing or invalid tag raises ModelNotLoadable, with the value and what to do.
    """

    version: int
    run_id: str
    stage: str
    tags: Mapping[str, str]

    @property
    def as_of(self) -> date:
        """The earliest AS_OF at which its training rows were known."""
        text = self._tag("as_of")
        try:
            return parse_as_of(text)
        except AsOfError:
            raise self._odd("as_of", text, "is no date", "a date like 2024-01-31") from None

    @property
    def known_as_of(self) -> date | None:
        """`as_of`, None if the tag is missing or invalid."""
        try:
            return self.as_of
        except ModelNotLoadable:
            return None

    @property
    def threshold(self) -> float:
        """The probability at or above which the prediction is churn."""
        text = self._tag("threshold")
        try:
            threshold = float(text)
        except ValueError:
            threshold = float("nan")
        if not 0 <= threshold <= 1:
            raise self._odd("threshold", text, "is no probability", "a number from 0 to 1 with a point, like 0.45")
        return threshold

    @property
    def feature_service(self) -> str:
        """The feature service of its features."""
        return self._tag("feature_service")

    def _tag(self, name: str) -> str:
        if name in self.tags:
            return self.tags[name]
        raise ModelNotLoadable(
            f"version {self.version} of {MODEL_NAME} has no tag {name}: the pipeline sets it; a version that was "
            "registered by hand needs the tags as_of, threshold and feature_service"
        )

    def _odd(self, name: str, text: str, what: str, instead: str) -> ModelNotLoadable:
        return ModelNotLoadable(
            f"version {self.version} of {MODEL_NAME} has the tag {name} {text[:LONGEST_VALUE]!r}, which {what}: "
            f"set the tag in MLflow to {instead}"
        )
