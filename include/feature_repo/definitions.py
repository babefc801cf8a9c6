"""The features, their sources, and the feature services. `FEATURE_SERVICES` of churn/features/store.py names those that
training compares; a version in MLflow names its own."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.types import Bool, Float64, Int64, String

from churn.features.offline_store import SNAPSHOT

# A customer who is missing from a snapshot has no features at that AS_OF; an older snapshot must not stand in.
# Snapshots are at least a day apart and Feast's TTL window is closed at both ends, so the TTL is less than a day.
TTL = timedelta(hours=12)

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING, description="A subscriber")


def _view(name: str, table: str, description: str, schema: list[Field]) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[user],
        ttl=TTL,
        schema=[Field(name="user_id", dtype=String), *schema],
        source=PostgreSQLSource(
            name=table, table=f"snapshots.{table}", timestamp_field="event_timestamp", tags=SNAPSHOT
        ),
        online=True,
        description=description,
    )


subs_profile_fv = _view(
    "subs_profile_fv",
    "subscriptions_profile_snapshots",
    "The subscription at the end of AS_OF; plan_stream_* are NULL without internet service",
    [
        Field(name="months_active", dtype=Int64),
        Field(name="monthly_fee", dtype=Float64),
        Field(name="paperless_billing", dtype=Bool),
        Field(name="plan_stream_tv", dtype=Bool),
        Field(name="plan_stream_movies", dtype=Bool),
        Field(name="net_service", dtype=String),
        Field(name="contract_type", dtype=String),
    ],
)
usage_agg_30d_fv = _view(
    "usage_agg_30d_fv",
    "usage_agg_30d_snapshots",
    "Use of the service in the 30 days up to AS_OF",
    [
        Field(name="watch_hours_30d", dtype=Float64),
        Field(name="avg_session_mins_7d", dtype=Float64),
        Field(name="unique_devices_30d", dtype=Int64),
        Field(name="skips_7d", dtype=Int64),
        Field(name="rebuffer_events_7d", dtype=Int64),
    ],
)
payments_agg_90d_fv = _view(
    "payments_agg_90d_fv",
    "payments_agg_90d_snapshots",
    "Payments in the 90 days up to AS_OF",
    [Field(name="failed_payments_90d", dtype=Int64)],
)
support_agg_90d_fv = _view(
    "support_agg_90d_fv",
    "support_agg_90d_snapshots",
    "Support in the 90 days up to AS_OF; the average is NULL without a resolved ticket",
    [
        Field(name="support_tickets_90d", dtype=Int64),
        Field(name="ticket_avg_resolution_hrs_90d", dtype=Float64),
    ],
)

# A feature service never changes, since versions in MLflow name it.
# Gender, age, family and dependants are for the slices of the gate, never for features.
churn_v1 = FeatureService(
    name="churn_v1",
    features=[
        subs_profile_fv[
            ["months_active", "monthly_fee", "paperless_billing", "plan_stream_tv", "plan_stream_movies", "net_service"]
        ],
        usage_agg_30d_fv,
        payments_agg_90d_fv,
        support_agg_90d_fv,
    ],
    description="14 features, in the order of the models that name it",
)
churn_v2 = FeatureService(
    name="churn_v2",
    features=[subs_profile_fv, usage_agg_30d_fv, payments_agg_90d_fv, support_agg_90d_fv],
    description="The 14 features of churn_v1, and the contract",
)

OBJECTS = [user, subs_profile_fv, usage_agg_30d_fv, payments_agg_90d_fv, support_agg_90d_fv, churn_v1, churn_v2]
