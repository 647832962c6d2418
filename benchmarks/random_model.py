"""A model of any size without training: its speed is its shape's."""

from pathlib import Path
from typing import Any

from toolkit.benchmark.models import Models, make_bundle
from toolkit.errors import needs_extra
from toolkit.models.adapter import attach_adapter, load_classifier
from toolkit.models.base_models import BaseModel
from toolkit.models.bundle import Kind, Manifest, read_manifest
from toolkit.models.files import sha256
from toolkit.models.publishing import publish


def random_models(bundle: Path, workspace: Path, **config: Any) -> Models:  # noqa: ANN401 - DistilBertConfig's own
    """A DistilBERT with random weights and a bundle's tokenizer: as fast as a trained one of its size.

    Args:
        bundle: whose tokenizer and length are used.
        workspace: an empty folder.
        config: DistilBertConfig's arguments; the 66 million parameters of distilbert-base-uncased by default.
    """
    with needs_extra("train", "a random DistilBERT"):
        import torch
        from peft import LoraConfig
        from transformers import DistilBertConfig, DistilBertModel, DistilBertTokenizerFast

        from export.quantize import quantize_to_int8

    max_length = read_manifest(bundle, Kind.ONNX).max_length
    base = workspace / "base"
    torch.manual_seed(0)
    DistilBertModel(DistilBertConfig(**config)).save_pretrained(base)
    tokenizer = DistilBertTokenizerFast(tokenizer_file=str(bundle / "tokenizer.json"), model_max_length=max_length)
    tokenizer.save_pretrained(base)
    classifier = load_classifier(BaseModel(str(base), base, sha256(base / "model.safetensors")))
    lora = LoraConfig(task_type="SEQ_CLS", target_modules=["q_lin", "v_lin"],
                      modules_to_save=["pre_classifier", "classifier"])  # fmt: skip
    adapter = workspace / "adapter"
    with publish(adapter, Manifest(Kind.ADAPTER, str(base), max_length)) as folder:
        attach_adapter(classifier, lora).save_pretrained(folder, save_embedding_layers=False)
        tokenizer.save_pretrained(folder)
        classifier.config.save_pretrained(folder)
    floating = Models(workspace / "float_bundle", adapter, workspace)
    graph = quantize_to_int8(floating.float_graph, workspace / "model.int8.onnx")
    _ = floating.float_bundle
    floating.bundle = make_bundle(workspace / "int8_bundle", graph, adapter)
    return floating
