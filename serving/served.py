"""One version of the model, loaded, checked and ready to answer: made whole, never changed, swapped as one."""

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
    """One version of the model, and everything that an answer of it needs.

    Attributes:
        run_id: the MLflow run that made it. A registry that was made again gives the same numbers to other versions.
        lookup: reads the features of the version's own feature service.
        background: rows of features of other customers, which an explanation compares with; the version's golden rows.
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
        """Return what an answer says about the model that gave it."""
        return ModelIdentity(name=MODEL_NAME, version=self.version, as_of=self.as_of)


class Scored(NamedTuple):
    """A customer's probability of churn, by a version of the model."""

    model: ServedModel
    customer: CustomerFeatures
    probability: float
