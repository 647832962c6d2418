"""Where a server listens."""

import socket

from toolkit.web.hosts import listen


def test_a_connection_sends_the_body_without_waiting_for_an_acknowledgement_of_the_head() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()[:2]):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
