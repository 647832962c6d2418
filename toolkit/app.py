"""The chat app: a message is a review, the answer its verdict and why. `toolkit chat` or `chainlit run toolkit/app.py`."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from toolkit.chat.corrections import Correction, save_correction
from toolkit.chat.guard import read_cookies
from toolkit.chat.limits import KEPT_ANSWERS, KEPT_CHARACTERS, WAITING, WAITING_EACH, Budget
from toolkit.chat.models import Model
from toolkit.chat.panels import file_panel, verdict_panel, why_panel
from toolkit.chat.plain import inert
from toolkit.chat.server import models, serve, server_settings
from toolkit.chat.settings import LONGEST_TEXT, UserSettings
from toolkit.chat.sockets import is_connected
from toolkit.chat.state import CORRECTIONS
from toolkit.chat.texts import LANGUAGE_COOKIE, TEXTS, choose_language, starters
from toolkit.chat.uploads import ClassifiedRow, classify_rows, read_upload, to_csv
from toolkit.errors import EmptyReviewError, ToolkitError, needs_extra
from toolkit.prediction import Prediction, Predictor
from toolkit.text.labels import UNCERTAIN, LabelSet
from toolkit.text.normalisation import normalise
from toolkit.text.tokenisation import ReviewTokenizer

with needs_extra("app", "the chat app"):
    import chainlit
    from chainlit.config import config

PROGRESS_SECONDS = 0.5
ABSENCE_SECONDS = 15.0  # after which nobody waits for a file any more; a lost connection is back sooner
_waiting = Budget(WAITING, WAITING_EACH)
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What has to be known of an answer when its 👍 or 👎 is pressed."""

    text: str
    prediction: Prediction
    verdict: str
    model_hash: str
    actions: tuple[Any, ...]
    panel: Any


def get_model_and_tokenizer() -> tuple[Predictor, ReviewTokenizer]:
    """The predictor and its tokenizer, loaded once a server, reading as many tokens as the server was told."""
    predictor = models().load().view(server_settings().max_length)
    return predictor, predictor.tokenizer


def classify_review(text: str) -> str:
    """The sentence that answers a review: what to do, the verdict, or what went wrong, which is logged too."""
    texts = TEXTS["zh"]
    if not normalise(text):
        return texts.empty
    try:
        predictor, _ = get_model_and_tokenizer()
        return texts.verdict.format(label=predictor.predict(text).display("zh"))
    except EmptyReviewError:
        return texts.empty
    except Exception as error:
        _logger.exception("a review could not be classified")
        return texts.failed(error)


# The conversation. Chainlit ships no types, hence the comments.


@chainlit.set_starters  # type: ignore[untyped-decorator]
async def offer_starters(user: object, tag: str | None) -> list[Any]:
    """Example reviews on the empty page."""
    language = choose_language(tag)  # the guard has settled it
    return [chainlit.Starter(label=label, message=review) for label, review in starters(language)]


@chainlit.on_chat_start  # type: ignore[untyped-decorator]
async def on_chat_start() -> None:
    """Show the settings panel."""
    await _send_panel(_user_settings())


@chainlit.on_settings_update  # type: ignore[untyped-decorator]
async def on_settings_update(panel: Mapping[str, Any]) -> None:
    """Take what the user chose; a backend that cannot be loaded is not taken."""
    before = _user_settings()
    try:
        backend = panel.get("backend")
        backends = models().backends()
        model = await asyncio.to_thread(models().load, backend if backend in backends else before.backend)
        predictor = model.predictor
        settings = before.changed_by(panel, backends, predictor.positions, predictor.labels.lowest_score)
    except Exception as error:
        _logger.exception("the settings could not be changed")
        await _say(TEXTS[before.language].failed(error))
        await _send_panel(before)
        return
    _memory()["settings"] = settings
    if settings.language != before.language:
        await chainlit.send_window_message({"toolkitLanguage": settings.language})
        await _send_panel(settings)
    await chainlit.context.emitter.send_toast(TEXTS[settings.language].settings_saved, "success")


