"""The layout on disk of `lora_model/` and `onnx_model/`: one manifest, written, published and verified here."""

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import MISSING, asdict, dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from toolkit.choices import Truncation, choices
from toolkit.errors import BundleError, MissingModelError
from toolkit.models.files import read_json, read_json_object, sha256, write_json
from toolkit.models.migrations import FORMAT, migrate
from toolkit.text.labels import SENTIMENT, LabelSet
from toolkit.text.truncation import DEFAULT_TRUNCATION

MANIFEST = "manifest.json"
MODEL_CARD = "README.md"
NGRAM_TABLE = "ngrams.npy"
UNFINISHED = (
    ".*.partial"  # behind a dot and a folder's name, what is at work on that folder, see `toolkit.models.publishing`
)
_DIGEST = "sha256"


class Kind(StrEnum):
    """What a folder holds."""

    ADAPTER = "adapter"
    ONNX = "onnx"


REQUIRED_FILES = {
    Kind.ADAPTER: ("adapter_config.json", "adapter_model.safetensors", "config.json", "tokenizer.json"),
    Kind.ONNX: ("model.onnx", "config.json", "tokenizer.json", "report.json"),
}
_REMEDY = {
    Kind.ADAPTER: "train it with: toolkit train",
    Kind.ONNX: "make it with: toolkit export",
}


