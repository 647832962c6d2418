"""From a data set as it is published to `train.csv`, `validation.csv`, `test.csv` and `dataset_info.json`."""

import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from toolkit.datasets.acl_imdb import load_archive, load_folder
from toolkit.datasets.balance import weak_labels
from toolkit.datasets.labelling import RATING, LabelOptions, advice, infer_labelling
from toolkit.datasets.scanning import scan_reviews
from toolkit.datasets.splits import (
    INFO_FILE,
    SPLITS,
    Review,
    Splits,
    count_labels,
    label_rows,
    merge_problems,
    write_reviews,
)
from toolkit.errors import BundleError, DataError, ToolkitError
from toolkit.formats.archives import is_archive
from toolkit.formats.names import FORMATS, format_of, split_name
from toolkit.machine import package_versions
from toolkit.models.files import read_json_object, sha256, write_json
from toolkit.models.hub import hub_snapshot
from toolkit.models.publishing import refuse_other_files, replacing_files
from toolkit.models.workspaces import sweep
from toolkit.text.labels import SENTIMENT, Label, LabelSet

HUB_DATASET = "stanfordnlp/imdb"
_CSV_FILES = tuple(f"{split}.csv" for split in SPLITS)
KEPT_COLUMNS = (RATING,)  # of the source, beside text and label, for slices of an evaluation; training reads none

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ImportOptions:
    """How a source becomes three splits.

    Attributes:
        validation: share of reviews for validation, of the whole or, with `official`, of the source's train split.
        test: share of the whole for test; unused with `official`.
        official: keep the source's own test split.
        limit: keep a balanced sample of so many reviews in all, fewer where a label has too few; None keeps every one. Of
            more than two labels, one that has too few keeps what it has.
        seed: of the shuffle and the sample.
        text_column: name of the text's column where it is not one of the usual.
        label_column: likewise of the label's.
        encoding: The encoding of text without a byte order mark; UTF-8 by default.
        labels: what a user says of the labels.
    """

    validation: float = 0.1
    test: float = 0.2
    official: bool = False
    limit: int | None = None
    seed: int = 42
    text_column: str | None = None
    label_column: str | None = None
    encoding: str | None = None
    labels: LabelOptions = field(default_factory=LabelOptions)

    def __post_init__(self) -> None:
        """Refuse shares and limits that leave a split empty."""
        taken = self.validation + (0 if self.official else self.test)
        if not (0 < self.validation < 1 and (self.official or 0 < self.test < 1) and taken < 1):
            raise ToolkitError(
                f"--validation {self.validation} and --test {self.test} must each lie between 0 and 1 and leave some "
                "reviews to train on; 35,000, 5,000 and 10,000 of IMDB's reviews are --validation 0.1 --test 0.2"
            )
        if self.limit is not None and self.limit < 20:
            raise ToolkitError(f"--limit {self.limit} is too small to make three balanced splits; expected 20 or more")


@dataclass
class _Dropped:
    """Reviews left out, and why."""

    duplicates: int = 0
    contradictions: int = 0
    leaks: int = 0
    over_limit: int = 0
    by_label: Counter[str] = field(default_factory=Counter)  # by what it said in the place of a label

    def to_dict(self) -> dict[str, int]:
        """Reviews by reason."""
        counts = {name: count for name, count in vars(self).items() if name != "by_label"}
        return counts | {reason.replace(" ", "_"): count for reason, count in self.by_label.items()}


@dataclass(frozen=True)
class DatasetInfo:
    """What `dataset_info.json` records."""

    source: str
    options: ImportOptions
    counts: dict[str, dict[str, int]]
    dropped: dict[str, int]
    sha256: dict[str, str]
    labels: tuple[str, ...] = SENTIMENT.names
    warnings: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=package_versions)


