"""What the page's own elements (`assets/public/elements`) are given to show; every text is shown as text."""

from typing import Any

from toolkit.chat.texts import TEXTS
from toolkit.chat.uploads import UNREADABLE, Report
from toolkit.prediction import Prediction, Predictor
from toolkit.prediction.abstention import display
from toolkit.prediction.attribution import Segment
from toolkit.prediction.explanation import Explanation
from toolkit.text.labels import SENTIMENT, UNCERTAIN, Label, LabelSet

PREVIEW_CHARACTERS = 160

LIKELIEST = 5  # labels with a bar
AT_A_GLANCE = 400  # characters of a review that is shown with its reasons at once; of a longer one they are folded
FAINTEST = 0.08  # of the strongest word's push; what weighs less is not shaded
MOST_SHADED = 500  # words, the weightiest: each is a part of the page
TONES = 5  # colours in toolkit.css that labels take in turn


def verdict_panel(prediction: Prediction, predictor: Predictor, language: str) -> dict[str, Any]:
    """The bars and the token counts; the explanation follows when it is computed.

    Two labels share a bar; of more, the likeliest have one each.

    Args:
        prediction: What is shown.
        predictor: What said it.
        language: `zh` or `en`.
    """
    texts, labels = TEXTS[language], predictor.labels
    two = len(labels) == 2
    likeliest = sorted(labels, key=lambda label: -prediction.probabilities[label.name])[:LIKELIEST]
    read, total = f"{prediction.tokens_read:,}", f"{prediction.tokens:,}"
    return {
        "classes": [
            {
                "kind": _kind(label, labels),
                "sign": ("− ", "+ ")[label.index] if labels == SENTIMENT else "",
                "name": _short_name(label, labels, language),
                "percent": 100 * prediction.probabilities[label.name],
            }
            for label in (labels if two else likeliest)
        ],
        "apart": not two,
        "tokens": texts.tokens.format(read=read, total=total, backend=predictor.backend, device=predictor.device),
        "withheld": None
        if (sentence := texts.withheld(prediction.reason, labels)) is None
        else {"note": sentence, "show": texts.any_text},
        "truncated": texts.truncated.format(read=read) if prediction.tokens_read < prediction.tokens else None,
        "why": {
            "title": texts.why,
            "note": texts.why_pending,
            "segments": [],
            "unread": None,
            "unreadAfter": 0,
            "phrasesTitle": texts.why_phrases,
            "phrases": [],
            "open": True,
        },
    }


def feedback_panel(
    prediction: Prediction, labels: LabelSet, language: str, answer: str, chosen: str | None
) -> dict[str, Any]:
    """What a user can say of an answer: right or wrong, or both labels where the verdict was neither.

    Of more than two labels one is right, and the others stand in a menu.

    Args:
        prediction: What is judged.
        labels: The model's labels.
        language: `zh` or `en`.
        answer: The identifier by which the answer is corrected.
        chosen: The label that the user has said it has; None where nothing is said.
    """
    texts, predicted = TEXTS[language], prediction.label
    others = [label for label in labels if label != predicted]
    two = len(labels) == 2
    words: dict[Label, tuple[str, str | None]]
    if two and prediction.verdict == UNCERTAIN:
        words = {label: (texts.rather.format(label=label.display(language)), None) for label in labels}
    else:
        words = {predicted: (texts.right, "up")}
        if two:
            words[others[0]] = (texts.wrong, "down")
    return {
        "ask": texts.ask,
        "answer": answer,
        "chosen": chosen,
        "saved": texts.saved,
        "buttons": [{"label": label.name, "name": name, "thumb": thumb} for label, (name, thumb) in words.items()],
        "menu": None
        if two
        else {
            "title": texts.corrected,
            "labels": [{"label": label.name, "name": label.display(language)} for label in others],
        },
    }


