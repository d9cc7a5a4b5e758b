"""A door with a token in front of the view, for when others than this machine may reach it.

Viser itself lets everybody in. So it listens on the loopback only, and this relay passes on the connections whose first
request carries the token, in the address (`?token=...`, which the browser then keeps as a cookie) or in the cookie. It
looks at the head of the first request and then only moves bytes, so web sockets pass as they are.

One thread runs the event loop; `close` may be called from any.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import threading
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

COOKIE = "smolvla_ros_view"
_HEAD_BYTES = 16384
_HEAD_TIMEOUT_S = 5.0


def admits(head: bytes, token: str) -> tuple[bool, bool]:
    """Whether the head of an HTTP request carries the token, and whether it does so in its address."""
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    query = parse_qs(urlsplit(parts[1]).query) if len(parts) == 3 else {}
    by_address = any(hmac.compare_digest(value.encode(), token.encode()) for value in query.get("token", []))
    cookies = SimpleCookie()
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name.strip().lower() == "cookie":
            with contextlib.suppress(CookieError):
                cookies.load(value.strip())
    by_cookie = COOKIE in cookies and hmac.compare_digest(cookies[COOKIE].value.encode(), token.encode())
    return by_address or by_cookie, by_address


class Gate:
    """Listens on `host`:`port` and relays to `target_port` on the loopback.

    Raises:
        OSError: the port is taken, or the host is no address of this machine.
    """

    def __init__(self, host: str, port: int, target_port: int, token: str = ""):
        self.token = token or secrets.token_urlsafe(16)
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="view gate", daemon=True)
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, host, port), self._loop)
        try:
            self._server = started.result()
        except OSError:
            self._end_loop()
            raise
        self.port: int = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_TIMEOUT_S)
            allowed, by_address = admits(head[:_HEAD_BYTES], self.token)
            if not allowed:
                await self._answer(writer, "403 Forbidden", "", "The address needs ?token=..., as it was printed.\n")
            elif by_address:
                cookie = f"Set-Cookie: {COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/\r\nLocation: /\r\n"
                await self._answer(writer, "303 See Other", cookie, "")
            else:
                await self._relay(head, reader, writer)
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, status: str, headers: str, body: str) -> None:
        length = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(f"HTTP/1.1 {status}\r\n{headers}Content-Type: text/plain\r\n{length}{body}".encode("latin-1"))
        await writer.drain()

    async def _relay(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        inner_writer.write(head)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
            target.close()

        try:
            await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
        finally:
            inner_writer.close()
