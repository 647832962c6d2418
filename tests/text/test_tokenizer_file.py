"""What of RoBERTa's and XLM-R's tokenizers is read, and what made like them is refused before the library sees it."""

import base64
import contextlib
import json
import struct

import pytest
from tokenizers import Tokenizer, normalizers

from tests.families import family_base
from toolkit.errors import BundleError
from toolkit.text.character_map import is_character_map
from toolkit.text.tokenizer_file import check_tokenizer_file

TEXTS = ["A film of two hours. It's good, isn't it?", "A quiet one that stays, and stays."]
LETTER, TEXT = ord("q"), 1 << 31


def character_map(texts=b"QU\0", text=0, *, size=512, letter=None, root=256):
    """A map that knows one letter, `q`, in the units of darts-clone's double array."""
    place = root ^ LETTER
    units = [0] * size
    units[0] = root << 10
    units[place] = ((place ^ 1) << 10 | 1 << 8 | LETTER) if letter is None else letter
    units[1] = TEXT | text
    return base64.b64encode(struct.pack(f"<{size + 1}I", 4 * size, *units) + texts).decode()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers")
    return {
        family: json.loads((family_base(family, folder / family, TEXTS) / "tokenizer.json").read_text())
        for family in ("roberta", "xlm-roberta")
    }


@pytest.fixture
def check(files, tmp_path):
    def run(family, **changed):
        parts = {
            name: {**files[family][name], **value} if name == "model" else value for name, value in changed.items()
        }
        (tmp_path / "tokenizer.json").write_text(json.dumps(files[family] | parts))
        check_tokenizer_file(tmp_path / "tokenizer.json")

    return run


def test_the_map_of_these_tests_is_one():
    content = character_map()
    assert is_character_map(content)
    assert normalizers.Precompiled(base64.b64decode(content)).normalize_str("quiet") == "QUuiet"


METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
REPLACE = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}


@pytest.mark.parametrize(
    ("family", "changed"),
    [
        ("roberta", {}),
        ("roberta", {"normalizer": {"type": "NFC"}}),
        ("xlm-roberta", {"normalizer": None}),
        ("xlm-roberta", {"normalizer": {"type": "Precompiled", "precompiled_charsmap": character_map()}}),
        ("xlm-roberta", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, REPLACE]}}),
        ("xlm-roberta", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, METASPACE]}}),
    ],
    ids=str,
)  # fmt: skip
def test_what_such_tokenizers_have_is_read(check, tmp_path, family, changed):
    check(family, **changed)
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("A film.").ids


@pytest.mark.parametrize(
    ("family", "part", "value"),
    [
        ("roberta", "normalizer", {"type": "NFKD"}),
        ("roberta", "normalizer", {"type": "Prepend", "prepend": "evil"}),
        ("roberta", "model", {"dropout": 0.5}),
        ("roberta", "model", {"end_of_word_suffix": "e" * 1000}),
        ("roberta", "model", {"byte_fallback": True}),
        ("roberta", "model", {"merges": [["a" * 101, "b"]]}),
        ("roberta", "model", {"merges": [["a", "b", "c"]]}),
        ("roberta", "model", {"vocab": {"a": 4_000_000_000}}),
        ("roberta", "model", {"type": "WordPiece"}),
        ("roberta", "post_processor", {"type": "RobertaProcessing", "cls": ["<s>", 4_000_000_000], "sep": ["</s>", 2]}),
        ("roberta", "post_processor", {"type": "ByteLevel"}),
        ("xlm-roberta", "normalizer", {"type": "Replace", "pattern": {"Regex": "(x+x+)+y"}, "content": ""}),
        ("xlm-roberta", "normalizer", {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}),
        ("xlm-roberta", "normalizer", {**REPLACE, "content": "a" * 1000}),
        ("xlm-roberta", "normalizer", {"type": "Sequence", "normalizers": [REPLACE] * 40}),
        ("xlm-roberta", "normalizer", {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": []}]}),
        (
            "xlm-roberta",
            "normalizer",
            {"type": "Precompiled", "precompiled_charsmap": character_map(b"Q" * 100 + b"\0")},
        ),
        ("xlm-roberta", "pre_tokenizer", {"type": "Sequence", "pretokenizers": [METASPACE] * 3}),
        ("xlm-roberta", "pre_tokenizer", {**METASPACE, "replacement": "▁▁"}),
        ("xlm-roberta", "model", {"vocab": [["", 0.0]]}),
        ("xlm-roberta", "model", {"vocab": [["a" * 101, 0.0]]}),
        ("xlm-roberta", "model", {"vocab": [["a", float("nan")]]}),
        ("xlm-roberta", "model", {"unk_id": None}),
        ("xlm-roberta", "model", {"unk_id": 10**6}),
        ("xlm-roberta", "model", {"byte_fallback": True}),
    ],
    ids=str,
)
def test_what_could_cost_more_is_refused(check, family, part, value):
    with pytest.raises(BundleError, match=f"is not a tokenizer of (RoBERTa|XLM-R)'s.*another {part}"):
        check(family, **{part: value})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "****",
        base64.b64encode(b"\0\0\0\0QU\0").decode(),
        base64.b64encode(b"\xff\xff\xff\xff" + b"\0" * 2048).decode(),
        character_map(size=700),
        character_map(texts=b""),
        character_map(texts=b"QU"),
        character_map(texts=b"\xff\xff\0"),
        character_map(texts=b"Q" * 65 + b"\0"),
        character_map(text=1),
        character_map(text=10**6),
        character_map(letter=1 << 30 | 1 << 8 | LETTER),
        character_map(letter=1 << 22 | 1 << 9 | LETTER),
    ],
    ids=["nothing", "no base64", "no units", "more units than there are", "half a block", "no texts", "no end", "no UTF-8", "long text",
         "half a text", "no text there", "out of the array", "far out of the array"],
)  # fmt: skip
def test_a_map_that_leads_astray_is_none(content):
    with contextlib.suppress(ValueError):
        assert not is_character_map(content)
