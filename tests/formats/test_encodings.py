"""Text in whatever encoding people have it: known by its mark, or by the option, or refused with the likeliest named."""

import codecs
import gzip
import io
import json
import pickle

import pytest
from click.testing import CliRunner

from tests.streaming.conftest import Reads
from toolkit.chat.texts import TEXTS
from toolkit.chat.uploads import read_upload
from toolkit.cli import cli
from toolkit.datasets.importers import ImportOptions, import_dataset
from toolkit.datasets.splits import read_reviews, read_splits
from toolkit.errors import DataError, ToolkitError
from toolkit.formats.encodings import EncodingError, Undecodable, check_encoding, decode, likeliest
from toolkit.streaming import Source, read_records
from toolkit.streaming.files import FileJob

REVIEWS = ["Café “Paris”, très bon 👍", "A film: 这部电影不好看"]
CSV = f'text,label\r\n"{REVIEWS[0]}",1\r\n{REVIEWS[1]},0\r\n'
JSONL = "".join(
    json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n"
    for text, label in zip(REVIEWS, (1, 0), strict=True)
)
MARKED = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
FRENCH = 'text,label\n"Café, très bon",1\n"Déjà vu – “nul”",0\n'.encode("cp1252")


@pytest.fixture
def run_fake(load_fake):
    """Run a command on the fake predictor."""

    def run(*arguments, stdin=b"", code=0):
        result = CliRunner().invoke(cli, list(map(str, arguments)), input=stdin, obj=load_fake)
        assert result.exit_code == code, result.output
        return result

    return run


def texts(content, input_format, encoding=None):
    records = read_records(Source("", io.BytesIO(content), encoding=encoding), input_format)
    return [record.text or record.problem for record in records]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("encoding", MARKED)
@pytest.mark.parametrize(("ending", "text"), [(".csv", CSV), (".jsonl", JSONL)])
def test_a_mark_is_known_to_every_door(tmp_path, fake_predictor, ending, text, encoding, pack):
    content = pack(MARKED[encoding] + text.encode(encoding))
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)
    assert [review.text for review in read_reviews(path)] == REVIEWS
    assert [row.text for row in read_upload(path, path.name, TEXTS["en"])] == REVIEWS
    assert texts(content, ending[1:]) == REVIEWS
    FileJob(path, tmp_path / "out.jsonl", prefix="p_").run(lambda: fake_predictor)
    assert [json.loads(line)["text"] for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()] == REVIEWS
    assert decode(MARKED[encoding] + text.encode(encoding), "cp1252") == text, "a mark is right, whatever was said"


@pytest.mark.parametrize("encoding", MARKED)
def test_lines_and_a_review_from_stdin(run_fake, encoding):
    content = MARKED[encoding] + "\r\n".join(REVIEWS).encode(encoding)
    assert texts(content, "lines") == REVIEWS
    answers = run_fake("filter", "--format", "jsonl", stdin=content).stdout.splitlines()
    assert [json.loads(line)["text"] for line in answers] == REVIEWS
    answer = run_fake("predict", "-", stdin=MARKED[encoding] + REVIEWS[0].encode(encoding)).stdout
    assert answer.rstrip("\n").split("\t")[2] == REVIEWS[0]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_blocks_that_cut_characters_change_nothing(size):
    content = codecs.BOM_UTF16_LE + CSV.encode("utf-16-le")
    stream = Reads(*(content[start : start + size] for start in range(0, len(content), size)))
    assert [record.text for record in read_records(Source("", stream), "csv")] == REVIEWS


def test_a_folder_of_split_files_and_one_of_review_files_in_utf_16(tmp_path):
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.csv").write_text(CSV, "utf-16")
    assert [review.text for review in read_splits(tmp_path)["test"]] == REVIEWS
    for number in range(40):
        path = tmp_path / "acl" / "train" / ("pos", "neg")[number % 2] / f"{number}_1.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"Café {number}", ("utf-16", "utf-8-sig")[number % 2])
    import_dataset(str(tmp_path / "acl"), tmp_path / "out", ImportOptions())
    assert all(review.text.startswith("Café ") for review in read_splits(tmp_path / "out")["train"])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["text,label\nfine,1\ndull,0\n", "ok\nno\n"])
