"""Withdraws a drop on the embedded stack, by the functions that the DAG churn_withdraw calls."""

import getpass
import io
from contextlib import redirect_stdout
from datetime import date

from embedded.commands.in_process import NotDone, in_stack
from embedded.settings import Settings
from embedded.stack.lifecycle import Progress


def withdraw(settings: Settings, as_of: date, why: str, say: Progress) -> None:
    """Withdraw the drop of `as_of` and report the outcome of each step.

    Raises:
        NotDone: the reason is empty or too long, or MLflow, the online store or a file of the list does not
            answer; in that case a second call finishes the withdrawal.
        StackError: the stack is down.
    """
    with in_stack(settings) as variables:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 — slow, and reads the environment at import

        from churn.drops.withdrawal import withdraw  # noqa: PLC0415
        from churn.features.build import IncompleteBuild  # noqa: PLC0415
        from churn.features.materialization import serve_what_is_left  # noqa: PLC0415
        from churn.outcomes.judgement_step import judge_again  # noqa: PLC0415
        from churn.scores.withdrawal import withdraw_scores  # noqa: PLC0415
        from churn.settings import SettingError  # noqa: PLC0415
        from churn.spark.removal import remove_gone  # noqa: PLC0415
        from churn.spark.views import ParquetMissing  # noqa: PLC0415
        from churn.training.superseded import supersede_withdrawn  # noqa: PLC0415

        url = variables["CHURN_DATABASE_URL"]
        steps = (
            lambda: withdraw(as_of, getpass.getuser(), why, url),
            lambda: withdraw_scores(as_of, url, variables["SCORES_URL"]),
            lambda: remove_gone(url, variables["SNAPSHOTS_URL"]),
            lambda: serve_what_is_left(url),
            lambda: supersede_withdrawn(as_of, url),
            lambda: judge_again(as_of, url),
        )
        try:
            for step in steps:
                # Feast prints its progress.
                with redirect_stdout(io.StringIO()):
                    outcome = step()
                say(f"{outcome.outcome}: {outcome.reason}")
        except (IncompleteBuild, MlflowException, OSError, ParquetMissing, SettingError) as error:
            raise NotDone(f"{error}; make withdraw again finishes it") from error
