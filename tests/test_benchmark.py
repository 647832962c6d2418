import json

from click.testing import CliRunner

from toolkit.cli import cli


def run(*arguments, **environment):
    return CliRunner().invoke(cli, ["bench", *map(str, arguments)], env=environment, prog_name="toolkit")


def test_both_backends_are_measured_in_every_round(toolkit_command, tiny_bundle, tiny_adapter, tiny_dataset):
    result = toolkit_command("bench", "--json", "--file", tiny_dataset / "test.csv", "--limit", 6, "--rounds", 2,
                             "--onnx-model", tiny_bundle, "--adapter", tiny_adapter)  # fmt: skip
    assert result.returncode == 0, result.stderr.decode()
    report = json.loads(result.stdout)
    assert (report["reviews"], report["rounds"], list(report["backends"])) == (6, 2, ["onnx", "torch"])
    for backend in report["backends"].values():
        for figure in ("reviews_per_second", "single_review_ms", "cold_start_seconds", "peak_megabytes"):
            assert len(backend[figure]) == 2
            assert min(backend[figure]) > 0
    onnx, torch = report["backends"].values()
    assert max(onnx["peak_megabytes"]) < min(torch["peak_megabytes"])


def test_without_an_adapter_onnx_is_measured_alone(tiny_bundle, tiny_dataset, tmp_path):
    result = run("--file", tiny_dataset / "test.csv", "--limit", 4, "--rounds", 1, "--onnx-model", tiny_bundle,
                 TOOLKIT_ADAPTER=str(tmp_path / "none"))  # fmt: skip
    assert result.exit_code == 0, result.output
    heading, *rows = result.stdout.splitlines()
    assert heading.startswith("4 reviews of ")
    assert [row.split()[-5] for row in rows] == ["onnx"] * 4
    assert "torch" not in result.stdout


def test_a_backend_that_does_not_start_is_one_line(tiny_dataset, tmp_path):
    result = run("--file", tiny_dataset / "test.csv", "--onnx-model", tmp_path / "none")
    assert result.exit_code == 1
    assert "the onnx backend does not work here; see: toolkit" in result.stderr
