"""The law: what the system holds for AS_OF D depends on the drops up to D, and on nothing else.

Hypothesis generates drops and the order of events; law_model.py computes the expected state in plain Python. The
in-order run is one of the orders, so agreement with the model means that all orders agree.
"""

import gc
import shutil
from collections import Counter
from datetime import date
from functools import cache, partial

import jinja2
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from churn.drops.actions import are_known, contacted
from churn.drops.contract import FILES
from churn.drops.landing import ACCEPT, find_drop
from churn.drops.loading import StaleDrop, load
from churn.drops.snapshots import ACTIONS_TABLE, FEATURE_TABLES, LABELS_TABLE, NotLoaded, build_snapshots
from churn.drops.validation import DropHeld, validate
from churn.drops.withdrawal import withdraw
from churn.features.column_types import TYPES
from churn.features.materialization import NoSnapshot, materialize, serve_what_is_left
from churn.features.store import FEATURE_SERVICE, FEATURE_SERVICES, apply_definitions, feature_types, read_online
from churn.outcome import DONE, OLDER, UNCHANGED
from churn.postgres.database import connect
from churn.training import training_set
from churn.training.digest import digest_of
from churn.training.sources import labelled_dates
from churn.training.training_set import NothingToLearn, build_training_set
from tests.conftest import THOROUGH
from tests.handmade_drops import write_drop
from tests.integration.law.law_model import DATES, DAYS, USERS, Content, Model, events, landed
from tests.integration.online_stores import InPostgres, InRedis
from tests.opened_store import opened_store

SEQUENCES = 50 if THOROUGH else 14
"""How many are tried, always the same ones. `--law-sequences` tries so many others."""

WINDOW = 2
"""How many labelled dates a training set has here: fewer than there are dates, so that what falls out is seen too."""

ONLINE = {
    "materialize was DONE",
    "materialize was OLDER",
    "materialize was UNCHANGED",
    "what is served was corrected",
    "what is served was withdrawn",
}
WORTH_SEEING = {
    InPostgres: {
        "a drop was corrected",
        "a drop came after newer ones were loaded",
        "a run was overtaken by a correction",
        "a label came late",
        "a later drop changed a label",
        "an action came late",
        "a later drop added an action",
        "a labelled date fell out of the window",
        "a drop was withdrawn",
        "a run was overtaken by a withdrawal",
        "nothing was loaded to withdraw",
        "nothing was left to serve",
        "what was withdrawn was not loaded again",
        "what was withdrawn was accepted again",
        "a drop was held",
        "a held drop was accepted",
        "there was nothing to learn",
        *ONLINE,
    },
    InRedis: {"what was lost was served again", *ONLINE},
}


_FIRST, _SECOND = DATES[:2]
LOSS = [("loses",), ("runs", _FIRST)]
LOST_AND_CORRECTED = (
    {day: (Content({USERS[0]: 0, USERS[1]: 1}, None), "new") for day in (_FIRST, _SECOND)},
    [
        ("backfill", [_FIRST, _SECOND]),
        *LOSS,
        ("arrives", _SECOND, Content({USERS[0]: 2}, None), "new"),
        ("runs", _SECOND),
    ],
    DATES,
)
"""What few sequences may miss by chance: the store, Redis, loses its content, and a served drop is corrected."""

WITHDRAWN_AND_FOUND_AGAIN = (
    {_FIRST: (Content({USERS[0]: 0, USERS[1]: 1}, None), "new")},
    [("runs", _FIRST), ("withdraws", _FIRST), ("runs", _FIRST)],
    DATES,
)
"""What few sequences in Postgres may miss by chance: a run finds the content that was withdrawn."""


