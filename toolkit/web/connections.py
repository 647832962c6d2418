"""uvicorn's connections with patience that ends: who sends no request, takes no answer, or comes too often."""

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from toolkit.web.limits import (
    CONNECTIONS,
    CONNECTIONS_EACH,
    HEAD_SECONDS,
    LARGEST_HEAD,
    STALLED_SECONDS,
    is_proxy,
    network_of,
)

GONE = "gone"  # in a request's state: an event that is set when its connection is lost, whatever is left to be read
_BACKLOG = 128  # connections taken in one turn of the loop, each with a file descriptor, before any can be closed


class Stalling(asyncio.Protocol):
    """Closes a connection whose other end takes nothing of what is sent."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    client: tuple[str, int] | None
    _stalled: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """Wait for the other end, for a while."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Wait no more."""
        super().resume_writing()
        self._unstall()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._unstall()
        super().connection_lost(exc)

    def _unstall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


class PatientConnection(Stalling, H11Protocol):
    """An HTTP connection: a deadline for the head of each request, another for the whole of it, and a place to keep.

    Where all places are taken, the connection that has waited longest for its request gives up its own, so that somebody
    who opens many and sends nothing keeps nobody out.
    """

    request_seconds: float | None = None  # for a whole request with its answer; else the application has to end it
    _waiting_since: float | None = None
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, and start to wait for a request."""
        self.app_state = {**self.app_state, GONE: asyncio.Event()}
        super().connection_made(transport)
        self._waiting_since = self.loop.time()
        self._allow(HEAD_SECONDS)
        self._find_a_place()

    def handle_events(self) -> None:
        """Wait for the whole request, once its head is there."""
        super().handle_events()
        if self._waiting_since is not None and self.cycle is not None and not self.cycle.response_complete:
            self._waiting_since = None
            self._forget_deadline()
            if self.request_seconds is not None:
                self._allow(self.request_seconds)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._waiting_since = self.loop.time()
        self._allow(HEAD_SECONDS)
        super().on_response_complete()

    def handle_websocket_upgrade(self, event: Any) -> None:  # noqa: ANN401 - h11's
        """Wait no more; `Socket` does."""
        self._waiting_since = None
        self._forget_deadline()
        self._unstall()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        self._forget_deadline()
        self.app_state[GONE].set()
        super().connection_lost(exc)

    def _find_a_place(self) -> None:
        living = [each for each in self.connections if not each.transport.is_closing()]
        address = network_of(self.client[0]) if self.client else ""
        if not is_proxy(address):
            clients = (each.client for each in living if isinstance(each, Stalling))
            neighbours = sum(client is not None and network_of(client[0]) == address for client in clients)
            if neighbours > CONNECTIONS_EACH:
                self.transport.abort()
                return
        if len(living) > CONNECTIONS:
            waiting = [
                each for each in living if isinstance(each, PatientConnection) and each._waiting_since is not None
            ]
            min(waiting, key=lambda each: each._waiting_since or 0.0).transport.abort()  # this one waits too

    def _allow(self, seconds: float) -> None:
        self._forget_deadline()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def patient_config(config: type[uvicorn.Config], *arguments: Any, **named: Any) -> uvicorn.Config:  # noqa: ANN401
    """A uvicorn configuration as it was asked for, apart from what makes it safe.

    Args:
        config: uvicorn's own class.
        arguments: The arguments of the protocol's class.
        named: The named arguments of the protocol's class.
    """
    ours: dict[str, Any] = {
        "h11_max_incomplete_event_size": LARGEST_HEAD,
        "backlog": _BACKLOG,
        "log_config": None,  # the root logger's handlers escape what strangers sent
        "server_header": False,
    }
    return config(*arguments, **{"http": PatientConnection, **named, **ours})
