"""A TCP proxy in front of a server, as a process of its own, with a fault to switch on.

    kit.programs.proxy:main SERVER_PORT [CERTIFICATE KEY]

With a certificate it speaks TLS to its clients; `certify` shows new ones another. Commands are JSON
lines on stdin, each answered on stdout. `set` takes a mode and `delay_ms`, which holds every reply
up:

- `pass`       everything goes through, also what was held back before
- `blackhole`  nothing goes through in either direction; connections stay open, new ones too
- `mute`       pub/sub messages and invalidations do not arrive; PONGs and replies do
- `deaf`       a subscriber hears nothing at all, as on a half-open connection; replies arrive
- `no-push`    a connection that subscribes or switches tracking on is cut; reads and writes work
- `cut`        every connection is closed, new ones at once
- `dribble`    replies come in three pieces with `delay_ms` before each
- `lossy`      each tenth reply is held up by `delay_ms`, as by a lost packet that is sent again
- `hold-beat`  the next beat is held back with its connection until another mode is set

`shift` delivers one reply twice to a process that attends: all later replies are then off by one. `lead`
cuts everybody and connects to another port from then on. `counts` says how often it did what.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
import threading
from collections import Counter
from typing import Any

BEAT_KEY = b"golive:beat\r\n"
MESSAGE, PONG = b"*3\r\n$7\r\nmessage", b"*2\r\n$4\r\npong"
SWALLOWED = {"mute": (MESSAGE,), "deaf": (MESSAGE, PONG)}


class Connection:
    """One client joined with the server."""

    def __init__(self, proxy: Proxy, down: asyncio.StreamWriter, up: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.down = down
        self.up = up
        self.pushed = False
        self.attends = False
        self.gate = asyncio.Event()
        if proxy.mode != "blackhole":
            self.gate.set()

    def close(self) -> None:
        self.down.close()
        self.up.close()

    async def asks(self, reader: asyncio.StreamReader) -> None:
        """Carry what the client sends."""
        proxy = self.proxy
        while data := await reader.read(65_536):
            self.pushed = self.pushed or b"SUBSCRIBE" in data or b"TRACKING" in data
            self.attends = self.attends or b"EVAL" in data
            if self.pushed and proxy.mode == "no-push":
                proxy.counts["refused"] += 1
                break
            if proxy.mode == "hold-beat" and BEAT_KEY in data:
                proxy.mode = "pass"
                proxy.counts["held"] += 1
                self.gate.clear()
            await self.gate.wait()
            self.up.write(data)
            await self.up.drain()
        raise ConnectionResetError

    async def replies(self, reader: asyncio.StreamReader) -> None:
        """Carry what the server answers, one whole reply at a time."""
        proxy = self.proxy
        while True:
            data = await frame(reader)
            await self.gate.wait()
            if data.startswith(SWALLOWED.get(proxy.mode, ())):
                proxy.counts["swallowed"] += 1
                continue
            third = len(data) // 3 + 1
            pieces = [data[i : i + third] for i in range(0, len(data), third)]
            for piece in pieces if proxy.mode == "dribble" else [data]:
                await asyncio.sleep(proxy.delay_of_reply())
                self.down.write(piece)
                await self.down.drain()
            if proxy.shift and self.attends:
                proxy.shift = False
                proxy.counts["shifted"] += 1
                self.down.write(data)
                await self.down.drain()


class Proxy:
    def __init__(self, port: int, *certificate: str) -> None:
        self.port = port
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if self.tls:
            self.tls.load_cert_chain(*certificate)
        self.mode = "pass"
        self.delay_s = 0.0
        self.shift = False
        self.counts: Counter[str] = Counter()
        self.open: set[Connection] = set()

    def delay_of_reply(self) -> float:
        if self.mode != "lossy":
            return self.delay_s
        self.counts["replies"] += 1
        if self.counts["replies"] % 10:
            return 0.0
        self.counts["lost"] += 1
        return self.delay_s

    async def serve(self, reader: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
        """Join one client with the server until either end closes."""
        self.counts["accepted"] += 1
        try:
            if self.mode == "cut":
                raise ConnectionResetError
            answers, up = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            down.close()
            return
        connection = Connection(self, down, up)
        self.open.add(connection)
        pumps = [
            asyncio.ensure_future(connection.asks(reader)),
            asyncio.ensure_future(connection.replies(answers)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self.open.discard(connection)
            connection.close()

    def do_set(self, mode: str, delay_ms: float) -> None:
        self.mode, self.delay_s = mode, delay_ms / 1000
        for connection in list(self.open):
            if mode == "blackhole":
                connection.gate.clear()
            else:
                connection.gate.set()
            if mode == "cut":
                connection.close()

    def do_certify(self, cert: str, key: str) -> None:
        assert self.tls is not None
        self.tls.load_cert_chain(cert, key)

    def do_shift(self) -> None:
        self.shift = True

    def do_lead(self, port: int) -> None:
        self.port = port
        for connection in list(self.open):
            connection.close()

    def do_counts(self) -> None:
        """Answered like every command, with the counts."""


async def frame(reader: asyncio.StreamReader) -> bytes:
    """Read one reply of the protocol, whole."""
    line = await reader.readuntil(b"\r\n")
    if line[:1] == b"$" and line[1:2] != b"-":
        return line + await reader.readexactly(int(line[1:]) + 2)
    if line[:1] == b"*":
        for _ in range(int(line[1:])):
            line += await frame(reader)
    return line


def tell(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def serve() -> None:
    proxy = Proxy(int(sys.argv[1]), *sys.argv[2:])
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=proxy.tls)
    tell(event="ready", port=server.sockets[0].getsockname()[1])
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def act(ask: dict[str, Any]) -> None:
        number, command = ask.pop("id"), ask.pop("do")
        getattr(proxy, f"do_{command}")(**ask)
        tell(event="reply", id=number, counts=proxy.counts)

    def obey() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(act, json.loads(line))
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=obey, daemon=True).start()
    await ended.wait()


def main() -> None:
    asyncio.run(serve())
