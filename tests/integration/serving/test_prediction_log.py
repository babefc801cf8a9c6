"""The prediction log stores every prediction, survives database failures, and never blocks a request."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime
from itertools import pairwise

import psycopg
import pytest
from prometheus_client import REGISTRY
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from churn.postgres.database import connect
from serving.prediction_log import BATCH, PAUSE_SECONDS, Answered, PredictionLog
from tests.patience import wait_for

NOW = datetime.now(UTC)


def answered(number, **values):
    features = {"months_active": number, "net_service": "DSL", "plan_stream_tv": None, "monthly_fee": 20.5}
    one = Answered(NOW, f"request-{number}", f"user-{number:05d}", 0.25, 0, 0.5, 3, date(2024, 1, 31), features)
    return one._replace(**values)


def rows(database_url):
    with connect(database_url) as connection:
        return connection.execute("SELECT * FROM predictions.answered ORDER BY user_id").fetchall()


def users(database_url):
    return [row[2] for row in rows(database_url)]


def names(numbers):
    return [f"user-{number:05d}" for number in numbers]


def count(name, **labels):
    return REGISTRY.get_sample_value(f"churn_prediction_log_{name}", labels)


def eventually(holds):
    wait_for(holds, pause=0.05)


@contextmanager
def refusing(database_url):
    """The server has dropped the connections to the database and refuses new ones."""
    name = conninfo_to_dict(database_url)["dbname"]
    with connect(make_conninfo(database_url, dbname="postgres"), autocommit=True) as server:
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        server.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        try:
            others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
            server.execute(others, [name])
            yield
        finally:
            server.execute(allow.format(sql.Identifier(name), sql.SQL("true")))


@pytest.fixture
def log(database_url):
    log = PredictionLog(database_url)
    yield log
    log.stop()


# --- what is written ---------------------------------------------------------------------------------------------


def test_a_prediction_is_logged_as_answered(log, database_url):
    log.start()
    log.append(answered(1))
    eventually(lambda: rows(database_url))
    assert rows(database_url) == [tuple(answered(1))]


def test_logged_features_keep_their_types_and_nulls(log, database_url):
    features = {"a": 1, "b": 1.0, "c": 0.1 + 0.2, "d": True, "e": None, "f": 'naïve "text" \\ \t\n%'}
    log.start()
    log.append(answered(1, features=features))
    log.stop()
    (row,) = rows(database_url)
    assert [(name, type(value), value) for name, value in row[-1].items()] == [
        (name, type(value), value) for name, value in features.items()
    ]


def test_each_prediction_of_many_threads_is_logged_once(log, database_url):
    log.start()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda first: [log.append(answered(first + n)) for n in range(500)], range(0, 4000, 500)))
    log.stop()
    assert users(database_url) == names(range(4000))


def test_a_batch_is_written_in_one_statement(log, database_url):
    for number in range(3 * BATCH):
        log.append(answered(number))
    log.start()
    log.stop()
    with connect(database_url) as connection:
        transactions = connection.execute("SELECT count(*) FROM predictions.answered GROUP BY xmin::text").fetchall()
    assert transactions == [(BATCH,)] * 3


def test_written_predictions_are_counted(log, database_url):
    before = count("written_total")
    for number in range(30):
        log.append(answered(number))
    log.start()
    log.stop()
    assert count("written_total") == before + 30


def test_the_log_writes_over_its_own_named_connection(log, database_url):
    log.start()
    log.append(answered(1))
    eventually(lambda: rows(database_url))
    with connect(database_url) as connection:
        connected = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'churn prediction log'"
        assert connection.execute(f"{connected} AND datname = current_database()").fetchone() == (1,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"user_id": "a\0b"},
        {"user_id": "\ud800"},
        {"prediction": 2},
        {"features": {"a": float("nan")}},
        {"features": {"a": {1}}},
    ],
    ids=["NUL", "half a character", "check of the table", "not JSON", "not serializable"],
)
def test_a_rejected_row_does_not_lose_others(wrong, log, database_url):
    written, refused = count("written_total"), count("dropped_total", reason="refused")
    for number in range(BATCH):
        log.append(answered(number, **(wrong if number in (0, 137, BATCH - 1) else {})))
    log.start()
    log.stop()
    assert users(database_url) == names(number for number in range(BATCH) if number not in (0, 137, BATCH - 1))
    assert count("written_total") == written + BATCH - 3
    assert count("dropped_total", reason="refused") == refused + 3


# --- a database that is away -------------------------------------------------------------------------------------


def test_a_database_outage_loses_nothing_and_is_logged_once(log, database_url, caplog):
    caplog.set_level(logging.INFO, "serving.prediction_log")
    log.start()
    log.append(answered(0))
    eventually(lambda: rows(database_url))
    with refusing(database_url):
        for number in range(1, 700):
            log.append(answered(number))
        eventually(lambda: count("waiting") == 699)
        log.append(answered(700))
        eventually(lambda: count("waiting") == 700)
    eventually(lambda: len(users(database_url)) == 701)
    eventually(lambda: "is written again" in caplog.text)
    assert count("waiting") == 0
    assert users(database_url) == names(range(701))
    assert caplog.text.count("the prediction log cannot be written, answers wait") == 1


def test_the_log_starts_without_its_database_and_writes_later(log, database_url):
    with refusing(database_url):
        log.start()
        log.append(answered(1))
        eventually(lambda: count("waiting") == 1)
    eventually(lambda: users(database_url) == names([1]))


def test_predictions_during_an_outage_cause_no_further_connection_attempts(log, database_url, monkeypatch):
    attempts, connect_really = [], psycopg.connect

    def counted(*arguments, **named):
        attempts.append(time.monotonic())
        return connect_really(*arguments, **named)

    with refusing(database_url):
        monkeypatch.setattr("serving.prediction_log.psycopg.connect", counted)
        log.start()
        number = 0
        while len(attempts) < 3:
            log.append(answered(number))
            number += 1
            time.sleep(0.001)
    assert number > BATCH
    assert min(later - earlier for earlier, later in pairwise(attempts)) > PAUSE_SECONDS / 2


def test_a_missing_table_is_waited_for(log, database_url):
    with connect(database_url) as connection:
        connection.execute("ALTER SCHEMA predictions RENAME TO not_yet")
    log.start()
    log.append(answered(1))
    eventually(lambda: count("waiting") == 1)
    with connect(database_url) as connection:
        connection.execute("ALTER SCHEMA not_yet RENAME TO predictions")
    eventually(lambda: users(database_url) == names([1]))


# --- a full queue ------------------------------------------------------------------------------------------------


def test_a_full_queue_drops_and_counts_the_newest(database_url):
    log, before = PredictionLog(database_url, capacity=10), count("dropped_total", reason="full")
    for number in range(25):
        log.append(answered(number))
    assert count("dropped_total", reason="full") == before + 15
    log.start()
    log.stop()
    assert users(database_url) == names(range(10))


def test_a_hanging_database_shows_as_waiting_predictions(database_url):
    log = PredictionLog(database_url, capacity=20)
    log.append(answered(0))
    with connect(database_url) as connection:
        # As below: nothing fails, and nothing is written.
        connection.execute("LOCK TABLE predictions.answered IN ACCESS EXCLUSIVE MODE")
        log.start()
        eventually(lambda: count("waiting") == 1)
        for number in range(1, 30):
            log.append(answered(number))
        assert count("waiting") == 20
    log.stop()
    assert count("waiting") == 0


def test_appending_does_not_wait_for_a_database_that_does_not_answer(database_url):
    log, before = PredictionLog(database_url, capacity=600), count("dropped_total", reason="full")
    with connect(database_url) as connection:
        # What writes waits for this lock as it would for a server that was stopped.
        connection.execute("LOCK TABLE predictions.answered IN ACCESS EXCLUSIVE MODE")
        log.start()
        for number in range(600):
            log.append(answered(number))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'predictions.answered'::regclass"
        eventually(lambda: connection.execute(waiting).fetchone() == (1,))
        # While it waits: this very loop would not end if it were waited for.
        for number in range(600, 1000):
            log.append(answered(number))
        assert count("dropped_total", reason="full") == before + 400
    log.stop()
    assert users(database_url) == names(range(600))


# --- the end -----------------------------------------------------------------------------------------------------


def test_stop_writes_what_is_left_and_ends_the_thread(log, database_url):
    log.start()
    for number in range(2 * BATCH + 7):
        log.append(answered(number))
    log.stop()
    assert users(database_url) == names(range(2 * BATCH + 7))
    assert not [thread for thread in threading.enumerate() if thread.name == "prediction-log"]


def test_stop_waits_a_moment_for_a_database_that_comes_back(log, database_url):
    log.start()
    with refusing(database_url):
        log.append(answered(1))
        eventually(lambda: count("waiting") == 1)
        stopping = threading.Thread(target=log.stop, args=(30,))
        stopping.start()
    stopping.join()
    assert users(database_url) == names([1])


def test_stop_gives_up_a_database_that_stays_away_and_counts_what_is_lost(database_url, caplog):
    log, before = PredictionLog(database_url), count("dropped_total", reason="shutdown")
    with refusing(database_url):
        log.start()
        for number in range(5):
            log.append(answered(number))
        log.stop(patience_seconds=0.5)
    assert count("dropped_total", reason="shutdown") == before + 5
    assert "5 predictions are missing from the prediction log: OperationalError" in caplog.text
    assert rows(database_url) == []


def test_stop_gives_up_a_database_that_does_not_answer(database_url):
    log, before = PredictionLog(database_url), count("dropped_total", reason="shutdown")
    with connect(database_url) as connection:
        connection.execute("LOCK TABLE predictions.answered IN ACCESS EXCLUSIVE MODE")
        log.start()
        log.append(answered(1))
        log.stop(patience_seconds=0.5)
    assert count("dropped_total", reason="shutdown") == before + 1


def test_a_log_that_was_never_started_has_nothing_to_stop(database_url):
    PredictionLog(database_url).stop()
    assert rows(database_url) == []
