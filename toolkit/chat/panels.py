"""What the page's own elements (`assets/public/elements`) are given to show; every text is shown as text."""

from typing import Any

from toolkit.chat.texts import TEXTS
from toolkit.chat.uploads import UNREADABLE, ClassifiedRow, count_verdicts
from toolkit.prediction import Prediction, Predictor
from toolkit.prediction.abstention import FOREIGN, display
from toolkit.prediction.attribution import Segment
from toolkit.prediction.explanation import Explanation
from toolkit.text.labels import SENTIMENT, Label, LabelSet

PREVIEW_ROWS = 20
PREVIEW_CHARACTERS = 160


LIKELIEST = 5  # labels with a bar
AT_A_GLANCE = 400  # characters of a review that is shown with its reasons at once; of a longer one they are folded
FAINTEST = 0.08  # of the strongest word's push; what weighs less is not shaded
MOST_SHADED = 500  # words, the weightiest: each is a part of the page
TONES = 5  # colours in toolkit.css that labels take in turn


def verdict_panel(prediction: Prediction, predictor: Predictor, language: str, answer: str) -> dict[str, Any]:
    """The bars and the token counts; the explanation follows when it is computed.

    Two labels share a bar; of more, the likeliest have one each, and a menu of all of them takes a correction.

    Args:
        prediction: What is shown.
        predictor: What said it.
        language: `zh` or `en`.
        answer: The identifier by which the answer is corrected.
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
        "menu": None
        if two
        else {
            "title": texts.corrected,
            "answer": answer,
            "labels": [{"label": label.name, "name": label.display(language)} for label in labels],
        },
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


def file_panel(rows: list[ClassifiedRow], labels: LabelSet, language: str) -> dict[str, Any]:
    """The counts and the first rows of a classified file."""
    texts = TEXTS[language]

    def name(verdict: str) -> str:
        if verdict == UNREADABLE:
            return texts.unreadable
        return display(labels.named(verdict) or labels[0], verdict, language)

    def kind(verdict: str) -> str:
        label = labels.named(verdict)
        return verdict if label is None else _kind(label, labels)

    counts = count_verdicts(rows, labels)
    foreign = sum(each.prediction is not None and each.prediction.reason in FOREIGN for each in rows)
    return {
        "counts": {
            "title": texts.counts,
            "bars": [
                {
                    "kind": kind(verdict),
                    "name": name(verdict),
                    "count": count,
                    "percent": 100 * count / max(counts.values()),
                }
                for verdict, count in counts.items()
            ],
        },
        "columns": texts.columns,
        "rows": [
            {
                "place": each.row.place.removeprefix("row ").partition(" ")[0],
                "kind": kind(each.verdict),
                "verdict": name(each.verdict),
                "score": f"{each.prediction.score:.3f}" if each.prediction else "",
                "text": _cut(each.row.text or each.row.problem or ""),
            }
            for each in rows[:PREVIEW_ROWS]
        ],
        "withheld": texts.unfamiliar_rows.format(count=foreign) if foreign else None,
        "note": texts.shown.format(shown=min(PREVIEW_ROWS, len(rows)), total=len(rows)),
    }


def _kind(label: Label, labels: LabelSet) -> str:
    """The colour of a label: of the sentiment pair its own, of others one after the other."""
    return label.name if labels == SENTIMENT else f"label{label.index % TONES}"


def _short_name(label: Label, labels: LabelSet, language: str) -> str:
    return TEXTS[language].class_names[label.index] if labels == SENTIMENT else label.display(language)


def _cut(text: str) -> str:
    return text if len(text) <= PREVIEW_CHARACTERS else f"{text[:PREVIEW_CHARACTERS]}…"
