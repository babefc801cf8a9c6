"""A loaded and checked model version: immutable, and swapped as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, NamedTuple

from churn.features.lookup import OnlineLookup
from churn.registry.model_version import MODEL_NAME
from churn.scoring.scorer import PipelineScorer, Scorer
from serving.schemas import CustomerFeatures, ModelIdentity

Features = Mapping[str, Any]


@dataclass(frozen=True)
class ServedModel:
    """A model version with everything needed for a prediction.

    Attributes:
        run_id: its MLflow run. A registry that was recreated reuses version numbers.
        lookup: reads the features of the version's own feature service.
        background: feature rows that explanations compare with: the version's golden rows.
    """

    version: int
    run_id: str
    as_of: date
    threshold: float
    lookup: OnlineLookup
    scorer: Scorer
    background: Sequence[Features]

    @property
    def feature_service(self) -> str:
        return self.lookup.service.name

    @property
    def is_compiled(self) -> bool:
        return not isinstance(self.scorer, PipelineScorer)

    @cached_property
    def identity(self) -> ModelIdentity:
        """The model's part of a response."""
        return ModelIdentity(name=MODEL_NAME, version=self.version, as_of=self.as_of)


class Scored(NamedTuple):
    """A customer's probability of churn, and the model version behind it."""

    model: ServedModel
    customer: CustomerFeatures
    probability: float
