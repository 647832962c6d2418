"""What is not answered, and why: a status code, and the body that text-embeddings-inference would send."""

from typing import Literal

from toolkit.server.settings import RETRY_SECONDS

ErrorType = Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer"]


class Refusal(Exception):
    """A request that gets no answer.

    Attributes:
        status: The status code.
        error_type: One of text-embeddings-inference's words for what went wrong.
        headers: The headers that go with it.
    """

    def __init__(
        self, status: int, error_type: ErrorType, sentence: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.error_type: ErrorType = error_type
        self.headers = headers or {}

    def to_dict(self) -> dict[str, str]:
        """The body of the answer."""
        return {"error": str(self), "error_type": self.error_type}


def invalid(place: str, why: str) -> Refusal:
    """A body whose field `place` cannot be followed."""
    return Refusal(422, "Validation", f"{place}: {why}")


def too_large(sentence: str) -> Refusal:
    """More than one request may ask for."""
    return Refusal(413, "Validation", sentence)


def overloaded(sentence: str, status: int = 429) -> Refusal:
    """Too much at the moment; the client is told when to come again."""
    return Refusal(status, "Overloaded", sentence, {"retry-after": str(RETRY_SECONDS)})
