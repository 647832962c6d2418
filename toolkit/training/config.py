"""How to train: one frozen dataclass whose defaults are DistilBERT's run on IMDB, overridden by presets, TOML and options."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from toolkit.errors import ConfigError, ToolkitError
from toolkit.models.architectures import DISTILBERT, Architecture
from toolkit.text.labels import LabelSet
from toolkit.training.settings import LARGEST, parse_setting, setting, type_problems, value_problems

METRICS = ("accuracy", "f1", "precision", "recall", "loss")
PRECISIONS = ("auto", "fp32", "bf16")
SCHEDULES = ("cosine", "linear", "constant", "constant_with_warmup")
EVALUATIONS = ("all", "validation")
PRESETS = ("imdb-distilbert", "imdb-minilm-cpu", "imdb-teacher", "imdb-minilm-distilled", "demo")
DEFAULT_PRESET = "imdb-distilbert"
OPTIONS = {  # of the command line, where their names are not their settings'
    "output": "adapter_dir",
    "epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
}
RENAMED = {"output": "adapter_dir", "output_dir": "checkpoint_dir"}  # since version 0.1
ADVICE = "Correct these and run the command again; toolkit train --help lists every setting."


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a training run; each field's help is also the command line's."""

    base_model: str = setting(
        "distilbert-base-uncased", "a hub id, a local folder, or minilm or mpnet (need no network)"
    )
    dataset: str = setting("dataset", "folder with train.csv, validation.csv and test.csv")
    soft_labels: tuple[str, ...] = setting(
        (), "files or folders of texts with a teacher's probabilities, as toolkit predict-files writes them"
    )
    soft_weight: float = setting(
        0.5,
        "share of the teacher's probabilities in the loss, over 0 to 1; the labels have the rest",
        above=0,
        maximum=1,
    )
    soft_temperature: float = setting(
        1.0, "by which the teacher's and the student's logits are divided for it", minimum=0.1, maximum=20
    )
    start_from: tuple[str, ...] = setting(
        (), "adapter whose weights training begins with, or several whose mean; fresh ones by default"
    )
    adapter_dir: str = setting("lora_model", "folder for the trained adapter")
    checkpoint_dir: str = setting("", "folder for checkpoints; lora_imdb beside the adapter by default")
    logging_dir: str = setting("", "folder for TensorBoard logs; logs beside the adapter by default")

    max_length: int = setting(
        512, "tokens read of a review, [CLS] and [SEP] included", minimum=8, maximum=512, why="DistilBERT's positions"
    )
    train_max_length: int = setting(0, "tokens read of a review while training; 0 means max_length", off=0, minimum=8)

    r: int = setting(8, "rank of the LoRA matrices", minimum=1)
    lora_alpha: int = setting(32, "LoRA's scale is lora_alpha / r", minimum=1)
    lora_dropout: float = setting(0.1, "dropout before the LoRA matrices, 0 to 1", minimum=0, below=1)
    target_modules: tuple[str, ...] = setting(
        DISTILBERT.targets,
        "linear layers that get LoRA matrices; of another encoder than DistilBERT its own by default",
    )
    modules_to_save: tuple[str, ...] = setting(
        DISTILBERT.head, "layers trained whole: the head; of another encoder than DistilBERT its own by default"
    )
    bias: str = setting("none", "biases trained: none, all or lora_only", choices=("none", "all", "lora_only"))
    dropout: float | None = setting(
        None, "dropout of the base's layers, 0 to 1; the base's own by default", minimum=0, below=1
    )
    attention_dropout: float | None = setting(
        None, "dropout of attention weights; the base's own by default", minimum=0, below=1
    )
    seq_classif_dropout: float | None = setting(
        None, "dropout before the classifier; the base's own by default", minimum=0, below=1
    )

    num_train_epochs: float = setting(3.0, "passes over the train split", above=0, maximum=LARGEST)
    max_steps: int = setting(0, "optimiser steps; overrides the epochs where above 0", minimum=0)
    per_device_train_batch_size: int = setting(8, "reviews in a step on each device", minimum=1)
    per_device_eval_batch_size: int = setting(32, "reviews in an evaluation step on each device", minimum=1)
    gradient_accumulation_steps: int = setting(1, "batches summed into one optimiser step", minimum=1)
    learning_rate: float = setting(1e-4, "peak learning rate of AdamW", above=0)
    weight_decay: float = setting(0.01, "AdamW's weight decay", minimum=0)
    lr_scheduler_type: str = setting("cosine", "shape of the learning rate's decay", choices=SCHEDULES)
    warmup_ratio: float = setting(
        0.1, "share of the steps over which the learning rate rises, 0 to 1", minimum=0, maximum=1
    )
    max_grad_norm: float = setting(1.0, "gradients are clipped to this norm", above=0)
    precision: str = setting(
        "auto", "of the matrix products: fp32, bf16, or auto: bf16 on a GPU or CPU made for it", choices=PRECISIONS
    )
    group_by_length: bool = setting(True, "put reviews of similar length into a batch, which pads less")

    eval_steps: int = setting(3000, "steps between evaluations; fewer where a run would see less than 5", minimum=1)
    eval_limit: int = setting(0, "validation reviews used while training; 0 means all of them", minimum=0)
    train_probe: int = setting(500, "train reviews on which train_accuracy is measured, always the same", minimum=1)
    metric_for_best_model: str = setting(
        "accuracy", f"picks the checkpoint that is kept: {', '.join(METRICS)}", choices=METRICS
    )
    early_stopping: int = setting(
        0, "stop after so many evaluations without improvement; 0 never stops early", minimum=0
    )
    ngrams: bool = setting(True, "fit an n-gram table beside the adapter, from 2,000 train reviews on")
    ngram_smoothing: float = setting(1.0, "added to counts of n-grams before their ratio is taken", above=0)
    ngram_regularisation: float = setting(0.1, "C of the n-grams' logistic regression; smaller is smoother", above=0)
    ngram_buckets: int = setting(
        2**20, "rows of the n-gram table, a power of two; of two labels 2 bytes each", minimum=2**10, maximum=2**24
    )
    final_evaluation: str = setting(
        "all", "splits measured at the end: all, or validation, which leaves test unseen", choices=EVALUATIONS
    )
    seed: int = setting(42, "of every random choice", minimum=0, below=2**32, why="numpy's limit")
    display: tuple[str, ...] = setting(
        (), "words for labels, as zh:positive=正面评论; in a file also a table [labels.zh] of names and words"
    )

    def __post_init__(self) -> None:
        """Refuse values and combinations that cannot work, all of them in one error."""
        mistyped = type_problems(self)
        sound = {
            each.name: each.default if each.name in mistyped else getattr(self, each.name) for each in fields(self)
        }
        values = SimpleNamespace(**sound)
        problems = [*mistyped.values(), *value_problems(TrainingConfig, values), *_contradictions(values)]
        if problems:
            raise ConfigError("the training configuration cannot work; found:", problems, ADVICE)

    @property
    def checkpoint_folder(self) -> Path:
        """Where checkpoints go: `checkpoint_dir`, or `lora_imdb` beside the adapter."""
        return _beside(self.adapter_dir, self.checkpoint_dir, "lora_imdb")

    @property
    def log_folder(self) -> Path:
        """Where TensorBoard logs go: `logging_dir`, or `logs` beside the adapter."""
        return _beside(self.adapter_dir, self.logging_dir, "logs")

    @property
    def recipe(self) -> dict[str, Any]:
        """The settings that decide what is learnt: not the places, which are the machine's, nor what is measured afterwards."""
        apart = (
            "dataset", "soft_labels", "start_from", "adapter_dir", "checkpoint_dir", "logging_dir", "display", "final_evaluation",
        )  # fmt: skip
        return {name: value for name, value in asdict(self).items() if name not in apart}

    def fitted_to(self, architecture: Architecture) -> Self:
        """The same for a base of that family: where the layers are DistilBERT's by default, the base's own.

        Raises:
            ConfigError: A dropout is set that the family does not have.
        """
        problems = [
            f"{name}: a base of the family {architecture.name} has none of its own"
            for name in self.dropouts
            if name not in architecture.dropouts
        ]
        if problems:
            raise ConfigError("the training configuration does not fit the base model; found:", problems, ADVICE)
        return replace(
            self,
            target_modules=architecture.targets if self.target_modules == DISTILBERT.targets else self.target_modules,
            modules_to_save=architecture.head if self.modules_to_save == DISTILBERT.head else self.modules_to_save,
        )

    def with_words(self, labels: LabelSet) -> LabelSet:
        """A data set's labels with the words for them.

        Raises:
            ConfigError: A word is for no label, or in a language that there is not.
        """
        displays: dict[str, dict[str, str]] = {}
        for entry in self.display:
            language, name, word = _display_parts(entry)
            displays.setdefault(language, {})[name] = word
        try:
            return LabelSet.of_model(labels.names, displays)
        except ValueError as error:
            raise ConfigError("the words for labels cannot be used; found:", [str(error)], ADVICE) from error

    @property
    def training_length(self) -> int:
        """Tokens of a review seen in training."""
        return self.train_max_length or self.max_length

    @property
    def dropouts(self) -> dict[str, float]:
        """The base's dropout rates that this configuration changes."""
        names = ("dropout", "attention_dropout", "seq_classif_dropout")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Settings as a command line assigns them, `eval_steps=50`; of two for one name the later counts.

    Args:
        assignments: Names and values; a name that no setting has is kept with its text, and `load_config` refuses it.

    Raises:
        ConfigError: An entry assigns nothing.
    """
    wrong = [entry for entry in assignments if not entry.partition("=")[0].strip() or "=" not in entry]
    if wrong:
        raise ConfigError(
            "--set cannot be read; found:",
            [f"{entry!r}: expected NAME=VALUE, as eval_steps=50" for entry in wrong],
            ADVICE,
        )
    known = {each.name for each in fields(TrainingConfig)}
    values = {}
    for entry in assignments:
        name, _, text = (part.strip() for part in entry.partition("="))
        values[name] = parse_setting(TrainingConfig, name, text) if name in known else text
    return values


def load_config(
    preset: str | None = None, config_file: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> TrainingConfig:
    """A preset or a TOML file, with `overrides` on top.

    Raises:
        ConfigError: lists every unknown key, wrong type and impossible combination.
        ToolkitError: both a preset and a file are given, or one does not exist or is not TOML.
    """
    if preset and config_file:
        raise ToolkitError("--preset and --config both name a configuration; give one of them")
    values = _read_toml(config_file) if config_file else read_preset(preset or DEFAULT_PRESET)
    values |= overrides or {}
    length, view = values.get("max_length"), values.get("train_max_length")
    if overrides and "max_length" in overrides and isinstance(view, int) and isinstance(length, int) and view > length:
        values["train_max_length"] = length  # a preset's view of a review must not outgrow what the user asked for
    values = _with_tables(values)
    known = {each.name for each in fields(TrainingConfig)}
    unknown = [_unknown(key, known) for key in values if key not in known]
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    values["start_from"] = _adapters(values.get("start_from", ()))
    try:
        config = TrainingConfig(**{key: value for key, value in values.items() if key in known})
    except ConfigError as error:
        raise ConfigError("the training configuration cannot work; found:", unknown + error.problems, ADVICE) from None
    if unknown:
        raise ConfigError("the training configuration cannot work; found:", unknown, ADVICE)
    return config


def read_preset(name: str) -> dict[str, Any]:
    """The settings of one of `PRESETS`, a TOML file in the package.

    Raises:
        ToolkitError: there is no such preset.
    """
    if name not in PRESETS:
        raise ToolkitError(f"there is no preset '{name}'; expected one of {', '.join(PRESETS)}, or --config FILE.toml")
    return tomllib.loads((resources.files("toolkit.training") / "presets" / f"{name}.toml").read_text(encoding="utf-8"))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        # read_text would take a lone carriage return for a line's end; some editors begin with a byte order mark
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise ToolkitError(f"the configuration file {path} does not exist; presets are {', '.join(PRESETS)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ToolkitError(f"{path} is not valid TOML: {error}") from error


def _adapters(given: object) -> object:
    """Version 0.2 wrote one adapter as a text; an empty one, as of a variable that is not set, has always meant none."""
    given = (given,) if isinstance(given, str) else given
    return tuple(adapter for adapter in given if adapter != "") if isinstance(given, tuple) else given


def _with_tables(values: dict[str, Any]) -> dict[str, Any]:
    """The tables `[labels.zh]` of a file as entries of `display`; those that are given stand behind and win."""
    tables = values.get("labels")
    if not isinstance(tables, dict) or not all(isinstance(words, dict) for words in tables.values()):
        return values
    entries = [f"{language}:{name}={word}" for language, words in tables.items() for name, word in words.items()]
    given = values.get("display", ())
    others = {name: value for name, value in values.items() if name != "labels"}
    return {**others, "display": (*entries, *given)} if isinstance(given, list | tuple) else values


def _display_parts(entry: str) -> tuple[str, str, str]:
    """Language, label and word of an entry of `display`; the label may hold a colon, the word an equals sign."""
    language, colon, rest = entry.partition(":")
    name, equals, word = rest.partition("=")
    return (language, name, word) if colon and equals else ("", "", "")


def _unknown(key: str, known: set[str]) -> str:
    import difflib

    if key in RENAMED:
        return f"unknown setting '{key}': {key} is now {RENAMED[key]}"
    names = {**OPTIONS, **{name: name for name in known}}
    match = difflib.get_close_matches(key.lstrip("-").replace("-", "_"), names, n=1)
    return f"unknown setting '{key}'" + (f"; did you mean '{names[match[0]]}'?" if match else "")


def _beside(adapter_dir: str, given: str, name: str) -> Path:
    """The folder that was given, or one of that name beside the adapter's."""
    return Path(given) if given else Path(adapter_dir).parent / name


