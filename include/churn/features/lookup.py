"""Fast online features: the same answers as churn.features.store.read_online(), without Feast objects in between."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from feast import FeatureService, FeatureStore
from feast.infra.provider import get_provider
from psycopg.rows import TupleRow

from churn.as_of import as_of_of
from churn.features.one_as_of_store import OneAsOfStore
from churn.features.reader import timestamp_columns
from churn.features.store import OnlineFeatures


class NothingServed(RuntimeError):
    """No AS_OF is served."""


class OnlineLookup:
    """Reads the features of a feature service. Create a new one when the definition may have changed."""

    def __init__(self, store: FeatureStore, service: FeatureService) -> None:
        self.service = service
        online = get_provider(store.config).online_store
        assert isinstance(online, OneAsOfStore)
        self._reader = online.reader(store.config)
        self._request = tuple(
            (store.get_feature_view(projection.name), tuple(field.name for field in projection.features))
            for projection in service.feature_view_projections
        )
        self._columns = [
            (timestamp, tuple(enumerate(features, start=timestamp + 1)))
            for timestamp, (_, features) in zip(timestamp_columns(self._request), self._request, strict=True)
        ]

    def read(self, user_ids: Sequence[str]) -> list[OnlineFeatures]:
        """Return the online features of each user, in the order of `user_ids`, all of one AS_OF.

        Raises:
            psycopg.OperationalError: the server cannot be reached, or does not answer in time.
            NothingServed: no AS_OF is served.
        """
        asked = list(dict.fromkeys(user_ids))
        rows = self._reader.fetch(self._request, asked)
        if rows is None:
            raise NothingServed("nothing is served: run churn_materialize for the newest AS_OF")
        found = dict(zip(asked, map(self._features, rows), strict=True))
        return [found[user] for user in user_ids]

    def _features(self, row: TupleRow) -> OnlineFeatures:
        values: dict[str, Any] = {}
        missing: list[str] = []
        as_of: date | None = None
        for timestamp, features in self._columns:
            if row[timestamp] is None:
                missing += (name for _, name in features)
            else:
                as_of = as_of or as_of_of(row[timestamp])
                for column, name in features:
                    values[name] = row[column]
        return OnlineFeatures(values, tuple(missing), as_of)