def test_without_a_mark_its_zero_bytes_name_it(run_fake, tmp_path, text, encoding):
    content = text.encode(encoding)
    for input_format in ("lines", "jsonl", "csv"):
        with pytest.raises(ToolkitError, match=f"^this looks like {encoding} without .* --encoding {encoding}$"):
            texts(content, input_format)
    result = run_fake("predict", "-", stdin=content, code=1)
    assert f"--encoding {encoding}" in result.stderr
    assert not result.stdout
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ToolkitError, match=rf"^a\.csv: not valid UTF-8, likeliest {encoding}; save the file as UTF-8"):
        read_upload(tmp_path / "a.csv", "a.csv", TEXTS["en"])
    assert texts(content, "lines", encoding) == text.splitlines()


def test_zero_bytes_between_records_are_no_utf_16():
    assert texts(b"a\0b\0c\0d\0", "nul") == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "The café scene – “well” – was pointless."),
        ("cp1252", "It’s great"),
        ("cp1252", "Der Film war großartig, die Schauspieler überzeugend."),
        ("cp1252", "half a star: ½"),
        ("mac_roman", "The café scene – “well” – was pointless."),
        ("gb18030", "这部电影很好看，演员的表演非常出色。"),
        ("gb18030", "很好看"),
        ("gb18030", "太差了！不推荐。"),
        ("big5", "這部電影很好看，演員的表演非常出色。"),
        ("shift_jis", "この映画はとても素晴らしかったです。"),
        ("euc-jp", "この映画はとても素晴らしかったです。"),
        ("euc-kr", "이 영화는 정말 재미있었습니다."),
        ("cp1251", "Этот фильм был очень хорошим, всем советую."),
        ("koi8-r", "Этот фильм был очень хорошим, всем советую."),
        ("cp1250", "Příšerný film, vůbec se mi nelíbil."),
    ],
)
def test_the_likeliest_encoding(encoding, text):
    assert likeliest(text.encode(encoding)) == encoding
    assert str(Undecodable("utf-8", encoding)) == f"not valid UTF-8, likeliest {encoding} (--encoding {encoding})"


def test_another_process_gets_the_words():
    problem = Undecodable("utf-8", "cp1252", "the column 'text'")
    assert pickle.loads(pickle.dumps(problem)) == str(problem) != ""


def test_of_latin_1_its_superset_is_named_and_of_utf_8_with_a_stray_byte_nothing():
    assert likeliest("Une œuvre très réussie".replace("œ", "oe").encode("latin-1")) == "cp1252"
    stray = "".join(f"Café {number}\n" for number in range(5)).encode() + b"half a star: \xbd\n"
    assert likeliest(stray) == "", "cp1252 would garble the other lines"