def _is_within(inner: Path, outer: Path) -> bool:
    return inner.resolve().is_relative_to(outer.resolve())


def _contradictions(config: SimpleNamespace) -> list[str]:
    """What is wrong with values together, or with what a list holds."""
    problems = []

    def require(holds: bool, message: str) -> None:
        if not holds:
            problems.append(message)

    require(
        config.train_max_length <= config.max_length,
        f"train_max_length = {config.train_max_length}: expected 0, or 8 to max_length ({config.max_length})",
    )
    require(bool(config.target_modules), "target_modules is empty: LoRA needs a layer to stand on")
    require(
        "classifier" in config.modules_to_save,
        f"modules_to_save = {list(config.modules_to_save)}: without 'classifier' the verdict would come from random weights",
    )
    rows = config.ngram_buckets
    require(rows & (rows - 1) == 0, f"ngram_buckets = {rows}: expected a power of two, as {1 << rows.bit_length()}")
    both = sorted(set(config.target_modules) & set(config.modules_to_save))
    require(not both, f"{', '.join(both)} in both target_modules and modules_to_save: a layer is trained one way")
    for entry in config.display:
        require(
            all(_display_parts(entry)), f"display = {entry!r}: expected LANGUAGE:LABEL=WORD, as zh:positive=正面评论"
        )
    adapter = Path(config.adapter_dir)
    places = (("checkpoints", config.checkpoint_dir, "lora_imdb"), ("logs", config.logging_dir, "logs"))
    for name, given, default in places:
        place = _beside(config.adapter_dir, given, default)
        require(
            not (_is_within(adapter, place) or _is_within(place, adapter)),
            f"adapter_dir = {config.adapter_dir!r}: expected a folder of its own, apart from the {name} in {str(place)!r}",
        )
    return problems