def import_dataset(
    source: str, output: Path, options: ImportOptions, advance: Progress = lambda done, total: None
) -> DatasetInfo:
    """Read `source`, clean and split it, and write the data set into `output`.

    Args:
        source: an aclImdb folder or archive; a CSV, JSONL or Parquet file; a folder of `train.*`/`test.*` such files;
            or `imdb`, the hub's `stanfordnlp/imdb`.
        output: a folder; its four files are replaced at the end, if they are those of an earlier import, the info first and
            last, so that a kill in between leaves no data set that says it is whole; the next import completes it.
        options: see `ImportOptions`.
        advance: takes how much of the source has been read, and how much there is.

    Raises:
        DataError: lists every unusable row; nothing is written.
        ToolkitError: the source is nothing of the above, has no test split to keep, or would be replaced; or `output` holds a file of one of
            the four names that is of no earlier import.
    """
    sweep(output)
    refuse_other_files(output, _listed(output), "import", among=(*_CSV_FILES, INFO_FILE))
    _refuse_own_source(Path(source), output)
    dropped = _Dropped()
    by_split = _load(source, options, advance, dropped)
    if options.official and "test" not in by_split:
        raise ToolkitError(f"{source} has no test split of its own to keep; leave out --official")
    rng = random.Random(options.seed)
    by_split = Splits(_drop_repeats(by_split, options.official, dropped), by_split.labels)
    if options.limit is not None:
        by_split = Splits(_sample(by_split, options.limit, rng, dropped), by_split.labels)
    splits = _split(by_split, options, rng)
    needed = 2 if len(splits.labels) == 2 else 1  # of more labels, what a split lacks is said and not refused
    empty = [name for name in SPLITS if len({review.label for review in splits[name]}) < needed]
    if empty:
        raise ToolkitError(f"{source} has too few reviews: {', '.join(empty)} would lack a label; import more of them")
    return _write(output, source, options, splits, dropped)


def _refuse_own_source(source: Path, output: Path) -> None:
    """Refuse to replace what is read by what is made of it.

    Raises:
        ToolkitError: the source is the output's folder or one of its files.
    """
    written = (output, *(output / name for name in (*_CSV_FILES, INFO_FILE)))
    if source.exists() and any(path.exists() and path.samefile(source) for path in written):
        raise ToolkitError(f"{source} is the input and would be replaced; choose another --output")


def _load(source: str, options: ImportOptions, advance: Progress, dropped: "_Dropped") -> Splits:
    """The source's reviews by its own splits; `all` where it has none."""
    path = Path(source)
    if source == "imdb":
        instead = (
            "Go on without the hub by giving a file or folder: the aclImdb archive, a CSV, a JSONL or a Parquet file."
        )
        path = hub_snapshot(
            HUB_DATASET, "dataset", ("plain_text/train-*.parquet", "plain_text/test-*.parquet"), instead
        )
        path /= "plain_text"
    if path.is_file() and is_archive(path):
        return Splits(load_archive(path, options.encoding, advance))
    if path.is_file():
        return _load_files({"all": [path]}, options, advance, dropped)
    if not path.is_dir():
        raise ToolkitError(
            f"{source} does not exist; expected an aclImdb folder or .tar.gz, a {', '.join(FORMATS)} file, a folder of "
            "train.* and test.* files, or imdb (from the hub)"
        )
    for folder in (path, path / "aclImdb"):
        if (folder / "train" / "pos").is_dir():
            return Splits(load_folder(folder, options.encoding, advance))
    files = {
        split: sorted(file for file in path.glob(f"{split}*") if format_of(file) and _names_split(file, split))
        for split in SPLITS
    }
    if not files["train"]:
        raise ToolkitError(
            f"{source} holds neither train/pos and train/neg nor a train.* file ending in {', '.join(FORMATS)}"
        )
    return _load_files({split: paths for split, paths in files.items() if paths}, options, advance, dropped)


def _names_split(file: Path, split: str) -> bool:
    return (
        re.fullmatch(rf"{split}(-\d+-of-\d+)?", split_name(file)[0]) is not None
    )  # the hub's shards: train-00000-of-00001


def _load_files(
    paths_of: Mapping[str, Sequence[Path]], options: ImportOptions, advance: Progress, dropped: "_Dropped"
) -> Splits:
    scanned = []
    total = sum(path.stat().st_size for paths in paths_of.values() for path in paths)
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        advance(done, total)

    label_column = options.labels.rating_column or options.label_column
    for split, paths in paths_of.items():
        for path in paths:
            found = scan_reviews(path, options.text_column, label_column, KEPT_COLUMNS, add, options.encoding)
            scanned.append((split, *found))
    sources = ", ".join(str(path) for paths in paths_of.values() for path in paths)
    every = [row for _, rows, _ in scanned for row in rows]
    labelling = infer_labelling(every, sources, options.labels)
    by_split, problems = Splits({split: [] for split in paths_of}, labelling.labels), []
    for split, rows, wrong in scanned:
        reviews, more = label_rows(rows, labelling, dropped.by_label)
        by_split[split] += reviews
        problems += merge_problems(wrong, more)
    if problems:
        raise DataError(
            f"{sources} cannot be imported; found:",
            problems,
            "Nothing was written. Correct these rows, or name the columns with --text-column and --label-column."
            + advice(every, labelling),
        )
    return by_split


