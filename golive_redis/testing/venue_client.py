"""What talks to the paper venue: the workers, and the demo when it asks what was accepted."""

from __future__ import annotations

import http.client
import json
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import urlencode

from golive_redis.errors import GoliveError

LOOPBACK = "127.0.0.1"


class VenueError(GoliveError):
    """The venue gave no usable answer: whether it took the order is unknown."""

    reason: ClassVar[str] = "venue"


class VenueClient:
    """A worker's keep-alive connection to the venue; for one thread.

    Nothing is ever sent twice: after an error the next order opens a new connection.
    """

    def __init__(self, port: int, *, timeout_ms: int = 1_000) -> None:
        self._http = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout_ms / 1000)

    def place(
        self,
        *,
        worker: str,
        symbol: str,
        side: str,
        qty: str,
        price: str,
        fence: int | None = None,
        until_ms: int | None = None,
    ) -> bool:
        """Send one order; True when the venue accepted it, False when it refused it as malformed.

        Raises:
            VenueError: No answer in time or a strange one; the order may have been accepted.
        """
        order = {
            "worker": worker,
            "symbol": symbol,
            "side": side,
            "qty": qty,
            "price": price,
            "fence": fence,
            "until_ms": until_ms,
        }
        status, answer = self._ask("POST", "/orders", json.dumps(order).encode())
        if status not in (HTTPStatus.CREATED, HTTPStatus.BAD_REQUEST):
            raise VenueError(f"the venue answered {status}: {answer}")
        return status == HTTPStatus.CREATED

    def accepted(self, *, worker: str | None = None, since_ns: int = 0) -> dict[str, int]:
        """Return accepted orders per worker since an instant on CLOCK_MONOTONIC."""
        wanted = {"since_ns": since_ns} | ({} if worker is None else {"worker": worker})
        answer = self._get(f"/accepted?{urlencode(wanted)}")
        return {str(name): int(count) for name, count in answer["workers"].items()}

    def journal(self, *, since_ns: int = 0) -> list[dict[str, Any]]:
        """Return the accepts since an instant on CLOCK_MONOTONIC, oldest first."""
        return list(self._get(f"/journal?since_ns={since_ns}")["accepts"])

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _get(self, target: str) -> dict[str, Any]:
        status, answer = self._ask("GET", target)
        if status != HTTPStatus.OK:
            raise VenueError(f"the venue answered {status}: {answer}")
        return answer

    def _ask(
        self, method: str, target: str, body: bytes | None = None
    ) -> tuple[int, dict[str, Any]]:
        try:
            self._http.request(method, target, body)
            reply = self._http.getresponse()
            return reply.status, dict(json.loads(reply.read()))
        except (OSError, http.client.HTTPException, ValueError, TypeError) as error:
            self._http.close()
            raise VenueError(
                f"the venue gave no usable answer: {error!r}",
                hint="the order may have been accepted: ask its journal",
            ) from error
