import re

from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.dialects import registry
from sqlalchemy.engine import make_url as sqlalchemy_url

from churn.postgres.database import SQL_DIRECTORY, statement
from churn.postgres.database_url import make_url

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
HOSTS = st.sampled_from(["localhost", "db.example.com", "10.0.0.7", "::1", "/tmp/a socket/dir", "/var/run/postgresql"])


@given(
    host=HOSTS,
    port=st.none() | st.integers(1, 65535),
    user=st.none() | NAMES,
    password=st.none() | NAMES,
    database=NAMES,
    options=st.none() | st.just({"sslmode": "require", "application_name": "a & b = c"}),
)
def test_libpq_reads_a_url_back_to_its_parts(*, host, port, user, password, database, options):
    url = make_url(host=host, port=port, user=user, password=user and password, database=database, options=options)
    expected = {"host": host, "port": port and str(port), "user": user, "password": user and password}
    expected |= {"dbname": database, **(options or {})}
    assert conninfo_to_dict(url) == {name: value for name, value in expected.items() if value}


@given(host=HOSTS, port=st.none() | st.integers(1, 65535))
def test_sqlalchemy_reads_a_url_back_to_its_parts(host, port):
    url = make_url(host=host, port=port, user="me", password="p@ss/wörd", database="churn")
    dialect = registry.load("postgresql.psycopg")()
    _, found = dialect.create_connect_args(sqlalchemy_url(url.replace("postgresql://", "postgresql+psycopg://")))
    expected = {"host": host, "port": str(port) if port else None, "user": "me", "password": "p@ss/wörd"}
    expected |= {"dbname": "churn"}
    assert {name: str(found[name]) for name in expected if found.get(name)} == {
        name: value for name, value in expected.items() if value
    }


def test_a_statement_is_the_text_below_its_name():
    assert statement("loading/delete") == "DELETE FROM {table} WHERE as_of = %(as_of)s"


def test_every_statement_binds_its_parameters_by_name():
    for path in SQL_DIRECTORY.rglob("*.sql"):
        if path.parent.name != "migrations":
            text = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
            # %% is the operator % of SQL.
            assert not re.search(r"%(?!\(\w+\)s)|'\{|'%", text.replace("%%", "")), path
