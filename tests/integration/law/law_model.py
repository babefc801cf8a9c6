"""The law of AS_OF in plain Python: small drops, and the state that they must lead to.

It shares nothing with the pipeline but the contract's columns, so that it cannot share a mistake of SQL or Feast.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from hypothesis import strategies as st

from churn.drops.contract import ACTIONS, FILES, LABELS, REQUIRED_FILES, Kind
from tests.handmade_drops import READ

# Days that follow each other, over the end of a month too, of drops and of the instants from which they are known.
DATES = (date(2024, 1, 30), date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 1))
NEVER = date(2024, 2, 10)
"""A date that no drop ever comes for, though runs do, and labels."""
DAYS = (*DATES, NEVER)

USERS = ("0001", "0002", "7892-POOKP", "B", "a", "é")
VARIANTS = 4
ACTION_TEXTS = ("call", "e-mail")

Row = Mapping[str, Any]


def _text_of(index: int, name: str, kind: Kind, nullable: bool, variant: int) -> str:
    if nullable and (index + variant) % 3 == 0:
        return ""
    return {
        Kind.TEXT: f"{name} {variant}",
        Kind.DATE: f"2021-05-{index + 1:02d}",
        Kind.BOOLEAN: str((index + variant) % 2 == 0),
        Kind.COUNT: str(100 * index + variant),
        Kind.NUMBER: f"{100 * index + variant}.35",
    }[kind]


COLUMNS = [column for file in REQUIRED_FILES for column in file.columns[1:]]
TEXTS = [
    {c.name: _text_of(index, c.name, c.kind, c.nullable, variant) for index, c in enumerate(COLUMNS)}
    for variant in range(VARIANTS)
]
"""What the files say of a customer, in one way or another: no two columns alike, and each NULL that is legitimate."""

VALUES = [{c.name: READ[c.kind](texts[c.name]) if texts[c.name] else None for c in COLUMNS} for texts in TEXTS]


@dataclass(frozen=True)
class Content:
    """The content of a drop: the variant of each customer's values, labels by customer and date, and actions."""

    customers: Mapping[str, int]
    labels: Mapping[tuple[str, date], bool] | None
    actions: frozenset[tuple[str, str, date]] | None = None

    def texts(self) -> dict[str, dict[str, str]]:
        return {user: TEXTS[variant] for user, variant in self.customers.items()}

    def label_rows(self, as_of: date) -> list[tuple[str, bool]] | list[tuple[str, bool, date]] | None:
        """The rows of labels.csv, with the column as_of for labels of other dates."""
        if self.labels is None:
            return None
        if all(day == as_of for _, day in self.labels):
            return [(user, label) for (user, _), label in self.labels.items()]
        return [(user, label, day) for (user, day), label in self.labels.items()]

    def action_rows(self, as_of: date) -> list[tuple[str, str]] | list[tuple[str, str, date]] | None:
        """The rows of actions.csv, likewise."""
        if self.actions is None or any(day != as_of for _, _, day in self.actions):
            return None if self.actions is None else sorted(self.actions)
        return sorted((user, action) for user, action, _ in self.actions)


@dataclass
class Revision:
    """A loaded content, its _ACCEPT, and the time of its withdrawal; times are clock ticks."""

    content: Content
    accept: int | None
    withdrawn_at: int | None = None


