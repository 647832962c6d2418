"""How much the app takes, keeps and waits for, beside what every server of ours does (`toolkit.web.limits`).

docs/app.md lists the numbers of both; a test holds it to them.
"""

from collections import Counter
from collections.abc import Hashable

MEGABYTE = 1_000_000

# What is sent.
LARGEST_FORM = 64_000  # bytes of a request that is no upload, and of a multipart form around its file
LARGEST_MESSAGE = 1 << 20  # bytes of one WebSocket message: 200,000 characters at up to four bytes each, and their JSON
LARGEST_FRAME = 4 << 20  # of one that is still answered in a sentence; a larger one closes its connection
MESSAGE_BURST, MESSAGES_PER_SECOND = 30, 10  # of one connection; what comes faster waits in the sender's socket
FILES_OF_A_MESSAGE = 5
LONGEST_NAME = 200  # characters of a file's name or of a user's
LARGE_MESSAGE = 64_000  # bytes from which messages of all connections are taken one after the other …
LARGE_BYTES_PER_SECOND = 5 * MEGABYTE  # … at this speed, since parsing JSON holds everybody up

# How long is waited, in seconds.
FORM_SECONDS = 15  # for a whole body that is no upload
UPLOAD_SECONDS = 300  # for a whole upload: 20 MB at half a megabit a second
REQUEST_SECONDS = UPLOAD_SECONDS + 60  # for a whole request with its answer
JOIN_SECONDS = 10  # until a WebSocket has joined the conversation

# How many at once.
SOCKETS, SOCKETS_EACH = 400, 50  # WebSockets likewise, so that there is always a connection left for `/health`
UPLOADS = 20  # being sent, on the server …
UPLOADS_EACH = FILES_OF_A_MESSAGE  # … and in one session: browsers send all at once
SESSIONS = 1_000  # conversations kept; over that, one whose page is gone makes room

# How much is kept.
STORED, STORED_EACH = 1_000 * MEGABYTE, 100 * MEGABYTE  # bytes of files, on the server and of one session
WAITING, WAITING_EACH = 100 * MEGABYTE, 2 * MEGABYTE  # bytes of messages that wait for their answer
KEPT_ANSWERS = 100  # of one conversation that can still be corrected …
KEPT_CHARACTERS = 400_000  # … and their characters, the newest answer apart
LARGEST_CORRECTIONS = 100 * MEGABYTE  # bytes of `corrections.jsonl`


class Budget:
    """What many holders use of something, under a limit for each and for all; for one thread.

    Args:
        total: The most that all together may hold.
        each: The most that one holder may hold.
    """

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._taken: Counter[Hashable] = Counter()
        self._sum = 0

    def take(self, holder: Hashable, amount: int = 1) -> bool:
        """Whether there was room; nothing is taken where there was none."""
        if self._sum + amount > self._total or self._taken[holder] + amount > self._each:
            return False
        self._taken[holder] += amount
        self._sum += amount
        return True

    def give(self, holder: Hashable, amount: int | None = None) -> None:
        """Give back an amount, or all that the holder has."""
        given = self._taken[holder] if amount is None else min(amount, self._taken[holder])
        self._sum -= given
        self._taken[holder] -= given
        if not self._taken[holder]:
            del self._taken[holder]
