"""Which encoding text is in: a mark says it, or the user; else it is UTF-8, and where it is not, the likeliest is guessed.

Text of any encoding goes on as UTF-8, so that nobody behind this module knows of another.
"""

import codecs
from collections.abc import Iterable, Iterator
from typing import Self

from toolkit.errors import ToolkitError

NOT_UTF8 = "not valid UTF-8"
# By the first bytes, as the WHATWG's Encoding Standard has it, and UTF-32, whose little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NO_CHARSETS = ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined")
_BROKEN = "toolkit.broken"  # the name of our error handler among the codecs'
_LONE = "\udcff"  # stands for what an encoding cannot hold; in UTF-8 it is as invalid as that was
_SAMPLE = 1 << 18  # bytes among which a guess looks for lines that are no UTF-8
_GUESSED = 1 << 14  # bytes of these that it looks at
_WIDE_LEAST, _WIDE_SAMPLE, _WIDE_SHARE = 5, 1 << 10, 0.7  # bytes; the share of zeros by which a wide encoding is known
_WIDE = {  # which of four bytes are zero in Latin letters
    "utf-16-le": [False, True, False, True],
    "utf-16-be": [True, False, True, False],
    "utf-32-le": [False, True, True, True],
    "utf-32-be": [True, True, True, False],
}
_FEW = 6  # characters
_LEAST = 0.15  # plausibility of an encoding that is worth a word


class Undecodable(str):
    """A problem: bytes that are not in the encoding of their source.

    Attributes:
        likeliest: the encoding that they are probably in; empty where that cannot be told.
    """

    __slots__ = ("likeliest",)
    likeliest: str

    def __new__(cls, encoding: str = "utf-8", likeliest: str = "", what: str = "") -> Self:
        """The problem in words, with the option that settles it."""
        said = (f"{what} is " if what else "") + (NOT_UTF8 if encoding == "utf-8" else f"not valid {encoding}")
        problem = super().__new__(cls, f"{said}, likeliest {likeliest} (--encoding {likeliest})" if likeliest else said)
        problem.likeliest = likeliest
        return problem

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Another process gets the words."""
        return str, (str(self),)


class EncodingError(ToolkitError):
    """A text is in another encoding than it was read in.

    Attributes:
        likeliest: The encoding that it is probably in; empty where that cannot be told.
    """

    def __init__(self, message: str, likeliest: str) -> None:
        self.likeliest = likeliest
        super().__init__(message)


def check_encoding(name: str) -> str:
    """The name of an encoding, as Python spells it.

    Raises:
        ValueError: It is none that text comes in.
    """
    try:
        known = codecs.lookup(name).name
        if known.replace("-", "_") in _NO_CHARSETS:
            raise LookupError
        "".encode(known)  # what turns bytes into bytes, as base64 does, is a codec too
    except (LookupError, ValueError) as error:
        raise ValueError(f"{name!r} is no encoding; expected one such as utf-8, cp1252, gb18030 or utf-16") from error
    return "utf-8" if known == "utf-8-sig" else known


def decode(content: bytes, encoding: str = "utf-8") -> str:
    """A whole text; a mark at its start says its encoding, whatever else was said.

    Raises:
        EncodingError: It is in another one; the message names the likeliest.
    """
    mark, encoding = _marked(content) or (b"", encoding)
    try:
        return content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        guess = likeliest(content) if encoding == "utf-8" else ""
        raise EncodingError(Undecodable(encoding, guess), guess) from error


def sniff(blocks: Iterable[bytes], encoding: str) -> tuple[str, Iterator[bytes]]:
    """The encoding of what comes, and what comes without its mark."""
    head = b""
    iterator = iter(blocks)
    for block in iterator:
        head += block
        if len(head) >= 4 or not any(mark.startswith(head) for mark, _ in _MARKS):
            break
    mark, encoding = _marked(head) or (b"", encoding)

    def rest() -> Iterator[bytes]:
        if content := head[len(mark) :]:
            yield content
        yield from iterator

    return encoding, rest()


def as_utf8(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Blocks of UTF-8 from those of another encoding; what that cannot hold is invalid in UTF-8 too."""
    codecs.register_error(_BROKEN, lambda error: (_LONE, error.end))  # type: ignore[attr-defined]
    decoder = codecs.getincrementaldecoder(encoding)(_BROKEN)
    for block in blocks:
        if text := decoder.decode(block):
            yield text.encode(errors="surrogatepass")
    if text := decoder.decode(b"", final=True):
        yield text.encode(errors="surrogatepass")


