"""judge: labels of dates came or changed → were the scores of these dates right?

A judgement is of one date, as known at one drop. It and its figures appear in one transaction; earlier ones stay.
"""

import logging
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from functools import partial

from feast.errors import FeatureServiceNotFoundException
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from psycopg.rows import class_row

from churn.code import step_digest
from churn.gate.slices import slices_of
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.outcomes.campaign import Effect, measure_effect
from churn.outcomes.judging import Part, control_of_cohorts, judge_rows
from churn.outcomes.record import Question, record, was_answered
from churn.outcomes.rows import LIST, Rows, answered_rows, answering_rows, list_rows
from churn.postgres.database import Connection, compose, connect, execute, lock_session, one
from churn.registry import client as registry
from churn.registry.client import is_missing
from churn.registry.model_version import ModelNotLoadable, ModelVersion
from churn.registry.version_scorer import VersionRefused
from churn.scores.registered import choose_registered
from churn.scores.run import Run, current_run
from churn.settings import label_days
from churn.statistics import Estimate
from churn.training.label_period import overlap
from churn.training.learned_from import learned_of
from churn.training.sources import LABELLED_DATES

log = logging.getLogger(__name__)


class NothingToJudge(RuntimeError):
    """The drop brought no label that scores wait for; the message says why."""


def judge_outcomes(as_of: date, database_url: str) -> Outcome:
    """Judge every date that the drop of `as_of` says something new about, or whose judgement rests on it, and `as_of`
    itself if its labels are known.

    UNCHANGED if all of them were judged before: same labels, actions, list, versions and code.

    Raises:
        NothingToJudge: there is no such date, or no version has scored it.
    """
    with connect(database_url, autocommit=True) as connection:
        lock_session(connection, "outcomes", as_of.isoformat())
        changed = {day for (day,) in execute(connection, "outcomes/changed_dates", {"known_as_of": as_of})}
        dates = changed | _resting_on(connection, as_of) | {as_of}
        questions = [each for day in sorted(dates) for each in _known(connection, day, as_of, changed)]
        if not questions:
            raise NothingToJudge(f"the drop of {as_of} brought or changed no label, and {as_of} has none")
        return _judge_all(connection, questions, database_url)


def judge_again(drop: date, database_url: str) -> Outcome:
    """Mark the judgements of a withdrawn drop, and judge the dates that rested on it by the drops that are left."""
    with connect(database_url, autocommit=True) as connection:
        lock_session(connection, "outcomes", drop.isoformat())
        dates = _resting_on(connection, drop) - {drop}
        marked = execute(connection, "outcomes/mark_withdrawn", {"drop": drop}).rowcount
        questions = [each for day in sorted(dates) for each in _known(connection, day, drop, set())]
        try:
            again = _judge_all(connection, questions, database_url) if questions else None
        except NothingToJudge as error:
            log.info("not judged again: %s", error)
            again = None
    outcome = DONE if marked or (again and again.outcome == DONE) else UNCHANGED
    reason = f"{marked} judgements are withdrawn" + (f"; {again.reason}" if again else "")
    return Outcome(outcome, reason, {"withdrawn": marked, **(again.figures if again else {})})


def _resting_on(connection: Connection, drop: date) -> set[date]:
    return {day for (day,) in execute(connection, "outcomes/rests_on", {"drop": drop})}


def _known(connection: Connection, day: date, drop: date, changed: set[date]) -> Iterator[tuple[date, date]]:
    """Yield a date with each drop as of which it is to be judged: the newest one that says something about it, and
    before it `drop`, if that changed it. Without labels its judgements are marked, and nothing is yielded."""
    newest = execute(connection, "outcomes/newest_drop", {"as_of": day}).fetchone()
    if newest is None:
        execute(connection, "outcomes/mark_unlabelled", {"as_of": day})
        return
    if day in changed and drop < newest[0]:
        yield day, drop
    yield day, newest[0]


def _judge_all(connection: Connection, dates: Iterable[tuple[date, date]], database_url: str) -> Outcome:
    versions = registry.find_versions(MlflowClient(), {})
    judged, unchanged, unscored, said = list[str](), list[str](), list[str](), list[str]()
    for day, known_as_of in dates:
        if one(connection, "outcomes/expired", {"as_of": day})[0]:
            log.info("%s is not judged again: retention removed labels of it, or its list", day)
            unchanged.append(str(day))
            continue
        run = current_run(connection, day)
        question = _question(connection, versions, run, day, known_as_of)
        if was_answered(connection, question):
            unchanged.append(str(day))
            continue
        scored = list(_scored(connection, question, run, versions, database_url))
        if parts := list(_parts(connection, question, scored, database_url)):
            record(connection, question, parts, _effect(question, scored))
            judged.append(str(day))
            said += [f"{day}, version {part.version.version}: {part.verdict}" for part in parts if part.decides]
        else:
            unscored.append(str(day))
    if not judged and not unchanged:
        raise NothingToJudge(f"labels of {', '.join(unscored)} came, and no version scored these dates")
    figures = {"judged": judged, "unchanged": unchanged, "unscored": unscored}
    if judged:
        return Outcome(DONE, "; ".join(said) or f"{', '.join(judged)} is judged", figures)
    return Outcome(UNCHANGED, f"{', '.join(unchanged)} was judged by these labels before", figures)


