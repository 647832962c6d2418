"""`/predict` as text-embeddings-inference has it, and `/` as the Hub's clients ask it."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from toolkit.prediction import Prediction
from toolkit.prediction.explanation import Explanation
from toolkit.server.bodies import check_choice, check_number, check_object, check_one_or_more, check_text, kind
from toolkit.server.models import Model
from toolkit.server.refusals import invalid, too_large
from toolkit.server.service import Answered, Service

FUNCTIONS = ("softmax", "sigmoid", "none")  # that the Hub's clients may ask for
DIRECTIONS = (
    "Left",
    "Right",
    "left",
    "right",
)  # the former are documented by text-embeddings-inference, the latter its default's spelling

Scores = list[dict[str, Any]]


async def predict(request: Request) -> Response:
    """`POST /predict`."""
    service: Service = request.app.state.service

    async def answer(model: Model, body: Any) -> object:  # noqa: ANN401 - JSON
        fields = check_object(body, "the body")
        raw = bool(check_choice(fields, "raw_scores", (True, False)))
        truncate = check_choice(fields, "truncate", (True, False))
        direction = check_choice(fields, "truncation_direction", DIRECTIONS)
        texts, is_batch = _inputs(fields, service.settings.most_texts)
        fields.clear()  # what else was sent takes up to thirty times its bytes, and is not held while the texts wait
        places: Callable[[int], str] = "inputs[{}]".format if is_batch else lambda _: "inputs"
        scores = []
        for number, answered in enumerate(await service.answer(model, texts, places)):
            prediction = _prediction(answered)
            _check_length(prediction, places(number), truncate, direction, model)
            scores.append(_scores(prediction, prediction.logits if raw else None))
        return scores if is_batch else scores[0]

    return await service.respond(request, answer)


async def infer(request: Request) -> Response:
    """`POST /`: one text or several, a list of scores for each."""
    service: Service = request.app.state.service

    async def answer(model: Model, body: Any) -> object:  # noqa: ANN401 - JSON
        fields = check_object(body, "the body")
        parameters = fields.get("parameters")
        parameters = check_object(
            {} if parameters is None else parameters, "parameters", ("function_to_apply", "top_k")
        )
        function = check_choice(parameters, "function_to_apply", FUNCTIONS, "parameters.")
        top = parameters.get("top_k")
        if top is not None and (isinstance(top, bool) or not isinstance(top, int) or top < 1):
            raise invalid("parameters.top_k", f"expected a whole number from 1, found {kind(top)}")
        texts, places = check_one_or_more(fields.get("inputs"), "inputs", service.settings.most_texts)
        fields.clear()  # as in predict
        answers = await service.answer(model, texts, places)
        return [_scores(each, _applied(function, each.logits))[:top] for each in map(_prediction, answers)]

    return await service.respond(request, answer)


def _inputs(fields: Any, most: int) -> tuple[list[str], bool]:  # noqa: ANN401
    """The texts in any of the forms of `inputs`, and whether they are a batch: `"…"`, `["…"]`, `[["…"], ["…"]]`.

    Raises:
        Refusal: They are in none.
    """
    inputs = fields.get("inputs")
    if isinstance(inputs, str):
        return [check_text(inputs, "inputs")], False
    if not isinstance(inputs, list):
        raise invalid("inputs", f'expected a text or a batch such as [["…"], ["…"]], found {kind(inputs)}')
    check_number(len(inputs), "inputs", most)
    if not isinstance(inputs[0], list):
        return [_single(inputs, "inputs")], False
    return [_single(each, f"inputs[{number}]") for number, each in enumerate(inputs)], True


def _single(value: object, place: str) -> str:
    """The text in a list of one; a list of two is a pair there, of which this model reads none."""
    if not isinstance(value, list) or len(value) != 1:
        found = f"a list of {len(value)}" if isinstance(value, list) else kind(value)
        raise invalid(place, f'expected a list of one text, found {found}; a batch is [["…"], ["…"]]')
    return check_text(value[0], f"{place}[0]")


def _check_length(
    prediction: Prediction, place: str, truncate: bool | None, direction: str | None, model: Model
) -> None:
    """Refuse an answer to a part of a text, where the client wants none, or one to another part.

    Raises:
        Refusal: It is one.
    """
    if prediction.tokens_read >= prediction.tokens:
        return
    tokenizer = model.predictor.tokenizer
    if truncate is False:
        raise too_large(f"{place} must have at most {tokenizer.max_length} tokens. Given: {prediction.tokens}")
    if direction in ("left", "Left"):
        raise invalid(
            "truncation_direction",
            f"{place} has {prediction.tokens} tokens, of which this model reads {prediction.tokens_read} "
            f"({tokenizer.truncation}); it cannot leave out the left",
        )


def _prediction(answered: Answered) -> Prediction:
    return answered.prediction if isinstance(answered, Explanation) else answered


def _scores(prediction: Prediction, others: Iterable[float] | None) -> Scores:
    """The labels with their probabilities, or with other numbers in the order of the labels; the highest first."""
    names = prediction.probabilities
    numbers = prediction.probabilities.values() if others is None else others
    scores = [{"label": name, "score": number} for name, number in zip(names, numbers, strict=True)]
    return sorted(scores, key=lambda each: -each["score"])


def _applied(function: str | None, logits: tuple[float, ...]) -> list[float] | None:
    if function == "none":
        return list(logits)
    return [_sigmoid(logit) for logit in logits] if function == "sigmoid" else None


def _sigmoid(logit: float) -> float:
    power = math.exp(-abs(logit))  # which never overflows
    return (1.0 if logit > 0 else power) / (1 + power)
