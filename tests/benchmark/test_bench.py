import json

import pytest
from click.testing import CliRunner

from toolkit.cli import cli


def run(*arguments, **environment):
    return CliRunner().invoke(cli, ["bench", *map(str, arguments)], env=environment, prog_name="toolkit")


def test_both_backends_are_measured_in_every_round(toolkit_command, tiny_bundle, tiny_adapter, tiny_dataset, tmp_path):
    chart = tmp_path / "chart.png"
    result = toolkit_command("bench", "--json", "--file", tiny_dataset / "test.csv", "--limit", 6, "--rounds", 2,
                             "--onnx-model", tiny_bundle, "--adapter", tiny_adapter, "--chart", chart)  # fmt: skip
    assert result.returncode == 0, result.stderr.decode()
    report = json.loads(result.stdout)
    assert (report["reviews"], report["rounds"], list(report["engines"])) == (6, 2, ["onnx", "torch"])
    for engine in report["engines"].values():
        for figure in ("reviews_per_second", "tokens_per_second", "p50_ms", "p95_ms", "cold_start_seconds",
                       "peak_megabytes", "share_of_peak"):  # fmt: skip
            assert len(engine[figure]) == 2
            assert min(engine[figure]) > 0
        assert all(p50 <= p95 for p50, p95 in zip(engine["p50_ms"], engine["p95_ms"], strict=True))
        assert engine["agreement"] == 1
    onnx, torch = report["engines"].values()
    assert max(onnx["peak_megabytes"]) < min(torch["peak_megabytes"])
    assert all(len(values) == 2 and min(values) > 0 for values in report["machine"]["peak_gflops"].values())
    shares = report["time_shares"]
    assert [sum(parts) for parts in zip(*shares.values(), strict=True)] == pytest.approx([1, 1])
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_without_an_adapter_onnx_is_measured_alone(tiny_bundle, tiny_dataset, tmp_path):
    result = run("--file", tiny_dataset / "test.csv", "--limit", 4, "--rounds", 1, "--onnx-model", tiny_bundle,
                 TOOLKIT_ADAPTER=str(tmp_path / "none"))  # fmt: skip
    assert result.exit_code == 0, result.output
    heading, _, columns, row, after, *_ = result.stdout.splitlines()
    assert heading.startswith(f"{tiny_dataset / 'test.csv'}: 4 reviews of ")
    assert columns.split()[:2] == ["engine", "reviews/s"]
    assert row.split()[0] == "onnx"
    assert after == ""


def test_a_bundle_that_is_missing_is_one_line(tiny_dataset, tmp_path):
    result = run("--file", tiny_dataset / "test.csv", "--onnx-model", tmp_path / "none")
    assert result.exit_code == 1
    assert "none not found; make it with: toolkit export" in result.stderr


@pytest.mark.parametrize(
    ("chart", "message"),
    [("chart.xyz", "choose a name ending in .png, .pdf, .svg"), ("", "is a folder"), ("no/chart.png", "No such file")],
)
def test_a_chart_that_cannot_be_drawn_is_said_before_the_work(chart, message, tiny_dataset, tmp_path):
    (tmp_path / "a.png").mkdir()
    result = run("--file", tiny_dataset / "test.csv", "--onnx-model", tmp_path / "none", "--chart",
                 tmp_path / (chart or "a.png"))  # fmt: skip
    assert result.exit_code == 1
    assert message in result.stderr
    assert "none not found" not in result.stderr


def test_an_unknown_engine_is_answered_with_the_known_ones(tiny_dataset):
    result = run("--file", tiny_dataset / "test.csv", "--engines", "onnx,vroom")
    assert result.exit_code == 2
    assert (
        "no engine 'vroom'; expected some of onnx, onnx-both, onnx-model, onnx-fp32, torch; other libraries"
        in result.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("--peers",), "python benchmarks/peers.py\n"),
        (("--size", "distilbert"), "python benchmarks/peers.py --size distilbert\n"),
        (("--engines", "onnx,openvino"), "python benchmarks/peers.py --engines onnx,openvino\n"),
    ],
)
def test_who_asks_for_peers_is_told_where_they_are(arguments, command):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.endswith(command)
    assert "--peers" not in run("--help").output


def test_two_kinds_of_output_are_one_too_many(tiny_dataset):
    result = run("--file", tiny_dataset / "test.csv", "--json", "--markdown")
    assert result.exit_code == 2
    assert "two kinds of output" in result.stderr
