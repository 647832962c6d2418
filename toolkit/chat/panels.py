"""What the page's own elements (`assets/public/elements`) are given to show; every text is shown as text."""

from typing import Any

from toolkit.chat.texts import TEXTS
from toolkit.chat.uploads import UNREADABLE, ClassifiedRow, count_verdicts
from toolkit.prediction import Prediction, Predictor
from toolkit.prediction.abstention import display
from toolkit.prediction.explanation import Explanation
from toolkit.text.labels import SENTIMENT, Label, LabelSet

PREVIEW_ROWS = 20
PREVIEW_CHARACTERS = 160


LIKELIEST = 5  # labels with a bar
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
        "truncated": texts.truncated.format(read=read) if prediction.tokens_read < prediction.tokens else None,
        "why": {"title": texts.why, "note": texts.why_pending, "segments": [], "unread": None, "unreadAfter": 0},
    }


def why_panel(explanation: Explanation, labels: LabelSet, language: str) -> dict[str, Any]:
    """The sentences: how strongly to shade each, from 0 to 1, to which side, and the number in words."""
    texts, label = TEXTS[language], explanation.label
    two = len(labels) == 2
    strongest = max((abs(segment.push) for segment in explanation.segments if segment.push is not None), default=0.0)
    segments = []
    for segment in explanation.segments:
        shown: dict[str, Any] = {"text": segment.text}
        if segment.push is not None and label is not None:
            towards = segment.push >= 0
            push = f"{'+' if towards else '−'}{abs(segment.push):.2f}"
            side = labels[int(towards)] if two else label
            sentence = texts.push if two or towards else texts.push_away
            title = sentence.format(push=push, side=_short_name(side, labels, language))
            shade = abs(segment.push) / strongest if strongest else 0.0
            shown |= {"push": push, "kind": SENTIMENT.names[towards], "title": title, "shade": round(shade, 3)}
        segments.append(shown)
    unread = explanation.unread_words
    legend = texts.why_legend
    if label is not None and labels != SENTIMENT:
        legend = texts.why_legend_towards.format(label=_short_name(label, labels, language))
    return {
        "title": texts.why,
        "note": legend if strongest or len(segments) > 1 else texts.why_lone,
        "segments": segments,
        "unread": texts.unread.format(words=unread) if unread else None,
        "unreadAfter": explanation.unread_after,
    }


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
        "note": texts.shown.format(shown=min(PREVIEW_ROWS, len(rows)), total=len(rows)),
    }


def _kind(label: Label, labels: LabelSet) -> str:
    """The colour of a label: of the sentiment pair its own, of others one after the other."""
    return label.name if labels == SENTIMENT else f"label{label.index % TONES}"


def _short_name(label: Label, labels: LabelSet, language: str) -> str:
    return TEXTS[language].class_names[label.index] if labels == SENTIMENT else label.display(language)


def _cut(text: str) -> str:
    return text if len(text) <= PREVIEW_CHARACTERS else f"{text[:PREVIEW_CHARACTERS]}…"
