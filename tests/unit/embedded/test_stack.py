"""The parts of the stack that can be tested without starting it."""

import configparser
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from churn.registry.model_version import ModelVersion
from embedded.commands.pipeline import summary
from embedded.operator.as_of_state import AsOfState, as_of_table, last_decision
from embedded.settings import Settings, load_settings
from embedded.stack import lifecycle as stack
from embedded.stack import services
from embedded.stack.process_manager import CONFIGURATION, Process, ProcessManager, StackError, end_of, is_alive
from embedded.table import table


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings_with(tmp_path: Path, mlflow_port: int) -> Settings:
    ports = {
        "AIRFLOW_PORT": str(free_port()),
        "MLFLOW_PORT": str(mlflow_port),
        "SERVING_PORT": str(free_port()),
    }
    return load_settings({"CHURN_HOME": str(tmp_path / "state"), **ports})


def test_a_port_taken_by_another_process_is_reported_with_it(tmp_path: Path, taken: int) -> None:
    with pytest.raises(StackError, match=rf"MLFLOW_PORT: port {taken} .* pid {os.getpid()}"):
        services.check_ports(settings_with(tmp_path, taken), {})


def test_a_port_of_our_own_service_is_no_conflict(tmp_path: Path, taken: int) -> None:
    mlflow = Process("mlflow", "app", "RUNNING", os.getpid(), 1, 0, "", tmp_path / "mlflow.log")
    services.check_ports(settings_with(tmp_path, taken), {"mlflow": mlflow})


def test_no_process_starts_when_a_port_is_taken(tmp_path: Path, taken: int) -> None:
    settings = settings_with(tmp_path, taken)
    with pytest.raises(StackError, match="MLFLOW_PORT"):
        stack.up(settings, stack.Progress())
    assert not settings.runtime.exists()


def test_a_stack_that_is_down_can_be_stopped_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack.down(settings_with(tmp_path, free_port()), stack.Progress())
    assert "is down" in capsys.readouterr().out


