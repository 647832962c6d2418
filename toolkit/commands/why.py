"""An explanation as the shell shows it: coloured words on a terminal, signed numbers in a pipe."""

from collections.abc import Iterable, Iterator

import click

from toolkit.chat.texts import TEXTS, Texts
from toolkit.formats.limits import printable
from toolkit.prediction.attribution import Segment
from toolkit.prediction.explanation import Explanation
from toolkit.text.labels import SENTIMENT

_MOST = 5  # parts that a terminal lists
_BOLD, _COLOURED = 0.6, 0.15  # of the strongest push
_INDENT = "  "


def drawn(explanation: Explanation, language: str, width: int) -> Iterator[str]:
    """The whole text, its words in colour; and what moved the answer most, in lines of at most `width` characters."""
    texts = TEXTS[language]
    yield _coloured(explanation, texts)
    yield ""
    plus, minus = texts.terminal_colours
    yield _legend(
        explanation, language, click.style(plus, fg="green", bold=True), click.style(minus, fg="red", bold=True)
    )
    pushed = [each for each in explanation.segments if each.push is not None]
    if explanation.unit != "words":
        for each in sorted(pushed, key=lambda each: -abs(each.push or 0))[:_MOST]:
            text, room = printable(each.text), width - len(f"{_INDENT}+0.00  ")
            cut = text if len(text) <= room else text[: max(1, room - 1)] + "…"
            yield f"{_INDENT}{_styled(_signed(each.push), each.push, explanation.strongest)}  {cut}"
    elif pushed:
        yield _INDENT + _in_a_row(pushed, explanation.strongest)
    if explanation.phrases and not (pushed and explanation.unit == "words"):
        yield f"{_INDENT}{texts.why_phrases} {_in_a_row(explanation.phrases, explanation.strongest_word)}"
    yield ""


def listed(explanation: Explanation, language: str) -> Iterator[str]:
    """Every sentence with its push before it, a line each, and the phrases that weigh most."""
    texts = TEXTS[language]
    yield _INDENT + _legend(explanation, language, "+", "-")
    by_word = explanation.unit == "words" and len(explanation.segments) > 1
    lines = [f"{_signed(each.push)}  {each.text}" for each in explanation.segments]
    if by_word:
        lines = [", ".join(f"{each.text} {_signed(each.push)}" for each in explanation.segments)]
    if gap := _gap(explanation, texts):
        lines.insert(explanation.unread_after, gap)
    if explanation.phrases and not by_word:
        phrases = ", ".join(f"{each.text} {_signed(each.push)}" for each in explanation.phrases)
        lines.append(f"{texts.why_phrases} {phrases}")
    yield from (_INDENT + line for line in lines)


def _legend(explanation: Explanation, language: str, plus: str, minus: str) -> str:
    pair = tuple(explanation.prediction.probabilities) == SENTIMENT.names
    legend = TEXTS[language].terminal_legend if pair else TEXTS[language].terminal_legend_towards
    return legend.format(plus=plus, minus=minus, label=explanation.label.display(language))


def _coloured(explanation: Explanation, texts: Texts) -> str:
    """The text, its middle left out where it was not read whole; without n-grams, the sentences in colour."""
    shown, end = "", 0
    gap = _gap(explanation, texts)
    for number, segment in enumerate(explanation.segments):
        apart = gap and number == explanation.unread_after
        shown += f" {click.style(gap, italic=True)} " if apart else explanation.text[end : segment.start]
        inside = [word for word in explanation.words if segment.start <= word.start < segment.end]
        by_word = inside and explanation.unit != "words"
        shown += _words(explanation, segment, inside) if by_word else _shaded(segment, explanation.strongest)
        end = segment.end
    at_the_end = gap and explanation.unread_after == len(explanation.segments)
    return f"{shown} {click.style(gap, italic=True)}" if at_the_end else shown


def _words(explanation: Explanation, segment: Segment, words: list[Segment]) -> str:
    shown, end = "", segment.start
    for word in words:
        shown += explanation.text[end : word.start] + _shaded(word, explanation.strongest_word)
        end = word.end
    return shown


def _shaded(segment: Segment, strongest: float) -> str:
    return _styled(printable(segment.text), segment.push, strongest)


def _in_a_row(segments: Iterable[Segment], strongest: float) -> str:
    return ", ".join(f"{printable(each.text)} {_styled(_signed(each.push), each.push, strongest)}" for each in segments)


def _styled(text: str, push: float | None, strongest: float) -> str:
    share = abs(push or 0) / strongest if strongest else 0
    if not push or share < _COLOURED:
        return text
    return click.style(text, fg="green" if push > 0 else "red", bold=share >= _BOLD or None)


def _gap(explanation: Explanation, texts: Texts) -> str | None:
    """What became of the words that the transformer did not read."""
    if not explanation.unread_words:
        return None
    if explanation.unread_push is None:
        return f"… {texts.unread.format(words=explanation.unread_words)} …"
    push = _signed(explanation.unread_push)
    return f"… {texts.unread_by_model.format(words=explanation.unread_words, push=push)} …"


def _signed(push: float | None) -> str:
    return " " * 5 if push is None else f"{push:+.2f}"
