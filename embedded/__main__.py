"""`python -m embedded <command>`: the embedded stack from the command line, as `make` calls it."""

import argparse
import shlex
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import psycopg

from churn.as_of import AsOfError, parse_as_of, today, why_future
from embedded.commands import pipeline as commands
from embedded.commands.airflow_api import AirflowError
from embedded.commands.chain import ChainError
from embedded.commands.drops import DropsError
from embedded.commands.erasure import customer, erase
from embedded.commands.in_process import NotDone
from embedded.commands.prediction import PredictionError, predict
from embedded.commands.production import release, rollback
from embedded.commands.reproduction import reproduce
from embedded.commands.scores import TOP, NoScores, scores
from embedded.commands.trust import trust
from embedded.commands.withdrawal import withdraw
from embedded.environment import environment
from embedded.operator import status
from embedded.operator.backup import BackupError, backup
from embedded.operator.doctor import diagnosis
from embedded.operator.restore import restore
from embedded.settings import Settings, SettingsError, load_settings
from embedded.stack import lifecycle as stack
from embedded.stack.postgres import PostgresError
from embedded.stack.process_manager import StackError

# The messages of these errors are for the user. Any other exception is a bug and keeps its traceback.
EXPECTED = (
    AirflowError,
    BackupError,
    ChainError,
    DropsError,
    NoScores,
    NotDone,
    PostgresError,
    PredictionError,
    SettingsError,
    StackError,
    psycopg.Error,
)

LIFE = {"up": stack.up, "down": stack.down, "clean": stack.clean}


def main() -> int:
    arguments = _parser().parse_args()
    try:
        settings = load_settings()
        text = _answer(settings, arguments)
        if text is None:
            return 0 if _execute(settings, arguments) else 1
        print(text)  # noqa: T201
        return 0
    except EXPECTED as error:
        print(f"\n{error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the stack is unchanged (make status)", file=sys.stderr)  # noqa: T201
        return 130


def _execute(settings: Settings, arguments: argparse.Namespace) -> bool:
    say = stack.Progress()
    runs: dict[str, Callable[[], bool]] = {
        "run": lambda: commands.run(settings, arguments.drops, say),
        "trigger": lambda: commands.trigger(settings, arguments.as_of, say),
        "backfill": lambda: commands.backfill(settings, arguments.first, arguments.last, say),
        "erase": lambda: erase(settings, arguments.user, arguments.users, arguments.why, say),
        "reproduce": lambda: reproduce(settings, arguments.version, say),
    }
    if arguments.command in runs:
        return runs[arguments.command]()
    match arguments.command:
        case "up" | "down" | "clean" as command:
            LIFE[command](settings, say)
        case "status" | "doctor":
            report = {"status": status.report, "doctor": diagnosis.report}[arguments.command]
            text, healthy = report(settings)
            print(text)  # noqa: T201
            return healthy
        case "withdraw":
            withdraw(settings, arguments.as_of, arguments.why, say)
        case "backup":
            backup(settings, arguments.to, say)
        case "restore":
            restore(settings, arguments.source, say)
    return True


def _answer(settings: Settings, arguments: argparse.Namespace) -> str | None:
    """Return the output of a command that only returns a text, None for the others."""
    answers: dict[str, Callable[[], str]] = {
        "env": lambda: shell_lines(environment(settings)),
        "predict": lambda: predict(settings, arguments.user),
        "customer": lambda: customer(settings, arguments.user),
        "scores": lambda: scores(settings, arguments.as_of, arguments.top),
        "rollback": lambda: rollback(settings, arguments.version, arguments.why),
        "release": lambda: release(settings, arguments.why),
        "trust": lambda: trust(settings, arguments.version, arguments.why),
    }
    return answers[arguments.command]() if arguments.command in answers else None


def shell_lines(variables: dict[str, str]) -> str:
    """Return KEY=VALUE lines for a shell, quoted only where the value needs it.

    `set -a; eval "$(make -s env)"` always works; `export $(make -s env)` works if no path has a space.
    """
    return "\n".join(f"{name}={_quoted(value)}" for name, value in variables.items())


