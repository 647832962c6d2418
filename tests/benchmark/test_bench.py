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
    assert result.exit_code == 1
    assert "no engine 'vroom'; expected some of onnx, onnx-fp32, torch, pipeline" in result.stderr


def test_a_peer_that_is_not_installed_is_named_with_the_command(tiny_bundle, tiny_adapter, tiny_dataset, monkeypatch):
    from toolkit.benchmark.peers import CTranslate2

    monkeypatch.setattr(CTranslate2, "packages", ("no_such_package",))
    arguments = ("--file", tiny_dataset / "test.csv", "--limit", 4, "--rounds", 1, "--onnx-model", tiny_bundle,
                 "--adapter", tiny_adapter)  # fmt: skip
    result = run(*arguments, "--markdown", "--engines", "onnx,ctranslate2")
    assert result.exit_code == 0, result.output
    assert "| engine | reviews/s |" in result.stdout
    assert (
        "- ctranslate2: not installed; in a checkout: python -m pip install -c constraints.txt '.[bench]'"
        in result.stdout
    )
    alone = run(*arguments, "--engines", "ctranslate2")
    assert alone.exit_code == 1
    assert "no_such_package not installed" in alone.stderr