def _question(
    connection: Connection, versions: list[ModelVersion], run: Run | None, day: date, known_as_of: date
) -> Question:
    answering = _answering(connection, versions, known_as_of)
    if answering and run and (answering.version, answering.run_id) == (run.model_version, run.model_run_id):
        answering = None
    # Changed labels of an old date say nothing about a version that learned from later ones: it never answered for it.
    if answering and max(learned_of(answering.tags, None).dates, default=day) > day:
        answering = None
    asked = {"as_of": day, "known_as_of": known_as_of}
    return Question(
        as_of=day,
        known_as_of=known_as_of,
        list_revision=run.revision if run else None,
        list_version=run.model_version if run else None,
        answering_version=answering.version if answering else None,
        answering_run_id=answering.run_id if answering else None,
        labelled_by=dict(execute(connection, "outcomes/labelled_by", asked).fetchall()),
        treated_by=dict(execute(connection, "outcomes/treated_by", asked).fetchall()),
        label_days=label_days(),
        code_digest=step_digest(__package__),
    )


def _answering(connection: Connection, versions: list[ModelVersion], known_as_of: date) -> ModelVersion | None:
    """Return the version that answered when the labels came: the last decision was held against it, or it would have
    scored the day before."""
    there = {(each.version, each.run_id): each for each in versions}
    for number, run_id in execute(connection, "outcomes/decided_against", {"as_of": known_as_of}):
        version = there.get((number, run_id))
        if version and version.known_as_of and version.known_as_of < known_as_of:
            return version
    return choose_registered(connection, versions, known_as_of - timedelta(days=1)).version


Scored = tuple[ModelVersion, Rows]


def _parts(connection: Connection, question: Question, scored: Iterable[Scored], database_url: str) -> Iterator[Part]:
    """Yield the figures of every version with scores of the date."""
    day = question.as_of
    for version, rows in scored:
        earlier = _earlier_control(connection, version, question, database_url) if question.treated_by else None
        slices = partial(slices_of, connection, day)
        yield from judge_rows(rows, version, day, promised_by(version), slices, earlier=earlier)


def _earlier_control(
    connection: Connection, version: ModelVersion, question: Question, database_url: str
) -> Iterator[Rows]:
    """Yield the control arm in the cohorts of the lists that the version scored before, newest first: at most one a
    label period, as labels of dates closer than that are of the same departures."""
    asked = {"as_of": question.as_of, "model_version": version.version, "model_run_id": version.run_id}
    with connection.cursor(row_factory=class_row(Run)) as cursor:
        runs = cursor.execute(compose("outcomes/earlier_lists"), asked).fetchall()
    taken = [question.as_of]
    for run in runs:
        if len(taken) < LABELLED_DATES and not overlap(taken[-1], run.as_of, question.label_days):
            taken.append(run.as_of)
            yield control_of_cohorts(list_rows(database_url, run, question.known_as_of), version, run.as_of)


def _effect(question: Question, scored: Iterable[Scored]) -> Effect | None:
    """Return the effect of the campaign of the date, None without one or without a list."""
    of_list = next((rows for _, rows in scored if rows.source == LIST), None)
    return measure_effect(of_list) if question.treated_by and of_list else None


def _scored(
    connection: Connection, question: Question, run: Run | None, versions: list[ModelVersion], database_url: str
) -> Iterator[Scored]:
    """Yield every version with scores of the date, and its rows whose labels are known."""
    by_number = {each.version: each for each in versions}
    day, known_as_of = question.as_of, question.known_as_of
    scored_by = by_number.get(run.model_version) if run else None
    if run and scored_by and scored_by.run_id == run.model_run_id:
        yield scored_by, list_rows(database_url, run, known_as_of)
    answering = by_number.get(question.answering_version or 0)
    if answering and answering.run_id == question.answering_run_id:
        try:
            share = run.control_share if run else None
            yield (
                answering,
                answering_rows(connection, answering, day, known_as_of, database_url, control_share=share),
            )
        except (ModelNotLoadable, VersionRefused, FeatureServiceNotFoundException) as error:
            log.warning("version %d was answering, and cannot be judged: %s", answering.version, error)
    for number, rows in answered_rows(database_url, day, known_as_of):
        if answered_by := by_number.get(number):
            yield answered_by, rows


def promised_by(version: ModelVersion) -> Estimate | None:
    """Return the AUC on the gate cohort that its run recorded at training, None of a version registered by hand."""
    if not version.run_id:
        return None
    try:
        metrics = MlflowClient().get_run(version.run_id).data.metrics
    except MlflowException as error:
        if is_missing(error):
            return None
        raise
    if not {"cohort_auc", "cohort_auc_low", "cohort_auc_high"} <= metrics.keys():
        return None
    return Estimate.of_interval(metrics["cohort_auc"], metrics["cohort_auc_low"], metrics["cohort_auc_high"])
