"""Real small things: a tiny random DistilBERT, an adapter trained on it, and the bundle exported from that."""

import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models lose more to threads than they gain; before torch
os.environ.setdefault("CHAINLIT_APP_ROOT", tempfile.mkdtemp())  # chainlit writes into the working folder on import

import logging
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from toolkit.datasets.splits import read_reviews, write_reviews
from toolkit.models.bundle import MANIFEST, NGRAM_TABLE, Kind, Manifest, read_manifest, write_manifest
from toolkit.models.files import sha256
from toolkit.prediction import Predictor
from toolkit.prediction.combination import Combination
from toolkit.text.tokenisation import ReviewTokenizer

ROOT = Path(__file__).parent.parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


# Begun first where files are shared out among processes, so that none of them is left to be waited for at the end.
LONG_FILES = (
    "chat/test_browser.py", "training/test_run.py", "test_readme.py", "faults/test_kill.py", "test_sealed.py",
    "chat/test_accessibility.py", "test_supply_chain.py", "models/test_hub.py", "faults/test_surroundings.py",
    "chat/test_attacks.py", "training/test_resume.py", "export/test_pipeline.py", "cluster/test_ray_engine.py",
    "cluster/test_node_failure.py", "benchmark/test_bench.py", "benchmark/test_peers.py", "models/test_adapter.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """The long files before the others; each keeps its order."""
    places = {str(ROOT / "tests" / name): place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(str(item.path), len(places)))


def pytest_make_parametrize_id(val):
    """What gzip and ZIP write has the time in it, and the processes that share out the tests have to name them alike."""
    return "bytes" if isinstance(val, bytes) and len(val) > 8 else None


@pytest.fixture(autouse=True)
def own_logging():
    """Undo what a command run inside a test did to the loggers; a process of its own would end with it."""
    loggers = [logging.getLogger(name) for name in ("toolkit", "toolkit.prediction", "export")]
    before = [(logger.level, logger.handlers, logger.propagate) for logger in loggers]
    yield
    for logger, state in zip(loggers, before, strict=True):
        level, logger.handlers, logger.propagate = state
        logger.setLevel(level)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and models that is too large or not free to be in the project."""
    folder = Path(os.environ.get("TOOLKIT_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at $TOOLKIT_SHARED or {folder}")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The offline base model, folded; its package is in the extra `offline`."""
    from toolkit.errors import MissingExtraError
    from toolkit.models.base_models import minilm_folder

    try:
        return minilm_folder()
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def demo_reviews():
    return {split: read_reviews(ROOT / "dataset" / f"{split}.csv") for split in ("train", "validation", "test")}


@pytest.fixture(scope="session")
def tiny_tokenizer(demo_reviews) -> Tokenizer:
    normalizer, pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    words = Counter(
        word
        for review in demo_reviews["train"]
        for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(review.text))
    )
    letters = sorted(set("".join(words)))
    common = sorted(words, key=lambda word: (-words[word], word))[:400]  # a trainer would break ties by chance
    pieces = dict.fromkeys([*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *common])
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory, tiny_tokenizer) -> Path:
    """A random DistilBERT of two layers, as `save_pretrained` leaves it."""
    import torch
    from transformers import DistilBertConfig, DistilBertModel, DistilBertTokenizerFast

    folder = tmp_path_factory.mktemp("base") / "tiny"
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=tiny_tokenizer.get_vocab_size(), dim=32, hidden_dim=64, n_layers=2, n_heads=2, initializer_range=0.2
    )
    DistilBertModel(config).save_pretrained(folder)
    DistilBertTokenizerFast(tokenizer_object=tiny_tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory, demo_reviews) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    for split, count in (("train", 64), ("validation", 24), ("test", 24)):
        write_reviews(folder / f"{split}.csv", demo_reviews[split][:count])
    return folder


@pytest.fixture(scope="session")
def tiny_settings(tiny_base, tiny_dataset) -> dict:
    return {
        "base_model": str(tiny_base),
        "dataset": str(tiny_dataset),
        "num_train_epochs": 3,
        "learning_rate": 1e-2,
        "train_probe": 16,
        "precision": "fp32",  # the same bits whatever the CPU could do
        "seed": 1,  # its adapter's temperature is 1: with 42 the scores of 24 reviews ask for another
    }


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, tiny_settings):
    """The result of a whole training run of 24 steps."""
    from toolkit.training.config import TrainingConfig
    from toolkit.training.run import train

    return train(TrainingConfig(**tiny_settings, adapter_dir=str(tmp_path_factory.mktemp("run") / "lora_model")))


@pytest.fixture(scope="session")
def tiny_adapter(tiny_run) -> Path:
    return tiny_run.adapter


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory, tiny_adapter, tiny_dataset) -> Path:
    from export import ExportOptions, export_model

    output = tmp_path_factory.mktemp("export") / "onnx_model"
    return export_model(
        tiny_adapter, output, tiny_dataset / "validation.csv", options=ExportOptions(small_parity_set=True)
    ).bundle


@pytest.fixture(scope="session")
def ngram_bundle(tmp_path_factory, tiny_bundle, tiny_tokenizer) -> Path:
    """The tiny bundle with a table of a few n-grams beside its graph, as an export leaves it."""
    from tests.prediction.test_explanation import reader

    folder = tmp_path_factory.mktemp("ngrams") / "onnx_model"
    shutil.copytree(tiny_bundle, folder)
    ngrams = reader(tiny_tokenizer, Combination(weight=2.0, unfamiliar_below=0.01))
    ngrams.table.save(folder / NGRAM_TABLE)
    manifest = read_manifest(folder, Kind.ONNX)
    entry = {"sha256": sha256(folder / NGRAM_TABLE), "bytes": (folder / NGRAM_TABLE).stat().st_size}
    files = {**manifest.files, NGRAM_TABLE: entry}
    write_manifest(folder / MANIFEST, replace(manifest, files=files, ngrams=ngrams.describe()))
    return folder


class FakePredictor(Predictor):
    """Deterministic and instant: the more even token ids a review has, the more positive it is."""

    backend = "fake"
    device = "nowhere"
    chunk_size = 4

    def logits(self, encodings):
        balance = [float((encoding.input_ids % 2 == 0).mean() - 0.5) for encoding in encodings]
        return np.array([[-4 * value, 4 * value] for value in balance], np.float32).reshape(-1, 2)


@pytest.fixture
def fake_predictor(tiny_tokenizer) -> FakePredictor:
    return FakePredictor(Manifest(Kind.ONNX, "fake", 64), ReviewTokenizer(tiny_tokenizer, 64))


@pytest.fixture
def load_fake(fake_predictor):
    """Loads the fake predictor, whatever model is named: `CliRunner().invoke(cli, arguments, obj=load_fake)`."""

    def load(backend="auto", *, onnx_model=None, adapter=None, base_model=None, options=None, abstention=None):
        return FakePredictor(fake_predictor.manifest, fake_predictor.tokenizer, abstention=abstention)

    return load


@pytest.fixture
def toolkit_command():
    """Run the installed command in a process of its own; returns the finished process with bytes in and out."""

    def run(*arguments, stdin: bytes = b"", cwd: Path | None = None, timeout: float = 300, **environment):
        return subprocess.run(
            [sys.executable, "-m", "toolkit", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=cwd,
            timeout=timeout,
            env={**os.environ, **environment},
            check=False,
        )

    return run
