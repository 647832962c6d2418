"""How much any of our servers takes and waits for before it knows what is asked."""

import ipaddress

LARGEST_HEAD = 32_000  # bytes of a request's line and headers; a browser sends a server all cookies of its host
DISCARDED = 200_000_000  # of a refused body read and thrown away, since a browser shows an answer only after sending

# How long is waited, in seconds.
HEAD_SECONDS = 10  # for the headers of a request; also for the first byte of the next one, if uvicorn should not
IDLE_SECONDS = 15  # for the next part of a body
STALLED_SECONDS = 30  # until a connection that takes no answer is closed

CONNECTIONS, CONNECTIONS_EACH = 500, 100  # of all and of one address; loopback, where a proxy is, may have them all


def network_of(address: str) -> str:
    """The network that counts as one address: an IPv6 customer has 2^64 of them."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        mapped = ip.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def is_proxy(address: str) -> bool:
    """Whether many people may come from here: a proxy on this machine."""
    return address in ("127.0.0.1", "::1")
