"""The database as the service's own role sees it."""

from psycopg.conninfo import conninfo_to_dict

from churn.postgres.database_url import make_url

ROLE = "churn_serving"


def as_role(database_url, role=ROLE):
    parts = conninfo_to_dict(database_url)
    return make_url(host=parts["host"], port=None, user=role, password=None, database=parts["dbname"])
