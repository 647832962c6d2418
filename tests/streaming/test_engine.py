import threading

import pytest

from toolkit.errors import ToolkitError
from toolkit.formats.places import Place
from toolkit.formats.records import LineRecord
from toolkit.streaming import Selection, Source, Tally, classify, read_records


class Typist:
    """A stream on which the next line is typed only when the last one has been answered."""

    def __init__(self, *lines):
        self.lines = list(lines)
        self.may_type = threading.Semaphore(1)

    def read(self, size):
        self.may_type.acquire(timeout=60)
        return self.lines.pop(0) if self.lines else b""


def test_a_typed_line_is_answered_before_the_next_is_typed(predictor):
    stream = Typist(b"first\n", b"second\n", b"third\n")
    answered = []
    for batch in classify(read_records(Source("", stream), "lines", "text"), lambda: predictor):
        answered.append([record.text for record, _ in batch])
        stream.may_type.release()
    assert answered == [["first"], ["second"], ["third"]]


@pytest.mark.parametrize(("input_format", "data"), [
    ("nul", b"first\0"), ("jsonl", b'{"text": "first"}\n'), ("csv", b'text\n"first"\n'),
])  # fmt: skip
def test_every_format_answers_at_the_end_of_a_record(predictor, input_format, data):
    stream = Typist(data)
    batch = next(classify(read_records(Source("", stream), input_format, "text"), lambda: predictor))
    assert [record.text for record, _ in batch] == ["first"]
    stream.may_type.release()


def test_input_that_is_there_soon_fills_every_chunk(predictor, monkeypatch):
    monkeypatch.setattr(predictor, "chunk_size", 50)
    there = threading.Event()

    def records():
        for number in range(64):
            yield LineRecord(Place(line=number), b"a film")
        there.set()

    def load():
        assert there.wait(60)  # the reader works while a model is loaded
        return predictor

    assert [len(batch) for batch in classify(records(), load)] == [16, 32, 16]


def test_no_more_is_read_than_a_chunk_ahead(predictor):
    taken = 0

    def records():
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield LineRecord(Place(line=number), b"a film")

    answered = 0
    for batch in classify(records(), lambda: predictor):
        answered += len(batch)
        assert taken <= answered + 64 + predictor.chunk_size + 1  # 64 before the chunk's size is known
    assert answered == taken == 10_000


def test_huge_records_are_read_ahead_by_few(predictor):
    taken = 0

    def records():
        nonlocal taken
        for number in range(40):
            taken += 1
            yield LineRecord(Place(line=number), b"film " * 200_000)

    answered = 0
    for batch in classify(records(), lambda: predictor):
        answered += len(batch)
        assert taken <= answered + 6  # five of a megabyte each, and one in the hand
    assert answered == taken == 40


def test_what_was_read_before_an_error_is_answered(predictor):
    def records():
        yield LineRecord(Place(line=1), b"a film")
        raise ToolkitError("the disk is gone")

    batches = classify(records(), lambda: predictor)
    assert [str(record.place) for record, _ in next(batches)] == ["line 1"]
    with pytest.raises(ToolkitError, match="the disk is gone"):
        next(batches)


def test_the_reader_ends_with_the_one_who_asks(predictor):
    batches = classify((LineRecord(Place(line=1), b"a film") for _ in range(10_000)), lambda: predictor)
    next(batches)
    readers = [thread for thread in threading.enumerate() if thread.name == "reader"]
    batches.close()
    for thread in readers:
        thread.join(10)
        assert not thread.is_alive()


def test_a_model_that_cannot_be_loaded_is_the_error():
    def load():
        raise ToolkitError("no model")

    with pytest.raises(ToolkitError, match="no model"):
        list(classify(iter([]), load))


def test_selections_are_greps(run, predictor):
    texts = ["a great film", "dull", "it is what it is", "zzz", "the plot is thin", "lovely", "no"]
    data = "".join(f"{text}\n" for text in texts).encode()
    predictions = dict(zip(texts, predictor.predict_many(texts), strict=True))
    assert len({each.label for each in predictions.values()}) == 2
    bound = sorted(each.score for each in predictions.values())[3]

    def kept(selection, below=0.5):
        written, _, tally = run(data, selection=selection, below=below)
        rows = [line.split("\t") for line in written.decode().splitlines()]
        assert tally.kept == len(rows)
        assert tally.verdicts.total() == len(texts)
        return {row[2]: row[0] for row in rows}

    assert kept(Selection({"positive"})) == {
        text: "positive" for text, each in predictions.items() if each.label.index == 1
    }
    sure = {text: each.label.name for text, each in predictions.items() if each.score >= bound}
    assert kept(Selection(min_score=bound)) == sure
    assert kept(Selection(min_score=bound, invert=True)).keys() == set(texts) - sure.keys()
    assert kept(Selection({"uncertain"}), bound) == dict.fromkeys(set(texts) - sure.keys(), "uncertain")
    assert kept(Selection({"positive", "negative"}), bound) == sure


@pytest.mark.parametrize("output_format", ["tsv", "jsonl"])
def test_what_happens_at_a_bad_record(run, output_format):
    data = b"one\n\ntwo\n"
    written, complaints, tally = run(data, output_format=output_format, on_error="report")
    assert written.count(b"\n") + len(complaints) == 3
    assert tally.problems == 1
    written, complaints, tally = run(data, output_format=output_format, on_error="skip")
    assert (written.count(b"\n"), complaints, tally.problems) == (2, [], 1)
    with pytest.raises(ToolkitError, match=r"^line 2: empty review$"):
        run(data, output_format=output_format, on_error="stop")


def test_a_summary_of_nothing_and_of_something(run):
    assert Tally().summary().startswith("0 reviews: none; 0 kept, 0 not classified; mean score none; 0.0 reviews/s")
    _, _, tally = run(b"a\n\nb\n")
    assert "2 reviews: " in tally.summary()
    assert "; 2 kept, 1 not classified; mean score 0." in tally.summary()
