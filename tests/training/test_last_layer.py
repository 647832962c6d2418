"""The last layer for the first token alone: the classifier's scores and gradients are those of the whole layer."""

import pytest
import torch
from peft.utils import ModulesToSaveWrapper
from transformers import AutoConfig, AutoModelForSequenceClassification, DistilBertConfig

from toolkit.training.last_layer import FirstTokenAlone


def _model(attention: str = "sdpa"):
    torch.manual_seed(1)
    config = DistilBertConfig(vocab_size=50, dim=16, hidden_dim=32, n_layers=2, n_heads=2, initializer_range=0.5)
    config.dropout = config.attention_dropout = config.seq_classif_dropout = 0.0
    return AutoModelForSequenceClassification.from_config(config, attn_implementation=attention).double()


def _batch():
    mask = torch.ones(3, 7, dtype=torch.long)
    mask[1, 4:] = 0
    return {"input_ids": torch.arange(21).view(3, 7), "attention_mask": mask, "labels": torch.tensor([0, 1, 1])}


def _step(model):
    model.zero_grad()
    result = model(**_batch())
    result.loss.backward()
    return [result.logits.detach(), *(each.grad for each in model.parameters())]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_scores_and_gradients_are_the_same(attention):
    model = _model(attention)
    widths = []
    model.distilbert.transformer.layer[-1].ffn.lin1.register_forward_hook(lambda *each: widths.append(each[2].shape[1]))
    expected = _step(model)
    with FirstTokenAlone(torch.nn.ModuleList([model])).in_use():
        found = _step(model)
    again = _step(model)
    assert widths == [7, 1, 7]
    for ours, whole, afterwards in zip(found, expected, again, strict=True):
        torch.testing.assert_close(ours, whole)
        assert torch.equal(whole, afterwards)


def test_who_asks_for_the_weights_of_the_attention_gets_all_of_them():
    model = _model("eager")
    with FirstTokenAlone(model).in_use():
        attentions = model(**_batch(), output_attentions=True).attentions
    assert [each.shape for each in attentions] == [(3, 2, 7, 7)] * 2


def test_a_last_layer_that_is_trained_whole_is_left_alone():
    model = _model()
    model.distilbert.transformer.layer[-1] = ModulesToSaveWrapper(model.distilbert.transformer.layer[-1], "default")
    expected = _step(model)
    with FirstTokenAlone(model).in_use():
        found = _step(model)
    assert type(model.distilbert.transformer.layer[-1]) is ModulesToSaveWrapper
    assert all(torch.equal(each, whole) for each, whole in zip(found, expected, strict=True) if each is not None)


def test_other_architectures_are_left_alone():
    config = AutoConfig.for_model(
        "bert", vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with FirstTokenAlone(model).in_use():
        found = model(**_batch()).logits
    assert torch.equal(found, model(**_batch()).logits)


def test_a_copy_on_another_gpu_is_not_the_block_itself():
    model = _model()
    block = model.distilbert.transformer.layer[-1]
    given = torch.randn(2, 7, 16, dtype=torch.float64)
    with FirstTokenAlone(model).in_use():
        copy = block._replicate_for_data_parallel()  # what torch's DataParallel makes
        copy.output_layer_norm = torch.nn.LayerNorm(16, block.output_layer_norm.eps, bias=False, dtype=torch.float64)
        torch.nn.init.constant_(copy.output_layer_norm.weight, 2)
        assert copy(given)[0].shape == (2, 1, 16)
        torch.testing.assert_close(copy(given)[0], 2 * block(given)[0])
    assert type(block).__name__ == "TransformerBlock"