@dataclass
class Model:
    """What the system holds, by AS_OF.

    Attributes:
        landing: the drop that lies in the landing directory.
        accepts: when the _ACCEPT beside it was written.
        arrived: when it came.
        held: the drop whose hold is on record.
        loaded, built: the drop that is loaded, and the one that the snapshots are of.
        materialized: the dates that were ever brought online: an online store may lose what it served.
        revisions: every content that was loaded.
    """

    landing: dict[date, Content] = field(default_factory=dict)
    accepts: dict[date, int] = field(default_factory=dict)
    arrived: dict[date, int] = field(default_factory=dict)
    held: dict[date, Content] = field(default_factory=dict)
    loaded: dict[date, Content] = field(default_factory=dict)
    built: dict[date, Content] = field(default_factory=dict)
    served: tuple[date, Content] | None = None
    materialized: set[date] = field(default_factory=set)
    revisions: dict[date, list[Revision]] = field(default_factory=dict)
    clock: int = 0

    def at_rest(self) -> "Model":
        """The final state by the law, a function of the accepted drops only."""
        taken, newest = dict(self.loaded), max(self.loaded, default=None)
        served = None if newest is None else (newest, taken[newest])
        return Model(landing=self.landing, loaded=taken, built=taken, served=served, materialized=set(taken))

    def holds(self, as_of: date) -> bool:
        """Return whether a run holds the landed drop until a person accepts it."""
        content, before = self.landing[as_of], self.revisions.get(as_of, [])
        if any(each.content == content and each.withdrawn_at is None for each in before):
            return False
        was_withdrawn = any(each.content == content for each in before)
        return (was_withdrawn or self._is_unlike(as_of, content)) and not self._is_accepted(as_of, content)

    def _is_unlike(self, as_of: date, content: Content) -> bool:
        """The hold rules for so few customers, against the nearest earlier loaded drop."""
        nearest = max((day for day in self.loaded if day < as_of), default=None)
        if nearest is None:
            return False
        before = self.loaded[nearest].customers
        shared = len(before.keys() & content.customers.keys())
        return (
            before == content.customers
            or shared < len(before) / 2
            or len(content.customers) > 2 * len(before)
        )  # fmt: skip

    def _is_accepted(self, as_of: date, content: Content) -> bool:
        written = self.accepts.get(as_of)
        if written is None or self.is_spent(as_of, content):
            return False
        withdrawals = [each.withdrawn_at or 0 for each in self.revisions.get(as_of, []) if each.content == content]
        return written > max(withdrawals, default=0)

    def is_spent(self, as_of: date, content: Content) -> bool:
        """Tell whether the _ACCEPT was written for another content: one that was loaded with it, or held before."""
        written = self.accepts.get(as_of)
        if written is None:
            return False
        was_held = self.held.get(as_of, content) != content and written < self.arrived[as_of]
        return was_held or any(
            each.content != content and each.accept == written for each in self.revisions.get(as_of, [])
        )

    def arrives(self, as_of: date, content: Content) -> None:
        """A drop comes into the landing directory."""
        self.clock += 1
        self.landing[as_of], self.arrived[as_of] = content, self.clock

    def accept(self, as_of: date) -> None:
        """A person writes an _ACCEPT beside the drop."""
        self.clock += 1
        self.accepts[as_of] = self.clock

    def loads(self, as_of: date, content: Content, accept: int | None) -> None:
        """A drop is loaded that was validated with that _ACCEPT."""
        revisions = self.revisions.setdefault(as_of, [])
        if self.loaded.get(as_of) == content:
            current = [each for each in revisions if each.withdrawn_at is None][-1]
            current.accept = accept or current.accept
        else:
            revisions.append(Revision(content, accept))
        self.loaded[as_of] = content
        self.held.pop(as_of, None)

    def newest_left(self) -> tuple[date, Content] | None:
        """The newest remaining materialized date and its drop, None if there is none."""
        newest = max(self.materialized, default=None)
        return None if newest is None else (newest, self.built[newest])

    def withdraws(self, as_of: date) -> None:
        """Remove the drop of the date as if it had never come, but remember its contents."""
        if as_of not in self.loaded:
            return
        self.clock += 1
        for each in self.revisions[as_of]:
            each.withdrawn_at = each.withdrawn_at or self.clock
        del self.loaded[as_of]
        self.held.pop(as_of, None)
        self.built.pop(as_of, None)
        self.materialized.discard(as_of)
        if self.served and self.served[0] == as_of:
            self.served = self.newest_left()

    def raw(self) -> dict[str, Counter[tuple[object, ...]]]:
        """The rows of each table of raw.*, values in the order of the contract."""
        rows = {
            file.table: Counter(
                (as_of, user, *(VALUES[variant][column.name] for column in file.columns[1:]))
                for as_of, content in self.loaded.items()
                for user, variant in content.customers.items()
            )
            for file in REQUIRED_FILES
        }
        return rows | {
            LABELS.table: Counter(
                (as_of, day, user, label)
                for as_of, content in self.loaded.items()
                for (user, day), label in (content.labels or {}).items()
            ),
            ACTIONS.table: Counter(
                (as_of, day, user, action)
                for as_of, content in self.loaded.items()
                for user, action, day in content.actions or ()
            ),
        }

    def profiles(self) -> list[Row]:
        """A row for each customer and date of the snapshots, with the columns of all snapshot tables."""
        return [
            {"user_id": user, "as_of": as_of, "event_timestamp": known_from(as_of), **VALUES[variant]}
            for as_of, content in self.built.items()
            for user, variant in content.customers.items()
        ]

    def labels(self) -> list[Row]:
        """The rows of labels_snapshots."""
        return [
            {"user_id": user, "as_of": day, "drop_as_of": drop_as_of, "churn_label": label}
            for drop_as_of, content in self.built.items()
            for (user, day), label in (content.labels or {}).items()
        ]

    def actions(self) -> list[Row]:
        """The rows of actions_snapshots."""
        return [
            {"user_id": user, "as_of": day, "drop_as_of": drop_as_of, "action": action}
            for drop_as_of, content in self.built.items()
            for user, action, day in content.actions or ()
        ]

    def contacted(self, as_of: date, known_as_of: date) -> dict[str, list[str]]:
        """The actions of the date by customer, of all drops up to the other date."""
        known = {(row["user_id"], row["action"]) for row in self.actions()
                 if row["as_of"] == as_of and row["drop_as_of"] <= known_as_of}  # fmt: skip
        return {user: sorted(action for other, action in known if other == user) for user, _ in known}

    def training_rows(self, as_of: date, window: int) -> list[Row] | None:
        """The rows of the training set at `as_of` over the last `window` labelled dates, None without any."""
        known: dict[tuple[str, date], bool] = {}
        for drop_as_of in sorted(day for day in self.built if day <= as_of):
            known |= self.built[drop_as_of].labels or {}
        dates = sorted({day for user, day in known if day in self.built and user in self.built[day].customers})[
            -window:
        ]
        return [
            {"user_id": user, "as_of": day, "churn_label": known[user, day], **VALUES[variant]}
            for day in dates
            for user, variant in sorted(self.built[day].customers.items())
            if (user, day) in known
        ] if dates else None  # fmt: skip

    def served_to(self, user: str, features: list[str]) -> tuple[Row, tuple[str, ...], date | None]:
        """The answer for a customer: the values, the missing features, and the AS_OF."""
        if self.served is None or user not in self.served[1].customers:
            return {}, tuple(features), None
        as_of, content = self.served
        return {name: VALUES[content.customers[user]][name] for name in features}, (), as_of


