"""Where a server listens, which names it answers to, and which pages may use it."""

import hmac
import ipaddress
import re
import socket
from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Any

from toolkit.errors import ToolkitError

_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]+))(?::\d*)?", re.ASCII)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, whose connections send at once.

    An answer is two writes, its head and its body. asyncio sets the option for sockets that name their protocol only; without it
    the second waits until the client has acknowledged the first, which clients put off for 40 ms.

    Raises:
        ToolkitError: The address is taken, or none of this machine's.
    """
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ToolkitError(
            f"cannot listen on {host}, port {port} ({error}); choose others with --host and --port"
        ) from error
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # which those that it accepts inherit
    return listener


def is_loopback(host: str) -> bool:
    """Whether nobody on another machine can reach this address."""
    return host in ("127.0.0.1", "localhost", "::1")


def may_ask(headers: Mapping[str, str], names: Collection[str], origins: Collection[str]) -> bool:
    """Whether Host is an address or one of our names, and the page, where a page asks, one of ours.

    A name that nobody told us may be a stranger's, which leads here by DNS rebinding, and whose page then counts as ours.

    Args:
        headers: The headers of the request.
        names: The names that the server answers to, in small letters.
        origins: The other origins whose pages may use it, as `https://host[:port]`.
    """
    host, origin = headers.get("host"), headers.get("origin")
    if host is None:  # HTTP/1.0, as proxies look whether a server lives; no browser speaks it
        return origin is None
    name = _hostname(host)
    if name is None or not (name in names or _is_address(name)):
        return False
    return origin is None or origin in (f"http://{host}", f"https://{host}", *origins)


def head_size(scope: Mapping[str, Any]) -> int:
    """The bytes of a request's address and headers."""
    size = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    return size + sum(len(name) + len(value) for name, value in scope["headers"])


def is_secret(given: str, expected: str) -> bool:
    """Whether a password or key is the right one, in a time that tells nothing of it, its length included."""
    one, other = (sha256(each.encode(errors="surrogatepass")).digest() for each in (given, expected))
    return hmac.compare_digest(one, other)


def _hostname(host: str) -> str | None:
    """The name in a `Host` header, which has a port beside it and nothing else."""
    matched = _HOST.fullmatch(host)
    return (matched["address"] or matched["name"]).lower() if matched else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
