"""Running the server: it listens, and it ends or takes another model when a signal says so."""

import asyncio
import contextlib
import functools
import logging
import os
import signal
from collections.abc import Iterator
from socket import socket

import uvicorn

from toolkit.server.application import application
from toolkit.server.models import Models
from toolkit.server.service import Service
from toolkit.server.settings import KEY_VARIABLE, ServerSettings
from toolkit.web.connections import patient_config
from toolkit.web.hosts import is_loopback

_DRAIN_SECONDS = 0.3  # in which what had reached this machine before the signal is read

_logger = logging.getLogger(__name__)


def run(settings: ServerSettings, models: Models, listener: socket) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP loads the model again.

    Args:
        settings: How the server is started.
        models: The model that answers.
        listener: Where it listens.
    """
    if settings.key is None and not is_loopback(settings.host):
        _logger.warning("anybody who reaches %s can use this server; %s asks for a key", settings.host, KEY_VARIABLE)
    service = asyncio.run(_serve(settings, models, listener))
    if service.queue.is_reading:  # for nobody, after the grace time; Python would wait for its thread
        logging.shutdown()
        os._exit(0)
    models.close()


async def _serve(settings: ServerSettings, models: Models, listener: socket) -> Service:
    service = Service(settings, models)
    config = patient_config(
        uvicorn.Config, application(service), lifespan="on", ws="none", access_log=False, loop="asyncio",
        timeout_keep_alive=5, timeout_graceful_shutdown=int(settings.grace),
    )  # fmt: skip
    server = _Server(config, service)
    loop, reloads = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    def reload() -> None:
        task = loop.create_task(models.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, functools.partial(server.handle_exit, number, None))
    loop.add_signal_handler(signal.SIGHUP, reload)
    host, port = listener.getsockname()[:2]
    model = models.current
    _logger.info("http://%s:%d serves %s; Ctrl-C ends it", f"[{host}]" if ":" in host else host, port, model.name)
    await server.serve([listener])
    return service


class _Server(uvicorn.Server):
    """uvicorn, which answers what has reached it before it ends, and then ends with 0.

    Args:
        config: How uvicorn runs.
        service: The server.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the loop, and let none end the process once the server has ended by it."""
        yield

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Stop to listen, finish what was accepted, and end within the grace time."""
        for server in self.servers:
            server.close()
        self._service.stopping.set()
        await asyncio.sleep(_DRAIN_SECONDS)
        await super().shutdown(sockets)
