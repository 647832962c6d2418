"""The chat app: a message is a review, the answer its verdict and why. `toolkit chat` or `chainlit run toolkit/app.py`."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from toolkit.chat.corrections import Correction, save_correction, take_back_correction
from toolkit.chat.guard import read_cookies
from toolkit.chat.limits import FILES_OF_A_MESSAGE, KEPT_ANSWERS, KEPT_CHARACTERS, WAITING, WAITING_EACH, Budget
from toolkit.chat.models import Model
from toolkit.chat.panels import feedback_panel, file_panel, verdict_panel, why_panel
from toolkit.chat.plain import inert
from toolkit.chat.server import models, serve, server_settings
from toolkit.chat.settings import LONGEST_TEXT, SETTINGS_COOKIE, UserSettings, carried_settings
from toolkit.chat.sockets import is_connected
from toolkit.chat.state import CORRECTIONS
from toolkit.chat.texts import LANGUAGE_COOKIE, TEXTS, choose_language, starters
from toolkit.chat.uploads import Report, classify_rows, read_upload
from toolkit.errors import EmptyReviewError, ToolkitError, needs_extra
from toolkit.prediction import Prediction, Predictor
from toolkit.text.labels import LabelSet
from toolkit.text.normalisation import normalise
from toolkit.text.tokenisation import ReviewTokenizer

with needs_extra("app", "the chat app"):
    import chainlit
    from chainlit.config import config

POSITIONS = 512  # of a model that is still being loaded
PROGRESS_SECONDS = 0.5
ABSENCE_SECONDS = 15.0  # after which nobody waits for a file any more; a lost connection is back sooner
_waiting = Budget(WAITING, WAITING_EACH)
_logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Answer:
    """What has to be known of an answer when its 👍 or 👎 is pressed; the panel with its reasons is not kept."""

    text: str
    prediction: Prediction
    labels: LabelSet
    model_hash: str
    feedback: Any  # the element with the buttons
    saved: Correction | None = None
    pressed: asyncio.Lock = field(default_factory=asyncio.Lock)  # one press after the other


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
        # Half of the page is the browser's: it is loaded anew, and brings these settings back.
        await chainlit.send_window_message({"toolkitSettings": asdict(settings)})
        return
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


@chainlit.on_stop  # type: ignore[untyped-decorator]
async def on_stop() -> None:
    """Say that what was being done is given up."""
    await _say(TEXTS[_user_settings().language].stopped)


@chainlit.action_callback("correct")  # type: ignore[untyped-decorator]
async def on_correction(action: Any) -> None:  # noqa: ANN401
    """Save what a user says of an answer in the place of what was said before; said again, it is taken back."""
    language = _user_settings().language
    texts = TEXTS[language]
    identifier, label = str(action.payload.get("answer")), action.payload.get("label")
    answer = _answers().get(identifier)
    if answer is None or label not in answer.prediction.probabilities:
        await chainlit.context.emitter.send_toast(texts.gone, "warning")
        return
    async with answer.pressed:
        try:
            done = await asyncio.to_thread(_correct, answer, label)
        except OSError as error:
            _logger.exception("a correction could not be saved")
            await chainlit.context.emitter.send_toast(texts.failure.format(error=error), "error")
            return
        chosen = answer.saved.corrected if answer.saved else None
        answer.feedback.props = feedback_panel(answer.prediction, answer.labels, language, identifier, chosen)
        await answer.feedback.update()
    if not done:
        await chainlit.context.emitter.send_toast(texts.already_taken, "warning")
    else:
        await chainlit.context.emitter.send_toast(texts.thanks if chosen else texts.taken_back, "success")


def _correct(answer: Answer, label: str) -> bool:
    """Save a label, or take it back where it is the one that was saved; False where that is not there any more."""
    path = server_settings().state / CORRECTIONS
    before, prediction = answer.saved, answer.prediction
    was_there = before is None or take_back_correction(path, before)
    if before is not None and before.corrected == label:
        answer.saved = None if was_there else before
        return was_there
    answer.saved = None
    correction = Correction(answer.text, prediction.verdict, label, prediction.score, answer.model_hash)
    save_correction(path, correction)
    answer.saved = correction
    return True


async def _answer_message(message: Any, settings: UserSettings) -> None:  # noqa: ANN401
    texts = TEXTS[settings.language]
    files = [element for element in message.elements if element.path]
    if len(files) > FILES_OF_A_MESSAGE:
        await _say(texts.too_many_files.format(limit=FILES_OF_A_MESSAGE))
        return
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
    labels, identifier = predictor.labels, uuid4().hex
    panel = chainlit.CustomElement(name="Verdict", props=verdict_panel(prediction, predictor, settings.language))
    props = feedback_panel(prediction, labels, settings.language, identifier, None)
    feedback = chainlit.CustomElement(name="Feedback", props=props)
    _remember(identifier, Answer(text, prediction, labels, model.model_hash, feedback))
    sentence = texts.verdict.format(label=prediction.display(settings.language))
    message = await _say(sentence, elements=[panel])
    await feedback.send(for_id=message.id)  # after the other: what is sent at once arrives in any order
    explanation = await asyncio.to_thread(predictor.explain, text)
    panel.props = {**panel.props, "why": why_panel(explanation, labels, settings.language)}
    await panel.update()


async def _answer_file(path: Path, name: str, model: Model, settings: UserSettings) -> None:
    """Counts, first rows and a CSV, with progress on the way."""
    texts = TEXTS[settings.language]
    predictor = model.view(settings.max_length, settings.uncertain_below)
    try:
        upload = await asyncio.to_thread(read_upload, path, name, texts)
    except ToolkitError as refused:
        await _say(str(refused))
        return
    report = Report(upload.columns, predictor.labels)
    message = await _say(texts.progress.format(name=name, done=0, total=len(upload)))
    batches = classify_rows(upload, predictor, texts.empty_row)
    clock = asyncio.get_running_loop().time
    shown = seen = clock()
    while batch := await asyncio.to_thread(next, batches, None):
        report.add(batch)
        seen = clock() if is_connected(chainlit.context.session) else seen
        if clock() - seen > ABSENCE_SECONDS:
            return
        if clock() - shown >= PROGRESS_SECONDS:
            shown = clock()
            message.content = inert(texts.progress.format(name=name, done=report.rows, total=len(upload)))
            await message.update()
    props = file_panel(report, settings.language, predictor.tokenizer.max_length)
    props["download"] = await _offer(f"{Path(name).stem}-predictions.csv", report.csv(), texts.download)
    message.content = inert(texts.summary.format(name=name, reviews=texts.counted(report.rows)))
    message.elements = [chainlit.CustomElement(name="Reviews", props=props)]
    await message.update()


async def _offer(name: str, content: bytes, title: str) -> dict[str, str]:
    """A file to download, as the panel shows it."""
    session = chainlit.context.session
    stored = await session.persist_file(name=name, mime="text/csv", content=content)
    return {"title": title, "name": name, "path": f"/project/file/{stored['id']}?session_id={session.id}"}


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
    environ, server, model = chainlit.context.session.environ, server_settings(), models().loaded
    cookies = read_cookies(environ.get("HTTP_COOKIE"))
    language = choose_language(environ.get("HTTP_ACCEPT_LANGUAGE"), cookies.get(LANGUAGE_COOKIE), server.language)
    settings = UserSettings(language, models().default.backend, server.max_length, server.uncertain_below)
    if carried := carried_settings(cookies.get(SETTINGS_COOKIE)):
        settings = settings.changed_by(
            {**carried, "language": language}, models().backends(), model.predictor.positions if model else POSITIONS
        )
        _memory()["settings"] = settings
    return settings


async def _send_panel(settings: UserSettings) -> None:
    texts = TEXTS[settings.language]
    model = models().loaded
    own_length = model.predictor.tokenizer.max_length if model else POSITIONS
    length = settings.max_length or own_length
    positions = model.predictor.positions if model else max(length, POSITIONS)
    names = {"中文": "zh", "English": "en"}
    inputs = [
        chainlit.input_widget.Select(
            id="language",
            label=texts.setting_language,
            description=texts.setting_language_help,
            items=names,
            initial_value=settings.language,
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
            initial=min(length, positions),
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
