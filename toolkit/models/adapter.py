"""A LoRA adapter on its base: made for training, loaded whole or not at all, merged."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import BundleError, needs_extra
from toolkit.formats.limits import shown
from toolkit.models.base_models import MINILM, BaseModel, resolve_base_model
from toolkit.models.bundle import Kind, Manifest, read_manifest
from toolkit.models.files import read_json_object, sha256
from toolkit.text.labels import ID2LABEL, LABEL2ID

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# Of the base's config.json, what DistilBERT computes with. transformers takes much more from there, some of it the name of
# code to fetch and run (CVE-2026-4372, which has no fix below transformers 5).
_CONFIG = (
    "activation", "attention_dropout", "dim", "dropout", "hidden_dim", "initializer_range", "max_position_embeddings", "n_heads",
    "n_layers", "pad_token_id", "qa_dropout", "seq_classif_dropout", "sinusoidal_pos_embds", "tie_weights_", "vocab_size",
)  # fmt: skip
_TOKENIZERS = {
    None, "DistilBertTokenizer", "DistilBertTokenizerFast", "BertTokenizer", "BertTokenizerFast", "PreTrainedTokenizerFast",
}  # fmt: skip
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


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """The tokenizer of a base or adapter folder, with a pad token and without padding or truncation of its own."""
    with needs_extra("train", "loading a tokenizer"):
        from transformers import AutoTokenizer

    for file in ("tokenizer_config.json", "config.json"):
        name = read_json_object(folder / file).get("tokenizer_class") if (folder / file).is_file() else None
        if not (name is None or isinstance(name, str)) or name not in _TOKENIZERS:
            raise BundleError(
                f"{folder / file} asks for a tokenizer of class {shown(name)}; expected DistilBERT's own, choose another model"
            )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the Rust side raises bare Exception, transformers whatever it stumbles over
        reason = (str(error).splitlines() or ["?"])[0]
        raise BundleError(
            f"the tokenizer in {folder} cannot be loaded ({reason}); download or save it again"
        ) from error
    if tokenizer.pad_token is None:  # the documents' guard; DistilBERT's own tokenizer has [PAD] and no end-of-text
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.sep_token
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    return tokenizer


def load_classifier(base: BaseModel, dropouts: dict[str, float] | None = None) -> "PreTrainedModel":
    """The base with a fresh two-class head, on the CPU in float32.

    Args:
        base: where it lies.
        dropouts: `dropout`, `attention_dropout`, `seq_classif_dropout` to use instead of the base's own.
    """
    with needs_extra("train", "loading a base model"):
        import torch
        from safetensors import SafetensorError
        from transformers import DistilBertConfig, DistilBertForSequenceClassification, logging

    if (base.folder / "adapter_config.json").exists():  # transformers would load that, and the base that it names
        raise BundleError(f"{base.folder} is an adapter, expected a base model; name the base that it was trained on")
    fields = read_json_object(base.folder / "config.json")
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # "newly initialised weights, you should train": the next step does
    try:
        config = DistilBertConfig(
            **{name: fields[name] for name in _CONFIG if name in fields} | (dropouts or {}),
            num_labels=len(ID2LABEL),
            id2label=ID2LABEL,
            label2id=LABEL2ID,
        )
        return DistilBertForSequenceClassification.from_pretrained(
            base.folder,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
        )
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError, ArithmeticError, OSError) as error:
        reason = (str(error).splitlines() or ["?"])[0]
        raise BundleError(
            f"the base model in {base.folder} is damaged ({reason}); download or save it again"
        ) from error
    finally:
        logging.set_verbosity(verbosity)


def attach_adapter(model: "PreTrainedModel", config: "LoraConfig") -> "PeftModel":
    """Put fresh LoRA weights on `model`.

    Raises:
        BundleError: the configuration names modules that the model does not have.
    """
    from peft import get_peft_model

    try:
        return get_peft_model(model, config)
    except (ValueError, TypeError, AttributeError) as error:
        raise BundleError(f"the LoRA configuration does not fit the base model ({error})") from error


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


def load_adapter(folder: Path, base_model: str | None = None) -> tuple["PeftModel", Manifest]:
    """Load a saved adapter onto its base, every key accounted for, ready for inference.

    Args:
        folder: an adapter saved by this toolkit or by PEFT.
        base_model: the base to use instead of the one the adapter names; it must be the same model.

    Raises:
        BundleError: a file is missing or damaged, a key is missing or unexpected, a shape differs.
    """
    manifest = read_manifest(folder, Kind.ADAPTER)
    with needs_extra("train", "loading an adapter"):
        from peft import get_peft_model_state_dict, set_peft_model_state_dict
        from safetensors import SafetensorError
        from safetensors.torch import load_file

    name = base_model or _recorded_base(folder, manifest)
    base = resolve_base_model(
        name,
        f"Name a local copy of {name} with --base-model FOLDER (the folder itself, if {name} was one where the adapter was "
        "trained), or use an exported ONNX model.",
    )
    if manifest.base_model_sha256 and base.sha256 != manifest.base_model_sha256:
        raise BundleError(
            f"{folder} was trained on other weights than {base.name} has now "
            f"(SHA-256 {manifest.base_model_sha256[:12]}…, found {base.sha256[:12]}…); name the right one with --base-model"
        )
    config = read_lora_config(folder / "adapter_config.json")
    model = attach_adapter(load_classifier(base), config)
    try:
        state = load_file(folder / "adapter_model.safetensors")
    except SafetensorError as error:
        raise BundleError(f"{folder / 'adapter_model.safetensors'} is damaged ({error}); train it again") from error
    expected = get_peft_model_state_dict(model, save_embedding_layers=False).keys()
    if state.keys() != expected:
        missing, unexpected = sorted(expected - state.keys()), sorted(state.keys() - expected)
        raise BundleError(
            f"{folder} does not fit its base {base.name}: {len(missing)} keys missing (such as {missing[:1]}), "
            f"{len(unexpected)} unexpected (such as {unexpected[:1]}); train it again or name the right --base-model"
        )
    try:
        set_peft_model_state_dict(model, state)
    except RuntimeError as error:
        raise BundleError(
            f"{folder} does not fit its base {base.name}: {str(error).splitlines()[-1].strip()}"
        ) from error
    return model.eval(), manifest


def _recorded_base(folder: Path, manifest: Manifest) -> str:
    """The base that an adapter names.

    A folder named by a relative path may lie elsewhere than it says from here, and looks like a name of the hub's: the
    base whose weights the adapter was trained on is looked for from here, and from every folder above the adapter.
    """
    name, digest = manifest.base_model, manifest.base_model_sha256
    if name == MINILM or Path(name).is_absolute():
        return name
    for above in (Path(), *(folder.resolve().parents if digest else ())):
        weights = above / name / "model.safetensors"
        if weights.is_file() and digest in (None, sha256(weights)):
            return str(weights.parent)
    return name


def merge_adapter(model: "PeftModel") -> "PreTrainedModel":
    """Fold the LoRA products into the base's weights; W + (alpha / r) B A, as in Hu et al. 2021 (arXiv:2106.09685)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PEFT's note that merging rounds; the parity proof measures it
        return model.merge_and_unload(safe_merge=True).eval()