class World:
    """The pipeline and the model of it: every event happens to both, and they must agree."""

    def __init__(self, database_url, online_store, store, directory):
        self.database_url, self.online_store, self.store, self.directory = database_url, online_store, store, directory
        self.landing, self.archive = directory / "landing", directory / "archive"
        self.service = store.get_feature_service(FEATURE_SERVICE)
        self.connection = connect(database_url, autocommit=True)
        self.connection.execute("CREATE TABLE public.applied AS TABLE feast.feature_views")
        self.happened = Counter()

    def begin(self):
        """Delete everything, with DELETE, which is faster than TRUNCATE for few rows in many partitions.

        Also deletes Feast's views, which grow with each materialization.
        """
        tables = self.connection.execute(
            "SELECT relnamespace::regnamespace::text, relname FROM pg_class "
            "WHERE relnamespace::regnamespace::text IN ('raw', 'snapshots', 'online') "
            "AND relkind IN ('r', 'p') AND NOT relispartition "
            "ORDER BY relname = 'served' DESC"
        ).fetchall()
        with self.connection.transaction():
            for table in [*tables, ("feast", "feature_views")]:
                self.connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(*table)))
            self.connection.execute("INSERT INTO feast.feature_views TABLE public.applied")
        self.online_store.empty()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.model = Model()
        # Feast does not give back the connections of a registry: a task ends with its process, this one goes on.
        gc.collect()

    # --- what happens ------------------------------------------------------------------------------------------------

    def arrives(self, as_of, content, accept):
        self.happened["a drop was corrected"] += self.model.landing.get(as_of, content) != content
        self.happened["a drop came after newer ones were loaded"] += (
            as_of not in self.model.loaded and max(self.model.loaded, default=as_of) > as_of
        )
        drop = write_drop(self.landing, as_of, content.texts(), content.label_rows(as_of), content.action_rows(as_of))
        self.model.arrives(as_of, content)
        if accept == "new":
            self.accepts(as_of)
        elif accept == "none":
            (drop.path / ACCEPT).unlink(missing_ok=True)
            self.model.accepts.pop(as_of, None)

    def accepts(self, as_of):
        """A person accepts the landed drop."""
        drop = find_drop(self.landing, as_of)
        if drop is not None:
            self.happened["a held drop was accepted"] += self.model.holds(as_of)
            self.model.accept(as_of)
            # Two that are written in the same instant differ all the same.
            (drop.path / ACCEPT).write_text(f"acceptance {self.model.clock}", encoding="utf-8")

    def runs(self, as_of):
        """The chain runs; it ends at once without a drop or if the drop is refused."""
        if self.loads(as_of):
            self.snapshots(as_of)
            self.materializes(as_of)

    def backfill(self, days):
        for day in days:
            self.runs(day)

    def comes_to_rest(self, days):
        """Every drop is compared with the finally loaded ones, and every loaded date has been materialized."""
        before = None
        while before != self.model.loaded:
            before = dict(self.model.loaded)
            self.backfill(days)
        for day in days:
            # A held drop ends its run before these; a person clears them.
            if day in self.model.loaded:
                self.snapshots(day)
                self.materializes(day)

    def loads(self, as_of):
        accepted = self._validate(as_of)
        if accepted:
            self._load(accepted, self.model.landing[as_of], self.model.accepts.get(as_of))
        return accepted is not None

    def _validate(self, as_of):
        """Return the accepted drop, None if there is none or it is held."""
        drop = find_drop(self.landing, as_of)
        assert (drop is not None) == (as_of in self.model.landing)
        if drop is None:
            return None
        content = self.model.landing[as_of]
        if self.model.holds(as_of):
            self.happened["a drop was held"] += 1
            self.happened["an _ACCEPT was spent"] += self.model.is_spent(as_of, content)
            was_withdrawn = any(each.content == content for each in self.model.revisions.get(as_of, []))
            self.happened["what was withdrawn was not loaded again"] += was_withdrawn
            with pytest.raises(DropHeld):
                validate(drop, self.database_url, self.archive)
            self.model.held[as_of] = content
            return None
        return validate(drop, self.database_url, self.archive)

    def withdraws(self, as_of):
        """A person withdraws the date, if it is loaded."""
        was_loaded, served = as_of in self.model.loaded, self.model.served
        self.model.withdraws(as_of)
        assert withdraw(as_of, "ada", "a law", self.database_url).outcome == (DONE if was_loaded else UNCHANGED)
        changed = self.model.served != served
        assert serve_what_is_left(self.database_url).outcome == (DONE if changed else UNCHANGED)
        self.happened["a drop was withdrawn" if was_loaded else "nothing was loaded to withdraw"] += 1
        self.happened["what is served was withdrawn"] += changed
        self.happened["nothing was left to serve"] += changed and self.model.served is None

    def recalled(self, as_of):
        """Two runs have validated the drop when it is withdrawn after the first; the second continues."""
        self.runs(as_of)
        validated = self._validate(as_of)
        content, accept = self.model.landing.get(as_of), self.model.accepts.get(as_of)
        was_loaded = as_of in self.model.loaded
        self.withdraws(as_of)
        if validated and was_loaded:
            self.happened["a run was overtaken by a withdrawal"] += 1
            with pytest.raises(StaleDrop):
                load(validated, self.database_url, self.archive)
        elif validated:
            self._load(validated, content, accept)

    def reconsiders(self, as_of):
        """A person withdraws the drop and then accepts the same content: the next run loads it again."""
        self.runs(as_of)
        was_loaded = self.model.loaded.get(as_of)
        self.withdraws(as_of)
        self.accepts(as_of)
        again = was_loaded is not None and self.model.landing.get(as_of) == was_loaded
        self.happened["what was withdrawn was accepted again"] += again

    def overtaken(self, as_of, content, accept):
        """A run has validated the drop when it is corrected and loaded by another run; the first continues."""
        validated = self._validate(as_of)
        before, accepted = self.model.landing.get(as_of, content), self.model.accepts.get(as_of)
        self.arrives(as_of, content, accept)
        overtakes = self.loads(as_of)
        if overtakes:
            self.snapshots(as_of)
            self.materializes(as_of)
        if validated and overtakes and before != content:
            self.happened["a run was overtaken by a correction"] += 1
            with pytest.raises(StaleDrop):
                load(validated, self.database_url, self.archive)
        elif validated:
            self._load(validated, before, accepted)

    def _load(self, accepted, content, accept):
        outcome = load(accepted, self.database_url, self.archive).outcome
        assert outcome == (UNCHANGED if self.model.loaded.get(accepted.as_of) == content else DONE)
        self.model.loads(accepted.as_of, content, accept)

    def snapshots(self, as_of):
        if as_of not in self.model.loaded:
            with pytest.raises(NotLoaded):
                build_snapshots(as_of, self.database_url)
            return
        loaded = self.model.loaded[as_of]
        outcome = build_snapshots(as_of, self.database_url).outcome
        assert outcome == (UNCHANGED if self.model.built.get(as_of) == loaded else DONE)
        self.model.built[as_of] = loaded

    def materializes(self, as_of):
        if as_of not in self.model.built:
            with pytest.raises(NoSnapshot):
                materialize(as_of, self.database_url)
            return
        found = materialize(as_of, self.database_url).outcome
        left = self.model.newest_left()
        if self.model.served is None and left and as_of < left[0]:
            self.happened["what was lost was served again"] += 1
            self.model.served = left
        built, (served_as_of, served) = self.model.built[as_of], self.model.served or (date.min, None)
        expected = OLDER if as_of < served_as_of else UNCHANGED if (as_of, built) == (served_as_of, served) else DONE
        assert found == expected
        if expected == DONE:
            self.model.served = (as_of, built)
        self.model.materialized.add(as_of)
        self.happened[f"materialize was {expected}"] += 1
        if as_of == served_as_of and built != served:
            self.happened["what is served was corrected"] += 1

    def loses(self):
        """The online store is emptied, like a restarted Redis without persistence."""
        self.online_store.empty()
        self.model.served = None

    # --- what must hold ----------------------------------------------------------------------------------------------

    def agrees_with(self, model):
        """Raw tables, snapshots, labels, actions and served features equal the model's, row by row."""
        assert {file.table: self._rows("raw", file.table) for file in FILES} == model.raw()
        delivered = {LABELS_TABLE: model.labels(), ACTIONS_TABLE: model.actions()}
        for table, rows in {**dict.fromkeys(FEATURE_TABLES, model.profiles()), **delivered}.items():
            cursor = self.connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier("snapshots", table)))
            names = [column.name for column in cursor.description]
            assert Counter(cursor) == Counter(tuple(row[name] for name in names) for row in rows), table
        features = list(feature_types(self.service))
        served = read_online(self.store, self.service, list(USERS))
        found = {user: (dict(f.values), f.missing, f.as_of) for user, f in zip(USERS, served, strict=True)}
        assert found == {user: model.served_to(user, features) for user in USERS}

    def knows_actions_as(self, model):
        """Each AS_OF knows the model's actions of each date."""
        for as_of in DATES:
            for day in DAYS:
                expected = model.contacted(day, as_of)
                assert contacted(self.connection, day, as_of) == expected
                assert are_known(self.connection, day, as_of) == bool(expected)
                own = model.contacted(day, day)
                self.happened["an action came late"] += expected != own
                self.happened["a later drop added an action"] += bool(own) and expected != own

    def trains_as(self, model):
        """Each AS_OF with a drop has the model's training set, and so its digest."""
        types = {"user_id": pa.string(), "as_of": pa.date32(), "churn_label": pa.bool_()}
        types |= {name: TYPES[feast_type][1] for name, feast_type in feature_types(self.service).items()}
        for as_of in DATES:
            rows = model.training_rows(as_of, WINDOW)
            if rows is None:
                self.happened["there was nothing to learn"] += 1
                with pytest.raises(NothingToLearn):
                    build_training_set(self.store, FEATURE_SERVICES, as_of, self.database_url)
                continue
            found = build_training_set(self.store, FEATURE_SERVICES, as_of, self.database_url)
            expected = pa.table({name: [row[name] for row in rows] for name in types}, pa.schema(types))
            assert found.table.to_pylist() == expected.to_pylist()
            assert found.digest == digest_of(expected)
            own = [(model.built[row["as_of"]].labels or {}).get((row["user_id"], row["as_of"])) for row in rows]
            told = [row["churn_label"] for row in rows]
            self.happened["a label came late"] += any(label is None for label in own)
            self.happened["a later drop changed a label"] += any(
                a is not None and a != b for a, b in zip(own, told, strict=True)
            )
            self.happened["a labelled date fell out of the window"] += rows != model.training_rows(as_of, len(DATES))

    def _rows(self, schema, table):
        query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))
        return Counter(self.connection.execute(query))