def known_from(as_of: date) -> datetime:
    return datetime.combine(as_of + timedelta(days=1), time(), UTC)


assert {file.table for file in FILES} == {*(file.table for file in REQUIRED_FILES), LABELS.table, ACTIONS.table}


# --- what may happen -----------------------------------------------------------------------------------------------


@st.composite
def contents(draw: st.DrawFn, as_of: date) -> Content:
    """A drop: customers who join and leave; labels and actions of its own date, late ones, or none."""
    of_each = st.tuples(*[st.sampled_from((None, *range(VARIANTS)))] * len(USERS)).filter(any_of)
    customers = {user: variant for user, variant in zip(USERS, draw(of_each), strict=True) if variant is not None}
    # Labels of a date of whose customers none is are refused: of each date, the first customer has a row and a label.
    customers.setdefault(USERS[0], 0)
    labels: dict[tuple[str, date], bool] = {}
    some = st.lists(st.sampled_from([day for day in DAYS if day <= as_of]), min_size=1, unique=True)
    days = draw(st.sampled_from((None, [])) | some | some.map(list))
    for day in days or []:
        told = draw(st.tuples(*[st.sampled_from((None, False, True))] * len(USERS)))
        labels |= {(user, day): label for user, label in zip(USERS, told, strict=True) if label is not None}
        labels.setdefault((USERS[0], day), True)
    # A drop that labels its own date labels its own customers; of earlier dates it may label those who are gone.
    own = {key: label for key, label in labels.items() if key[1] < as_of or key[0] in customers}
    return Content(customers, None if days is None else own, draw(_actions(as_of, customers)))


def _actions(as_of: date, customers: Collection[str]) -> st.SearchStrategy[frozenset[tuple[str, str, date]] | None]:
    """Actions, like labels: of each date one is of the first customer, and those of the drop's date are of its own.

    A single choice, so that the other events stay as likely as they were.
    """
    days = [day for day in DAYS if day <= as_of]
    told = [
        frozenset({(USERS[0], action, day) for day in (one, two)} | {(USERS[3], ACTION_TEXTS[0], one)})
        for one in days
        for two in days
        for action in ACTION_TEXTS
    ]
    own = [frozenset(row for row in rows if row[2] < as_of or row[0] in customers) for rows in told]
    return st.sampled_from((None, frozenset(), *own))


def any_of(values: tuple[object, ...]) -> bool:
    return any(value is not None for value in values)


_ACCEPTS = st.sampled_from(("new", "new", "none", "kept"))
"""What lies beside a drop that arrives: an _ACCEPT of its own, none, or the one that lay beside the drop before."""


def landed() -> st.SearchStrategy[dict[date, tuple[Content, str]]]:
    """The initial drops, each with or without an _ACCEPT."""
    return st.fixed_dictionaries({}, optional={day: st.tuples(contents(day), _ACCEPTS) for day in DATES})


def events(*, losses: bool) -> st.SearchStrategy[tuple[Any, ...]]:
    """One event: a name and its arguments. With `losses` the online store can also lose its content."""
    day = st.sampled_from(DAYS)
    arrival = st.sampled_from(("arrives", "arrives", "overtaken")).flatmap(
        lambda name: st.sampled_from(DATES).flatmap(
            lambda as_of: st.tuples(st.just(name), st.just(as_of), contents(as_of), _ACCEPTS)
        )
    )
    run = st.tuples(st.just("runs"), day)
    backfill = st.tuples(st.just("backfill"), st.lists(day, min_size=2, unique=True))
    step = st.tuples(st.sampled_from(("loads", "snapshots", "materializes")), day)
    withdrawal = st.tuples(st.sampled_from(("withdraws", "recalled", "reconsiders")), day)
    acceptance = st.tuples(st.just("accepts"), day)
    loss = [st.just(("loses",))] if losses else []
    return st.one_of(
        arrival, arrival.map(tuple), run, backfill, step, withdrawal, withdrawal.map(tuple), acceptance, *loss
    )
