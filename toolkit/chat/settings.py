"""What the server is told by its environment, and what a user may choose in the settings panel."""

import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar, cast
from urllib.parse import unquote

from toolkit.chat.texts import LANGUAGES
from toolkit.choices import Backend, choices
from toolkit.errors import ToolkitError
from toolkit.formats.names import split_name

LONGEST_TEXT = 200_000  # characters of one message: some 35,000 words
LARGEST_UPLOAD = 20  # MB of one file
KEPT_SECONDS = 600
UPLOAD_FORMATS = (".txt", ".csv", ".tsv", ".jsonl", ".json")
_Otherwise = TypeVar("_Otherwise")
SETTINGS_COOKIE = "toolkit-settings"  # of a page that is loaded anew in another language
STATE_NAME = "distilbert-review-toolkit"


def upload_format(name: str) -> str | None:
    """One of `UPLOAD_FORMATS`, by the name of a file, compressed or not; None of other files."""
    ending = split_name(name)[1]
    return ending if ending in UPLOAD_FORMATS else None


@dataclass(frozen=True)
class ServerSettings:
    """How the server was started; each attribute has an environment variable, named in `from_environment`.

    Attributes:
        state: the only folder that is written to.
        password: The password that everybody is asked for; None lets everybody in.
        origins: pages on other hosts that may talk to the server, as `https://host[:port]`.
        language: The language of the answers, `zh` or `en`; None leaves it to the browser.
        backend: `auto`, `onnx` or `torch`.
        onnx_model: See `load_predictor`.
        adapter: See `load_predictor`.
        base_model: See `load_predictor`.
        max_length: tokens read of a review until the user chooses; None for the model's own, as in the shell.
        uncertain_below: see `Abstention`, until the user chooses; None for the model's own.
        kept_seconds: how long a conversation and its files outlive their page, in case it comes back.
    """

    state: Path
    password: str | None = None
    origins: tuple[str, ...] = ()
    language: str | None = None
    backend: Backend = "auto"
    onnx_model: str | None = None
    adapter: str | None = None
    base_model: str | None = None
    max_length: int | None = None
    uncertain_below: float | None = None
    kept_seconds: int = KEPT_SECONDS

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the variables; an unset or empty one leaves the default.

        Raises:
            ToolkitError: a variable holds what it cannot.
        """

        def read(name: str) -> str | None:
            return environment.get(name, "").strip() or None

        def number(name: str, low: float, high: float = math.inf) -> float | None:
            value = read(name)
            return None if value is None else _number(value, name, low, high)

        settings = cls(
            state=Path(read("TOOLKIT_STATE") or default_state(environment)).absolute(),
            password=environment.get("TOOLKIT_CHAT_PASSWORD") or None,
            origins=tuple(origin.rstrip("/") for origin in (read("TOOLKIT_CHAT_ORIGINS") or "").split(",") if origin),
            language=read("TOOLKIT_CHAT_LANGUAGE"),
            backend=cast("Backend", read("TOOLKIT_CHAT_BACKEND") or "auto"),
            onnx_model=read("TOOLKIT_ONNX_MODEL"),
            adapter=read("TOOLKIT_ADAPTER"),
            base_model=read("TOOLKIT_BASE_MODEL"),
            max_length=None if (length := number("TOOLKIT_CHAT_MAX_LENGTH", 3)) is None else int(length),
            uncertain_below=number("TOOLKIT_CHAT_UNCERTAIN_BELOW", 0.5, 1),
            kept_seconds=int(number("TOOLKIT_CHAT_KEPT_SECONDS", 1, 86_400) or KEPT_SECONDS),
        )
        for name, value, allowed in (
            ("TOOLKIT_CHAT_LANGUAGE", settings.language, (None, *LANGUAGES)),
            ("TOOLKIT_CHAT_BACKEND", settings.backend, choices(Backend)),
        ):
            if value not in allowed:
                raise ToolkitError(f"{name} is {value!r}, expected {' or '.join(filter(None, allowed))}")
        if "*" in settings.origins:
            raise ToolkitError("TOOLKIT_CHAT_ORIGINS is '*', expected origins such as https://reviews.example.org")
        return settings


@dataclass(frozen=True, slots=True)
class UserSettings:
    """What one user chose in the panel.

    Attributes:
        language: `zh` or `en`.
        backend: `onnx` or `torch`.
        max_length: tokens read of a review; None for the model's own, as long as the user has not chosen.
        uncertain_below: see `Abstention`; None likewise.
    """

    language: str
    backend: Backend
    max_length: int | None
    uncertain_below: float | None

    def changed_by(
        self, panel: Mapping[str, Any], backends: tuple[Backend, ...], positions: int, lowest_score: float = 0.5
    ) -> "UserSettings":
        """These settings with what the panel sent, which anybody can forge: what cannot be is left as it was.

        Args:
            panel: values by the attributes' names.
            backends: The backends that can be chosen.
            positions: tokens the model can read at most.
            lowest_score: the least that the model's likeliest label can have.
        """
        language, backend = panel.get("language"), panel.get("backend")
        length = _within(panel.get("max_length"), 3, positions, None)
        return replace(
            self,
            language=language if language in LANGUAGES else self.language,
            backend=backend if backend in backends else self.backend,
            max_length=self.max_length if length is None else int(length),
            uncertain_below=_within(panel.get("uncertain_below"), lowest_score, 1, self.uncertain_below),
        )


def carried_settings(cookie: str | None) -> dict[str, Any]:
    """What `SETTINGS_COOKIE` holds, as a panel would send it; nothing where it is not ours."""
    try:
        settings = json.loads(unquote(cookie or ""))
    except (ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}


def default_state(environment: Mapping[str, str] = os.environ) -> str:
    """The user's folder for state, or a temporary one where that cannot be written."""
    base = environment.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    folder = Path(base) / STATE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return tempfile.mkdtemp(prefix=f"{STATE_NAME}-")
    return str(folder) if os.access(folder, os.W_OK) else tempfile.mkdtemp(prefix=f"{STATE_NAME}-")


def _number(value: str, name: str, low: float, high: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        raise ToolkitError(f"{name} is {value!r}, expected a number from {low} to {high}".removesuffix(" to inf"))
    return number


def _within(value: object, low: float, high: float, otherwise: _Otherwise) -> float | _Otherwise:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return otherwise
    return min(max(value, low), high)