def _drop_repeats(by_split: dict[str, list[Review]], official: bool, dropped: _Dropped) -> dict[str, list[Review]]:
    """Keep one copy of each text, in the source's test split first where that is to stay as published."""
    labels_of: dict[str, set[Label]] = {}
    for reviews in by_split.values():
        for review in reviews:
            labels_of.setdefault(review.text, set()).add(review.label)
    home: dict[str, str] = {}
    kept: dict[str, list[Review]] = {split: [] for split in by_split}
    for split in sorted(by_split, key=SPLITS.index if official else None, reverse=official):
        for review in by_split[split]:
            if len(labels_of[review.text]) > 1:
                dropped.contradictions += 1  # the same words called both: nobody can learn or be judged by them
            elif review.text in home:
                dropped.duplicates += home[review.text] == split
                dropped.leaks += home[review.text] != split
            else:
                home[review.text] = split
                kept[split].append(review)
    return kept


def _sample(by_split: Splits, limit: int, rng: random.Random, dropped: _Dropped) -> dict[str, list[Review]]:
    """A balanced sample of `limit` reviews, each source split in proportion to its size."""
    total = sum(map(len, by_split.values()))
    sampled = {}
    for split, reviews in by_split.items():
        groups = _by_label(reviews, by_split.labels)
        per_label = round(limit * len(reviews) / total / len(groups))
        if len(groups) == 2:
            per_label = min(per_label, *map(len, groups))
        sampled[split] = [review for group in groups for review in rng.sample(group, min(per_label, len(group)))]
    dropped.over_limit = total - sum(map(len, sampled.values()))
    return sampled


def _split(by_split: Splits, options: ImportOptions, rng: random.Random) -> Splits:
    splits = Splits({name: [] for name in SPLITS}, by_split.labels)
    if options.official:
        splits["test"] = list(by_split["test"])
        pool = by_split.get("train", []) + by_split.get("validation", [])
        shares = {"validation": options.validation}
    else:
        pool = [review for reviews in by_split.values() for review in reviews]
        shares = {"validation": options.validation, "test": options.test}
    for group in _by_label(pool, by_split.labels):
        rng.shuffle(group)
        start = 0
        for name, share in shares.items():
            count = round(share * len(group))
            splits[name] += group[start : start + count]
            start += count
        splits["train"] += group[start:]
    for reviews in splits.values():
        rng.shuffle(reviews)  # as published, the reviews are sorted by label
    return splits


def _by_label(reviews: Sequence[Review], labels: LabelSet) -> list[list[Review]]:
    groups: list[list[Review]] = [[] for _ in labels]
    for review in reviews:
        groups[review.label.index].append(review)
    return groups


def _write(output: Path, source: str, options: ImportOptions, splits: Splits, dropped: _Dropped) -> DatasetInfo:
    found = {name for reviews in splits.values() for review in reviews for name in review.columns}
    kept = [name for name in KEPT_COLUMNS if name in found]
    with replacing_files(output, last=INFO_FILE) as staging:
        for split, reviews in splits.items():
            write_reviews(staging / f"{split}.csv", reviews, kept, splits.labels)
        info = DatasetInfo(
            source=Path(source).name,  # not the whole path, which is the machine's and not the data's
            options=options,
            counts={split: count_labels(reviews, splits.labels) for split, reviews in splits.items()},
            dropped=dropped.to_dict(),
            sha256={name: sha256(staging / name) for name in _CSV_FILES},
            labels=splits.labels.names,
            warnings=weak_labels(splits),
        )
        write_json(staging / INFO_FILE, asdict(info))
    return info


def _listed(folder: Path) -> Collection[str]:
    """The files of an earlier import."""
    try:
        content = read_json_object(folder / INFO_FILE)
    except (OSError, BundleError):
        return ()
    listed = content.get("sha256")
    return (INFO_FILE, *listed) if isinstance(listed, dict) else ()