@dataclass(frozen=True)
class Manifest:
    """What a folder says of itself.

    A field with a default may be missing on disk, and a reader leaves out one that it does not know, so that a later
    field needs no new format. One that may not be left out does.

    Attributes:
        kind: Whether the folder holds an adapter or an ONNX bundle.
        base_model: What the adapter was trained on: `minilm`, a hub id or a folder.
        max_length: The number of tokens read of a review, [CLS] and [SEP] included.
        labels: The class names in the order of the logits' columns.
        displays: By language and label, the words for readers, where they are not the label's name.
        temperature: The number by which the logits are divided before the softmax (Guo et al. 2017, arXiv:1706.04599).
        truncation: What is read of a longer review, see `toolkit.prediction.InferenceOptions`.
        uncertain_below: The score below which a review is left undecided unless the user says otherwise; 0.5 decides all.
        risk_coverage: The `accuracy` of the reviews with a score of at least `uncertain_below`, and the share they are,
            `coverage`, on the parity set, from all reviews to the surest; empty where there were too few.
        ngrams: Of the n-gram table beside the model, the `scales` of its columns and the `rule` by which it is used, see
            `toolkit.prediction.combination`; None where there is no table.
        base_model_sha256: The SHA-256 of the base's `model.safetensors`; None where it is unknown.
        training: The configuration that trained the adapter.
        metrics: What was measured, by split or stage.
        versions: The versions of the packages that made it.
        files: The SHA-256 and the size in bytes of every other file in the folder.
        format: The format of this manifest; a reader refuses one newer than its own.
    """

    kind: Kind
    base_model: str
    max_length: int
    labels: tuple[str, ...] = SENTIMENT.names
    displays: dict[str, dict[str, str]] = field(default_factory=dict)
    temperature: float = 1.0
    truncation: Truncation = DEFAULT_TRUNCATION
    uncertain_below: float = 0.5
    risk_coverage: tuple[dict[str, float], ...] = ()
    ngrams: dict[str, Any] | None = None
    base_model_sha256: str | None = None
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    format: int = FORMAT

    @cached_property
    def label_set(self) -> LabelSet:
        """The labels with their words for readers."""
        return LabelSet.of_model(self.labels, self.displays)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest and, as `sha256`, the digest of everything else in it."""
    content = asdict(manifest)
    write_json(path, {**content, _DIGEST: _digest(content)})


def _digest(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def read_manifest(folder: Path, kind: Kind, later: Collection[str] = ()) -> Manifest:
    """Read a folder's manifest and verify it and every file it names, to the last byte.

    An adapter made elsewhere has no manifest; its own files are read instead and nothing can be verified.

    Args:
        folder: The folder.
        kind: What it is to hold.
        later: Files of which only the size is compared: whoever opens one verifies it then, with `verify_file`.

    Raises:
        BundleError: the folder or a file is missing, damaged, newer than this reader or of another kind.
    """
    if not folder.is_dir():
        raise MissingModelError(folder, _REMEDY[kind])
    if not (folder / MANIFEST).is_file() and any(folder.glob(f".*{UNFINISHED}")):
        raise BundleError(
            f"{folder} is being written, or a run that wrote it was killed; wait for that run, or run the same again"
        )
    missing = [name for name in REQUIRED_FILES[kind] if not (folder / name).is_file()]
    if missing:
        raise BundleError(f"{folder} is not a complete {kind} folder: {', '.join(missing)} missing; {_REMEDY[kind]}")
    if not (folder / MANIFEST).is_file():
        if kind is Kind.ADAPTER:
            return _describe_foreign_adapter(folder)
        raise BundleError(f"{folder / MANIFEST} is missing, so nothing says what the model is; {_REMEDY[kind]}")
    manifest = _parse(folder / MANIFEST, kind)
    _verify_files(folder, manifest, later)
    return manifest


def check_max_length(max_length: int, positions: int) -> int:
    """The number of tokens to read of a review, if the model can.

    Raises:
        BundleError: The model has no positions for so many tokens, or the number leaves no room for a review.
    """
    if not 3 <= max_length <= positions:
        raise BundleError(f"the model reads 3 to {positions} tokens, but max_length is {max_length}; choose one within")
    return max_length


def max_positions(folder: Path) -> int:
    """The tokens a model has positions for, from its `config.json`; DistilBERT's 512 where it does not say.

    Raises:
        BundleError: the file says something that is no number of positions.
    """
    positions = read_json_object(folder / "config.json").get("max_position_embeddings", 512)
    if type(positions) is not int or positions < 3:
        raise BundleError(
            f"{folder / 'config.json'} has max_position_embeddings {positions!r}, expected a number over 2"
        )
    return positions


def _parse(path: Path, kind: Kind) -> Manifest:
    content = read_json(path)
    remedy = _REMEDY[kind]
    if not isinstance(content, dict) or type(content.get("format")) is not int or content["format"] < 1:
        raise BundleError(f"{path} is not a manifest: expected an object with a number 'format'; {remedy}")
    if content["format"] > FORMAT:
        raise BundleError(
            f"{path} has format {content['format']}, newer than the {FORMAT} known here; update the toolkit"
        )
    if content.get("kind") != kind:
        raise BundleError(f"{path.parent} holds a model of kind {content.get('kind')!r}, expected '{kind}'; {remedy}")
    written = content["format"]
    if written >= 3 and content.pop(_DIGEST, None) != _digest(content):
        raise BundleError(f"{path} does not match its own SHA-256: damaged, or edited by hand; {remedy}")
    content = migrate(content)
    known = {each.name for each in fields(Manifest)}
    if written < 4:  # every field was written, and an earlier format than 3 has no digest to show that one is lost
        wrong = sorted((known ^ content.keys()) - _ADDED_TO_4)
    else:
        content = {name: value for name, value in content.items() if name in known}
        wrong = sorted(_REQUIRED - content.keys())
    wrong = wrong or [name for name, holds in _CHECKS.items() if name in content and not holds(content[name])]
    if wrong:
        raise BundleError(f"{path} lacks or garbles: {', '.join(wrong)}; {remedy}")
    names = tuple(content.get("labels", SENTIMENT.names))
    try:
        labels = LabelSet.of_model(names, content.get("displays"))
    except ValueError as error:
        raise BundleError(f"{path} garbles the labels: {error}; {remedy}") from error
    thresholds = [
        content.get("uncertain_below", 1),
        *(each["uncertain_below"] for each in content.get("risk_coverage", ())),
    ]
    if min(thresholds) < labels.lowest_score:
        raise BundleError(f"{path} lacks or garbles: uncertain_below; {remedy}")
    return Manifest(
        **{
            "uncertain_below": labels.lowest_score,
            **content,
            "kind": kind,
            "labels": names,
            "risk_coverage": tuple(content.get("risk_coverage", ())),
        }
    )


def is_inside(name: object) -> bool:
    """Whether it is a relative path that leads nowhere outside its folder."""
    return isinstance(name, str) and not Path(name).is_absolute() and ".." not in Path(name).parts


def _is_file_entry(name: object, entry: object) -> bool:
    """A relative name that stays inside the folder, with a hash and a size."""
    return (
        is_inside(name)
        and isinstance(entry, dict)
        and isinstance(entry.get("sha256"), str)
        and type(entry.get("bytes")) is int
    )


def _is_text_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _is_risk_coverage(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"accuracy", "uncertain_below", "coverage"}
        and all(type(each) in (int, float) and 0 <= each <= 1 for each in value.values())
    )


_REQUIRED = {each.name for each in fields(Manifest) if each.default is MISSING and each.default_factory is MISSING}
_ADDED_TO_4 = {"displays", "ngrams"}  # fields that no earlier format has
_CHECKS: dict[str, Callable[[Any], bool]] = {
    "base_model": lambda value: isinstance(value, str) and bool(value),
    "max_length": lambda value: type(value) is int and value >= 3,
    "labels": lambda value: isinstance(value, list),
    "displays": lambda value: isinstance(value, dict) and all(map(_is_text_map, value.values())),
    "temperature": lambda value: type(value) in (int, float) and 1e-3 <= value <= 1e3,  # fitted ones are 0.05 to 20
    "truncation": lambda value: value in choices(Truncation),
    "uncertain_below": lambda value: type(value) in (int, float) and 0 < value <= 1,
    "risk_coverage": lambda value: isinstance(value, list | tuple) and all(map(_is_risk_coverage, value)),
    "ngrams": lambda value: value is None or isinstance(value, dict),
    "base_model_sha256": lambda value: value is None or isinstance(value, str),
    "training": lambda value: isinstance(value, dict),
    "metrics": lambda value: isinstance(value, dict),
    "versions": _is_text_map,
    "files": lambda value: isinstance(value, dict) and all(_is_file_entry(*item) for item in value.items()),
}


def _verify_files(folder: Path, manifest: Manifest, later: Collection[str]) -> None:
    required = [*REQUIRED_FILES[manifest.kind], *([NGRAM_TABLE] if manifest.ngrams else [])]
    unlisted = [name for name in required if name not in manifest.files]
    if unlisted:
        raise BundleError(f"{folder / MANIFEST} does not list {', '.join(unlisted)}; {_REMEDY[manifest.kind]}")
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{path} is missing though the manifest lists it; {_REMEDY[manifest.kind]}")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise BundleError(
                f"{path} has {size} bytes, expected {expected['bytes']}: damaged; {_REMEDY[manifest.kind]}"
            )
        if name not in later:
            verify_file(folder, name, manifest)


def verify_file(folder: Path, name: str, manifest: Manifest) -> None:
    """Compare a file of a model's folder with the SHA-256 that its manifest has.

    Raises:
        BundleError: It has another.
    """
    path = folder / name
    if sha256(path) != manifest.files[name]["sha256"]:
        raise BundleError(f"{path} does not match its SHA-256 in the manifest: damaged; {_REMEDY[manifest.kind]}")


def _describe_foreign_adapter(folder: Path) -> Manifest:
    """What can be said of an adapter that PEFT saved without this toolkit."""
    path = folder / "adapter_config.json"
    adapter = read_json_object(path)
    expected = {"peft_type": "LORA", "task_type": "SEQ_CLS"}
    for name, value in expected.items():
        if adapter.get(name) != value:
            raise BundleError(
                f"{path} has {name} {adapter.get(name)!r}, expected {value!r}: a LoRA sequence classifier"
            )
    base = adapter.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise BundleError(f"{path} names no base model; write it there as base_model_name_or_path")
    config = read_json_object(folder / "config.json")
    labels = _foreign_labels(folder / "config.json", config.get("id2label") or {})
    return Manifest(
        kind=Kind.ADAPTER,
        base_model=base,
        max_length=max_positions(folder),
        labels=labels.names,
        uncertain_below=labels.lowest_score,
    )


def _foreign_labels(path: Path, id2label: object) -> LabelSet:
    """The labels that transformers' configuration names; two without names of their own are the sentiment pair."""
    if isinstance(id2label, dict) and id2label.keys() == {str(index) for index in range(len(id2label))}:
        names = tuple(id2label[str(index)] for index in range(len(id2label)))
        folded = tuple(str(name).lower() for name in names)
        if folded in ((), ("label_0", "label_1"), SENTIMENT.names):
            return SENTIMENT
        try:
            return LabelSet.of_model(names)
        except ValueError as error:
            raise BundleError(f"{path} garbles the labels: {error}") from error
    raise BundleError(f"{path} names the labels {id2label}, expected a name for each of 0, 1, and so on")
