"""What the page's own elements (`assets/public/elements`) are given to show; every text is shown as text."""

from typing import Any

from toolkit.chat.texts import Texts
from toolkit.chat.uploads import ClassifiedRow, count_verdicts
from toolkit.choices import Verdict, choices
from toolkit.prediction import Prediction, Predictor
from toolkit.prediction.abstention import display
from toolkit.prediction.explanation import Explanation
from toolkit.text.labels import Label

PREVIEW_ROWS = 20
PREVIEW_CHARACTERS = 160


def verdict_panel(prediction: Prediction, predictor: Predictor, texts: Texts) -> dict[str, Any]:
    """The bar and the token counts; the explanation follows when it is computed."""
    read, total = f"{prediction.tokens_read:,}", f"{prediction.tokens:,}"
    return {
        "classes": [
            {"kind": label.text, "name": texts.class_names[label], "percent": 100 * prediction.probabilities[label]}
            for label in Label
        ],
        "tokens": texts.tokens.format(read=read, total=total, backend=predictor.backend, device=predictor.device),
        "truncated": texts.truncated.format(read=read) if prediction.tokens_read < prediction.tokens else None,
        "why": {"title": texts.why, "note": texts.why_pending, "segments": [], "unread": None, "unreadAfter": 0},
    }


def why_panel(explanation: Explanation, texts: Texts) -> dict[str, Any]:
    """The sentences: how strongly to shade each, from 0 to 1, to which side, and the number in words."""
    strongest = max((abs(segment.push) for segment in explanation.segments if segment.push is not None), default=0.0)
    segments = []
    for segment in explanation.segments:
        shown: dict[str, Any] = {"text": segment.text}
        if segment.push is not None:
            label = Label(int(segment.push >= 0))
            push = f"{'+' if segment.push >= 0 else '−'}{abs(segment.push):.2f}"
            title = texts.push.format(push=push, side=texts.class_names[label])
            shade = abs(segment.push) / strongest if strongest else 0.0
            shown |= {"push": push, "kind": label.text, "title": title, "shade": round(shade, 3)}
        segments.append(shown)
    unread = explanation.unread_words
    return {
        "title": texts.why,
        "note": texts.why_legend if strongest or len(segments) > 1 else texts.why_lone,
        "segments": segments,
        "unread": texts.unread.format(words=unread) if unread else None,
        "unreadAfter": explanation.unread_after,
    }


def file_panel(rows: list[ClassifiedRow], language: str, texts: Texts) -> dict[str, Any]:
    """The counts and the first rows of a classified file."""

    def name(verdict: str) -> str:
        return display(verdict, language) if verdict in choices(Verdict) else texts.unreadable

    counts = count_verdicts(rows)
    return {
        "counts": {
            "title": texts.counts,
            "bars": [
                {"kind": verdict, "name": name(verdict), "count": count, "percent": 100 * count / max(counts.values())}
                for verdict, count in counts.items()
            ],
        },
        "columns": texts.columns,
        "rows": [
            {
                "place": each.row.place.removeprefix("row ").partition(" ")[0],
                "kind": each.verdict,
                "verdict": name(each.verdict),
                "score": f"{each.prediction.score:.3f}" if each.prediction else "",
                "text": _cut(each.row.text or each.row.problem or ""),
            }
            for each in rows[:PREVIEW_ROWS]
        ],
        "note": texts.shown.format(shown=min(PREVIEW_ROWS, len(rows)), total=len(rows)),
    }


def _cut(text: str) -> str:
    return text if len(text) <= PREVIEW_CHARACTERS else f"{text[:PREVIEW_CHARACTERS]}…"
