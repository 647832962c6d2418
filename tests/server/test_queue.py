"""The queue before the model: full, shared, left, and never of two models at once."""

import asyncio
import threading
import time
from itertools import chain
from types import SimpleNamespace

import pytest

pytest.importorskip("starlette", reason="the extra 'serve' is not installed")

from toolkit.errors import BundleError
from toolkit.server.models import Model
from toolkit.server.queue import Queue
from toolkit.server.refusals import Refusal


@pytest.fixture
def model(slow_predictor):
    return Model(slow_predictor, "model", "hash")


def working(queue: Queue, *waiting):
    """Run coroutines beside the queue's own work."""

    async def run():
        work = asyncio.create_task(queue.work())
        try:
            return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 60)
        finally:
            work.cancel()

    return run()


def test_answers_are_the_predictors_in_order_whatever_came_at_the_same_time(model, slow_predictor):
    lists = [[f"film {number} of {of}" for number in range(of)] for of in (1, 40, 3, 100, 1)]
    expected = [list(slow_predictor.predict_many(texts)) for texts in lists]

    async def ask():
        queue = Queue(1000)
        return await working(queue, *(queue.answer(model, texts) for texts in lists))

    assert asyncio.run(ask()) == expected


def test_a_lone_review_does_not_wait_for_a_long_list(model, slow_predictor):
    """Its place is in the first batches after it came, not behind the lists that occupy the model."""
    slow_predictor.seconds = 0.01

    async def ask():
        queue = Queue(2000)
        long = [asyncio.create_task(queue.answer(model, ["long"] * 500)) for _ in range(3)]

        async def lone():
            while len(slow_predictor.batches) < 2:
                await asyncio.sleep(0.001)
            await queue.answer(model, ["lone"])
            return [each.done() for each in long]

        return await working(queue, *long, lone())

    assert asyncio.run(ask())[-1] == [False] * 3
    assert "lone" in chain(*slow_predictor.batches[:8])


def test_small_requests_are_read_together(model, slow_predictor):
    slow_predictor.seconds = 0.05

    async def ask():
        queue = Queue(1000)
        return await working(queue, *(queue.answer(model, [f"film {number}"]) for number in range(12)))

    asyncio.run(ask())
    assert len(slow_predictor.batches) <= 4


def test_a_full_queue_refuses_at_once_and_has_room_again(model, slow_predictor):
    slow_predictor.seconds = 0.05

    async def ask():
        queue = Queue(10)
        first = [queue.answer(model, ["a"] * 5) for _ in range(2)]
        outcomes = await working(queue, *first, queue.answer(model, ["one too many"]))
        assert queue.waiting == 0
        return outcomes, await working(queue, queue.answer(model, ["a"]))

    (*first, refused), later = asyncio.run(ask())
    assert all(len(answers) == 5 for answers in first)
    assert isinstance(refused, Refusal)
    assert refused.status == 429
    assert refused.headers == {"retry-after": "1"}
    assert len(later[0]) == 1


def test_whoever_is_patient_waits_for_room(model, slow_predictor):
    slow_predictor.seconds = 0.02

    async def ask():
        queue = Queue(10)
        return await working(queue, *(queue.answer(model, ["a"] * 8, patient=True) for _ in range(4)))

    assert [len(answers) for answers in asyncio.run(ask())] == [8] * 4


def test_who_stops_waiting_costs_nothing_more(model, slow_predictor):
    slow_predictor.seconds = 0.05

    async def ask():
        queue = Queue(10_000)
        leaving = asyncio.create_task(queue.answer(model, ["gone"] * 5000))

        async def leave():
            while not slow_predictor.batches:
                await asyncio.sleep(0.001)
            leaving.cancel()
            await asyncio.sleep(0)
            assert queue.waiting == 0
            return await queue.answer(model, ["here"])

        return await working(queue, leaving, leave())

    left, here = asyncio.run(ask())
    assert isinstance(left, asyncio.CancelledError)
    assert len(here) == 1
    assert len(slow_predictor.batches) <= 4  # two had begun


