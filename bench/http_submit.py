"""One HTTP request per run: 64 keep-alive connections against a real control on SQLite, in two processes.

Prints requests per second, latencies, and what the store holds afterwards. The server has no agent, so what is measured
is socket → API → ledger → commit; ``--agent`` is another benchmark's business. Usage:

    python bench/http_submit.py [--runs 20000] [--connections 64] [--data DIR] [--profile FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import uvloop

ROOT = Path(__file__).parents[1]
SECRET = b"s" * 32
JOB = b'{"name":"noop","tasks":[{"name":"noop","command":["true"]}]}'


async def serve(data: Path, ready: int, stop: int) -> None:
    """Control with its API on a free port; writes ``port token`` to a pipe and serves until the other one closes."""
    from headrace.control.api import Services, build_api
    from headrace.control.auth import Auth, Role
    from headrace.control.clock import SystemClock
    from headrace.control.connect import connect
    from headrace.control.credentials import mint_token, put_token
    from headrace.control.node import Node
    from headrace.control.saved import SavedJobs
    from headrace.control.server import Doors, bind
    from headrace.control.values import Values
    from headrace.model.changes import SYSTEM
    from headrace.store.sqlite.store import open_sqlite

    sys.setswitchinterval(0.0005)
    gc.set_threshold(50_000, 25, 50)
    gc.freeze()
    clock = SystemClock()
    store = await open_sqlite(str(data), clock=clock)
    node = Node(store, clock=clock, dice=random.Random(1), fault=lambda _: None, worked=time.thread_time)
    await node.start(secret=SECRET, url="http://test", connect=connect)
    text, hashed = mint_token()
    await node.ledger.change(put_token(hashed, Role.admin), SYSTEM)
    services = Services(
        ledger=node.ledger,
        reader=store.reader,
        blobs=store.blobs,
        auth=Auth(store.reader, clock, run_secret=SECRET),
        clock=clock,
        ids=node.ids,
        graphs=node.graphs,
        jobs=SavedJobs(store.reader, alone=True),
        values=Values(store.reader, store.blobs),
        waiters=node.waiters,
        tail=node.tail,
        offers=node.placement.offers,
    )

    async def nothing(scope: object, receive: object, send: object) -> None:
        return

    doors = Doors(build_api(services), nothing)
    tcp = bind("127.0.0.1", 0)
    await doors.open(tcp, data / "bell.sock")
    begun_cpu = time.process_time()
    os.write(ready, f"{tcp.getsockname()[1]} {text}".encode())
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    loop.add_reader(stop, done.set)
    await done.wait()
    cpu = time.process_time() - begun_cpu
    changes = node.ledger.counters.changes
    print(f"  server CPU {cpu / max(1, changes) * 1e6:,.0f} µs per run (all threads)")
    print(f"  groups {node.ledger.counters.groups}, changes {node.ledger.counters.changes}")
    print(f"  settings {store.identity.settings}")
    print(f"  rows {await store.reader.counts()}")
    await doors.close()
    await node.close()


class Client(asyncio.Protocol):
    """One keep-alive connection that sends the next request when an answer is whole."""

    def __init__(self, requests: list[bytes], times: list[float], done: asyncio.Event) -> None:
        self._requests, self._times, self._done = requests, times, done
        self._buffer = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        if not self._requests:
            self._done.set()
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(self._requests.pop())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.find(b"content-length: ")
        length = int(self._buffer[at + 16 : self._buffer.index(b"\r\n", at)])
        if len(self._buffer) < head + 4 + length:
            return
        if not self._buffer.startswith(b"HTTP/1.1 201"):
            raise SystemExit(self._buffer.decode())
        self._times.append(time.perf_counter() - self._sent)
        self._buffer = b""
        self._next()


async def load(port: int, token: str, runs: int, connections: int) -> tuple[float, list[float]]:
    """Send the requests; gives seconds and latencies."""
    head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"

    def request(path: str, body: bytes) -> bytes:
        return f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    loop = asyncio.get_running_loop()

    async def go(requests: list[bytes], count: int) -> list[float]:
        times: list[float] = []
        events = [asyncio.Event() for _ in range(count)]
        for event in events:
            await loop.create_connection(lambda e=event: Client(requests, times, e), "127.0.0.1", port)
        for event in events:
            await event.wait()
        return times

    await go([request("/api/v1/jobs", JOB)], 1)
    one = request("/api/v1/jobs/noop/runs", b'{"params":{}}')
    await go([one] * 1000, connections)
    begun = time.perf_counter()
    times = await go([one] * runs, connections)
    return time.perf_counter() - begun, times


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--data", default=None)
    parser.add_argument("--profile", default="")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.data) as folder:
        ready_r, ready_w = os.pipe()
        stop_r, stop_w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(stop_w)
            if args.profile:
                import cProfile

                profile = cProfile.Profile(time.process_time)
                profile.enable()
            uvloop.run(serve(Path(folder), ready_w, stop_r))
            if args.profile:
                profile.disable()
                profile.dump_stats(args.profile)
            sys.stdout.flush()
            os._exit(0)
        os.close(stop_r)
        port, token = os.read(ready_r, 200).decode().split()
        seconds, times = uvloop.run(load(int(port), token, args.runs, args.connections))
        times.sort()
        print(f"{args.runs} runs, one request each, {args.connections} connections: {args.runs / seconds:,.0f}/s")
        print(f"  ack p50 {times[len(times) // 2] * 1000:.1f} ms, p99 {times[int(len(times) * 0.99)] * 1000:.1f} ms")
        sys.stdout.flush()
        os.close(stop_w)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