def unmarked_wide(head: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark, known by the zero bytes that Latin letters have there; None of other text."""
    head = head[:_WIDE_SAMPLE]
    if len(head) < _WIDE_LEAST or b"\0" not in head:
        return None
    parts = [head[start::4] for start in range(4)]
    is_zero = [part.count(0) >= _WIDE_SHARE * len(part) for part in parts]
    for encoding, pattern in _WIDE.items():
        # Where there are letters, there is no zero: bytes that are all zero are nothing.
        if is_zero == pattern and not any(0 in part for part, zero in zip(parts, pattern, strict=True) if not zero):
            return encoding
    return None


def likeliest(sample: bytes) -> str:
    """The encoding that bytes which are no UTF-8 are probably in; empty where nothing fits, or where most lines are UTF-8."""
    lines = [line for line in sample[:_SAMPLE].split(b"\n") if not line.isascii()]
    broken = [line for line in lines if not _is_utf8(line)]
    if 2 * len(broken) <= len(lines) and len(lines) > 1:
        return ""  # UTF-8 with a stray byte, which another encoding would garble everywhere else
    if wide := unmarked_wide(sample):
        return wide
    content = b"\n".join(broken)[:_GUESSED]
    scores = {encoding: _plausibility(content, encoding) for encoding in _PLAUSIBLE}
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] >= _LEAST else ""


def _marked(head: bytes) -> tuple[bytes, str] | None:
    return next(((mark, encoding) for mark, encoding in _MARKS if head.startswith(mark)), None)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _plausibility(content: bytes, encoding: str) -> float:
    """How much the characters beyond ASCII are, in this encoding, what people write: 1 and more if so, below 0 if not."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(content)  # the sample's end may cut a character
    except UnicodeDecodeError:
        return -1.0
    if not (count := sum(not character.isascii() for character in text)):
        return -1.0
    weight = _PLAUSIBLE[encoding]
    weights = (
        weight(before, character, after)
        for before, character, after in zip(" " + text, text, text[1:] + " ", strict=False)
        if not character.isascii()
    )
    # Every Korean syllable is, in other encodings, a common Chinese character: a few say nothing.
    return sum(weights) / count - (0.1 if encoding == "euc-kr" and count < _FEW else 0.0)


def _western(before: str, character: str, after: str) -> float:
    """Accents in words, and the signs that word processors put in."""
    if character in "‘’“”–—…€£½«»·•°©®™":
        return 1.0
    if character in "éèêëáàâäãåæçíìîïñóòôöõøœúùûüýÿßÉÈÁÀÄÅÇÓÖØÜÑ":
        return 0.9 if before.isalpha() or after.isalpha() else 0.4
    return 0.2 if character in "\xa0¡¿´`§±²³¼¾×" else -0.5


def _central(before: str, character: str, after: str) -> float:
    if character in "ąćęłńśźżčďěňřšťůžőűĄĆĘŁŃŚŹŻČĎĚŇŘŠŤŮŽŐŰăâîșţ":
        return 0.88 if before.isalpha() or after.isalpha() else 0.2
    return 0.85 * _western(before, character, after)


def _cyrillic(before: str, character: str, after: str) -> float:
    """Small letters mostly, capitals at the beginnings of words, Latin ones never."""
    if _is_latin(before) or _is_latin(after):
        return -0.5
    if before.isascii() and after.isascii():
        return 0.3  # alone
    if "а" <= character <= "я" or character == "ё":
        return 0.98
    if "А" <= character <= "Я" or character == "Ё":
        return -0.6 if before.islower() else 0.6
    return 0.5 if character in "«»—–…“”№" else -0.5


def _chinese(before: str, character: str, after: str) -> float:
    return _han(before, character, after, "gb2312", 0xD8)  # below: its first level, what is written every day


def _traditional(before: str, character: str, after: str) -> float:
    return _han(before, character, after, "big5", 0xC9)


def _han(before: str, character: str, after: str, everyday: str, end: int) -> float:
    if character in "，。！？、；：“”（）《》":
        return 1.0
    if not "\u4e00" <= character <= "\u9fff" or _is_latin(before) or _is_latin(after):
        return -0.5
    try:
        return 0.99 if character.encode(everyday)[0] < end else 0.2
    except UnicodeEncodeError:
        return 0.1


def _japanese(before: str, character: str, after: str) -> float:
    if "\u3041" <= character <= "\u30fe" or character in "、。「」・！？":
        return 1.1
    if not "\u4e00" <= character <= "\u9fff" or _is_latin(before) or _is_latin(after):
        return -0.3  # katakana of half the width too: hardly anybody writes it, and there every high byte is some
    return 0.7


def _korean(_before: str, character: str, _after: str) -> float:
    return 1.05 if "\uac00" <= character <= "\ud7a3" else -0.2


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalpha()


# In the order of preference where two are as plausible.
_PLAUSIBLE = {
    "cp1252": _western,
    "gb18030": _chinese,
    "cp1251": _cyrillic,
    "koi8-r": _cyrillic,
    "cp1250": _central,
    "mac_roman": _western,
    "shift_jis": _japanese,
    "euc-jp": _japanese,
    "big5": _traditional,
    "euc-kr": _korean,
}
