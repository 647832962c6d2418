import io

import pytest

from tests.conftest import FakePredictor
from toolkit.models.bundle import Kind, Manifest
from toolkit.prediction import Abstention
from toolkit.streaming import ResultWriter, Selection, Source, classify, make_writer, read_records
from toolkit.text.tokenisation import ReviewTokenizer


class Reads:
    """A stream whose reads bring exactly the given blocks, as a slow pipe's do."""

    def __init__(self, *blocks):
        self.blocks = list(blocks)

    def read(self, size):
        return self.blocks.pop(0) if self.blocks else b""


@pytest.fixture(scope="session")
def predictor(tiny_tokenizer):
    """The fake predictor for as long as hypothesis wants it."""
    return FakePredictor(Manifest(Kind.ONNX, "fake", 64), ReviewTokenizer(tiny_tokenizer, 64))


@pytest.fixture(scope="session")
def run(predictor):
    """Bytes in, (bytes out, complaints, tally) as the filter has them."""

    def run(data, input_format="lines", output_format="tsv", *, field="text", prefix="", on_error="report", below=0.5,
            selection=None, end=b"\n"):  # fmt: skip
        stream = data if isinstance(data, Reads) else io.BytesIO(data)
        complaints = []
        results = ResultWriter(
            make_writer(output_format, lambda prediction: prediction.verdict, prefix, end),
            selection or Selection(),
            on_error,
            lambda error: complaints.append(str(error)),
        )
        view = predictor.with_options(abstention=Abstention(below))
        records = read_records(Source("", stream), input_format, field)
        written = b"".join(results.write(classify(records, lambda: view)))
        return written, complaints, results.tally

    return run