def why_panel(explanation: Explanation, labels: LabelSet, language: str) -> dict[str, Any]:
    """The sentences: how strongly to shade each, from 0 to 1, to which side, and the number in words.

    With n-grams the words within a sentence are shaded instead, and what weighs most is listed. What is longer than a
    glance is folded at first, so that the verdict stays in sight.
    """
    texts = TEXTS[language]
    by_word = bool(explanation.phrases) and explanation.unit != "words"
    weights = sorted((abs(word.push or 0.0) for word in explanation.words), reverse=True)
    least = max([FAINTEST * explanation.strongest_word, *weights[MOST_SHADED : MOST_SHADED + 1]])
    segments = []
    for segment in explanation.segments:
        shown: dict[str, Any] = {"text": segment.text}
        if segment.push is not None:
            shown |= _pushed(segment.push, explanation.strongest, explanation, labels, language)
        if by_word:
            shown["words"] = _words(explanation, segment, least, labels, language)
        segments.append(shown)
    unread, unread_push = explanation.unread_words, explanation.unread_push
    legend = texts.why_legend
    if labels != SENTIMENT:
        legend = texts.why_legend_towards.format(label=_short_name(explanation.label, labels, language))
    if unread and unread_push is not None:
        middle: str | None = texts.unread_by_model.format(words=unread, push=_signed(unread_push))
    else:
        middle = texts.unread.format(words=unread) if unread else None
    return {
        "title": texts.why,
        "note": (legend + texts.why_words * by_word) if len(segments) > 1 else texts.why_lone,
        "segments": segments,
        "unread": middle,
        "unreadAfter": explanation.unread_after,
        "phrasesTitle": texts.why_phrases,
        "phrases": [
            {"text": each.text, **_pushed(each.push or 0.0, explanation.strongest_word, explanation, labels, language)}
            for each in explanation.phrases
        ],
        "open": sum(len(segment.text) for segment in explanation.segments) <= AT_A_GLANCE,
    }


def _words(
    explanation: Explanation, segment: Segment, least: float, labels: LabelSet, language: str
) -> list[dict[str, Any]]:
    """The words of a sentence with what stands between them; those that weigh no more than `least` together."""
    parts: list[dict[str, Any]] = []
    plain, end = "", segment.start
    for word in explanation.words:
        if not segment.start <= word.start < segment.end:
            continue
        plain += explanation.text[end : word.start]
        end = word.end
        push = word.push or 0.0
        if abs(push) <= least:
            plain += word.text
            continue
        parts += [{"text": plain}] if plain else []
        parts.append({"text": word.text, **_pushed(push, explanation.strongest_word, explanation, labels, language)})
        plain = ""
    return [*parts, {"text": plain}] if plain else parts


def _pushed(push: float, strongest: float, explanation: Explanation, labels: LabelSet, language: str) -> dict[str, Any]:
    """A push as it is shown: the number with its sign, the side and its colour, and all of that in words."""
    texts, towards = TEXTS[language], push >= 0
    two = len(labels) == 2
    side = labels[int(towards)] if two else explanation.label
    sentence = texts.push if two or towards else texts.push_away
    return {
        "push": _signed(push),
        "kind": SENTIMENT.names[towards],
        "title": sentence.format(push=_signed(push), side=_short_name(side, labels, language)),
        "shade": round(abs(push) / strongest, 3) if strongest else 0.0,
    }


def _signed(push: float) -> str:
    return f"{'+' if push >= 0 else '−'}{abs(push):.2f}"


def file_panel(report: Report, language: str, limit: int) -> dict[str, Any]:
    """The counts and the first rows of a classified file.

    Args:
        report: What became of the rows.
        language: `zh` or `en`.
        limit: Tokens of a review that were read at most.
    """
    texts, labels = TEXTS[language], report.labels

    def name(verdict: str) -> str:
        if verdict == UNREADABLE:
            return texts.unreadable
        return display(labels.named(verdict) or labels[0], verdict, language)

    def kind(verdict: str) -> str:
        label = labels.named(verdict)
        return verdict if label is None else _kind(label, labels)

    notes = (
        texts.unfamiliar_rows.format(count=report.foreign) if report.foreign else None,
        texts.in_part.format(limit=limit, count=report.in_part) if report.in_part else None,
    )
    shown = len(report.first)
    return {
        "counts": {
            "title": texts.counts,
            "bars": [
                {"kind": kind(verdict), "name": name(verdict), "count": count, "percent": 100 * count / report.rows}
                for verdict, count in report.counts().items()
            ],
        },
        "columns": texts.columns,
        "rows": [
            {
                "row": each.row.record.place.row,
                "kind": kind(each.verdict),
                "verdict": name(each.verdict),
                "score": f"{each.prediction.score:.3f}" if each.prediction else "",
                "text": _cut(each.row.text or each.row.problem or ""),
            }
            for each in report.first
        ],
        "notes": [note for note in notes if note],
        "note": texts.shown.format(shown=shown, total=report.rows) if shown < report.rows else None,
    }


def _kind(label: Label, labels: LabelSet) -> str:
    """The colour of a label: of the sentiment pair its own, of others one after the other."""
    return label.name if labels == SENTIMENT else f"label{label.index % TONES}"


def _short_name(label: Label, labels: LabelSet, language: str) -> str:
    return TEXTS[language].class_names[label.index] if labels == SENTIMENT else label.display(language)


def _cut(text: str) -> str:
    return text if len(text) <= PREVIEW_CHARACTERS else f"{text[:PREVIEW_CHARACTERS]}…"
