"""JSON files and hashes of files, with errors that say which file and why."""

import hashlib
import json
from pathlib import Path
from typing import Any

from toolkit.errors import BundleError
from toolkit.formats.parsing import unwritable


def refuse_odd_name(folder: Path) -> None:
    """Refuse a folder of a model under a path that is no UTF-8.

    onnxruntime, tokenizers and safetensors open none, and call the model damaged, or end in a traceback once it is trained.

    Raises:
        BundleError: it is one.
    """
    if why := unwritable(str(folder)):
        raise BundleError(
            f"the path {folder} {why}, under which no model can be opened; rename it, or name a link to it"
        )


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - JSON
    """Write indented UTF-8 JSON with a final newline."""
    write_text(path, to_json(value, indent=2) + "\n")


def to_json(value: Any, indent: int | None = None) -> str:  # noqa: ANN401 - JSON
    """JSON that UTF-8 can hold: lone surrogates, of which Python makes the bytes of a name that are no UTF-8, as escapes."""
    return json.dumps(value, indent=indent, ensure_ascii=False).encode(errors="backslashreplace").decode()


def write_text(path: Path, text: str) -> None:
    """Write a text for people as UTF-8, whatever the locale; what UTF-8 cannot hold is spelt as `\\udce9`."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON
    """Read a JSON file.

    Raises:
        BundleError: it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON ({error}); restore it or make the folder again") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        BundleError: it is not JSON, or no object.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise BundleError(f"{path} holds a JSON {type(content).__name__}, expected an object; restore the file")
    return content
