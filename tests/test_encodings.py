"""Whatever the encoding of the output and the bytes of names and cells: shown with replacements, or refused with row and column."""

import csv
import json
import os
import shutil

import pytest
from click.testing import CliRunner

from tests.test_cli import COMMANDS
from toolkit.cli import cli
from toolkit.errors import ToolkitError
from toolkit.models.publishing import replacing, replacing_files

STRAY = "b\udce9"  # as Python spells a name with the byte 0xE9, which is no UTF-8


def write_table(path, rows, header=b"review,sentiment,rating"):
    path.write_bytes(b"\n".join((header, *rows)) + b"\n")
    return path


@pytest.fixture
def half_star(tmp_path):
    """Forty reviews, one of them rated 3½ in cp1252."""
    ratings = [b"1"] * 40
    ratings[7] = b"3\xbd"
    rows = (b"Film number %d was fine.,%d,%s" % (number, number % 2, each) for number, each in enumerate(ratings))
    return write_table(tmp_path / "half.csv", rows)


@pytest.fixture
def half_character(tmp_path):
    path = tmp_path / "half.jsonl"
    rows = ({"text": f"Film {number} was fine.", "sentiment": number % 2, "rating": "1"} for number in range(40))
    lines = [json.dumps(row) for row in rows]
    path.write_text("\n".join([*lines[:7], lines[7].replace('"1"', r'"\ud83d"'), *lines[8:]]) + "\n")
    return path


@pytest.fixture
def run(load_fake):
    """Run a command on the fake predictor, with stdout and stderr in an encoding."""

    def run_in(encoding, *arguments):
        return CliRunner(charset=encoding).invoke(cli, [*map(str, arguments)], prog_name="toolkit", obj=load_fake)

    return run_in


def assert_in_words(result, code):
    """The exit code is this, and no exception came through."""
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception


@pytest.mark.parametrize("encoding", ["cp1252", "shift_jis"])
def test_every_help_is_shown_in_every_encoding(run, encoding):
    for command in COMMANDS:
        result = run(encoding, *command, "--help")
        assert_in_words(result, 0)
        assert "Usage: " in result.output


def test_what_an_encoding_lacks_is_spelt(toolkit_command, tiny_bundle):
    """In a process of its own, whose streams Python has opened."""
    process = toolkit_command(
        "predict", "--lang", "zh", "--onnx-model", tiny_bundle, "Nice \U0001f44d", PYTHONIOENCODING="cp1252"
    )
    assert process.returncode == 0, process.stderr
    label, _, text = process.stdout.decode("cp1252").rstrip("\r\n").split("\t")
    assert label in (r"\u6b63\u9762\u8bc4\u8bba", r"\u8d1f\u9762\u8bc4\u8bba")
    assert text == r"Nice \U0001f44d"


def test_json_is_the_same_in_every_encoding(run):
    answers = [run(each, "predict", "--json", "--lang", "zh", "Nice") for each in ("utf-8", "cp1252", "ascii")]
    first, *others = [json.loads(result.stdout) for result in answers]
    assert first["label"] in ("正面评论", "负面评论")
    assert others == [first, first]


def test_figures_are_shown_in_every_encoding(run, tiny_dataset):
    result = run("cp1252", "evaluate", "--dataset", tiny_dataset, "--lang", "zh")
    assert_in_words(result, 0)
    assert r"\u6b63\u9762\u8bc4\u8bba: " in result.stdout


def test_a_review_of_other_bytes_is_refused(run):
    result = run("utf-8", "predict", "fine", STRAY)
    assert_in_words(result, 2)
    assert r"review 2 is not valid UTF-8: 'b\udce9'" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "half_star",
            "half.csv row 8 (line 9): the column 'rating' is not valid UTF-8, likeliest cp1252 (--encoding cp1252)",
        ),
        (
            "half_character",
            r"half.jsonl row 8: the column 'rating' is '\ud83d', which is no text: half of a character is missing",
        ),
    ],
)
def test_a_cell_to_be_kept_is_named_by_row_and_column(request, run, tmp_path, source, problem):
    path = request.getfixturevalue(source)
    for arguments in (
        ("dataset", "import", path, "--output", tmp_path / "new" / "out"),
        ("evaluate", "--file", path, "--slice", "rating", "--output", tmp_path / "new" / "out"),
    ):  # fmt: skip
        result = run("utf-8", *arguments)
        assert_in_words(result, 1)
        assert problem in result.stderr
        assert not (tmp_path / "new").exists()
    # Nobody looks at the column here.
    assert_in_words(run("utf-8", "evaluate", "--file", path), 0)


def test_a_data_set_s_other_columns_are_no_matter(run, tmp_path):
    for split in ("train", "validation", "test"):
        rows = (f"{split} film {number},{number % 2},".encode() + b"3\xbd" for number in range(4))
        write_table(tmp_path / f"{split}.csv", rows, b"text,label,rating")
    result = run("utf-8", "dataset", "check", tmp_path)
    assert_in_words(result, 0)
    assert "test: 4 rows" in result.stdout


def test_a_file_of_answers_says_which_cell_it_cannot_write(run, half_star, half_character, tmp_path):
    for path, reason in (
        (half_star, "the column 'rating' is not valid UTF-8, likeliest cp1252 (--encoding cp1252)"),
        (half_character, "the column 'rating' holds half a"),
    ):
        target = tmp_path / f"{path.suffix[1:]}.csv"
        assert_in_words(run("utf-8", "predict-files", path, target), 1)
        rows = list(csv.DictReader(target.open(encoding="utf-8")))
        assert [number for number, row in enumerate(rows, start=1) if row["error"]] == [8]
        assert reason in rows[7]["error"]
    target = tmp_path / "same.jsonl"
    assert_in_words(run("utf-8", "predict-files", half_character, target), 0)
    assert json.loads(target.read_text(encoding="utf-8").splitlines()[7])["rating"] == "\ud83d"


