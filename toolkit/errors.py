"""The errors a user may see. Every message says what was expected, what was found and what to do next."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class ToolkitError(Exception):
    """Something the user can put right; front ends print its text and nothing else."""


class EmptyReviewError(ToolkitError):
    """A review without a single visible character, or without one that the model knows; there is nothing to classify."""

    def __init__(self) -> None:
        super().__init__(
            "the review is empty: expected some text, found only white space, mark-up or characters unknown to the model"
        )


class OptionError(ToolkitError):
    """An option has a value that the model it is for cannot follow."""


class BundleError(ToolkitError):
    """An adapter or ONNX folder that is missing, damaged or made for something else."""


class MissingModelError(BundleError):
    """There is no folder where a model was looked for.

    Attributes:
        folder: The folder.
    """

    def __init__(self, folder: Path, remedy: str) -> None:
        self.folder = folder
        super().__init__(f"{folder} not found; {remedy}")


class HubError(ToolkitError):
    """The model hub cannot be reached, or does not have what was asked of it."""


class MissingColumnError(ToolkitError):
    """A table has no column for the texts.

    Attributes:
        found: The columns that it has.
    """

    def __init__(self, message: str, found: Sequence[str]) -> None:
        self.found = found
        super().__init__(message)


class ExportError(ToolkitError):
    """The exported model does not do what the adapter did; nothing was published."""


class MissingExtraError(ToolkitError):
    """A package of an optional dependency set is not installed."""


class ProblemsError(ToolkitError):
    """Several problems found in one pass, reported together.

    Attributes:
        problems: one line each, in the order found.
    """

    shown = 20

    def __init__(self, heading: str, problems: Sequence[str], advice: str) -> None:
        self.problems = list(problems)
        lines = [f"  {problem}" for problem in self.problems[: self.shown]]
        if len(self.problems) > self.shown:
            lines.append(f"  … and {len(self.problems) - self.shown} more")
        super().__init__("\n".join([heading, *lines, advice]))


class DataError(ProblemsError):
    """Rows that cannot be used, each named by file and row."""


class ConfigError(ProblemsError):
    """Settings that are unknown, of the wrong type or impossible together."""


@contextmanager
def needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Turn a missing third-party import inside the block into one line with the install command.

    Raises:
        MissingExtraError: names `purpose`, the missing package and the command that installs `extra`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"toolkit", "export", ""}:
            raise  # a bug of ours, not a missing dependency
        raise MissingExtraError(
            f"{purpose} needs the package '{package}', which is not installed; "
            f"in a checkout of the project, run: python -m pip install -c constraints.txt '.[{extra}]'"
        ) from error
