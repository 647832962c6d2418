"""Files from the model hub: found within seconds, or an error that says what else to do."""

import sys
import threading
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from toolkit.errors import HubError, needs_extra

PROBE_SECONDS = 5.0  # for one answer of the hub's API
DEADLINE_SECONDS = 7.0  # for the probe as a whole: name resolution and every address of the hub's name included


def hub_snapshot(
    repo_id: str, repo_type: str, required: Sequence[str], instead: str, optional: Sequence[str] = ()
) -> Path:
    """Download the files of a hub repository that match the patterns into the hub's cache.

    Where the hub does not answer, what an earlier download left in the cache serves.

    Args:
        repo_id: `name` or `owner/name`.
        repo_type: `model` or `dataset`.
        required: patterns of files, each of which must match at least one.
        instead: the other ways on, for the error's second line.
        optional: patterns of files that are taken along where they are there.

    Returns:
        The folder with the files, in the repository's layout.

    Raises:
        HubError: two lines: what failed, and `instead`.
    """
    with needs_extra("train", f"downloading '{repo_id}'"):
        import huggingface_hub
        import huggingface_hub.utils
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
        from requests import RequestException

    def fail(reason: str) -> HubError:
        return HubError(
            f"the {repo_type} '{repo_id}' could not be had from {huggingface_hub.constants.ENDPOINT}: {reason}\n{instead}"
        )

    def probe() -> list[str]:
        """The names of the repository's files, once the first of those wanted has answered too."""
        info = huggingface_hub.HfApi().repo_info(repo_id, repo_type=repo_type, timeout=PROBE_SECONDS)
        names = [file.rfilename for file in info.siblings or []]
        wanted = [name for name in names if fnmatch(name, required[0])]
        for name in wanted[:1]:
            url = huggingface_hub.hf_hub_url(repo_id, name, repo_type=repo_type, revision=info.sha)
            huggingface_hub.get_hf_file_metadata(url, timeout=PROBE_SECONDS)
        return names

    huggingface_hub.utils.logging.set_verbosity_error()  # its retries are logged line by line; the error below is one
    try:
        names = _within_deadline(probe)
    except GatedRepoError as error:
        raise fail("access to it has to be granted to you first") from error
    except RepositoryNotFoundError as error:
        raise fail("there is none of that name, or it is private") from error
    except huggingface_hub.errors.HFValidationError as error:
        raise fail("that is neither a folder here nor a name a hub could have") from error
    except (KeyError, TypeError, ValueError, AttributeError, RequestException, OSError) as error:
        # no sense in its answer, timeouts, refused connections, 5xx, offline mode
        cached = cached_snapshot(repo_id, repo_type, required)
        if cached is None:
            raise fail(_reason(error)) from error
        return cached
    if not sys.stderr.isatty():
        huggingface_hub.utils.disable_progress_bars()
    missing = _unmatched(required, names)
    if missing:
        raise fail(f"it has no file {' and no '.join(missing)}")
    try:
        return Path(
            huggingface_hub.snapshot_download(
                repo_id, repo_type=repo_type, allow_patterns=[*required, *optional], etag_timeout=PROBE_SECONDS
            )
        )
    except (HfHubHTTPError, RequestException, OSError) as error:
        raise fail(f"the download broke off ({_reason(error)})") from error


def _unmatched(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    return [pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in names)]


def _within_deadline(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever `call` returns
    """Run `call` in a daemon thread: a hanging resolver or a row of dead addresses ignores per-socket timeouts."""
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["result"] = call()
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            outcome["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(DEADLINE_SECONDS)
    if "error" in outcome:
        raise outcome["error"]
    if "result" not in outcome:
        raise TimeoutError(f"it gave no usable answer within {DEADLINE_SECONDS:.0f} seconds")
    return outcome["result"]


def cached_snapshot(repo_id: str, repo_type: str, required: Sequence[str]) -> Path | None:
    """What an earlier download left in the hub's cache, without a question to the hub; arguments as `hub_snapshot`'s."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo_id, repo_type=repo_type, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return None if _unmatched(required, names) else folder


def _reason(error: Exception) -> str:
    """One short line out of exceptions whose own text runs over many."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"it answered with HTTP status {status}"
    if isinstance(error.__cause__, Exception):  # the hub's client wraps the reason in a page of advice
        return _reason(error.__cause__)
    if isinstance(error, (KeyError, TypeError, AttributeError)):
        return "its answer makes no sense; it may not be a hub"
    if "timed out" in str(error).lower():
        return "it does not answer"
    if "IncompleteRead" in str(error) or "Consistency check" in str(error):
        return "the connection closed before the end of a file"
    first_line = (str(error).splitlines() or [""])[0]
    return (
        "it cannot be reached" if "Max retries" in first_line or "resolve" in first_line.lower() else first_line[:160]
    )
