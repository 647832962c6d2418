"""A LoRA adapter on its base: made for training, loaded whole or not at all, merged."""

import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.choices import Truncation
from toolkit.errors import BundleError, needs_extra
from toolkit.formats.limits import shown
from toolkit.models.architectures import ARCHITECTURES, Architecture
from toolkit.models.base_models import PACKAGED, BaseModel, is_in_hub_cache, resolve_base_model
from toolkit.models.bundle import ADAPTER_WEIGHTS, Kind, Manifest
from toolkit.models.completion import folder_with, read_model
from toolkit.models.files import read_json_object, sha256
from toolkit.models.lora_config import read_lora_config
from toolkit.models.stable import read_stable
from toolkit.text.labels import SENTIMENT, LabelSet
from toolkit.text.tokenisation import ReviewTokenizer
from toolkit.text.tokenizer_file import check_tokenizer_file

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

PACKAGE = "distilbert-review-toolkit"  # of this toolkit, among a manifest's versions

_TOKENIZERS = {
    None, "PreTrainedTokenizerFast", *(name for each in ARCHITECTURES.values() for name in each.tokenizers),
}  # fmt: skip
_LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")  # as every family numbers them
_MOST_POSITIONS = 1 << 16  # of an encoder that keeps no weight for each


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """The tokenizer of a base or adapter folder, with a pad token and without padding or truncation of its own."""
    with needs_extra("train", "loading a tokenizer"):
        from transformers import AutoTokenizer

    for file in ("tokenizer_config.json", "config.json"):
        name = read_json_object(folder / file).get("tokenizer_class") if (folder / file).is_file() else None
        if not (name is None or isinstance(name, str)) or name not in _TOKENIZERS:
            raise BundleError(
                f"{folder / file} asks for a tokenizer of class {shown(name)}; expected the base's own, choose another model"
            )
    files = {"tokenizer_file": folder / "tokenizer.json", "vocab_file": folder / "vocab.txt"}
    if files["tokenizer_file"].exists():
        check_tokenizer_file(files["tokenizer_file"])
    # Named here, since tokenizer_config.json may name others: any file of this machine would become the vocabulary, and
    # be published with the model. Likewise `from_slow`, which builds the tokenizer out of other files than the one checked.
    named = {name: str(file) if file.is_file() else None for name, file in files.items()}
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, from_slow=False, **named
        )
    except Exception as error:  # the Rust side raises bare Exception, transformers whatever it stumbles over
        reason = (str(error).splitlines() or ["?"])[0]
        raise BundleError(
            f"the tokenizer in {folder} cannot be loaded ({reason}); download or save it again"
        ) from error
    if tokenizer.pad_token is None:  # DistilBERT's own tokenizer has [PAD] and no end-of-text
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.sep_token
    tokenizer.padding_side = "right"  # a classifier reads the first token, and the position of each counts from it
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    return tokenizer


def adapter_tokenizer(
    folder: Path, max_length: int, truncation: Truncation, base_model: str | None = None
) -> ReviewTokenizer:
    """The tokenizer that an adapter's reviews go through: of its folder, or where PEFT saved none, its base's."""
    place = folder_with(("tokenizer.json", "vocab.txt"), folder, base_model)
    if (place / "tokenizer.json").is_file():
        return ReviewTokenizer.from_file(place / "tokenizer.json", max_length, truncation)
    return ReviewTokenizer.wrap(load_tokenizer(place), max_length, truncation)


