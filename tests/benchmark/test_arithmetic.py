import pytest

from toolkit.benchmark.arithmetic import flops_per_review, measure_peak, model_sizes, total_flops

CONFIG = {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2}


def test_the_formula_counts_what_torch_counts():
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    # The counter does not know the fused attention.
    config = DistilBertConfig(**CONFIG, vocab_size=50, attn_implementation="eager")
    model = DistilBertForSequenceClassification(config).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=torch.ones((1, 48), dtype=torch.long))
    assert flops_per_review(CONFIG, 48) == pytest.approx(counter.get_total_flops())


def test_reviews_add_up():
    assert total_flops(CONFIG, [3, 512]) == flops_per_review(CONFIG, 3) + flops_per_review(CONFIG, 512)


def test_every_library_has_a_peak():
    peaks = measure_peak(seconds=0)
    assert set(peaks) <= {"numpy", "torch"}
    assert min(peaks.values()) > 0


def test_other_encoders_have_the_same_sizes_by_other_names():
    config = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4}
    assert model_sizes(config) == {"dim": 64, "hidden_dim": 128, "n_layers": 3, "n_heads": 4}
    assert flops_per_review(config, 48) == flops_per_review(model_sizes(config), 48)
