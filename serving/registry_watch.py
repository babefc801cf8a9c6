"""What is odd in the model registry: several versions in stage Production, an alias that names another one.

The tags of the version in Production are not judged here: loading it does, and says why it is refused.
"""

import logging

from mlflow import MlflowClient

from churn.registry.client import find_versions, is_missing
from churn.registry.model_version import MODEL_NAME, ModelVersion
from churn.registry.state import in_production, odd_stages
from serving.features import reason

log = logging.getLogger(__name__)


class RegistryWatch:
    """Looks at the registry beside each poll, for the polling thread alone. Every version is listed only when MLflow
    says that the registered model changed: a registry may hold thousands."""

    def __init__(self) -> None:
        self.odd: list[str] = []
        self._held: list[ModelVersion] = []
        self._seen: int | None = None

    def look(self, client: MlflowClient) -> None:
        """Renew `odd`. A failure leaves it as it is, and is logged: what is served does not depend on it."""
        try:
            model = client.get_registered_model(MODEL_NAME)
            if model.last_updated_timestamp != self._seen:
                self._held = in_production(find_versions(client, {}))
                self._seen = model.last_updated_timestamp
            aliases = {alias: int(version) for alias, version in model.aliases.items()}
        except Exception as error:
            # Whatever it is, the polling thread lives on.
            if is_missing(error):
                self.odd, self._held, self._seen = [], [], None
                return
            log.warning("whether the registry is odd is not known: %s", reason(error))
            return
        odd = [str(each) for each in odd_stages(self._held, aliases)]
        for each in odd:
            if each not in self.odd:
                log.warning("%s", each)
        self.odd = odd
