"""The connections of the app: those of every server of ours, with a deadline for a whole request, and WebSockets."""

from typing import Any

import uvicorn
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from toolkit.chat.limits import LARGEST_FRAME, REQUEST_SECONDS
from toolkit.web.connections import PatientConnection, Stalling, patient_config


class PatientSocket(Stalling, WSProtocol):
    """A WebSocket; sockets.py holds what is sent over it."""


class PageConnection(PatientConnection):
    """An HTTP connection, on which nothing takes longer than an upload."""

    request_seconds = REQUEST_SECONDS


def app_config(config: type[uvicorn.Config], *arguments: Any, **named: Any) -> uvicorn.Config:  # noqa: ANN401
    """A uvicorn configuration as Chainlit asks for it, apart from what makes it safe; arguments as in `patient_config`.

    Args:
        config: uvicorn's own class.
        arguments: The arguments of the protocol's class.
        named: The named arguments of the protocol's class.
    """
    ours: dict[str, Any] = {
        "http": PageConnection,
        "ws": PatientSocket,
        "ws_max_size": LARGEST_FRAME,
        "ws_per_message_deflate": False,  # a small frame would become a large one before it is measured
    }
    return patient_config(config, *arguments, **{**named, **ours})
