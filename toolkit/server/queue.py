"""One bounded queue before the model: several small requests are read together, and none waits for a long list to end."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from toolkit.errors import EmptyReviewError
from toolkit.machine import available_cores
from toolkit.prediction import Prediction
from toolkit.prediction.explanation import Explanation
from toolkit.server.models import Model
from toolkit.server.refusals import overloaded

Answer = Prediction | Explanation | None  # None where there is nothing to read

_EACH_CORE = 8  # reviews that the model is given at a time; more would let a lone one wait, fewer idle the cores
_GATHER_SECONDS = 0.002  # for those to ask again who were answered together; a lone client is not waited with
_TOGETHER = 2  # of such batches: one is tokenised while the other's transformer runs


@dataclass(eq=False, slots=True)
class _Job:
    """The reviews of one request, or a block of a stream.

    Attributes:
        model: The model that answers all of them, whatever becomes the server's meanwhile.
        texts: The reviews.
        explain: Whether they are explained, too; each is then a batch by itself.
        done: Told when all answers are there.
        answers: Those that are there, in the order of the texts.
        begun: The number of texts that the model was given.
        left: The number of texts without an answer.
    """

    model: Model
    texts: Sequence[str]
    explain: bool
    done: "asyncio.Future[None]"
    answers: list[Answer] = field(default_factory=list)
    begun: int = 0
    left: int = 0


_Batch = list[tuple[_Job, int]]  # reviews, each by its job and its place in it


class Queue:
    """Reviews that wait for the model.

    Each batch takes from every request that waits, in turn. The predictor reads each text by itself, so an answer does not
    depend on its company.

    Args:
        most: The number of reviews that may wait.
        observe: Told the number of reviews of every batch that is answered.
    """

    def __init__(self, most: int, observe: Callable[[int], None] = lambda _: None) -> None:
        self.waiting = 0
        self.failed: Exception | None = None  # of the last batch, where the model did not answer
        self._most = most
        self._observe = observe
        self._size = _EACH_CORE * available_cores()
        self._jobs: dict[_Job, None] = {}  # in turn
        self._last = 0  # the number of reviews in the batch that began last
        self._running: list[_Batch] = []
        self._reading: set[Future[Sequence[Answer]]] = set()  # what threads do, wanted by somebody or not
        self._changed = asyncio.Event()

    async def answer(
        self, model: Model, texts: Sequence[str], *, explain: bool = False, patient: bool = False
    ) -> list[Answer]:
        """The answers to reviews, in order. Whoever stops waiting has taken them out of the queue.

        Args:
            model: Who answers.
            texts: The reviews.
            explain: Whether to explain the answers.
            patient: Whether to wait for room.

        Raises:
            Refusal: There is no room.
            BundleError: The model cannot answer.
        """
        if patient:
            await self._until(lambda: self._has_room(len(texts)))
        elif not self._has_room(len(texts)):
            raise overloaded(f"{self.waiting} reviews wait already; send yours again in a moment")
        job = _Job(model, texts, explain, asyncio.get_running_loop().create_future())
        job.answers, job.left = [None] * len(texts), len(texts)
        if texts:
            self.waiting += len(texts)
            self._jobs[job] = None
            self._changed.set()
            try:
                await job.done
            finally:
                if self._jobs.pop(job, job) is None:
                    self.waiting -= len(texts) - job.begun
                    self._changed.set()
        return job.answers

    @property
    def is_reading(self) -> bool:
        """Whether the model is at work; its batch goes on to the end even where nobody waits for it any more."""
        return any(not each.done() for each in tuple(self._reading))

    async def work(self) -> None:
        """Answer what waits, until it is cancelled; a batch in a thread is not waited for then."""
        threads = ThreadPoolExecutor(_TOGETHER, thread_name_prefix="predict")
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_TOGETHER):
                    group.create_task(self._work(threads))
        finally:
            threads.shutdown(wait=False)

    def _has_room(self, texts: int) -> bool:
        return self.waiting + texts <= self._most

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _can_begin(self) -> bool:
        """Whether there is work for another batch; few reviews gather while one runs, an explanation holds nobody up."""
        others = [batch for batch in self._running if not batch[0][0].explain]
        return bool(self._jobs) and (not others or self.waiting >= self._size)

    async def _work(self, threads: Executor) -> None:
        while True:
            await self._until(self._can_begin)
            if self._last > 1 and self.waiting < self._size:
                await asyncio.sleep(_GATHER_SECONDS)
                if not self._can_begin():
                    continue
            batch = self._next_batch()
            self._last = len(batch)
            self._running.append(batch)
            self._changed.set()  # there is room again
            try:
                with batch[0][0].model.used():
                    reading = threads.submit(_read, batch)
                    self._reading.add(reading)
                    reading.add_done_callback(self._reading.discard)
                    answers = await asyncio.wrap_future(reading)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who asked have to know
                self.failed = error
                _fail(batch, error)
            else:
                self.failed = None
                self._observe(len(batch))
                _deliver(batch, answers)
            finally:
                self._running.remove(batch)
                self._changed.set()

    def _next_batch(self) -> _Batch:
        """Reviews for one model: of every job that waits its share; those who have more go to the end of the line."""
        first = next(iter(self._jobs))
        jobs = [first]
        if not first.explain:
            jobs = [job for job in self._jobs if job.model is first.model and not job.explain][: self._size]
        share = 1 if first.explain else max(1, self._size // len(jobs))
        batch = []
        for job in jobs:
            until = min(job.begun + share, len(job.texts))
            batch += [(job, place) for place in range(job.begun, until)]
            self.waiting -= until - job.begun
            job.begun = until
            del self._jobs[job]
            if until < len(job.texts):
                self._jobs[job] = None
        return batch


def _read(batch: _Batch) -> Sequence[Answer]:
    """Ask the predictor; several reviews occupy a core each, a lone one all of them."""
    job = batch[0][0]
    texts = [each.texts[place] for each, place in batch]
    if not job.explain:
        return list(job.model.predictor.predict_each(texts))
    try:
        return [job.model.predictor.explain(texts[0])]
    except EmptyReviewError:
        return [None]


def _deliver(batch: _Batch, answers: Sequence[Answer]) -> None:
    for (job, place), answer in zip(batch, answers, strict=True):
        job.answers[place] = answer
        job.left -= 1
        if not job.left and not job.done.done():
            job.done.set_result(None)


def _fail(batch: _Batch, error: Exception) -> None:
    for job, _ in batch:
        if not job.done.done():
            job.done.set_exception(error)
