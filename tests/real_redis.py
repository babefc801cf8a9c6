"""A temporary Redis server on a Unix socket."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.patience import SLOWNESS


class RealRedis:
    """A `redis-server` whose files lie in `directory`."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._socket = directory / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"
        self.client = redis.Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self._socket, "--save", "", "--dir", self._directory],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20 * SLOWNESS
        while not self._answers():
            assert self._process.poll() is None, "redis-server has ended"
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop it like a crash, which loses its content."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Stop it and start it, empty."""
        self.stop()
        self.start()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Stop answering for a while with connections kept open."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False


def require_redis_server() -> None:
    """Skip the test without redis-server; fail it in CI."""
    if shutil.which("redis-server") is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)(
            "redis-server is not installed: apt-get install redis-server"
        )


@contextmanager
def running_redis() -> Iterator[RealRedis]:
    """A Redis server, stopped at the end; without redis-server the test is skipped, and fails in CI."""
    require_redis_server()
    # A socket's path must stay below 100 characters: pytest's own directories can be longer.
    directory = Path(tempfile.mkdtemp(prefix="churn-redis-", dir="/tmp"))
    server = RealRedis(directory)
    server.start()
    try:
        yield server
    finally:
        server.client.close()
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
