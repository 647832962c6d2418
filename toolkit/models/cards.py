"""What every model card says of a model: the Hub's front matter, what it does, what it cannot."""

from toolkit.models.base_models import MINILM
from toolkit.models.mpnet import MPNET
from toolkit.text.labels import SENTIMENT, LabelSet

_ON_THE_HUB = {
    MINILM: "sentence-transformers/all-MiniLM-L6-v2",
    MPNET: "sentence-transformers/all-mpnet-base-v2",
}
_PACKAGED = {
    MINILM: "`minilm` (all-MiniLM-L6-v2, 22.7M parameters, folded into the DistilBERT architecture)",
    MPNET: "`mpnet` (all-mpnet-base-v2, 109M parameters)",
}
_SENTIMENT_TASK = (
    "It reads a review in English, up to {max_length} tokens of it, and says `negative` (0) or `positive` (1)."
)
_SENTIMENT_LIMITS = """\
It knows film reviews in English and two verdicts. It has no notion of a neutral text, of other languages or of other
subjects, and it learnt the tastes of those who wrote the reviews."""
_TASK = "It reads a text, up to {max_length} tokens of it, and gives it one of {count} labels: {names}."
_LIMITS = """\
It knows these labels and texts like those that it was trained on. It gives one of them to any text, whatever its subject or
language, and it learnt the habits of those who wrote and labelled the texts."""


def front_matter(base_model: str, labels: LabelSet, library: str, tag: str) -> str:
    """What a model hub reads of a card, as YAML between its two lines of dashes.

    Args:
        base_model: The base's name; a folder of this machine is left out.
        labels: The labels.
        library: The library that opens the model, as the Hub names it.
        tag: What the folder holds, as `lora` or `onnx`.
    """
    from huggingface_hub import ModelCardData

    packaged, folder = base_model in _ON_THE_HUB, base_model.startswith("/")
    data = ModelCardData(
        base_model=None if folder else _ON_THE_HUB.get(base_model, base_model),
        language="en" if labels == SENTIMENT else None,
        library_name=library,
        license="apache-2.0" if packaged else None,  # as those bases have it; of another base nothing is known here
        pipeline_tag="text-classification",
        tags=[tag, *(["sentiment", "movie-reviews"] if labels == SENTIMENT else [])],
    )
    return f"---\n{data.to_yaml()}\n---"


def title(labels: LabelSet) -> str:
    """Of the page."""
    return "Film reviews, positive or negative" if labels == SENTIMENT else f"Texts with {len(labels)} labels"


def describe_base(base_model: str) -> str:
    """The base in words."""
    return _PACKAGED.get(base_model, f"`{base_model}`")


def describe_task(labels: LabelSet, max_length: int) -> str:
    """What the model does, one sentence."""
    names = ", ".join(f"`{name}`" for name in labels.names)
    task = _SENTIMENT_TASK if labels == SENTIMENT else _TASK
    return task.format(max_length=max_length, count=len(labels), names=names)


def describe_limits(labels: LabelSet) -> str:
    """What it does not know."""
    return _SENTIMENT_LIMITS if labels == SENTIMENT else _LIMITS
