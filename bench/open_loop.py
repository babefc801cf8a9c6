"""Open-loop load at a constant rate: a request is due at its time, and waiting for a connection counts as latency."""

import asyncio
import itertools
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

CONNECTIONS = 32
SECONDS_OF_PATIENCE = 10.0
LATE_SECONDS = 0.02
BROKEN = "broken connection"


@dataclass
class Answers:
    """The results: good answers, other answers by kind, seconds from due to answered, and requests sent late."""

    good: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    late: int = 0


@dataclass(frozen=True)
class OpenLoop:
    """POSTs bodies to a route on a port of 127.0.0.1, `rate` per second.

    Args:
        good: called for each answer 200 with the index of the body, its send time (loop clock) and the answer's body.
    """

    port: int
    route: str
    bodies: Sequence[bytes]
    rate: float
    seconds: float
    good: Callable[[int, float, bytes], None]

    async def run(self) -> Answers:
        """Send until the time is over, and return after the last answer."""
        requests = [self._request(body) for body in self.bodies]
        answers, turns, started = Answers(), itertools.count(), asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(self._connection(requests, turns, started, answers))
        return answers

    def _request(self, body: bytes) -> bytes:
        head = (
            f"POST {self.route} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def _connection(
        self, requests: Sequence[bytes], turns: Iterator[int], started: float, answers: Answers
    ) -> None:
        """Send requests until the time is over; reconnect after an error."""
        clock = asyncio.get_running_loop().time
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while (due := started + (turn := next(turns)) / self.rate) < started + self.seconds:
            await asyncio.sleep(max(0.0, due - clock()))
            sent = clock()
            answers.late += sent - due > LATE_SECONDS
            try:
                async with asyncio.timeout(SECONDS_OF_PATIENCE):
                    streams = streams or await asyncio.open_connection("127.0.0.1", self.port)
                    streams[1].write(requests[turn % len(requests)])
                    status, body = await _answer(streams[0])
            except (OSError, EOFError, TimeoutError) as error:
                answers.failed[f"{BROKEN}: {type(error).__name__}"] += 1
                if streams:
                    streams[1].close()
                streams = None
                continue
            answers.seconds.append(clock() - due)
            if status == HTTPStatus.OK:
                answers.good += 1
                self.good(turn % len(requests), sent, body)
            else:
                answers.failed[f"{status} {body[:100].decode(errors='replace')}"] += 1
        if streams:
            streams[1].close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length)
