"""Base of the online stores: a materialization writes a *build* (a whole AS_OF) beside the served one, and a read of
several feature views is one request, so it sees one build."""

from abc import abstractmethod
from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import Any

from feast import FeatureView, utils
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from psycopg import sql

from churn.features.column_types import join_key_of, key_value
from churn.features.reader import Reader, ReadRow, Request, split

WriteRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]


class OneAsOfStoreConfig(FeastConfigBaseModel):
    """Settings of both stores.

    Attributes:
        database_url: the libpq URI of the database that records the builds.
        max_connections: for reads, per process.
        connection_timeout_seconds: limit of a read; in Redis, of each of its steps.
    """

    database_url: str
    max_connections: int = 8
    connection_timeout_seconds: float = 0.7


class OneAsOfStore(OnlineStore):
    """An online store that serves one AS_OF. Subclasses open readers and write rows."""

    def __init__(self) -> None:
        self._open: Reader | None = None
        self._opening = Lock()

    @abstractmethod
    def open_reader(self, config: RepoConfig) -> Reader:
        """Open a reader of this store."""

    @abstractmethod
    def copy_snapshot(self, config: RepoConfig, view: FeatureView, event_timestamp: datetime) -> None:
        """Copy the rows of that instant from the view's source, a table, to the build that is being written."""

    @abstractmethod
    def write(self, config: RepoConfig, view: FeatureView, rows: list[WriteRow], event_timestamp: datetime) -> None:
        """Write rows of that instant to the build that is being written."""

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[WriteRow],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Append rows of a view to the build that is being written for their AS_OF.

        Raises:
            ValueError: the rows are of several AS_OFs.
        """
        if not data:
            return
        timestamps = {utils.make_tzaware(row[2]) for row in data}
        if len(timestamps) > 1:
            raise ValueError(
                f"{table.name}: rows of {len(timestamps)} event timestamps, {min(timestamps)} to {max(timestamps)}: "
                "materialize one AS_OF at a time, from its event_timestamp to the same"
            )
        self.write(config, table, data, timestamps.pop())
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[ReadRow]:
        features = tuple(requested_features or [field.name for field in table.features])
        return self._read(config, ((table, features),), [key_value(key) for key in entity_keys])[0]

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: list,
        join_key_values: dict,
        entity_name_to_join_key_map: dict,
        online_features_response: Any,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        """Read all views of a request together; Feast reads them one by one.

        Feast (0.67) has no public hook for this: the method and three functions that it calls are private.
        """
        first = grouped_refs[0][0]
        entities, indexes, output_length = utils._get_unique_entities(  # noqa: SLF001
            first, join_key_values, entity_name_to_join_key_map
        )
        keys = [key_value(key) for key in utils._get_entity_key_protos(entities)]  # noqa: SLF001
        request = tuple((view, tuple(features)) for view, features in grouped_refs)
        for (view, features), rows in zip(request, self._read(config, request, keys), strict=True):
            utils._populate_response_from_feature_data(  # noqa: SLF001
                list(features),
                rows,
                indexes,
                online_features_response,
                full_feature_names,
                view,
                output_length,
                include_feature_view_version_metadata,
            )

    def _read(self, config: RepoConfig, request: Request, keys: list[str]) -> list[list[ReadRow]]:
        return split(request, keys, self.reader(config).fetch(request, keys))

    async def close(self) -> None:
        """Close the connections; the next read opens new ones."""
        with self._opening:
            if self._open is not None:
                self._open.close()
                self._open = None

    def reader(self, config: RepoConfig) -> Reader:
        """Return the reader of this store. It opens at the first read, because a fork would lose the pool's threads."""
        with self._opening:
            if self._open is None:
                self._open = self.open_reader(config)
            return self._open


def source_of(view: FeatureView) -> dict[str, sql.Composable]:
    """Return the placeholders `source`, `join_key` and `timestamp` of statements that read a view's source."""
    source = view.batch_source
    assert source is not None
    return {
        "source": sql.Identifier(*source.get_table_query_string().split(".")),
        "join_key": sql.Identifier(join_key_of(view)),
        "timestamp": sql.Identifier(source.timestamp_field),
    }