@chainlit.on_message  # type: ignore[untyped-decorator]
async def on_message(message: Any) -> None:  # noqa: ANN401
    """Answer a message: each uploaded file, then the text; models run in threads, so that nobody else waits."""
    settings = _user_settings()
    session, size = chainlit.context.session.id, len(message.content.encode(errors="replace")) + 1
    if not _waiting.take(session, size):
        await _say(TEXTS[settings.language].busy)
        return
    try:
        await _answer_message(message, settings)
    except Exception as error:
        _logger.exception("a message could not be answered")
        await _say(TEXTS[settings.language].failed(error))
    finally:
        _waiting.give(session, size)


@chainlit.action_callback("correct")  # type: ignore[untyped-decorator]
async def on_correction(action: Any) -> None:  # noqa: ANN401
    """Save what a user says of an answer, once."""
    texts = TEXTS[_user_settings().language]
    identifier, corrected = str(action.payload.get("answer")), action.payload.get("label")
    answer = _answers().get(identifier)
    if answer is None or corrected not in answer.prediction.probabilities:
        await chainlit.context.emitter.send_toast(texts.gone, "warning")
        return
    correction = Correction(answer.text, answer.verdict, corrected, answer.prediction.score, answer.model_hash)
    del _answers()[identifier]  # before anything is waited for, so that a second press finds nothing
    try:
        await asyncio.to_thread(save_correction, server_settings().state / CORRECTIONS, correction)
    except OSError as error:
        _logger.exception("a correction could not be saved")
        _answers()[identifier] = answer
        await chainlit.context.emitter.send_toast(texts.failure.format(error=error), "error")
        return
    for each in answer.actions:
        await each.remove()
    if answer.panel.props["menu"]:
        answer.panel.props = {**answer.panel.props, "menu": None}
        await answer.panel.update()
    await chainlit.context.emitter.send_toast(texts.thanks, "success")


async def _answer_message(message: Any, settings: UserSettings) -> None:  # noqa: ANN401
    texts = TEXTS[settings.language]
    files = [element for element in message.elements if element.path]
    model = await asyncio.to_thread(models().load, settings.backend)
    for file in files:
        await _answer_file(Path(file.path), file.name, model, settings)
    if len(message.content) > LONGEST_TEXT:
        await _say(texts.too_long.format(limit=LONGEST_TEXT))
    elif await asyncio.to_thread(normalise, message.content):
        await _answer_review(message.content, model, settings)
    elif not files:
        await _say(texts.empty)


async def _answer_review(text: str, model: Model, settings: UserSettings) -> None:
    """The verdict as soon as it is there, and then why."""
    texts = TEXTS[settings.language]
    predictor = model.view(settings.max_length, settings.uncertain_below)
    try:
        prediction = await asyncio.to_thread(predictor.predict, text)
    except EmptyReviewError:
        await _say(texts.empty)
        return
    verdict = prediction.verdict
    identifier = uuid4().hex
    props = verdict_panel(prediction, predictor, settings.language, identifier)
    panel = chainlit.CustomElement(name="Verdict", props=props)
    actions = _correction_actions(identifier, prediction, predictor.labels, settings.language)
    _remember(identifier, Answer(text, prediction, verdict, model.model_hash, tuple(actions), panel))
    sentence = texts.verdict.format(label=prediction.display(settings.language))
    await _say(sentence, elements=[panel], actions=actions)
    explanation = await asyncio.to_thread(predictor.explain, text)
    panel.props = {**panel.props, "why": why_panel(explanation, predictor.labels, settings.language)}
    await panel.update()


async def _answer_file(path: Path, name: str, model: Model, settings: UserSettings) -> None:
    """Counts, first rows and a CSV, with progress on the way."""
    texts = TEXTS[settings.language]
    try:
        rows = await asyncio.to_thread(read_upload, path, name, texts)
    except ToolkitError as refused:
        await _say(str(refused))
        return
    message = await _say(texts.progress.format(name=name, done=0, total=len(rows)))
    batches = classify_rows(rows, model.view(settings.max_length, settings.uncertain_below), texts.empty_row)
    clock = asyncio.get_running_loop().time
    classified: list[ClassifiedRow] = []
    shown = seen = clock()
    while batch := await asyncio.to_thread(next, batches, None):
        classified += batch
        seen = clock() if is_connected(chainlit.context.session) else seen
        if clock() - seen > ABSENCE_SECONDS:
            return
        if clock() - shown >= PROGRESS_SECONDS:
            shown = clock()
            message.content = inert(texts.progress.format(name=name, done=len(classified), total=len(rows)))
            await message.update()
    content = await asyncio.to_thread(to_csv, classified, model.predictor.labels)
    props = await asyncio.to_thread(file_panel, classified, model.predictor.labels, settings.language)
    panel = chainlit.CustomElement(name="Reviews", props=props)
    download = chainlit.File(name=f"{Path(name).stem}-predictions.csv", content=content, mime="text/csv")
    message.content = inert(texts.summary.format(name=name, total=len(rows)))
    message.elements = [panel, download]
    await message.update()


