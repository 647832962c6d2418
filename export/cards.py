"""The READMEs of what an export publishes: what it is, for whom, how to ask it, how right it is, what it cannot."""

from collections.abc import Sequence
from pathlib import Path

from export.parity import Parity
from export.readers import Reading
from toolkit.models.bundle import NGRAM_TABLE, Manifest
from toolkit.models.cards import describe_base, describe_limits, describe_task, front_matter, title

_BUNDLE = """\
{front_matter}

# {title}

An ONNX bundle of `distilbert-review-toolkit`: {base}, fine-tuned with LoRA, merged, exported{precision}. {task}
It runs on a CPU with onnxruntime and without torch.

## Use

```sh
python -m pip install -c constraints.txt .  # in a checkout of the toolkit
toolkit predict --onnx-model onnx_model "{example}"
```

```python
from toolkit import load_predictor

predictor = load_predictor("onnx", onnx_model="onnx_model")
print(predictor.predict("{example}"))
```

**For this toolkit alone.** The graph reads one unpadded text at a time and refuses a batch{beside}. What other tools open, in
batches of any size, is written by `toolkit export --standard FOLDER`.

## Figures

{count} labelled texts of `{parity_set}`, none of them trained on. {remark}

{table}

`report.json` has every figure with its gate.

## Limits

{limits}

The licence is that of the base, see above and the LICENSE of the toolkit.
"""

_STANDARD = """\
{front_matter}

# {title}

{base}, fine-tuned with LoRA, merged, exported to ONNX for transformers, optimum, OpenVINO and other tools. {task}

## Use

```python
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoTokenizer, pipeline

model = ORTModelForSequenceClassification.from_pretrained("{folder}"{file_name})
classify = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained("{folder}"))
print(classify(["{example}"], truncation=True))
```

{files}

The inputs are `input_ids` and `attention_mask` (batch, tokens), the output `logits` (batch, {labels}). Batches may be padded: a text
gets the same score in any company, in int8 too, where every token has a scale of its own. The operators are ONNX's own.

## Figures

Labelled texts of `{parity_set}`, none of them trained on, in padded batches of 8, read as the toolkit reads them.

{table}

Other tools read the first {max_length} tokens of a longer text, where the toolkit reads its first and its last, and the
toolkit's n-grams are not in this folder. Divide the logits by {temperature:.3f} before the softmax, and the scores are calibrated.

## Limits

{limits}
"""

_EXAMPLE = "A quiet film that stays with you."
_OPTIMISTIC = (
    "Where these texts are on the same subjects as those that the n-grams have learnt from, as reviews of the same films are, the rows "
    "with n-grams are better than on others: the adapter's README says by how much."
)


def bundle_card(
    manifest: Manifest,
    stages: Sequence[Parity],
    readers: Sequence[Reading],
    parity_set: Path,
    reviews: int,
    chosen: str,
) -> str:
    """The README of a bundle.

    Args:
        manifest: What is known of the model.
        stages: The scorecard, the adapter first.
        readers: Each choice of readers, where there is an n-gram table.
        parity_set: The file of the texts that were compared.
        reviews: Their number, on which the readers were measured.
        chosen: The stage whose graph is published.
    """
    labels, example = manifest.label_set, _EXAMPLE
    published = next(each for each in stages if each.stage == chosen)
    rows = [(chosen, published.accuracy, *published.accuracy_interval)]
    if readers:
        rows = [(f"`--readers {each.readers}`", each.accuracy, *each.accuracy_interval) for each in readers]
    return _BUNDLE.format(
        front_matter=front_matter(manifest.base_model, labels, "onnx", "onnx"), title=title(labels),
        base=describe_base(manifest.base_model), precision=" in int8" if chosen == "int8" else "",
        task=describe_task(labels, manifest.max_length), example=example,
        beside=f", and `{NGRAM_TABLE}` beside it decides the plain cases" if readers else "",
        count=f"{reviews if readers else published.reviews:,}", parity_set=parity_set.name, remark=_OPTIMISTIC if readers else "",
        table=_accuracies(rows), limits=describe_limits(labels),
    )  # fmt: skip


def standard_card(
    manifest: Manifest, stages: Sequence[Parity], graphs: Sequence[str], folder: Path, parity_set: Path
) -> str:
    """The README of a folder for other tools.

    Args:
        manifest: What is known of the model.
        stages: The adapter, and the stage of each graph.
        graphs: The names of the files, float first.
        folder: The folder.
        parity_set: The file of the texts that were compared.
    """
    labels = manifest.label_set
    sizes = [
        f"- `{name}`: {'float32' if number == 0 else 'int8'}, {stage.bytes / 1e6:.1f} MB"
        for number, (name, stage) in enumerate(zip(graphs, stages[1:], strict=True))
    ]
    rows = [(f"{each.stage}, {each.reviews:,} texts", each.accuracy, *each.accuracy_interval) for each in stages]
    return _STANDARD.format(
        front_matter=front_matter(manifest.base_model, labels, "transformers", "onnx"), title=title(labels),
        base=describe_base(manifest.base_model)[:1].upper() + describe_base(manifest.base_model)[1:],
        task=describe_task(labels, manifest.max_length), folder=folder.resolve().name, example=_EXAMPLE,
        file_name=f', file_name="{graphs[-1]}"' if len(graphs) > 1 else "", files="\n".join(sizes), labels=len(labels),
        parity_set=parity_set.name, table=_accuracies(rows), max_length=manifest.max_length,
        temperature=manifest.temperature, limits=describe_limits(labels),
    )  # fmt: skip


def _accuracies(rows: Sequence[tuple[str, float, float, float]]) -> str:
    lines = [f"| {name} | {accuracy:.4f} | {low:.4f} to {high:.4f} |" for name, accuracy, low, high in rows]
    return "\n".join(["| | accuracy | 95% |", "|---|---|---|", *lines])
