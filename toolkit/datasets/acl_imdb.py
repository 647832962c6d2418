"""The aclImdb folder and archive, as Maas et al. published them: a review a file, its label the folder's name."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from toolkit.datasets.labelling import RATING
from toolkit.datasets.splits import Review
from toolkit.errors import DataError, ToolkitError
from toolkit.formats.archives import archive_members
from toolkit.formats.encodings import decode
from toolkit.formats.limits import shown
from toolkit.formats.names import is_system_file
from toolkit.text.labels import NEGATIVE, POSITIVE
from toolkit.text.normalisation import normalise

Progress = Callable[[int, int], None]

_MEMBER = re.compile(r"(?:^|/)(train|test)/(neg|pos)/(?:\d+_(\d+)|[^/]+)\.txt$")  # 12_9.txt: rated 9
_MAX_REVIEW = 1 << 20  # bytes of a review in a file of its own; the longest of aclImdb has 14 kB
_LABELS = {"neg": NEGATIVE, "pos": POSITIVE}


def load_archive(path: Path, encoding: str | None, advance: Progress) -> dict[str, list[Review]]:
    """The reviews of an archive by split.

    Args:
        path: a `.tar.gz`, `.tar` or ZIP.
        encoding: The encoding of reviews without a byte order mark; UTF-8 by default.
        advance: takes how much of it has been read, and how much there is.

    Raises:
        DataError: lists every unusable review.
        ToolkitError: It is damaged, or has another layout.
    """
    return _load(archive_members(path, _MEMBER.search, _MAX_REVIEW, advance), path, encoding)


def load_folder(folder: Path, encoding: str | None, advance: Progress) -> dict[str, list[Review]]:
    """The reviews of a folder by split; see `load_archive`."""
    return _load(_folder_members(folder, advance), folder, encoding)


def _folder_members(folder: Path, advance: Progress) -> Iterator[tuple[str, bytes]]:
    paths = sorted(folder.glob("t*/*/*.txt"))
    for number, path in enumerate(paths, start=1):
        advance(number, len(paths))
        name = path.relative_to(folder).as_posix()
        if not _MEMBER.search(name) or is_system_file(name):
            continue
        if not path.is_file() or any(each.is_symlink() for each in (path, path.parent, path.parent.parent)):
            raise ToolkitError(
                f"{folder}: {shown(name)} is a link or no regular file; copy the reviews themselves there"
            )
        if (size := path.stat().st_size) > _MAX_REVIEW:
            raise ToolkitError(f"{folder}: {shown(name)} has {size} bytes; expected {_MAX_REVIEW} at most in a review")
        yield name, path.read_bytes()


def _load(members: Iterable[tuple[str, bytes]], source: Path, encoding: str | None) -> dict[str, list[Review]]:
    by_split: dict[str, list[Review]] = {}
    problems = []
    for name, content in members:
        match = _MEMBER.search(name)
        assert match is not None  # noqa: S101 - both iterators above filter by it
        try:
            text = normalise(decode(content, encoding or "utf-8"))
        except ToolkitError as error:
            problems.append(f"{name}: {error}")
            continue
        if text:
            columns = {RATING: match[3]} if match[3] else {}
            by_split.setdefault(match[1], []).append(Review(text, _LABELS[match[2]], columns))
        else:
            problems.append(f"{name}: the text is empty")
    if problems:
        raise DataError(
            f"{source} cannot be imported; found:", problems, "Nothing was written. Unpack or download it again."
        )
    if not by_split.get("train"):
        raise ToolkitError(f"{source} holds no train/pos and train/neg reviews; expected the aclImdb layout")
    return by_split