async def _say(sentence: str, **attached: Any) -> Any:  # noqa: ANN401
    """Send a message that is shown as it is, whatever names and errors it repeats; Chainlit reads it as Markdown."""
    return await chainlit.Message(content=inert(sentence), **attached).send()


def _memory() -> dict[str, Any]:
    """What is remembered of this conversation, as long as there is one."""
    memory: dict[str, Any] = chainlit.context.session.memory
    return memory


def _user_settings() -> UserSettings:
    """What this user chose, or what the server and the browser say."""
    chosen: UserSettings | None = _memory().get("settings")
    if chosen:
        return chosen
    environ = chainlit.context.session.environ
    server = server_settings()
    language = choose_language(
        environ.get("HTTP_ACCEPT_LANGUAGE"),
        read_cookies(environ.get("HTTP_COOKIE")).get(LANGUAGE_COOKIE),
        server.language,
    )
    return UserSettings(language, models().default.backend, server.max_length, server.uncertain_below)


async def _send_panel(settings: UserSettings) -> None:
    texts = TEXTS[settings.language]
    model = models().loaded
    positions = model.predictor.positions if model else max(settings.max_length, 512)
    names = {"中文": "zh", "English": "en"}
    inputs = [
        chainlit.input_widget.Select(
            id="language", label=texts.setting_language, items=names, initial_value=settings.language
        ),
        chainlit.input_widget.Select(
            id="backend",
            label=texts.setting_backend,
            items={name: name for name in models().backends()},
            initial_value=settings.backend,
        ),
        chainlit.input_widget.Slider(
            id="max_length",
            label=texts.setting_max_length,
            description=texts.setting_max_length_help,
            initial=min(settings.max_length, positions),
            min=min(16, positions),
            max=positions,
            step=1,
        ),
        chainlit.input_widget.Slider(
            id="uncertain_below",
            label=texts.setting_threshold,
            description=texts.setting_threshold_help,
            initial=settings.uncertain_below or (model.predictor.threshold.uncertain_below if model else 0.5),
            min=model.predictor.labels.lowest_score if model else 0.5,
            max=1,
            step=0.01,
        ),
    ]
    await chainlit.ChatSettings(inputs).send()


def _correction_actions(identifier: str, prediction: Prediction, labels: LabelSet, language: str) -> list[Any]:
    """👍 and 👎, or both labels where the verdict was neither; of more labels 👍 alone, beside the panel's menu of all."""
    texts = TEXTS[language]
    icons = {True: "thumbs-up", False: "thumbs-down"}
    uncertain = prediction.verdict == UNCERTAIN
    others = [label for label in labels if label != prediction.label] if len(labels) == 2 else []
    actions = []
    for label in (prediction.label, *others):
        right = label == prediction.label
        words = texts.right if right else texts.wrong
        if uncertain:
            words = texts.rather.format(label=label.display(language))
        payload = {"answer": identifier, "label": label.name}
        icon = None if uncertain else icons[right]
        actions.append(chainlit.Action(name="correct", payload=payload, label=words, icon=icon))
    return actions


def _answers() -> dict[str, Answer]:
    answers: dict[str, Answer] = _memory().setdefault("answers", {})
    return answers


def _remember(identifier: str, answer: Answer) -> None:
    answers = _answers()
    answers[identifier] = answer
    while len(answers) > KEPT_ANSWERS or (len(answers) > 1 and _characters(answers) > KEPT_CHARACTERS):
        del answers[next(iter(answers))]


def _characters(answers: Mapping[str, Answer]) -> int:
    return sum(len(answer.text) for answer in answers.values())


if config.run.module_name:  # Chainlit is serving this file; nobody merely imports it
    serve()
