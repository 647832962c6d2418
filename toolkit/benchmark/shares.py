"""Where the time of a stream goes: tokenisation, the model, and everything else."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from toolkit.formats.sources import Source
from toolkit.prediction import Predictor
from toolkit.streaming import ResultWriter, Selection, classify, make_writer, read_records
from toolkit.text.tokenisation import Encoding


def time_shares(predictor: Predictor, texts: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Shares of the time that `toolkit filter` spends from one JSON Lines file to another, once a model is loaded.

    The whole stream is run with a model that answers at once, which leaves tokenisation, calibration, reading and
    writing; tokenisation and the model are also run alone.

    Returns:
        `tokenisation`, `model`, `rest`: a share a round, which sum to 1.
    """
    chunks = [texts[start : start + predictor.chunk_size] for start in range(0, len(texts), predictor.chunk_size)]
    encodings = [predictor.tokenizer.encode(chunk) for chunk in chunks]
    shares: dict[str, list[float]] = {"tokenisation": [], "model": [], "rest": []}
    with tempfile.TemporaryDirectory(prefix="bench.") as name:
        source = Path(name) / "reviews.jsonl"
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        for _ in range(rounds):
            tokenisation = _seconds(lambda: [predictor.tokenizer.encode(chunk) for chunk in chunks])
            model = _seconds(lambda: [predictor.logits(chunk) for chunk in encodings])
            without_model = _seconds(partial(_stream, source, _Instant(predictor)))
            rest = max(0.0, without_model - tokenisation)
            for part, seconds in (("tokenisation", tokenisation), ("model", model), ("rest", rest)):
                shares[part].append(seconds / (tokenisation + model + rest))
    return shares


class _Instant(Predictor):
    """Another predictor without its model."""

    backend = "instant"
    device = "none"

    def __init__(self, predictor: Predictor) -> None:
        super().__init__(predictor.manifest, predictor.tokenizer)
        self.chunk_size = predictor.chunk_size

    def logits(self, encodings: Sequence[Encoding]) -> np.ndarray:
        return np.zeros((len(encodings), len(self.labels)), np.float32)


def _stream(source: Path, predictor: Predictor) -> None:
    """What `toolkit filter --jsonl --format jsonl` does, into nowhere."""
    writer = make_writer("jsonl", lambda prediction: prediction.verdict, "", b"\n")
    results = ResultWriter(writer, Selection(), "report", lambda error: None)
    records = read_records(Source.open(source), "jsonl", "text")
    with Path(os.devnull).open("wb") as output:
        for block in results.write(classify(records, lambda: predictor)):
            output.write(block)


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
