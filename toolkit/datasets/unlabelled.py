"""Texts without labels, for a teacher to label: read from any file, cleaned, and written in files of a size to resume by."""

import csv
import hashlib
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from toolkit.datasets.sentences import runs
from toolkit.datasets.splits import read_splits
from toolkit.errors import BundleError, ToolkitError
from toolkit.formats.limits import listed
from toolkit.formats.names import FORMATS, TEXT_COLUMNS, find_column, format_of, split_name
from toolkit.formats.parsing import is_undecodable
from toolkit.formats.tables import read_rows
from toolkit.models.files import read_json_object, sha256, write_json
from toolkit.models.publishing import refuse_other_files, replacing
from toolkit.models.workspaces import sweep
from toolkit.text.normalisation import normalise

INFO_FILE = "texts_info.json"
_HELD_BACK = ("validation", "test")
_LINES = ".txt"


@dataclass(frozen=True)
class TextOptions:
    """Which texts are taken of a source.

    Attributes:
        sentences: the share of the texts' sentences to take, over 0 to 1; None takes the texts whole.
        up_to: the most sentences in a row that are taken together, of each number from 1 on as often.
        limit: texts to take at most, the first; None takes all.
        apart_from: a data set whose validation and test reviews are left out, with their sentences.
        text_column: name of the text's column where it is not one of the usual.
        per_file: texts in each file that is written.
        seed: The seed of the choice of sentences; a larger share has those of a smaller one and more.
    """

    sentences: float | None = None
    up_to: int = 1
    limit: int | None = None
    apart_from: Path | None = None
    text_column: str | None = None
    per_file: int = 1000
    seed: int = 42

    def __post_init__(self) -> None:
        """Refuse what leaves nothing."""
        if self.sentences is not None and not 0 < self.sentences <= 1:
            raise ToolkitError(f"--sentences {self.sentences} must be a share over 0, and 1 at most")
        if self.up_to != 1 and self.sentences is None:
            raise ToolkitError("--up-to counts sentences: give --sentences SHARE as well")
        for name, value in (("--up-to", self.up_to), ("--limit", self.limit), ("--per-file", self.per_file)):
            if value is not None and value < 1:
                raise ToolkitError(f"{name} {value} must be 1 or more")


@dataclass
class TextsInfo:
    """What was written, and what was left out; `texts_info.json` has it.

    Attributes:
        source: the source's name.
        options: as given.
        texts: the number of texts written.
        held_back: texts of the source that are in the validation or test split of `apart_from`.
        duplicates: texts that were there before.
        problems: rows without a text.
        sha256: The SHA-256 of each file, by name.
    """

    source: str
    options: dict[str, object]
    texts: int = 0
    held_back: int = 0
    duplicates: int = 0
    problems: int = 0
    sha256: dict[str, str] = field(default_factory=dict)


def collect_texts(
    source: Path, output: Path, options: TextOptions, advance: Callable[[int], None] = lambda count: None
) -> TextsInfo:
    """Read texts without labels and write them, each once, into CSV files of one column.

    Args:
        source: a CSV, JSONL or Parquet file, or a `.txt` of a text a line; compressed or not.
        output: a folder; an earlier one of this kind is replaced.
        options: which texts.
        advance: takes the bytes of the source that were read since it was last called.

    Raises:
        ToolkitError: the source cannot be read or has no text, or `output` holds other files of these names.
    """
    sweep(output)
    refuse_other_files(output, _listed(output), "set of texts")
    held_back = _held_back(options.apart_from) if options.apart_from else set()
    given = {**asdict(options), "apart_from": options.apart_from.name if options.apart_from else None}
    info = TextsInfo(source.name, given)
    texts = _chosen(_texts(source, options, info, advance), options, held_back, info)
    with replacing(output, last=INFO_FILE) as staging:
        for number, part in enumerate(_parts(itertools.islice(texts, options.limit), options.per_file), start=1):
            file = staging / f"texts-{number:05}.csv"
            with file.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow([TEXT_COLUMNS[0]])
                writer.writerows([text] for text in part)
            info.texts += len(part)
            info.sha256[file.name] = sha256(file)
        if not info.texts:
            raise ToolkitError(f"{source}: expected texts, found none that is not left out")
        write_json(staging / INFO_FILE, asdict(info))
    return info


def _texts(source: Path, options: TextOptions, info: TextsInfo, advance: Callable[[int], None]) -> Iterator[str]:
    """The texts of the source, normalised."""
    ending = format_of(source) or (_LINES if split_name(source)[1] == _LINES else None)
    if ending is None or not source.is_file():
        raise ToolkitError(f"{source}: expected a file ending in {', '.join((*FORMATS, _LINES))}")
    column: str | None = None

    def needed(names: Sequence[str]) -> list[str]:
        return [name] if (name := find_column(names, options.text_column)) else []

    for _, row, problem in read_rows(source, ending, needed, advance=advance):
        if problem:
            info.problems += 1
            continue
        column = column or find_column(row, options.text_column)
        if column is None:
            wanted = options.text_column or " or ".join(TEXT_COLUMNS)
            raise ToolkitError(
                f"{source}: expected a column {wanted}, found {listed(row) or 'none'}; name it with --text-column"
            )
        value = row.get(column)
        text = normalise(value) if isinstance(value, str) and not is_undecodable(value) else ""
        if text:
            yield text
        else:
            info.problems += 1


def _chosen(texts: Iterator[str], options: TextOptions, held_back: Collection[str], info: TextsInfo) -> Iterator[str]:
    seen: set[bytes] = set()
    for text in texts:
        if text in held_back:
            info.held_back += 1
            continue
        for each in _pieces(text, options):
            digest = hashlib.sha256(each.encode(errors="replace")).digest()
            if digest in seen:
                info.duplicates += 1
                continue
            seen.add(digest)
            yield each


def _pieces(text: str, options: TextOptions) -> Iterator[str]:
    """The text whole, or runs of its sentences, each chosen and measured by the sentence that it begins with."""
    if options.sentences is None:
        return iter([text])
    limit = options.sentences * 2**64

    def count(sentence: str) -> int:
        digest = hashlib.sha256(f"{options.seed} {sentence}".encode(errors="replace")).digest()
        return 1 + int.from_bytes(digest[8:16]) % options.up_to if int.from_bytes(digest[:8]) < limit else 0

    return runs(text, count)


def _held_back(folder: Path) -> set[str]:
    """The texts on which a model is measured, and their sentences."""
    splits = read_splits(folder, _HELD_BACK)
    return {review.text for reviews in splits.values() for review in reviews}


def _parts(texts: Iterator[str], size: int) -> Iterator[list[str]]:
    while part := list(itertools.islice(texts, size)):
        yield part


def _listed(folder: Path) -> Collection[str]:
    """The files of an earlier run."""
    try:
        content = read_json_object(folder / INFO_FILE)
    except (OSError, BundleError):
        return ()
    files = content.get("sha256")
    return (INFO_FILE, *files) if isinstance(files, dict) else ()
