"""The Chainlit app: a message is a review, the answer its verdict. Run it with `chainlit run toolkit/app.py`."""

import asyncio
import logging
from functools import cache

from toolkit.errors import needs_extra
from toolkit.prediction import Predictor, load_predictor
from toolkit.text import ReviewTokenizer, normalise

with needs_extra("app", "the chat app"):
    import chainlit

EMPTY_INPUT = "请输入一段影评以进行分类"
VERDICT = "该文本被分类为: {label}"
FAILURE = "错误信息: {error}"
_logger = logging.getLogger(__name__)


@cache
def get_model_and_tokenizer() -> tuple[Predictor, ReviewTokenizer]:
    """The predictor and its tokenizer, loaded once a server; the places are `load_predictor`'s."""
    predictor = load_predictor()
    return predictor, predictor.tokenizer


def classify_review(text: str) -> str:
    """The sentence that answers a review: what to do, the verdict, or what went wrong, which is logged too."""
    if not normalise(text):
        return EMPTY_INPUT
    try:
        predictor, _ = get_model_and_tokenizer()
        return VERDICT.format(label=predictor.predict(text).label.display("zh"))
    except Exception as error:
        _logger.exception("a review could not be classified")
        return FAILURE.format(error=error)


@chainlit.on_message  # type: ignore[untyped-decorator]  # chainlit ships no types
async def on_message(message: chainlit.Message) -> None:
    """Answer a message; the model runs in a thread, so that nobody else waits for it."""
    answer = await asyncio.to_thread(classify_review, message.content)
    await chainlit.Message(content=answer).send()