@pytest.fixture
def world(database_url, online_store, tmp_path, monkeypatch):
    compiled = cache(jinja2.Environment().from_string)
    monkeypatch.setattr(jinja2.Environment, "from_string", lambda _, source: compiled(source))
    monkeypatch.setenv("CHURN_LABEL_DAYS", "1")
    monkeypatch.setattr(training_set, "labelled_dates", partial(labelled_dates, limit=WINDOW))
    apply_definitions(database_url)
    with opened_store(database_url) as store:
        world = World(database_url, online_store, store, tmp_path / "world")
        # What was there before need not be looked through each time.
        gc.freeze()
        yield world
        gc.unfreeze()
        world.connection.close()


@pytest.mark.timeout(3600)
def test_the_state_of_an_as_of_depends_only_on_the_drops_up_to_it(world, online_store, request):
    asked = request.config.getoption("--law-sequences")
    in_redis = isinstance(online_store, InRedis)
    # What Redis is not part of was tried with the other.
    sequences = (15 if THOROUGH else 5) if in_redis else SEQUENCES

    @settings(
        max_examples=asked or sequences,
        derandomize=asked is None,
        print_blob=True,
        phases=set(Phase) - {Phase.explain},
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(landed(), st.lists(events(losses=in_redis), min_size=3, max_size=7), st.permutations(DATES))
    def the_law(there, what_happens, at_rest):
        world.begin()
        for as_of, (content, accept) in there.items():
            world.arrives(as_of, content, accept)
        for name, *arguments in what_happens:
            getattr(world, name)(*arguments)
            world.agrees_with(world.model)
        world.comes_to_rest(at_rest)
        world.agrees_with(world.model.at_rest())
        world.knows_actions_as(world.model.at_rest())
        world.trains_as(world.model.at_rest())

    there, what_happens, at_rest = LOST_AND_CORRECTED
    the_law = example(there, [each for each in what_happens if in_redis or each not in LOSS], at_rest)(the_law)
    if not in_redis:
        the_law = example(*WITHDRAWN_AND_FOUND_AGAIN)(the_law)
    the_law()

    # The test would also hold of sequences in which nothing happens.
    if (asked or sequences) >= sequences:
        least = max(sequences // 40, 1)
        assert {what for what, times in world.happened.items() if times >= least} >= WORTH_SEEING[type(online_store)]