def load_classifier(
    base: BaseModel, dropouts: dict[str, float] | None = None, labels: LabelSet = SENTIMENT
) -> "PreTrainedModel":
    """The base with a fresh head, on the CPU in float32.

    Args:
        base: The base and where it lies.
        dropouts: `dropout`, `attention_dropout`, `seq_classif_dropout` to use instead of the base's own.
        labels: The classes of the head.
    """
    with needs_extra("train", "loading a base model"):
        import torch
        import transformers
        from safetensors import SafetensorError
        from transformers import logging

    if (base.folder / "adapter_config.json").exists():  # transformers would load that, and the base that it names
        raise BundleError(f"{base.folder} is an adapter, expected a base model; name the base that it was trained on")
    fields = read_json_object(base.folder / "config.json")
    architecture = base.architecture
    config_class = getattr(transformers, f"{architecture.classes}Config")
    classifier = getattr(transformers, f"{architecture.classes}ForSequenceClassification")
    read = (*architecture.fields, *architecture.dropouts.values())
    changed = {architecture.dropouts[name]: rate for name, rate in (dropouts or {}).items()}
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # "newly initialised weights, you should train": the next step does
    try:
        config = config_class(
            **{name: fields[name] for name in read if name in fields} | changed,
            num_labels=len(labels),
            id2label={label.index: label.name for label in labels},
            label2id={label.name: label.index for label in labels},
            problem_type="single_label_classification",  # whatever the base's own head was for
        )
        _check_against_weights(architecture, config, classifier, base.folder / "model.safetensors")
        return classifier.from_pretrained(
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


def _check_against_weights(
    architecture: Architecture, config: "PreTrainedConfig", classifier: "type[PreTrainedModel]", weights: Path
) -> None:
    """What is allocated is what is there: a configuration of a few bytes may ask for any number of layers of any size.

    Raises:
        ValueError: the configuration describes other weights, or a dropout is no share.
    """
    import torch
    from safetensors import safe_open

    with safe_open(weights, framework="numpy") as tensors:
        names = tensors.keys()
        shapes = {
            name.removeprefix(f"{architecture.prefix}."): tuple(tensors.get_slice(name).get_shape()) for name in names
        }
    layers = {int(match[1]) for name in shapes if (match := _LAYER.search(name))}
    if len(layers) != config.num_hidden_layers or layers != set(range(len(layers))):
        raise ValueError(f"config.json has {shown(config.num_hidden_layers)} layers, the weights have {len(layers)}")
    width = getattr(config, "embedding_size", config.hidden_size)
    expected = {architecture.embeddings: (config.vocab_size, width)}
    if architecture.positions:
        expected[architecture.positions] = (config.max_position_embeddings, width)
    elif not 0 < config.max_position_embeddings <= _MOST_POSITIONS:
        raise ValueError(f"config.json has max_position_embeddings {shown(config.max_position_embeddings)}")
    _require_shapes(expected, shapes)
    for name in architecture.dropouts.values():
        rate = getattr(config, name, None)
        if rate is not None and not 0 <= rate <= 1:
            raise ValueError(f"config.json has {name} {shown(rate)}, expected 0 to 1")
    with torch.device("meta"):  # the shapes alone
        encoder = classifier(config).base_model
    own = {name: tuple(weight.shape) for name, weight in encoder.named_parameters()}
    _require_shapes(
        {name: shape for name, shape in own.items() if name.partition(".")[0] not in architecture.head}, shapes
    )


def _require_shapes(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in expected.items():
        if found.get(name) != shape:
            raise ValueError(f"config.json asks for {name} of shape {shown(shape)}, found {shown(found.get(name))}")


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
        folder: An adapter saved by this toolkit or by PEFT; one that is replaced meanwhile is read again.
        base_model: The base to use instead of the one the adapter names; it must be the same model.

    Raises:
        BundleError: a file is missing or damaged, a key is missing or unexpected, a shape differs.
    """
    return read_stable(folder, lambda: _load_adapter(folder, base_model))


def _load_adapter(folder: Path, base_model: str | None) -> tuple["PeftModel", Manifest]:
    manifest = read_model(folder, Kind.ADAPTER, base_model)
    with needs_extra("train", "loading an adapter"):
        import peft  # noqa: F401 - for its error, which names the extra

    name = base_model or _recorded_base(folder, manifest)
    base = resolve_base_model(
        name,
        f"Name a local copy of {name} with --base-model FOLDER (the folder itself, if {name} was one where the adapter was "
        "trained), or use an exported ONNX model.",
        len(manifest.labels),
    )
    if manifest.base_model_sha256 and base.sha256 != manifest.base_model_sha256:
        raise BundleError(
            f"{folder} was trained on other weights than {base.name} has now "
            f"(SHA-256 {manifest.base_model_sha256[:12]}…, found {base.sha256[:12]}…); name the right one with --base-model"
        )
    config = read_lora_config(folder / "adapter_config.json")
    model = attach_adapter(load_classifier(base, labels=manifest.label_set), config)
    load_weights(model, folder / ADAPTER_WEIGHTS, f"its base {base.name}")
    return model.eval(), manifest


def adapter_weights(model: "PeftModel") -> "dict[str, torch.Tensor]":
    """What is saved of an adapter: the LoRA matrices and the head, by PEFT's names."""
    from peft import get_peft_model_state_dict

    weights: dict[str, torch.Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return weights


def load_weights(model: "PeftModel", file: Path, place: str) -> None:
    """Put saved weights into `model`, every key accounted for.

    Args:
        model: A model with an adapter of the same configuration.
        file: The file, `ADAPTER_WEIGHTS` of some folder.
        place: What the model is, for the error.

    Raises:
        BundleError: the file is missing or damaged, a key is missing or unexpected, a shape differs.
    """
    from peft import set_peft_model_state_dict

    state = _without_base_weights(read_weights(file), model)
    expected = adapter_weights(model).keys()
    if state.keys() != expected:
        missing, unexpected = sorted(expected - state.keys()), sorted(state.keys() - expected)
        raise BundleError(
            f"{file.parent} does not fit {place}: {len(missing)} keys missing (such as {missing[:1]}), "
            f"{len(unexpected)} unexpected (such as {unexpected[:1]}); train it again or name the right --base-model"
        )
    try:
        set_peft_model_state_dict(model, state)
    except RuntimeError as error:
        raise BundleError(f"{file.parent} does not fit {place}: {str(error).splitlines()[-1].strip()}") from error


def load_mean(model: "PeftModel", files: Sequence[Path], place: str) -> None:
    """Put the mean of several adapters' weights into `model`; arguments and errors as those of `load_weights`.

    Adapters that one run went on to from another lie in one basin of the loss, where their mean is better than either
    (Wortsman et al. 2022, arXiv:2203.05482).
    """
    from peft import set_peft_model_state_dict

    total: dict[str, torch.Tensor] = {}
    for file in files:
        load_weights(model, file, place)
        for name, weight in adapter_weights(model).items():
            total[name] = total[name] + weight if name in total else weight.clone()
    set_peft_model_state_dict(model, {name: weight / len(files) for name, weight in total.items()})


def _without_base_weights(state: "dict[str, torch.Tensor]", model: "PeftModel") -> "dict[str, torch.Tensor]":
    """Weights of an adapter without those of its base's that were saved along, as PEFT does with embeddings, unchanged."""
    import torch

    own = adapter_weights(model)
    of_base = dict(model.named_parameters())

    def is_of_base(name: str, weight: torch.Tensor) -> bool:
        at_base = of_base.get(name) if name in of_base else of_base.get(name.replace(".weight", ".base_layer.weight"))
        return at_base is not None and at_base.shape == weight.shape and torch.equal(at_base.to(weight.dtype), weight)

    return {name: weight for name, weight in state.items() if name in own or not is_of_base(name, weight)}


def read_weights(file: Path) -> "dict[str, torch.Tensor]":
    """The tensors of a safetensors file, on the CPU.

    Raises:
        BundleError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights: dict[str, torch.Tensor] = load_file(file)
    except (SafetensorError, FileNotFoundError) as error:
        raise BundleError(f"{file} is damaged ({error}); train it again") from error
    return weights


def weights_digest(weights: "Mapping[str, torch.Tensor]") -> str:
    """A SHA-256 of names, types, shapes and every bit of some weights, wherever they lie."""
    import torch

    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _recorded_base(folder: Path, manifest: Manifest) -> str:
    """The base that an adapter names.

    A folder named by a relative path may lie elsewhere than it says from here, and looks like a name of the hub's: the
    base whose weights the adapter was trained on is looked for from here, and from every folder above the adapter. Version 0.1
    recorded such paths; what it may have meant as one is not asked of the hub, where somebody else may have taken the name.

    Raises:
        BundleError: it may be a folder, and is found nowhere.
    """
    name, digest = manifest.base_model, manifest.base_model_sha256
    if name in PACKAGED or Path(name).is_absolute():
        return name
    for above in (Path(), *(folder.resolve().parents if digest else ())):
        weights = above / name / "model.safetensors"
        if weights.is_file() and digest in (None, sha256(weights)):
            return str(weights.parent)
    if digest and "/" in name and _is_of_0_1(manifest) and not is_in_hub_cache(name):
        raise BundleError(
            f"{folder} was trained on {name}, which is no folder from here or from above the adapter, and version 0.1 did not "
            f"record whether it was one; name the folder with --base-model, or {name} itself if it is the hub's"
        )
    return name


def _is_of_0_1(manifest: Manifest) -> bool:
    return manifest.versions.get(PACKAGE, "0.1.").startswith("0.1.")


def merge_adapter(model: "PeftModel") -> "PreTrainedModel":
    """Fold the LoRA products into the base's weights; W + (alpha / r) B A, as in Hu et al. 2021 (arXiv:2106.09685)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PEFT's note that merging rounds; the export measures it
        return model.merge_and_unload(safe_merge=True).eval()
