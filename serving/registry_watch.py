"""Odd states of the model registry: several versions in stage Production, or an alias that names another version.

Tags of the version in Production are not checked here; serving.loading does that.
"""

import logging

from mlflow import MlflowClient

from churn.registry.client import find_versions, is_missing
from churn.registry.model_version import MODEL_NAME, ModelVersion
from churn.registry.state import in_production, odd_stages
from serving.features import reason

log = logging.getLogger(__name__)


class RegistryWatch:
    """Checks the registry at each poll; used by the polling thread alone. Lists all versions only if the registered
    model changed, since there may be thousands."""

    def __init__(self) -> None:
        self.odd: list[str] = []
        self._held: list[ModelVersion] = []
        self._seen: int | None = None

    def look(self, client: MlflowClient) -> None:
        """Update `odd`. A failure is logged and leaves it unchanged, since serving does not depend on it."""
        try:
            model = client.get_registered_model(MODEL_NAME)
            if model.last_updated_timestamp != self._seen:
                self._held = in_production(find_versions(client, {}))
                self._seen = model.last_updated_timestamp
            aliases = {alias: int(version) for alias, version in model.aliases.items()}
        except Exception as error:
            # No error here may end the polling thread.
            if is_missing(error):
                self.odd, self._held, self._seen = [], [], None
                return
            log.warning("cannot check the registry for odd states: %s", reason(error))
            return
        odd = [str(each) for each in odd_stages(self._held, aliases)]
        for each in odd:
            if each not in self.odd:
                log.warning("%s", each)
        self.odd = odd
