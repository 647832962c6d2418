import numpy as np
import pytest
from matplotlib.figure import Figure

from toolkit.datasets.splits import SplitReport
from toolkit.errors import ToolkitError
from toolkit.evaluation.plots import plot_metrics, plot_token_lengths

HISTORY = [
    {"loss": 0.6, "step": 10}, {"eval_loss": 0.5, "eval_accuracy": 0.8, "step": 10}, {"train_accuracy": 0.82, "step": 10},
    {"loss": 0.4, "step": 20}, {"eval_loss": 0.3, "eval_accuracy": 0.9, "step": 20}, {"train_accuracy": 0.95, "step": 20},
    {"train_loss": 0.5, "train_runtime": 3.0, "step": 20},
]  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **kwargs: figures.append(self) or save(self, *args, **kwargs)
    )
    return figures


def test_two_panels_as_documented(tmp_path, drawn):
    pdf, png = plot_metrics(HISTORY, tmp_path)
    assert pdf.read_bytes().startswith(b"%PDF")
    assert png.read_bytes().startswith(b"\x89PNG")
    accuracy, loss = drawn[0].axes
    assert [axes.get_xlabel() for axes in (accuracy, loss)] == ["Training Steps"] * 2
    assert [axes.get_ylabel() for axes in (accuracy, loss)] == ["Accuracy", "Loss"]
    described = [
        (line.get_label(), line.get_color(), line.get_linestyle(), line.get_xdata().tolist(), line.get_ydata().tolist())
        for axes in (accuracy, loss)
        for line in axes.lines
    ]
    assert described == [
        ("Train Accuracy", "blue", "-", [10, 20], [0.82, 0.95]),
        ("Val Accuracy", "orange", "--", [10, 20], [0.8, 0.9]),
        ("Train Loss", "blue", "-", [10, 20], [0.6, 0.4]),
        ("Val Loss", "orange", "--", [10, 20], [0.5, 0.3]),
    ]
    assert all(line.get_marker() == "o" for axes in (accuracy, loss) for line in axes.lines)  # a lone point shows too


def test_an_empty_history_still_draws(tmp_path):
    plot_metrics([], tmp_path)
    assert (tmp_path / "training_metrics.png").is_file()


REPORT = SplitReport(3, {"negative": 1, "positive": 2}, 0, {}, np.array([5, 300, 2000]), 1 / 3)


def test_an_unknown_picture_format(tmp_path):
    with pytest.raises(ToolkitError, match=r"lengths\.xyz cannot be drawn; .*\.png, \.pdf, \.svg"):
        plot_token_lengths({"train": REPORT}, 512, tmp_path / "lengths.xyz")


def test_token_lengths(tmp_path, drawn):
    plot_token_lengths({"train": REPORT}, 512, tmp_path / "lengths.png")
    assert (tmp_path / "lengths.png").is_file()
    legend = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert "max_length 512" in legend
    assert any("33.3% over 512" in text for text in legend)
