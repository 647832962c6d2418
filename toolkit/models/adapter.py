"""A LoRA adapter on its base: made for training, loaded whole or not at all, merged."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import BundleError, needs_extra
from toolkit.models.base_models import BaseModel, resolve_base_model
from toolkit.models.bundle import Kind, Manifest, read_manifest
from toolkit.text.labels import ID2LABEL, LABEL2ID

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """The tokenizer of a base or adapter folder, with a pad token and without padding or truncation of its own."""
    with needs_extra("train", "loading a tokenizer"):
        from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the Rust side raises bare Exception, transformers whatever it stumbles over
        raise BundleError(f"the tokenizer in {folder} cannot be loaded ({error}); download or save it again") from error
    if tokenizer.pad_token is None:  # the original's guard; DistilBERT's own tokenizer has [PAD] and no end-of-text
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.sep_token
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    return tokenizer


def load_classifier(base: BaseModel, dropouts: dict[str, float] | None = None) -> "PreTrainedModel":
    """The base with a fresh two-class head, on the CPU in float32.

    Args:
        base: The base and where it lies.
        dropouts: `dropout`, `attention_dropout`, `seq_classif_dropout` to use instead of the base's own.
    """
    with needs_extra("train", "loading a base model"):
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForSequenceClassification, logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # "newly initialised weights, you should train": the next step does
    try:
        return AutoModelForSequenceClassification.from_pretrained(
            base.folder,
            num_labels=len(ID2LABEL),
            id2label=ID2LABEL,
            label2id=LABEL2ID,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            **(dropouts or {}),
        )
    except (SafetensorError, RuntimeError, ValueError, TypeError, OSError) as error:
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
        from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
        from safetensors import SafetensorError
        from safetensors.torch import load_file

    name = base_model or manifest.base_model
    base = resolve_base_model(
        name, f"Name a local copy of {name} with --base-model FOLDER, or use an exported ONNX model."
    )
    if manifest.base_model_sha256 and base.sha256 != manifest.base_model_sha256:
        raise BundleError(
            f"{folder} was trained on other weights than {base.name} has now "
            f"(SHA-256 {manifest.base_model_sha256[:12]}…, found {base.sha256[:12]}…); name the right one with --base-model"
        )
    try:
        config = LoraConfig.from_pretrained(str(folder))
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise BundleError(
            f"{folder / 'adapter_config.json'} is no LoRA configuration ({error}); train it again"
        ) from error
    config.base_model_name_or_path = None  # found already; PEFT would warn that the path is not the name
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


def merge_adapter(model: "PeftModel") -> "PreTrainedModel":
    """Fold the LoRA products into the base's weights; W + (alpha / r) B A, as in Hu et al. 2021 (arXiv:2106.09685)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PEFT's note that merging rounds; the export measures it
        return model.merge_and_unload(safe_merge=True).eval()
