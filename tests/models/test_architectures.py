"""Every family of encoders: what is asked of it by default, what of its configuration is read, what is refused."""

import json
import shutil

import numpy as np
import pytest

from tests.families import FAMILIES, SIZES, family_base, said
from toolkit.errors import BundleError
from toolkit.models.adapter import attach_adapter, load_classifier, load_tokenizer
from toolkit.models.architectures import ARCHITECTURES
from toolkit.models.base_models import resolve_base_model
from toolkit.models.bundle import max_positions


@pytest.fixture(scope="module")
def bases(tmp_path_factory, demo_reviews):
    """Makes each family's base once."""
    texts, folder = [review.text for review in demo_reviews["train"]], tmp_path_factory.mktemp("families")

    def base(family):
        if not (folder / family).exists():
            family_base(family, folder / family, texts)
        return folder / family

    return base


@pytest.fixture
def copied(bases, tmp_path):
    def copy(family):
        return shutil.copytree(bases(family), tmp_path / family)

    return copy


def test_every_family_but_distilbert_has_a_base_here():
    assert ARCHITECTURES.keys() - {"distilbert"} == FAMILIES.keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_base_is_loaded_as_transformers_would(bases, family):
    import torch
    from transformers import AutoModelForSequenceClassification

    base = resolve_base_model(str(bases(family)))
    found = load_classifier(base, dict.fromkeys(ARCHITECTURES[family].dropouts, 0.25))
    expected = AutoModelForSequenceClassification.from_pretrained(base.folder)
    assert type(found) is type(expected)
    encoder, own = expected.base_model.state_dict(), found.base_model.state_dict()
    compared = [name for name in encoder if not name.startswith("pooler")]  # a fresh one in both
    assert len(compared) > 10
    assert all(torch.equal(encoder[name], own[name]) for name in compared)
    left_out = {
        "_name_or_path",
        "architectures",
        "problem_type",
        "id2label",
        "label2id",
        *ARCHITECTURES[family].dropouts.values(),
    }
    before, after = expected.config.to_dict(), found.config.to_dict()
    assert {name for name in before if before[name] != after.get(name)} - left_out == set()
    rates = [module.p for module in found.modules() if isinstance(module, torch.nn.Dropout)]
    assert set(rates) in ({0.25}, {0.25, 0.0})  # of ModernBERT's and DeBERTa's, some are no setting


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_lora_stands_where_peft_says_or_else_on_every_linear_layer(bases, tiny_base, family):
    import torch
    from peft import LoraConfig
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as BY_PEFT

    architecture = ARCHITECTURES[family]
    classifier = load_classifier(resolve_base_model(str(tiny_base if family == "distilbert" else bases(family))))
    linear = {name for name, module in classifier.base_model.named_modules() if isinstance(module, torch.nn.Linear)}
    if family in BY_PEFT:
        assert list(architecture.targets) == BY_PEFT[family]
    elif family == "distilbert":
        assert architecture.targets == ("q_lin", "v_lin")  # the original's
    else:
        assert {name for name in linear if name.endswith(architecture.targets)} == linear
    fresh = {name for name, _ in classifier.named_children()} - {classifier.base_model_prefix, "drop", "dropout"}
    assert fresh <= {*architecture.head}
    config = LoraConfig(
        task_type="SEQ_CLS", r=2, target_modules=list(architecture.targets), modules_to_save=list(architecture.head)
    )
    names = [name for name, weight in attach_adapter(classifier, config).named_parameters() if weight.requires_grad]
    for module in (*architecture.targets, *architecture.head):
        assert any(f".{module}." in name for name in names), module
    head = architecture.head_weight.removeprefix("classifier.")
    assert any(name.endswith(f"classifier.modules_to_save.default.{head}") for name in names)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_base_reads_as_many_tokens_as_it_has_positions_for(bases, demo_reviews, family):
    import torch

    base = resolve_base_model(str(bases(family)))
    positions = max_positions(base.folder)
    assert positions == (512 if family in ("bert", "electra") else 64)
    classifier = load_classifier(base).eval()
    ids = torch.full((1, positions), 7)
    with torch.inference_mode():
        assert classifier(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.isfinite().all()
        if ARCHITECTURES[family].reserved_positions:
            with pytest.raises(IndexError):
                classifier(input_ids=torch.full((1, positions + 1), 7))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tokenizer_of_each_family_is_read_as_transformers_reads_it(bases, demo_reviews, family):
    from transformers import AutoTokenizer

    from toolkit.text.tokenisation import ReviewTokenizer

    folder = bases(family)
    own, expected = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    reader = ReviewTokenizer.from_file(folder / "tokenizer.json", 4096)
    for review in demo_reviews["test"][:20]:
        (encoding,) = reader.encode([review.text])
        assert encoding.input_ids.tolist() == own(review.text)["input_ids"] == expected(review.text)["input_ids"]
        assert encoding.input_ids[[0, -1]].tolist() == [own.cls_token_id, own.sep_token_id]
        assert len(encoding.input_ids) > 4
    (cut,) = ReviewTokenizer.from_file(folder / "tokenizer.json", 8, "head-tail").encode([demo_reviews["test"][0].text])
    assert cut.input_ids[[0, -1]].tolist() == [own.cls_token_id, own.sep_token_id]
    assert len(cut.input_ids) == 8


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_hidden_layers": 10**9}, "has 1000000000 layers, the weights have 2"),
        ({"vocab_size": 10**12}, "of shape"),
        ({"hidden_size": 10**12}, "of shape|Storage size"),
        ({"intermediate_size": 10**12}, "of shape"),
        ({"max_position_embeddings": 10**12}, "of shape|max_position_embeddings"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_configuration_that_asks_for_other_weights_is_refused(copied, family, changed, message):
    folder = copied(family)
    said(folder, **changed)
    with pytest.raises(BundleError, match=f"is damaged .*({message})"):
        load_classifier(resolve_base_model(str(folder)))


def test_nothing_else_of_a_configuration_is_followed(copied):
    folder = copied("roberta")
    said(
        folder,
        auto_map={"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"},
        architectures=["EvilModel"],
        _attn_implementation="evil/kernels",
        attn_implementation="evil/kernels",
        quantization_config={"quant_method": "evil"},
        is_decoder=True,
        add_cross_attention=True,
        chunk_size_feed_forward=7,
        position_embedding_type="relative_key",
        torch_dtype="float16",
    )
    config = load_classifier(resolve_base_model(str(folder))).config
    assert type(config).__module__ == "transformers.models.roberta.configuration_roberta"
    assert not config.is_decoder
    assert config.chunk_size_feed_forward == 0
    assert getattr(config, "auto_map", None) is None
    assert getattr(config, "quantization_config", None) is None


@pytest.mark.parametrize("family", ["llama", "gpt2", "", None, ["bert"], {"a": 1}])
def test_another_family_is_named(copied, family):
    folder = copied("bert")
    said(folder, model_type=family)
    with pytest.raises(BundleError, match="expected one of distilbert, bert, roberta"):
        resolve_base_model(str(folder))


def test_a_tokenizer_of_a_class_that_is_not_known_is_refused(copied):
    folder = copied("bert")
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tokenizer_class": "LlamaTokenizer"}))
    with pytest.raises(BundleError, match="asks for a tokenizer of class 'LlamaTokenizer'"):
        load_tokenizer(folder)


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet"])
def test_a_head_of_other_classes_is_found_in_every_family(copied, family):
    from safetensors.numpy import load_file, save_file

    folder = copied(family)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {**weights, ARCHITECTURES[family].head_weight: np.zeros((3, SIZES["hidden_size"]), np.float32)},
        folder / "model.safetensors",
    )
    with pytest.raises(BundleError, match="is a classifier of 3 classes"):
        resolve_base_model(str(folder))


def test_a_tokenizer_is_the_one_that_was_checked(copied, tmp_path):
    """Not one built from other files, which a configuration names."""
    folder = copied("roberta")
    expected = load_tokenizer(folder).get_vocab()
    (tmp_path / "merges").write_text("#version: 0.2\nh e\n")
    vocabulary = {
        mark: number for number, mark in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", "h", "e", "he"])
    }
    (folder / "vocab.txt").write_text(json.dumps(vocabulary))
    file = folder / "tokenizer_config.json"
    said = {"tokenizer_class": "RobertaTokenizer", "from_slow": True, "merges_file": str(tmp_path / "merges")}
    file.write_text(json.dumps(json.loads(file.read_text()) | said))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.get_vocab() == expected
    tokenizer.save_pretrained(tmp_path / "saved")
    assert "from_slow" not in (tmp_path / "saved" / "tokenizer_config.json").read_text()
