"""What a client sends: read under limits, as JSON without its looser corners, with the field named that is wrong."""

import asyncio
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from starlette.requests import Request

from toolkit.formats.parsing import unwritable
from toolkit.server.refusals import Refusal, invalid, overloaded, too_large
from toolkit.server.settings import BODY_SECONDS, HELD, LARGEST_BODY
from toolkit.web.bodies import is_number
from toolkit.web.connections import GONE
from toolkit.web.limits import IDLE_SECONDS

_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}


class ClientGoneError(Exception):
    """The client hung up."""


class Held:
    """The bytes of bodies that the server holds at the moment, so that many large ones do not fill its memory.

    They count when they have come: who announces many and sends none would otherwise leave no room for others.
    """

    def __init__(self) -> None:
        self._bytes = 0

    @contextmanager
    def room(self) -> Iterator[Callable[[int], None]]:
        """Room for a body until it is answered: to be told the size of each part of it.

        Raises:
            Refusal: There is no room for a part.
        """
        held = 0

        def take(size: int) -> None:
            nonlocal held
            if self._bytes + size > HELD:
                raise overloaded("the server holds as many large bodies as it can; send yours again in a moment")
            self._bytes += size
            held += size

        try:
            yield take
        finally:
            self._bytes -= held


async def wait_until_gone(request: Request) -> NoReturn:
    """Wait for the client to hang up.

    Raises:
        ClientGoneError: It did.
    """
    await request.scope["state"][GONE].wait()
    raise ClientGoneError


def content_type(request: Request) -> str:
    """The media type of a body, in small letters and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_announced(request: Request) -> None:
    """That a body is JSON and not too large by its headers, before it comes.

    Raises:
        Refusal: It is not.
    """
    if content_type(request) != "application/json":
        raise Refusal(415, "Validation", "expected a body with the header Content-Type: application/json")
    length = request.headers.get("content-length", "0")
    if not is_number(length) or int(length) > LARGEST_BODY:
        raise too_large(_TOO_LARGE)


async def read_body(request: Request, take: Callable[[int], None]) -> bytes:
    """A whole body.

    Args:
        request: The request.
        take: Told the size of each part.

    Raises:
        Refusal: It is too large or does not come, or there is no room.
        ClientGoneError: The client hung up.
    """
    parts, size, more = [], 0, True
    loop = asyncio.get_running_loop()
    end = loop.time() + BODY_SECONDS
    while more:
        try:
            async with asyncio.timeout_at(min(end, loop.time() + IDLE_SECONDS)):
                message = await request.receive()
        except TimeoutError:
            raise Refusal(408, "Validation", "the body did not come in time") from None
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY:
            raise too_large(_TOO_LARGE)
        take(len(parts[-1]))
        more = message.get("more_body", False)
    request.state.is_read = True
    return b"".join(parts)


def parse_json(data: bytes, place: str) -> Any:  # noqa: ANN401 - JSON
    """JSON as its standard has it: UTF-8, with or without a byte order mark, and no NaN or infinity.

    Args:
        data: What was sent.
        place: What an error calls it.

    Raises:
        Refusal: It is none.
    """
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise invalid(place, f"expected UTF-8, which byte {error.start} is not") from None
    except (json.JSONDecodeError, _ConstantError) as error:
        raise invalid(place, f"expected JSON ({error})") from None
    except RecursionError:
        raise invalid(place, "expected JSON that is not as deeply nested") from None
    except ValueError:  # Python's limit to the time that a whole number may take
        raise invalid(place, "expected JSON with shorter numbers") from None


def check_object(value: object, place: str, fields: Collection[str] | None = None) -> dict[str, Any]:
    """An object with no other fields than these; with any, where there is no list of them.

    Raises:
        Refusal: It is another thing.
    """
    if not isinstance(value, dict):
        raise invalid(place, f"expected an object, found {kind(value)}")
    unknown = next((name for name in value if fields is not None and name not in fields), None)
    if unknown is not None:
        raise invalid(f"{unknown!a:.80}", f"is no field of {place}; there are {', '.join(fields or ())}")
    return value


def check_text(value: object, place: str) -> str:
    """A text that UTF-8 can spell.

    Raises:
        Refusal: It is another thing.
    """
    if not isinstance(value, str):
        raise invalid(place, f"expected a text, found {kind(value)}")
    if why := unwritable(value):
        raise invalid(place, why)
    return value


def check_one_or_more(value: object, place: str, most: int) -> tuple[list[str], Callable[[int], str]]:
    """A text or a list of texts, as a list, and what an error calls the one of a number.

    Raises:
        Refusal: It is another thing, empty, or has more than `most`.
    """
    if isinstance(value, str):
        return [check_text(value, place)], lambda _: place
    if not isinstance(value, list):
        raise invalid(place, f"expected a text or a list of texts, found {kind(value)}")
    check_number(len(value), place, most)
    places = f"{place}[{{}}]".format
    return [check_text(each, places(number)) for number, each in enumerate(value)], places


def check_number(texts: int, place: str, most: int) -> None:
    """That there are texts, and not too many.

    Raises:
        Refusal: There are none, or too many.
    """
    if not texts:
        raise invalid(place, "expected a text, found an empty list")
    if texts > most:
        raise too_large(
            f"{place}: batch size {texts} > maximum allowed batch size {most}; NDJSON to /classify has no limit"
        )


def check_choice(body: Mapping[str, Any], name: str, choices: Collection[Any], place: str = "") -> Any:  # noqa: ANN401
    """The value of a field that may be left out: one of these, or None.

    Raises:
        Refusal: It is another.
    """
    value = body.get(name)
    if value is None or any(value is choice or (isinstance(choice, str) and value == choice) for choice in choices):
        return value
    words = " or ".join(json.dumps(choice) for choice in choices)
    raise invalid(f"{place}{name}", f"expected {words}, found {kind(value)}")


def kind(value: object) -> str:
    """What a JSON value is, in words; never the value itself, which may be somebody's review."""
    return _KINDS.get(type(value), "null")


class _ConstantError(ValueError):
    """What JavaScript and Python call a number, and JSON does not."""


def _refuse_constant(name: str) -> NoReturn:
    raise _ConstantError(f"{name} is not JSON")


_TOO_LARGE = f"the body has more than {LARGEST_BODY} bytes; NDJSON to /classify has no limit"
