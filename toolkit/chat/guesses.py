"""How fast a password may be guessed: some mistakes are free, then each doubles the wait, for one address and for all."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from toolkit.web.limits import is_proxy, network_of

FREE_MISTAKES, LONGEST_WAIT = 3, 300.0  # of one address, in seconds
FREE_MISTAKES_OF_ALL, LONGEST_WAIT_OF_ALL = 20, 10.0
FORGOTTEN_AFTER = 900.0  # seconds without a mistake
REMEMBERED = 10_000  # addresses


@dataclass
class _Mistakes:
    """How many there were, and when they were last made or forgotten."""

    count: int = 0
    last: float = 0.0

    def wait(self, now: float, free: int, longest: float) -> float:
        """Seconds until another attempt is looked at."""
        if self.count <= free or now - self.last > FORGOTTEN_AFTER:
            return 0.0
        return max(0.0, self.last + min(2.0 ** min(self.count - free, 20), longest) - now)

    def add(self, now: float) -> None:
        self.count = 1 if now - self.last > FORGOTTEN_AFTER else self.count + 1
        self.last = now


class Guesses:
    """Wrong passwords so far; on the event loop, where nothing comes between a question and its answer.

    Args:
        clock: The clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._mistakes: OrderedDict[str, _Mistakes] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()  # whoever knew the password once
        self._all = _Mistakes()

    def wait(self, address: str) -> float:
        """Seconds during which passwords from this address are not even compared; 0 where they are."""
        network, now = network_of(address), self._clock()
        own = self._mistakes.get(network, _Mistakes()).wait(now, FREE_MISTAKES, LONGEST_WAIT)
        if network in self._known:
            return own  # strangers who guess keep nobody out who has been in
        return max(own, self._all.wait(now, FREE_MISTAKES_OF_ALL, LONGEST_WAIT_OF_ALL))

    def wrong(self, address: str) -> None:
        """Count a wrong password."""
        network, now = network_of(address), self._clock()
        self._mistakes.setdefault(network, _Mistakes()).add(now)
        self._mistakes.move_to_end(network)
        self._all.add(now)
        if len(self._mistakes) > REMEMBERED:
            self._mistakes.popitem(last=False)

    def right(self, address: str) -> None:
        """Forget an address's mistakes."""
        network = network_of(address)
        self._mistakes.pop(network, None)
        if is_proxy(network):
            return  # anybody may stand behind it
        self._known[network] = None
        self._known.move_to_end(network)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
