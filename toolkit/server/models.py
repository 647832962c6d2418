"""The model that answers, and the one that takes over when its folder is replaced or the server is told to look again."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from toolkit.models.bundle import Kind
from toolkit.models.completion import model_hash
from toolkit.prediction import Predictor
from toolkit.web.predictors import open_whole

WATCH_SECONDS = 1.0  # between looks at the folder

_Status = frozenset[tuple[str, int, int, int]]
_logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Model:
    """A loaded model.

    Attributes:
        predictor: The predictor, everything of it opened.
        name: The name of its folder.
        model_hash: The hash by which a model is named everywhere, see `toolkit.models.completion.model_hash`.
        users: The number of requests and batches that need it at the moment.
        is_replaced: Whether another one answers new requests.
    """

    predictor: Predictor
    name: str
    model_hash: str
    users: int = 0
    is_replaced: bool = False

    @contextmanager
    def used(self) -> Iterator[Self]:
        """Keep it open."""
        self.users += 1
        try:
            yield self
        finally:
            self.users -= 1
            self._close_unused()

    def replace(self) -> None:
        """Close it once nobody uses it."""
        self.is_replaced = True
        self._close_unused()

    def _close_unused(self) -> None:
        if self.is_replaced and not self.users:
            self.predictor.close()


class Models:
    """The model that answers new requests; a request that has begun keeps the one that it began with.

    Args:
        load: Loads the predictor.
        folder: The folder that it comes from.
        kind: The kind of model in it.

    Raises:
        ToolkitError: There is no model to begin with.
    """

    def __init__(self, load: Callable[[], Predictor], folder: Path, kind: Kind) -> None:
        self._load = load
        self._folder = folder
        self._kind = kind
        self._seen = self._status()
        self._loading = asyncio.Lock()
        self.current = self._make()

    async def reload(self) -> None:
        """Load the model again, beside the one that answers, which stays where the new one cannot be used."""
        async with self._loading:
            seen = self._status()
            try:
                model = await asyncio.to_thread(self._make)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, there is one that answers
                _logger.warning("%s: %s", type(error).__name__, error)
                _logger.warning("the model from before goes on answering")
            else:
                old, self.current = self.current, model
                _logger.info("%s answers now, %s", model.name, model.model_hash)
                old.replace()
            self._seen = seen

    async def watch(self) -> None:
        """Load the model again when its folder has changed and is at rest, until it is cancelled."""
        before = self._seen
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = await asyncio.to_thread(self._status)
            if now and now == before and now != self._seen:
                await self.reload()
            before = now

    def close(self) -> None:
        """Free the model."""
        self.current.predictor.close()

    def _make(self) -> Model:
        predictor = self._load()
        open_whole(predictor)
        return Model(predictor, self._folder.resolve().name, model_hash(self._folder, self._kind))

    def _status(self) -> _Status:
        """What changes when a file of the folder is replaced or rewritten; nothing where there is none."""
        try:
            entries = [(path.name, path.stat()) for path in self._folder.iterdir()]
        except OSError:  # it is being exchanged, or gone
            return frozenset()
        return frozenset((name, status.st_ino, status.st_size, status.st_mtime_ns) for name, status in entries)
