"""What an adapter may say of itself: the settings of a plain LoRA product, taken one by one."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import BundleError
from toolkit.formats.limits import shown
from toolkit.models.files import read_json_object

if TYPE_CHECKING:
    from peft import LoraConfig


_MAX_RANK = 4096  # of a LoRA product; DistilBERT's widest layer is 3072
_NAME = re.compile(r"[\w.]+")  # PEFT takes anything else for a regular expression


def _is_rank(value: object) -> bool:
    return type(value) is int and 1 <= value <= _MAX_RANK


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_name, value))


def _by_name(holds: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(_is_name(name) and holds(value[name]) for name in value)


# What of an adapter_config.json decides a LoRA product, and what it may say.
_LORA: dict[str, Callable[[Any], bool]] = {
    "r": _is_rank,
    "lora_alpha": _is_number,
    "lora_dropout": _is_number,
    "target_modules": _are_names,
    "modules_to_save": _are_names,
    "bias": lambda value: value in ("none", "all", "lora_only"),
    "fan_in_fan_out": lambda value: type(value) is bool,
    "use_rslora": lambda value: type(value) is bool,
    "use_dora": lambda value: type(value) is bool,
    "lora_bias": lambda value: type(value) is bool,
    "rank_pattern": _by_name(_is_rank),
    "alpha_pattern": _by_name(_is_number),
    "layers_to_transform": lambda value: isinstance(value, list) and all(type(each) is int for each in value),
    "init_lora_weights": lambda value: value in (True, False, "gaussian"),  # the others change the base's weights
}
# What it says beside that and nothing is done with here.
_IGNORED = {
    "auto_mapping", "base_model_name_or_path", "inference_mode", "megatron_core", "peft_type", "peft_version", "qalora_group_size",
    "revision", "runtime_config", "task_type",
}  # fmt: skip


def read_lora_config(path: Path) -> "LoraConfig":
    """The settings of a saved adapter, taken one by one: PEFT's own reader follows many more, into code that they name.

    Raises:
        BundleError: it is no LoRA sequence classifier, or asks for something else than a plain LoRA product.
    """
    from peft import LoraConfig

    content = read_json_object(path)
    for name, expected in {"peft_type": "LORA", "task_type": "SEQ_CLS"}.items():
        if content.get(name) != expected:
            raise BundleError(
                f"{path} has {name} {shown(content.get(name))}, expected {expected!r}: a LoRA sequence classifier"
            )
    said = {name: value for name, value in content.items() if name not in _IGNORED and value not in (None, {}, [], "")}
    for name, value in said.items():
        if name in _LORA and not _LORA[name](value):
            raise BundleError(
                f"{path} has {shown(name)} {shown(value)}, which no plain LoRA adapter has; train it again"
            )
        if name not in _LORA and value is not False:
            raise BundleError(f"{path} sets {shown(name)}, which is not supported; save a plain LoRA adapter")
    return LoraConfig(task_type="SEQ_CLS", inference_mode=True, **{name: said[name] for name in _LORA if name in said})
