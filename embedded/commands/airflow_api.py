"""A typed client for the calls of Airflow's REST API (/api/v2) that this stack needs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from embedded.stack.services import session

PAGE = 100


class AirflowError(RuntimeError):
    """Airflow refused a request or cannot be reached; `status` is its HTTP status, None if it did not answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Ref(NamedTuple):
    """The key of a DAG run."""

    dag_id: str
    run_id: str


@dataclass(frozen=True)
class Run:
    """The current state of a DAG run."""

    ref: Ref
    state: str
    run_type: str
    partition_key: str | None
    queued_at: datetime | None
    duration: float | None

    @property
    def finished(self) -> bool:
        return self.state in ("success", "failed")


@dataclass(frozen=True)
class Task:
    """The current state of a task instance."""

    ref: Ref
    task_id: str
    map_index: int
    try_number: int
    state: str | None
    hostname: str | None
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class Handover:
    """An asset event of a run: the DAGs scheduled on the asset, and the runs that the event has started so far."""

    asset: str
    consumers: frozenset[str]
    started: tuple[Ref, ...]

    @property
    def waiting_for(self) -> frozenset[str]:
        return self.consumers - {ref.dag_id for ref in self.started}


class Airflow:
    """A session with one Airflow; `login` is a user name and password, None if Airflow needs no login."""

    def __init__(self, url: str, login: tuple[str, str] | None = None) -> None:
        self._url = url
        self._login = login
        self._session = session()
        # GET requests are retried for about a minute, so that a restart of the api-server or database is survived.
        retry = Retry(
            total=9,
            read=3,
            backoff_factor=0.5,
            backoff_max=10,
            allowed_methods=["GET"],
            status_forcelist=[500, 502, 503, 504],
            raise_on_status=False,
        )
        self._session.mount("http://", HTTPAdapter(max_retries=retry))
        # A 500 is not retried here: see handovers().
        self._session.mount(f"{url}/api/v2/assets/events", HTTPAdapter(max_retries=retry.new(status_forcelist=[])))

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            if "Authorization" not in self._session.headers:
                self._session.headers["Authorization"] = f"Bearer {self._token()}"
            answer = self._session.request(method, f"{self._url}/api/v2{path}", timeout=60, **arguments)
        except requests.RequestException as error:
            raise AirflowError(f"Airflow at {self._url} cannot be reached (make status): {error}") from error
        if not answer.ok:
            message = f"Airflow answered {answer.status_code} to {method} {path}: {_detail(answer)}"
            raise AirflowError(message, answer.status_code)
        return answer.json()

    def _token(self) -> str:
        url = f"{self._url}/auth/token"
        if self._login is None:
            answer = self._session.get(url, timeout=30)
        else:
            username, password = self._login
            answer = self._session.post(url, json={"username": username, "password": password}, timeout=30)
        if not answer.ok:
            raise AirflowError(f"Airflow gives no token: {_detail(answer)}", answer.status_code)
        return str(answer.json()["access_token"])

    def _pages(self, path: str, items: str, **query: Any) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self._call("GET", path, params={**query, "limit": PAGE, "offset": offset})
            yield from page[items]
            offset += len(page[items])
            if not page[items] or offset >= page["total_entries"]:
                return

    def dags(self) -> dict[str, bool]:
        """Return the DAGs that Airflow knows, each with whether it is paused."""
        return {dag["dag_id"]: dag["is_paused"] for dag in self._pages("/dags", "dags")}

    def pause(self, dag_id: str, is_paused: bool = True) -> None:
        """Pause or unpause `dag_id`."""
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": is_paused})

    def import_errors(self) -> dict[str, str]:
        """Return the DAG files that cannot be read, and why."""
        errors = self._pages("/importErrors", "import_errors")
        return {error["filename"]: error["stack_trace"] for error in errors}

    def pools(self) -> dict[str, int]:
        """Return how many slots each pool has."""
        return {pool["name"]: pool["slots"] for pool in self._pages("/pools", "pools")}

    def connections(self) -> set[str]:
        """Return the ids of the connections in Airflow's database; environment variables are not included."""
        return {each["connection_id"] for each in self._pages("/connections", "connections")}

    def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> Run:
        """Start a run of `dag_id` with the parameters `conf`."""
        body = {"logical_date": None, "conf": conf}
        return _run(self._call("POST", f"/dags/{dag_id}/dagRuns", json=body))

    def backfill(self, dag_id: str, first: date, last: date, at_once: int = 1) -> list[Run]:
        """Start an Airflow backfill of the partitions `first` … `last`, oldest first, including finished ones.

        Args:
            at_once: the maximum number of active runs.

        Returns:
            The runs that the backfill created. A partition with an active run gets none.
        """
        body = {
            "dag_id": dag_id,
            "from_date": f"{first}T00:00:00Z",
            "to_date": f"{last}T00:00:00Z",
            "reprocess_behavior": "completed",
            "max_active_runs": at_once,
        }
        created = _instant(self._call("POST", "/backfills", json=body)["created_at"])
        return [
            run
            for run in self.partition_runs(dag_id, first, last)
            # Airflow allows one backfill at a time, so the runs of an earlier one are older.
            if run.run_type == "backfill" and created and run.queued_at and run.queued_at >= created
        ]

    def partition_runs(self, dag_id: str, first: date, last: date) -> list[Run]:
        """Return the runs of the partitions `first` … `last`, in the order of their partitions."""
        query = {
            "partition_date_gte": str(first),
            "partition_date_lte": str(last),
            "order_by": "partition_date",
        }
        return [_run(run) for run in self._pages(f"/dags/{dag_id}/dagRuns", "dag_runs", **query)]

    def run(self, ref: Ref) -> Run:
        """Return the run as it is now."""
        return _run(self._call("GET", f"/dags/{ref.dag_id}/dagRuns/{quote(ref.run_id, safe='')}"))

    def unfinished(self) -> set[Ref]:
        """Return every run that is queued or running."""
        runs = self._pages("/dags/~/dagRuns", "dag_runs", state=["queued", "running"])
        return {_run(run).ref for run in runs}

    def running_tasks(self) -> list[Task]:
        """Return every task that runs, is up for retry, is deferred or waits for a person."""
        states = ["running", "up_for_retry", "deferred", "awaiting_input"]
        return [_task(task) for task in self._pages("/dags/~/dagRuns/~/taskInstances", "task_instances", state=states)]

    def tasks(self, ref: Ref) -> list[Task]:
        """Return the tasks of a run."""
        path = f"/dags/{ref.dag_id}/dagRuns/{quote(ref.run_id, safe='')}/taskInstances"
        return [_task(task) for task in self._pages(path, "task_instances")]

    def log(self, task: Task) -> list[dict[str, Any]]:
        """Return the log entries of the task's last try."""
        run = quote(task.ref.run_id, safe="")
        path = f"/dags/{task.ref.dag_id}/dagRuns/{run}/taskInstances/{task.task_id}/logs/{task.try_number}"
        query = {"map_index": task.map_index, "full_content": "true"}
        content = self._call("GET", path, params=query, headers={"Accept": "application/json"})["content"]
        return [entry if isinstance(entry, dict) else {"event": str(entry)} for entry in content]

    def handovers(self, ref: Ref) -> list[Handover] | None:
        """Return the asset events of the run and the runs that they started.

        Returns:
            None while Airflow answers 500: it does so as long as a started run is queued and has no start_date.
        """
        query = {"source_dag_id": ref.dag_id, "source_run_id": ref.run_id}
        try:
            events = list(self._pages("/assets/events", "asset_events", **query))
        except AirflowError as error:
            if error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            return None
        return [
            Handover(
                asset=event["name"],
                consumers=self._consumers(event["asset_id"]),
                started=tuple(Ref(run["dag_id"], run["run_id"]) for run in event["created_dagruns"]),
            )
            for event in events
        ]

    def _consumers(self, asset_id: int) -> frozenset[str]:
        return frozenset(dag["dag_id"] for dag in self._call("GET", f"/assets/{asset_id}")["scheduled_dags"])


def _detail(answer: requests.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (requests.JSONDecodeError, KeyError, TypeError):
        return answer.text[:500]


def _run(fields: Mapping[str, Any]) -> Run:
    return Run(
        ref=Ref(fields["dag_id"], fields["dag_run_id"]),
        state=fields["state"],
        run_type=fields["run_type"],
        partition_key=fields["partition_key"],
        queued_at=_instant(fields["queued_at"]),
        duration=fields["duration"],
    )


def _task(fields: Mapping[str, Any]) -> Task:
    return Task(
        ref=Ref(fields["dag_id"], fields["dag_run_id"]),
        task_id=fields["task_id"],
        map_index=fields["map_index"],
        try_number=max(fields["try_number"], 1),
        state=fields["state"],
        hostname=fields["hostname"],
        queued_at=_instant(fields["queued_when"]),
        started_at=_instant(fields["start_date"]),
        ended_at=_instant(fields["end_date"]),
    )


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
