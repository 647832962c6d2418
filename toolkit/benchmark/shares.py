"""Where the time of a stream goes: tokenisation, n-grams, the model, and everything else."""

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
from toolkit.prediction.combination import lengths
from toolkit.streaming import ResultWriter, Selection, classify, make_writer, read_records
from toolkit.text.tokenisation import Encoding


def time_shares(predictor: Predictor, texts: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Shares of the time that `toolkit filter` spends from one JSON Lines file to another, once a model is loaded.

    The whole stream is run with a model that answers at once, which leaves tokenisation, n-grams, calibration, reading and
    writing; tokenisation, n-grams and the model, on the reviews that are left to it, are also run alone.

    Returns:
        `tokenisation`, `ngrams`, `model`, `rest`: a share a round, which sum to 1.
    """
    chunks = [texts[start : start + predictor.chunk_size] for start in range(0, len(texts), predictor.chunk_size)]
    sequences = [predictor.tokenizer.encode_whole(chunk) for chunk in chunks]
    left = [_left_to_the_model(predictor, each) for each in sequences]
    shares: dict[str, list[float]] = {"tokenisation": [], "ngrams": [], "model": [], "rest": []}
    with tempfile.TemporaryDirectory(prefix="bench.") as name:
        source = Path(name) / "reviews.jsonl"
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        for _ in range(rounds):
            tokenisation = _seconds(lambda: [predictor.tokenizer.encode_whole(chunk) for chunk in chunks])
            ngrams = _seconds(lambda: [predictor.ngrams and predictor.ngrams.table.score(each) for each in sequences])
            model = _seconds(lambda: [predictor.logits(each) for each in left])
            without_model = _seconds(partial(_stream, source, _Instant(predictor)))
            rest = max(0.0, without_model - tokenisation - ngrams)
            for part, seconds in zip(shares, (tokenisation, ngrams, model, rest), strict=True):
                shares[part].append(seconds / (tokenisation + ngrams + model + rest))
    return shares


def _left_to_the_model(predictor: Predictor, sequences: Sequence[np.ndarray]) -> list[Encoding]:
    """The first windows of the reviews that n-grams do not decide."""
    windows = [predictor.tokenizer.windows(ids)[0] for ids in sequences]
    if predictor.ngrams is None or predictor.readers != "auto":
        return windows
    decided = predictor.ngrams.rule.suffices(predictor.ngrams.table.score(sequences), lengths(sequences))
    return [window for window, is_decided in zip(windows, decided.tolist(), strict=True) if not is_decided]


class _Instant(Predictor):
    """Another predictor without its model."""

    backend = "instant"
    device = "none"

    def __init__(self, predictor: Predictor) -> None:
        super().__init__(predictor.manifest, predictor.tokenizer, ngrams=predictor.ngrams, readers=predictor.readers)
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
