"""`python -m embedded <command>`: the embedded stack from the command line, as `make` calls it."""

import argparse
import shlex
import sys
from datetime import date
from pathlib import Path

import psycopg

from churn.as_of import AsOfError, parse_as_of, today, why_future
from embedded import commands, stack, status
from embedded.airflow_api import AirflowError
from embedded.backup import BackupError, backup
from embedded.chain import ChainError
from embedded.doctor import diagnosis
from embedded.drops import DropsError
from embedded.environment import environment
from embedded.postgres import PostgresError
from embedded.prediction import PredictionError, predict
from embedded.process_manager import StackError
from embedded.production import NotMoved, release, rollback
from embedded.reproduction import ReproductionError, reproduce
from embedded.restore import restore
from embedded.settings import Settings, SettingsError, load_settings
from embedded.trust import NotTrusted, trust
from embedded.withdrawal import NotWithdrawn, withdraw

# What says itself what is wrong and what to do; anything else is a bug and keeps its traceback.
EXPECTED = (
    AirflowError,
    BackupError,
    ChainError,
    DropsError,
    NotMoved,
    NotTrusted,
    NotWithdrawn,
    PostgresError,
    PredictionError,
    ReproductionError,
    SettingsError,
    StackError,
    psycopg.Error,
)

LIFE = {"up": stack.up, "down": stack.down, "clean": stack.clean}


def main() -> int:
    arguments = _parser().parse_args()
    try:
        return 0 if _execute(load_settings(), arguments) else 1
    except EXPECTED as error:
        print(f"\n{error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the stack stays as it is (make status)", file=sys.stderr)  # noqa: T201
        return 130


def _execute(settings: Settings, arguments: argparse.Namespace) -> bool:
    say = stack.Progress()
    match arguments.command:
        case "up" | "down" | "clean" as command:
            LIFE[command](settings, say)
        case "run":
            return commands.run(settings, arguments.drops, say)
        case "trigger":
            return commands.trigger(settings, arguments.as_of, say)
        case "backfill":
            return commands.backfill(settings, arguments.first, arguments.last, say)
        case "status" | "doctor":
            report = {"status": status.report, "doctor": diagnosis.report}[arguments.command]
            text, healthy = report(settings)
            print(text)  # noqa: T201
            return healthy
        case "env":
            print(shell_lines(environment(settings)))  # noqa: T201
        case "predict":
            print(predict(settings, arguments.user))  # noqa: T201
        case "rollback" | "release" as command:
            why = arguments.why
            print(rollback(settings, arguments.version, why) if command == "rollback" else release(settings, why))  # noqa: T201
        case "trust":
            print(trust(settings, arguments.version, arguments.why))  # noqa: T201
        case "withdraw":
            withdraw(settings, arguments.as_of, arguments.why, say)
        case "backup" | "restore" as command:
            backup(settings, arguments.to, say) if command == "backup" else restore(settings, arguments.source, say)
        case "reproduce":
            return reproduce(settings, arguments.version, say)
    return True


def shell_lines(variables: dict[str, str]) -> str:
    """Return KEY=VALUE lines for a shell, quoted only where the value needs it.

    `eval "$(make -s env)"` after `set -a` always works; `export $(make -s env)` works as long as no path
    has a blank.
    """
    return "\n".join(f"{name}={_quoted(value)}" for name, value in variables.items())


def _quoted(value: str) -> str:
    # A "?" of a URL is no pattern in an assignment; shlex quotes it, and `export $(…)` would keep the quotes.
    harmless = value.replace("?", "")
    return value if not value or shlex.quote(harmless) == harmless else shlex.quote(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m embedded",
        description="Postgres, Airflow, MLflow and serving on this machine, and the pipeline through them.",
        epilog="Settings come from the environment: CHURN_HOME, CHURN_POSTGRES, AIRFLOW_PORT, MLFLOW_PORT, "
        "SERVING_PORT. Exit status 1: something failed, and the reason was printed.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("up", help="start what is not running, and wait until everything is ready")
    commands.add_parser("down", help="stop everything")
    commands.add_parser("status", help="services, what is wrong with them, and the state of every AS_OF")
    commands.add_parser(
        "doctor", help="check everything that a run needs, and say what to do; status 1 where it is bad"
    )
    commands.add_parser("env", help="print the settings as KEY=VALUE lines")
    commands.add_parser("clean", help="stop everything and remove the state: databases, models, drops, logs")
    run = commands.add_parser("run", help="up, then the whole chain over every drop, oldest first")
    run.add_argument("--drops", type=Path, help="directory of drops named YYYY-MM-DD (default: six generated months)")
    trigger = commands.add_parser("trigger", help="the whole chain for one AS_OF")
    trigger.add_argument("as_of", type=_as_of, metavar="AS_OF", help="a date like 2024-01-31")
    backfill = commands.add_parser("backfill", help="the whole chain for a range of AS_OF, by Airflow's backfill")
    backfill.add_argument("first", type=_as_of, metavar="FROM", help="the first AS_OF")
    backfill.add_argument("last", type=_as_of, metavar="TO", help="the last AS_OF")
    ask = commands.add_parser("predict", help="ask the running service about a customer")
    ask.add_argument("user", metavar="USER", help="a user_id")
    back = commands.add_parser("rollback", help="an earlier version into Production, pinned there until release")
    back.add_argument("--version", type=int, help="the version to go back to (default: the one before)")
    free = commands.add_parser("release", help="let the gate move Production again after a rollback")
    for command in (back, free):
        command.add_argument("--why", help="the reason, which is kept in gate.moves")
    vouch = commands.add_parser("trust", help="let a version that was registered by hand be loaded")
    vouch.add_argument("version", type=int, metavar="VERSION", help="the number of a version")
    vouch.add_argument("--why", required=True, help="the reason, which is kept in registry.trusted_files")
    take_back = commands.add_parser("withdraw", help="take the drop of an AS_OF back, as if it had never come")
    take_back.add_argument("as_of", type=_any_as_of, metavar="AS_OF", help="a date like 2024-01-31, also after today")
    take_back.add_argument("--why", required=True, help="the reason, which is kept in raw.withdrawals")
    save = commands.add_parser("backup", help="the databases, models and archived drops into a directory")
    save.add_argument("to", type=Path, metavar="TO", help="a directory that is not there yet")
    bring_back = commands.add_parser("restore", help="a backup into an empty CHURN_HOME; the stack stays down")
    bring_back.add_argument("source", type=Path, metavar="FROM", help="the directory of a backup")
    again = commands.add_parser("reproduce", help="a version made again from the archive, compared bit for bit")
    again.add_argument("version", type=int, metavar="VERSION", help="the number of a version")
    return parser


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