def test_what_is_in_another_encoding_is_refused_alike_and_read_with_the_option(run_fake, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(FRENCH)
    said = "not valid UTF-8, likeliest cp1252 (--encoding cp1252)"
    with pytest.raises(DataError) as caught:
        read_reviews(path)
    assert caught.value.problems == [f"a.csv row {row} (line {row + 1}): the column 'text' is {said}" for row in (1, 2)]
    for arguments, code in (
        (("filter", "--csv", path), 2),
        (("filter", path), 2),
        (("evaluate", "--file", path), 1),
        (("dataset", "import", path, "--output", tmp_path / "out"), 1),
    ):
        assert said in run_fake(*arguments, code=code).stderr
    run_fake("predict-files", "--prefix", "p_", path, tmp_path / "out.csv", code=1)
    assert said in (tmp_path / "out.csv").read_text("utf-8")
    refused = run_fake("predict", "-", stdin="très bon".encode("cp1252"), code=1)
    assert (refused.stdout, refused.stderr) == ("", f"Error: {said}\n")
    (row, _) = read_upload(path, "a.csv", TEXTS["zh"])
    assert row.problem == "不是有效的 UTF-8，可能是 cp1252；请另存为 UTF-8（CSV UTF-8）"

    option = ("--encoding", "cp1252")
    assert "Café, très bon" in run_fake("filter", "--csv", *option, path).stdout
    assert "très bon" in run_fake("predict", *option, "-", stdin="très bon".encode("cp1252")).stdout
    run_fake("evaluate", "--file", path, *option)
    run_fake("predict-files", *option, "--prefix", "p_", path, tmp_path / "out.csv")
    assert "Déjà vu – “nul”" in (tmp_path / "out.csv").read_text("utf-8")
    run_fake("predict-files", *option, "--prefix", "p_", path, f"{tmp_path / 'folder'}/")
    assert "Déjà vu – “nul”" in (tmp_path / "folder" / "a.csv").read_text("utf-8")
    (tmp_path / "b.csv").write_bytes(b"text,label\n" + b"".join(b"caf\xe9 %d,%d\n" % (i, i % 2) for i in range(40)))
    run_fake("dataset", "import", tmp_path / "b.csv", *option, "--output", tmp_path / "data")
    assert "café" in (tmp_path / "data" / "train.csv").read_text("utf-8")


@pytest.mark.parametrize("command", ["train", "export", "bench", "dataset check"])
def test_who_else_reads_a_file_of_reviews_takes_the_option(run_fake, command):
    assert "--encoding" in run_fake(*command.split(), "--help").stdout


def test_what_the_named_encoding_cannot_hold_is_refused_too():
    assert texts(b"fine\nbad \x81 byte\n", "lines", "cp1252") == ["fine", "not valid cp1252"]
    assert texts("fine\né\n".encode(), "lines", "ascii") == ["fine", "not valid ascii"]
    assert texts("映画\n".encode("shift_jis") + b"\x81\n", "lines", "shift_jis") == ["映画", "not valid shift_jis"]
    with pytest.raises(EncodingError, match=r"^not valid cp1252$"):
        decode(b"\x81", "cp1252")
    broken = codecs.BOM_UTF16_LE + "a,b\nfine,x\n".encode("utf-16-le") + b"\x00\xd8,\x00x\x00\n\x00"
    assert texts(broken.replace(b"a\0,", b"t\0e\0x\0t\0,", 1), "csv") == [
        "fine",
        "the column 'text' is not valid utf-16-le",
    ]


def test_an_encoding_is_one_that_text_has(run_fake):
    assert check_encoding("Latin-1") == "iso8859-1"
    assert check_encoding("utf_8_sig") == "utf-8"
    for name in ("nope", "base64", "rot13", "idna", "unicode_escape", "undefined", "a\0b"):
        with pytest.raises(ValueError, match=r"is no encoding; expected one such as utf-8, cp1252"):
            check_encoding(name)
    assert "'nope' is no encoding" in run_fake("filter", "--encoding", "nope", code=2).stderr


def test_a_column_that_is_kept_is_as_exact_as_the_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,label,rating,other\nfine,1,\xbd,\xff\ndull,0,1,\xff\n")
    with pytest.raises(DataError, match=r"row 1 \(line 2\): the column 'rating' is not valid UTF-8"):
        read_reviews(tmp_path / "a.csv", others=("rating",))
    assert len(read_reviews(tmp_path / "a.csv", others=())) == 2, "a column that nobody reads may hold anything"
    (tmp_path / "a.jsonl").write_text('{"text": "fine", "label": 1, "rating": "\\ud83d"}\n')
    with pytest.raises(DataError, match=r"row 1: the column 'rating' is '.ud83d', which is no text"):
        read_reviews(tmp_path / "a.jsonl", others=("rating",))


def test_a_header_that_would_be_repeated_has_to_be_readable():
    content = "text,label,感想\nfine,1,x\n".encode("shift_jis")
    with pytest.raises(ToolkitError, match=r"^the header is not valid UTF-8, likeliest"):
        texts(content, "csv")
    assert texts(content, "csv", "shift_jis") == ["fine"]


def test_a_header_in_another_encoding_is_not_looked_through(tmp_path):
    (tmp_path / "a.csv").write_bytes("正文,标签\n很好看,1\n".encode("gb18030"))
    with pytest.raises(DataError) as caught:
        read_reviews(tmp_path / "a.csv")
    assert caught.value.problems == [
        "a.csv header: the header is not valid UTF-8, likeliest gb18030 (--encoding gb18030)"
    ]
    reviews = read_reviews(tmp_path / "a.csv", "正文", "标签", encoding="gb18030")
    assert [review.text for review in reviews] == ["很好看"]