def test_room_that_somebody_leaves_is_for_who_waits_for_it(model):
    async def ask():
        queue = Queue(10)  # nobody works
        leaving = asyncio.create_task(queue.answer(model, ["gone"] * 10))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(queue.answer(model, ["here"] * 8, patient=True))
        await asyncio.sleep(0.01)
        assert queue.waiting == 10
        leaving.cancel()
        await asyncio.sleep(0.01)
        assert queue.waiting == 8
        waiting.cancel()

    asyncio.run(ask())


def test_an_explanation_holds_nobody_up(model, slow_predictor):
    explain, order = slow_predictor.explain, []

    def slowly(text):
        time.sleep(0.3)
        order.append("explained")
        return explain(text)

    async def ask():
        queue = Queue(1000)

        async def lone():
            await asyncio.sleep(0.1)
            await queue.answer(model, ["lone"])
            order.append("lone")

        await working(queue, queue.answer(model, ["A film. Another."], explain=True), lone())

    slow_predictor.explain = slowly
    asyncio.run(ask())
    assert order == ["lone", "explained"]


def test_a_batch_that_takes_long_does_not_hold_up_the_end(model, slow_predictor):
    read = slow_predictor.predict_each
    begun, may_end = threading.Event(), threading.Event()

    def slowly(texts):
        begun.set()
        may_end.wait()
        return read(texts)

    async def end():
        queue = Queue(1000)
        work, asking = asyncio.create_task(queue.work()), asyncio.create_task(queue.answer(model, ["a film"]))
        await asyncio.to_thread(begun.wait)
        started = time.monotonic()
        for task in (work, asking):
            task.cancel()
        await asyncio.wait((work, asking))
        return time.monotonic() - started, queue.is_reading, queue

    slow_predictor.predict_each = slowly
    watchdog = threading.Timer(20, may_end.set)
    watchdog.start()
    seconds, is_reading, queue = asyncio.run(end())
    assert seconds < 10
    assert is_reading
    may_end.set()
    watchdog.cancel()
    while queue.is_reading:
        time.sleep(0.01)


def test_two_models_never_share_a_batch(model, slow_predictor, fake_predictor):
    other = Model(fake_predictor, "other", "other hash")
    asked = []
    fake_predictor.predict_each = lambda texts: asked.append(list(texts)) or iter([None] * len(asked[-1]))

    async def ask():
        queue = Queue(1000)
        await working(queue, *(queue.answer(each, [each.name] * 3) for each in (model, other) * 4))

    asyncio.run(ask())
    assert [*chain(*asked)] == ["other"] * 12
    assert [*chain(*slow_predictor.batches)] == ["model"] * 12


def test_a_model_that_fails_is_told_to_those_who_asked_and_forgotten_when_it_answers(model, slow_predictor):
    good = slow_predictor.logits

    def fail(encodings):
        raise BundleError("the weights are damaged")

    async def ask():
        queue = Queue(1000)
        slow_predictor.logits = fail
        outcomes = await working(queue, queue.answer(model, ["a"]), queue.answer(model, ["b"] * 100))
        assert isinstance(queue.failed, BundleError)
        slow_predictor.logits = good
        later = await working(queue, queue.answer(model, ["a"]))
        assert queue.failed is None
        assert queue.waiting == 0
        return outcomes, later

    outcomes, later = asyncio.run(ask())
    assert [str(error) for error in outcomes] == ["the weights are damaged"] * 2
    assert later[0][0].label


def test_a_replaced_model_is_closed_when_nobody_uses_it_any_more():
    closed = []
    model = Model(SimpleNamespace(close=lambda: closed.append(True)), "model", "hash")
    with model.used():
        model.replace()
        with model.used():
            pass
        assert not closed
    assert closed == [True]
