"""How the server was started, and how much it takes and waits for. docs/serving.md lists the numbers; a test holds it to them."""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.errors import ToolkitError

KEY_VARIABLE = "TOOLKIT_SERVE_KEY"

# What is sent.
LARGEST_BODY = 4_000_000  # bytes of a JSON body, whose parsing holds everybody up for some 50 ms
LARGEST_LINE = 1_000_000  # bytes of a line of NDJSON; there may be any number of lines
HELD = 64_000_000  # bytes of JSON bodies that are being read or wait for their answer, of all requests together

# How long is waited, in seconds.
BODY_SECONDS = 30  # for a whole JSON body
STREAM_IDLE_SECONDS = 60  # for the next part of a stream of NDJSON
RETRY_SECONDS = 1  # what `Retry-After` says

# How many at once.
STREAMS = 32  # of NDJSON
BLOCK_LINES = 64  # of NDJSON that wait for their answers together, two blocks of a stream at a time

_NAME = re.compile(r"[\w.-]+", re.ASCII)
_KEY = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How the server was started.

    Attributes:
        host: The address to listen on.
        port: The port to listen on.
        queue: The number of reviews that may wait for the model; what comes above it is answered with 429.
        most_texts: The number of reviews in one JSON body.
        deadline: The seconds in which a request that was read has its answer, or 503.
        grace: The seconds in which what was accepted is finished once the server is told to end.
        names: Names of this machine under which it is asked.
        origins: Origins whose pages may use it, as `https://host[:port]`.
        language: The language of labels in `/classify`, `en` or `zh`.
        key: What `Authorization: Bearer` has to carry; None lets everybody in.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    queue: int = 4_000
    most_texts: int = 1_000
    deadline: float = 30.0
    grace: float = 25.0
    names: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    language: str = "en"
    key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ToolkitError: The queue has no room for one request, an origin or a name is none, or nobody could send the key.
        """
        if self.queue < self.most_texts:
            raise ToolkitError(
                f"the queue has room for {self.queue} reviews and a request for {self.most_texts}; give --queue a larger number"
            )
        for origin in self.origins:
            if not re.fullmatch(r"https?://[^\s/*]+", origin):
                raise ToolkitError(f"{origin!r} is no origin; expected one such as https://reviews.example.org")
        for name in self.names:
            if not _NAME.fullmatch(name):
                raise ToolkitError(f"{name!r} is no name of a machine; expected one such as films.lan, without a port")
        if self.key is not None and not _KEY.fullmatch(self.key):
            raise ToolkitError(
                f"{KEY_VARIABLE} holds what no header can carry; expected printable ASCII without spaces"
            )

    @property
    def all_names(self) -> frozenset[str]:
        """The names that the server answers to, in small letters."""
        return frozenset(each.lower() for each in ("localhost", socket.gethostname(), self.host, *self.names))


def read_key(environment: Mapping[str, str] = os.environ) -> str | None:
    """The key, from its variable; None where that is unset or empty. Never an option, since others read command lines."""
    return environment.get(KEY_VARIABLE) or None