def test_clean_deletes_only_the_state_of_a_stack(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, free_port())
    settings.home.mkdir()
    (settings.home / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(StackError, match="does not look like"):
        stack.clean(settings, stack.Progress())
    assert (settings.home / "thesis.txt").exists()


def test_clean_deletes_the_remains_of_a_refused_up(tmp_path: Path, taken: int) -> None:
    settings = settings_with(tmp_path, taken)
    with pytest.raises(StackError, match="MLFLOW_PORT"):
        stack.up(settings, stack.Progress())
    stack.clean(settings, stack.Progress())
    assert not settings.home.exists()


def test_clean_leaves_the_key_of_erased_customers_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_with(tmp_path, free_port())
    for directory in (settings.home, settings.erasure):
        directory.mkdir()
    (settings.erasure / "key").touch()
    stack.clean(settings, stack.Progress())
    assert not settings.home.exists()
    assert (settings.erasure / "key").exists()
    assert f"{settings.erasure} is left" in capsys.readouterr().out


def test_down_ends_orphaned_processes_of_this_stack_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_with(tmp_path, free_port())
    settings.home.mkdir()
    ours = {"CHURN_HOME": str(settings.home), "CHURN_IDENTITY": "Airflow on 8080"}
    theirs = ours | {"CHURN_HOME": str(tmp_path / "other")}
    a_persons = {"CHURN_HOME": str(settings.home)}
    # In the state in which Airflow's workers are: their titles changed.
    code = "import setproctitle as t, time; t.setproctitle('a worker' + 500 * '!'); print(flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code]
    processes = [
        subprocess.Popen(command, env={**os.environ, **extra, "SPT_NOENV": "1"}, stdout=subprocess.PIPE)
        for extra in (ours, theirs, a_persons)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        stack.down(settings, stack.Progress())
        assert [is_alive(process.pid) for process in processes] == [False, True, True]
        assert "ended an orphaned process: a worker" in capsys.readouterr().out
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_the_identity_has_the_server_without_its_password(tmp_path: Path) -> None:
    servers = ["postgresql://churn:secret@here/postgres", "postgresql://churn:secret@there/postgres"]
    identities = {
        ProcessManager(load_settings({"CHURN_HOME": str(tmp_path), "CHURN_POSTGRES": server})).identity()
        for server in servers
    }
    assert len(identities) == 2
    assert "secret" not in "".join(identities)


def test_the_identity_has_the_broker_without_its_password(tmp_path: Path) -> None:
    brokers = [None, "redis://:secret@here/0", "redis://:secret@there/0"]
    identities = {
        ProcessManager(replace(settings_with(tmp_path, 5001), airflow_port=1, serving_port=2, broker=broker)).identity()
        for broker in brokers
    }
    assert len(identities) == 3
    assert "secret" not in "".join(identities)


def test_the_identity_has_the_online_store_without_its_password(tmp_path: Path) -> None:
    stores = ["", "redis://:secret@here/0", "redis://:secret@there/0"]
    identities = {
        ProcessManager(load_settings({"CHURN_HOME": str(tmp_path), "CHURN_REDIS_URL": store})).identity()
        for store in stores
    }
    assert len(identities) == 3
    assert "secret" not in "".join(identities)


def test_every_program_is_in_a_group_and_every_service_is_a_program() -> None:
    parser = configparser.RawConfigParser()
    parser.read(CONFIGURATION)
    programs = {section.removeprefix("program:") for section in parser.sections() if section.startswith("program:")}
    grouped = ",".join(parser[group]["programs"] for group in ("group:database", "group:app"))
    assert sorted(grouped.split(",")) == sorted(programs)
    assert programs == {services.POSTGRES, "mlflow", "serving", *services.AIRFLOW}


def test_nothing_of_supervisord_starts_by_itself_and_every_log_is_rotated() -> None:
    parser = configparser.RawConfigParser()
    parser.read(CONFIGURATION)
    for section in parser.sections():
        if section.startswith("program:"):
            assert parser[section]["autostart"] == "false"
            assert int(parser[section]["stdout_logfile_backups"]) > 0


def test_the_end_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_text("".join(f"line {number}\n" for number in range(5000)), encoding="utf-8")
    assert end_of(log, 2) == "    line 4998\n    line 4999"
    assert "no log" in end_of(tmp_path / "absent.log")


def state(as_of: date, **fields: object) -> AsOfState:
    known = dict.fromkeys(AsOfState.__dataclass_fields__) | {"as_of": as_of, "has_snapshot": True} | fields
    return AsOfState(**known)  # type: ignore[arg-type]


def test_the_summary_has_a_line_for_each_date_with_a_drop_and_counts_the_others() -> None:
    january = state(date(2024, 1, 31), revision=1, rows=7043, outcome="PROMOTE", candidate_version=1, candidate_auc=0.8,
                    verdict="as promised")  # fmt: skip
    december = state(date(2023, 12, 31), revision=1, rows=5)
    asked = {date(2024, 1, 30), date(2024, 1, 31), date(2024, 2, 1)}
    lines = summary([december, january], asked).splitlines()
    assert lines[1].split() == ["2024-01-31", "7043", "0.8000", "-", "PROMOTE", "1", "-", "as", "promised"]
    assert lines[2:] == ["2 of 3 dates have no loaded drop"]


def test_the_last_decision_is_the_one_made_last_and_not_the_one_about_the_newest_as_of() -> None:
    january = state(date(2024, 1, 31), outcome="KEEP", decision=3)
    february = state(date(2024, 2, 29), outcome="PROMOTE", decision=2)
    assert last_decision([january, february, state(date(2024, 3, 31))]) == january
    assert last_decision([]) is None


def test_status_marks_superseded_versions_and_explains_that_of_production() -> None:
    january = state(date(2024, 1, 31), revision=2, candidate_version=1)
    february = state(date(2024, 2, 29), revision=1, candidate_version=2)
    march = state(date(2024, 3, 31), revision=1, candidate_version=3)
    versions = [
        ModelVersion(1, "", "Archived", {"superseded": "January changed"}),
        ModelVersion(2, "", "Production", {"superseded": "January changed too"}),
        ModelVersion(3, "", "None", {}),
    ]
    lines = as_of_table([january, february, march], versions).splitlines()
    assert [line.split()[6:-4] for line in lines[1:4]] == [["1", "superseded"], ["2", "superseded"], ["3"]]
    assert lines[4:] == ["", "Production, version 2, is superseded: January changed too"]


def test_status_shows_by_when_production_is_replaced_after_an_erasure() -> None:
    erased = {"trained_on_erased": "2024-03-01"}
    versions = [ModelVersion(1, "", "Archived", erased), ModelVersion(2, "", "Production", erased)]
    assert as_of_table([state(date(2024, 2, 29))], versions).splitlines()[-1] == (
        "Production, version 2, learned from customers who were erased on 2024-03-01: replace by 2024-03-31"
    )


def test_status_shows_which_version_scored_a_date_and_whether_its_snapshot_changed_since() -> None:
    scored = {"revision": 1, "list_revision": 2, "list_version": 3}
    unscored = state(date(2024, 3, 31), revision=1)
    current = state(date(2024, 1, 31), **scored, list_is_current=True)
    outdated = state(date(2024, 2, 29), **scored, list_is_current=False)
    lines = as_of_table([current, outdated, unscored], []).splitlines()
    ends = [re.split("  +", line)[-2] for line in lines[:4]]
    assert ends == ["scored", "version 3, revision 2", "version 3, revision 2, outdated", "-"]


def test_status_ends_each_line_with_the_verdict_on_the_list() -> None:
    judged = state(date(2024, 1, 31), list_revision=1, list_version=3, verdict="no better than chance")
    lines = as_of_table([judged, state(date(2024, 2, 29))], []).splitlines()
    assert [re.split("  +", line)[-1] for line in lines] == ["verdict", "no better than chance", "-"]


def test_columns_are_aligned() -> None:
    assert table(("a", "long name"), [(1, None), (None, 0.5)]) == "a  long name\n1  -\n-  0.5000"


def test_only_the_scheduler_does_the_heavy_imports() -> None:
    import airflow_local_settings

    assert "scheduler" not in sys.argv
    assert airflow_local_settings.__all__ == []


def test_tasks_disable_mlflows_logging_and_progress_bar() -> None:
    """Airflow logs a task's stderr as errors, and MLflow's handler and progress bars write to it."""
    code = (
        "import logging, os, airflow_local_settings, mlflow\n"
        "print(logging.getLogger('mlflow').handlers, os.environ['MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR'])"
    )
    names = ("MLFLOW_CONFIGURE_LOGGING", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    include = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PYTHONPATH": include},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[] false"
