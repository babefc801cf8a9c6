"""The landing drop's contract, version 1: its files, their columns, and the rule for each value."""

from dataclasses import dataclass
from datetime import date
from enum import Enum

RULES = 2
"""Number of the current rules for values. An accepted drop is always read by the rules that it was accepted by. The
contract's version is separate: it changes when every drop must have another file or column, or a column gets another
meaning. An optional file or column changes neither."""


class Kind(Enum):
    """The kind of values in a column; the enum's value is the rule as error messages quote it."""

    TEXT = "a non-empty text of at most 256 characters, without NUL"
    DATE = "an ISO date (YYYY-MM-DD)"
    BOOLEAN = "true/false, t/f, yes/no or 1/0"
    COUNT = "a whole number >= 0, of at most 18 digits"
    NUMBER = "a number from 0 to 1e38"


LARGEST_NUMBER = 1e38
"""Models compute in single precision, where a larger number is infinite."""

UNSEEN = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff"
)
"""Invisible characters that Unicode classes as letters, marks or symbols, for a regular expression's character class:
Default_Ignorable_Code_Point, and the empty Braille pattern."""


@dataclass(frozen=True)
class Column:
    """A column of a file.

    Attributes:
        nullable: an empty value is valid and stays NULL.
        required: every drop has the column. One that is not required and nullable is NULL where a drop lacks it.
        since: the earliest valid date.
    """

    name: str
    kind: Kind
    nullable: bool = False
    required: bool = True
    since: date | None = None

    @property
    def rule(self) -> str:
        """The rule for a value, as error messages quote it."""
        return self.kind.value + (", or empty" if self.nullable else "")


@dataclass(frozen=True)
class File:
    """A file of a drop; it is loaded into raw.<table>."""

    table: str
    columns: tuple[Column, ...]

    @property
    def name(self) -> str:
        return f"{self.table}.csv"


USER_ID = Column("user_id", Kind.TEXT)

USERS = File("users", (
    USER_ID,
    Column("signup_date", Kind.DATE),
    Column("user_gender", Kind.TEXT),
    Column("user_is_senior", Kind.BOOLEAN),
    Column("has_family", Kind.BOOLEAN),
    Column("has_dependents", Kind.BOOLEAN),
))  # fmt: skip
SUBSCRIPTIONS = File("subscriptions", (
    USER_ID,
    Column("months_active", Kind.COUNT),
    # A customer with no internet service has no streaming plan, which is neither True nor False.
    Column("plan_stream_tv", Kind.BOOLEAN, nullable=True),
    Column("plan_stream_movies", Kind.BOOLEAN, nullable=True),
    Column("contract_type", Kind.TEXT),
    Column("paperless_billing", Kind.BOOLEAN),
    Column("monthly_fee", Kind.NUMBER),
    Column("total_paid", Kind.NUMBER, nullable=True),
    Column("net_service", Kind.TEXT),
))  # fmt: skip
USAGE = File("usage_agg_30d", (
    USER_ID,
    Column("watch_hours_30d", Kind.NUMBER),
    Column("avg_session_mins_7d", Kind.NUMBER),
    Column("unique_devices_30d", Kind.COUNT),
    Column("skips_7d", Kind.COUNT),
    Column("rebuffer_events_7d", Kind.COUNT),
))  # fmt: skip
PAYMENTS = File("payments_agg_90d", (
    USER_ID,
    Column("failed_payments_90d", Kind.COUNT),
))  # fmt: skip
SUPPORT = File("support_agg_90d", (
    USER_ID,
    Column("support_tickets_90d", Kind.COUNT),
    Column("ticket_avg_resolution_hrs_90d", Kind.NUMBER, nullable=True),
))  # fmt: skip

ROW_DATE = Column("as_of", Kind.DATE, required=False, since=date(2000, 1, 1))
"""The date that a row of an optional file is about. Without the column it is the drop's AS_OF."""

LABELS = File("labels", (
    USER_ID,
    Column("churn_label", Kind.BOOLEAN),
    ROW_DATE,
))  # fmt: skip
ACTIONS = File("actions", (
    USER_ID,
    # How the customer was contacted. A customer may have several actions of a date, each once.
    Column("action", Kind.TEXT),
    ROW_DATE,
))  # fmt: skip

REQUIRED_FILES = (USERS, SUBSCRIPTIONS, USAGE, PAYMENTS, SUPPORT)
"""The files with one row per customer, and the same customers in each."""

OPTIONAL_FILES = (LABELS, ACTIONS)
"""The files with rows of the drop's own date or of earlier ones, whose customers may have left."""

FILES = (*REQUIRED_FILES, *OPTIONAL_FILES)
