"""bf16 on request: the torch backend's products, and nobody else's."""

import numpy as np
import pytest
from click.testing import CliRunner

from toolkit.cli import cli
from toolkit.errors import OptionError
from toolkit.prediction import InferenceOptions, load_predictor


def test_bf16_changes_a_score_little_and_fp32_not_at_all(tiny_adapter, demo_reviews):
    import torch

    texts = [review.text for review in demo_reviews["test"]]
    scores, kinds, seen = {}, {}, []
    for precision in (None, "fp32", "bf16"):
        with load_predictor("torch", adapter=tiny_adapter, options=InferenceOptions(precision=precision)) as predictor:
            layer = next(module for module in predictor.model.modules() if isinstance(module, torch.nn.Linear))
            layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
            scores[precision] = np.array([each.logits for each in predictor.predict_many(texts)])
        kinds[precision] = seen.pop()
    assert kinds == {None: torch.float32, "fp32": torch.float32, "bf16": torch.bfloat16}
    assert np.array_equal(scores[None], scores["fp32"])
    assert 0 < np.abs(scores["bf16"] - scores["fp32"]).max() < 0.1


def test_a_graph_has_its_own(tiny_bundle, tiny_adapter, tmp_path):
    with pytest.raises(OptionError, match="bf16 is the torch backend's"):
        load_predictor("onnx", onnx_model=tiny_bundle, options=InferenceOptions(precision="bf16"))
    (tmp_path / "texts.csv").write_text("text\nA film.\n")
    arguments = ["predict-files", str(tmp_path / "texts.csv"), str(tmp_path / "out.csv"), "--precision", "bf16"]
    run = CliRunner().invoke(cli, [*arguments, "--onnx-model", str(tiny_bundle)])
    assert run.exit_code == 2
    assert "bf16 is the torch backend's" in run.output
    run = CliRunner().invoke(cli, [*arguments, "--adapter", str(tiny_adapter)])
    assert run.exit_code == 0, run.output
    with pytest.raises(ValueError, match="precision must be one of fp32, bf16, not 'fp16'"):
        InferenceOptions(precision="fp16")


def test_short_texts_go_in_larger_batches(tiny_adapter):
    with load_predictor("torch", adapter=tiny_adapter) as predictor:
        shapes = []
        predictor.model.register_forward_pre_hook(
            lambda _module, _inputs, named: shapes.append(tuple(named["input_ids"].shape)), with_kwargs=True
        )
        predictor.batch_size = 2
        encodings = predictor.tokenizer.encode(["A film."] * 40 + ["It was long. " * 500] * 3)
        predictor.logits(encodings)
    assert all(rows * length <= 512 or rows == 1 for rows, length in shapes)
    assert sum(rows for rows, _ in shapes) == 43
    assert shapes[0][0] == 40
    assert [rows for rows, length in shapes if length == 512] == [1, 1, 1]