@pytest.mark.parametrize("output", ["csv", "jsonl"])
def test_a_column_s_name_that_cannot_be_written_is_refused(run, tmp_path, output):
    path = write_table(tmp_path / "a.csv", [b"fine,1"], b"text,n\xe9")
    target = tmp_path / f"out.{output}"
    result = run("utf-8", "predict-files", path, target)
    assert_in_words(result, 1)
    assert "the header is not valid UTF-8, likeliest cp1252 (--encoding cp1252)" in result.stderr
    assert not target.exists()
    result = run("utf-8", "predict-files", path, target, "--prefix", STRAY)
    assert_in_words(result, 2)


def test_names_of_files_that_are_no_utf_8(run, demo_reviews, tmp_path):
    """A GBK archive that was unpacked on Linux has such names."""
    from pyarrow import Table, parquet

    texts, labels = (
        [each.text for each in demo_reviews["train"][:40]],
        [int(each.label) for each in demo_reviews["train"][:40]],
    )
    parquet.write_table(Table.from_pydict({"text": texts, "label": labels}), tmp_path / "a.parquet")
    os.rename(tmp_path / "a.parquet", tmp_path / f"{STRAY}.parquet")
    folder = tmp_path / STRAY
    folder.mkdir()
    source = folder / f"{STRAY}.csv"
    with source.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *zip(texts, labels, strict=True)])
    for arguments in (
        ("dataset", "import", source, "--output", tmp_path / f"set{STRAY}"),
        ("dataset", "check", tmp_path / f"set{STRAY}"),
        ("dataset", "import", tmp_path / f"{STRAY}.parquet", "--output", tmp_path / "set"),
        ("evaluate", "--file", source, "--output", tmp_path / f"report{STRAY}"),
        ("evaluate", "--file", tmp_path / f"{STRAY}.parquet", "--output", tmp_path / "report"),
        ("evaluate", "--compare", tmp_path / "report", tmp_path / f"report{STRAY}", "--output", tmp_path / f"two{STRAY}"),
        ("predict-files", source, tmp_path / f"{STRAY}.jsonl", "--prefix", "m_"),
        ("predict-files", folder, tmp_path / f"{STRAY}.parquet", tmp_path / f"out{STRAY}", "--prefix", "m_"),
    ):  # fmt: skip
        assert_in_words(run("utf-8", *arguments), 0)
    report = json.loads((tmp_path / f"report{STRAY}" / "report.json").read_text(encoding="utf-8"))
    assert report["data"]["file"] == source.name
    assert sorted(path.name for path in (tmp_path / f"out{STRAY}").iterdir() if path.is_file()) == sorted(
        ["_SUCCESS", source.name, f"{STRAY}.parquet"]
    )
    result = run("utf-8", "evaluate", "--file", tmp_path / f"{STRAY}.none")
    assert_in_words(result, 1)
    assert r"b\udce9.none" in result.stderr


def test_a_model_under_such_a_path_is_refused_in_words(tiny_bundle, tiny_adapter, tiny_base, tiny_dataset, tmp_path):
    """The libraries that open a model cannot; through a link it can be had."""

    def run(*arguments):
        return CliRunner().invoke(cli, [*map(str, arguments)], prog_name="toolkit")

    places = {}
    for folder in (tiny_bundle, tiny_adapter, tiny_base):
        places[folder] = tmp_path / STRAY / folder.name
        shutil.copytree(folder, places[folder])
    parity = ("--parity-set", tiny_dataset / "validation.csv", "--small-parity-set")
    for arguments in (
        ("predict", "--onnx-model", places[tiny_bundle], "fine"),
        ("predict", "--adapter", places[tiny_adapter], "fine"),
        ("predict", "--adapter", tiny_adapter, "--base-model", places[tiny_base], "fine"),
        ("dataset", "check", tiny_dataset, "--base-model", places[tiny_base]),
        ("train", "--dataset", tiny_dataset, "--base-model", tiny_base, "--output", tmp_path / STRAY / "new"),
        ("export", "--adapter", tiny_adapter, *parity, "--output", tmp_path / STRAY / "new"),
    ):
        result = run(*arguments)
        assert_in_words(result, 1)
        assert r"b\udce9" in result.stderr
        assert "is not valid UTF-8, under which no model can be opened; rename it" in result.stderr
    assert not (tmp_path / STRAY / "new").exists()


def test_files_are_utf_8_in_every_locale(toolkit_command, tiny_bundle, tmp_path):
    path = write_table(tmp_path / "影评.csv", ["好 fine,1".encode()], b"text,stars")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    process = toolkit_command(
        "predict-files", "--onnx-model", tiny_bundle, path, tmp_path / "out.jsonl", "--lang", "zh", **plain
    )
    assert process.returncode == 0, process.stderr
    row = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert (row["text"], row["label"]) in [("好 fine", "正面评论"), ("好 fine", "负面评论")]


@pytest.mark.parametrize("replace", [replacing, replacing_files])
def test_a_folder_that_could_not_be_filled_is_not_there(tmp_path, replace):
    (tmp_path / "there").mkdir()
    with pytest.raises(ToolkitError, match="no"), replace(tmp_path / "there" / "new" / "out", last="a") as staging:
        (staging / "a").write_text("half")
        raise ToolkitError("no")
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]