def _quoted(value: str) -> str:
    # An assignment does not expand "?". shlex would quote it, and `export $(…)` would keep the quotes.
    harmless = value.replace("?", "")
    return value if not value or shlex.quote(harmless) == harmless else shlex.quote(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m embedded",
        description="Runs Postgres, Airflow, MLflow and serving on this machine, and the pipeline on them.",
        epilog="Settings come from the environment: CHURN_HOME, CHURN_POSTGRES, AIRFLOW_PORT, MLFLOW_PORT, "
        "SERVING_PORT. Exit status 1: the command failed and printed why.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("up", help="start every service and wait until all are ready")
    commands.add_parser("down", help="stop everything")
    commands.add_parser("status", help="show the services, their errors, and the state of every AS_OF")
    commands.add_parser("doctor", help="check everything that a run needs; exit status 1 if a check is bad")
    commands.add_parser("env", help="print the settings as KEY=VALUE lines")
    commands.add_parser("clean", help="stop everything and delete the state: databases, models, drops, logs")
    run = commands.add_parser("run", help="start the stack and run the chain for every drop, oldest first")
    run.add_argument("--drops", type=Path, help="directory of drops named YYYY-MM-DD (default: six generated months)")
    trigger = commands.add_parser("trigger", help="run the chain for one AS_OF")
    trigger.add_argument("as_of", type=_as_of, metavar="AS_OF", help="a date like 2024-01-31")
    backfill = commands.add_parser("backfill", help="run the chain for a range of AS_OF, with an Airflow backfill")
    backfill.add_argument("first", type=_as_of, metavar="FROM", help="the first AS_OF")
    backfill.add_argument("last", type=_as_of, metavar="TO", help="the last AS_OF")
    ask = commands.add_parser("predict", help="request a prediction for one customer from the running service")
    ask.add_argument("user", metavar="USER", help="a user_id")
    listed = commands.add_parser("scores", help="show who is most likely to leave at an AS_OF, and why")
    listed.add_argument("as_of", type=_as_of, metavar="AS_OF", help="a date like 2024-01-31")
    listed.add_argument("--top", type=_count, default=TOP, help=f"how many customers to show (default: {TOP})")
    back = commands.add_parser("rollback", help="move an earlier version to Production and pin it until release")
    back.add_argument("--version", type=int, help="the version to roll back to (default: the previous Production)")
    free = commands.add_parser("release", help="let the gate move Production again after a rollback")
    for command in (back, free):
        command.add_argument("--why", help="the reason, recorded in gate.moves")
    vouch = commands.add_parser("trust", help="let serving and the gate load a version that was registered by hand")
    vouch.add_argument("version", type=int, metavar="VERSION", help="the number of a version")
    vouch.add_argument("--why", required=True, help="the reason, recorded in registry.trusted_files")
    take_back = commands.add_parser("withdraw", help="withdraw the drop of an AS_OF, as if it had never arrived")
    take_back.add_argument("as_of", type=_any_as_of, metavar="AS_OF", help="a date like 2024-01-31; may be after today")
    take_back.add_argument("--why", required=True, help="the reason, recorded in raw.withdrawals")
    forget = commands.add_parser("erase", help="remove customers from every place, and keep a keyed hash of each")
    which = forget.add_mutually_exclusive_group(required=True)
    which.add_argument("--user", metavar="USER", help="a user_id")
    which.add_argument("--users", type=Path, metavar="FILE", help="a file with a user_id a line")
    forget.add_argument("--why", required=True, help="the reason, recorded in erasure.requests; it names no customer")
    of_one = commands.add_parser("customer", help="print what is held of one customer, by place, as JSON")
    of_one.add_argument("user", metavar="USER", help="a user_id")
    save = commands.add_parser("backup", help="back up the databases, models and archived drops to a directory")
    save.add_argument("to", type=Path, metavar="TO", help="a directory that does not exist yet")
    bring_back = commands.add_parser("restore", help="restore a backup into an empty CHURN_HOME; the stack stays down")
    bring_back.add_argument("source", type=Path, metavar="FROM", help="the directory of a backup")
    again = commands.add_parser("reproduce", help="train a version again from the archive and compare it bit for bit")
    again.add_argument("version", type=int, metavar="VERSION", help="the number of a version")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of customers, got {text!r}")
    return int(text)


def _any_as_of(text: str) -> date:
    try:
        return parse_as_of(text)
    except AsOfError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _as_of(text: str) -> date:
    as_of = _any_as_of(text)
    if reason := why_future(as_of, today()):
        raise argparse.ArgumentTypeError(reason)
    return as_of


if __name__ == "__main__":
    sys.exit(main())
