"""Load at a constant rate, against a scripted server."""

import asyncio
import itertools
from http import HTTPStatus

from bench.open_loop import OpenLoop

RATE = 200.0
SECONDS = 0.5
BODIES = [b'{"n": 0}', b'{"n": 1}', b'{"n": 2}']


def load(status_of, pause=0.0):
    """Load a server that answers request n with its body and status_of(n), or breaks the connection for None.

    Returns:
        The results, and the good answers.
    """
    requests, good = itertools.count(), []

    async def serve(reader, writer):
        while head := await read_head(reader):
            body = await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
            status = status_of(next(requests))
            if status is None:
                break
            await asyncio.sleep(pause)
            told = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(told.encode() + body)
        writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            loop = OpenLoop(port, "/", BODIES, RATE, SECONDS, lambda index, _, body: good.append((index, body)))
            return await loop.run()

    return asyncio.run(run()), good


async def read_head(reader):
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


def test_as_many_requests_are_sent_as_the_rate_asks_for():
    answers, good = load(lambda _: 200)
    assert (answers.good, len(answers.seconds), answers.failed) == (RATE * SECONDS, RATE * SECONDS, {})
    assert sorted({index for index, _ in good}) == [0, 1, 2]
    assert all(body == BODIES[index] for index, body in good)


def test_an_answer_that_is_not_a_success_is_counted_with_its_status():
    answers, _ = load(lambda n: 503 if n % 2 else 200)
    assert answers.good == RATE * SECONDS / 2
    assert all(what.startswith("503 ") for what in answers.failed)
    assert answers.failed.total() == RATE * SECONDS / 2


def test_a_broken_connection_is_counted_and_the_next_request_has_a_new_one():
    answers, _ = load(lambda n: None if n == 10 else 200)
    assert answers.failed == {"broken connection: IncompleteReadError": 1}
    assert answers.good == RATE * SECONDS - 1


def test_waiting_for_a_connection_counts_as_latency():
    # The last of a hundred is answered in the fourth turn of the 32 connections at the earliest.
    answers, _ = load(lambda _: 200, pause=0.4)
    assert answers.good == RATE * SECONDS
    assert answers.late > 0
    assert max(answers.seconds) >= 4 * 0.4 - SECONDS
