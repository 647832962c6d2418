"""The model card: what was trained, on what, how well, and how to do it again."""

from collections.abc import Mapping
from pathlib import Path

from toolkit.evaluation.calibration import describe_temperature
from toolkit.machine import available_cores, package_versions, processor_name
from toolkit.models.bundle import MODEL_CARD
from toolkit.models.cards import describe_base, describe_limits, describe_task, front_matter, title
from toolkit.models.files import write_text
from toolkit.text.labels import SENTIMENT, LabelSet
from toolkit.training.config import PRESETS, TrainingConfig, load_config
from toolkit.training.result import Conditions, TrainingResult
from toolkit.training.settings import toml_value

_TEMPLATE = """\
{front_matter}

# {title}

A LoRA adapter and classification head for {base_description}, trained on {learnt_from}.
{task}

## Results

{table}

Measured at the end of the training run, on whole splits, reading up to {max_length} tokens.{averaged}
{warnings}
{calibration}

![Accuracy and loss over the training steps](training_metrics.png)

## Training

{steps} steps in {minutes:.1f} minutes on {hardware}, products computed in {precision} by {threads}. These settings differ from the toolkit's defaults:

| setting | value |
|---|---|
{settings}

The same run again, where DATASET is a folder with the same data{places}{preset_note}:

```
{command}
```

with these lines in `config.toml`:

```toml
{toml}
```

Made with {versions}.

## Use

```
toolkit export --adapter lora_model --output onnx_model
toolkit predict "A quiet film that stays with you."
```

## Limits

{limits}
"""

_AVERAGED = " Precision, recall and F1 are means over the labels (macro)."


def write_model_card(
    folder: Path, config: TrainingConfig, counts: dict[str, int], result: TrainingResult, labels: LabelSet = SENTIMENT
) -> None:
    """Write the model card of a finished run.

    Args:
        folder: The adapter's folder.
        config: The run's settings.
        counts: The number of reviews in each split and, as `soft_labels`, of the texts with a teacher's probabilities.
        result: What the run achieved.
        labels: The labels that it tells apart.
    """
    defaults = TrainingConfig().recipe
    changed = {name: value for name, value in config.recipe.items() if value != defaults[name]}
    if config.display:
        changed["display"] = config.display
    table = _table({split: (counts[split], metrics) for split, metrics in result.metrics.items()}, labels)
    pair = labels == SENTIMENT
    versions = package_versions("torch", "transformers", "peft")
    card = _TEMPLATE.format(
        front_matter=front_matter(config.base_model, labels, "peft", "lora"),
        title=title(labels),
        task=describe_task(labels, config.max_length),
        limits=describe_limits(labels),
        averaged=_AVERAGED if len(labels) > 2 else "",
        base_description=describe_base(config.base_model),
        learnt_from=_learnt_from(config, counts, "film reviews" if pair else "texts"),
        max_length=config.max_length,
        table=table,
        calibration=_calibration(result),
        steps=result.steps,
        minutes=result.seconds / 60,
        hardware=_hardware(),
        precision=result.conditions.precision,
        threads=_threads(result.conditions),
        warnings="".join(f"\n**Warning:** {warning}\n" for warning in result.warnings),
        command=_command("--config config.toml", config),
        places=_places(config),
        preset_note=_preset_note(config),
        settings="\n".join(f"| `{name}` | `{toml_value(value)}` |" for name, value in changed.items()),
        toml="\n".join(f"{name} = {toml_value(value)}" for name, value in changed.items()),
        versions=", ".join(f"{package} {version}" for package, version in versions.items()),
    )
    write_text(folder / MODEL_CARD, card)


def _learnt_from(config: TrainingConfig, counts: dict[str, int], texts: str) -> str:
    labelled, taught = f"{counts['train']} labelled {texts}", counts.get("soft_labels", 0)
    count = len(config.start_from)
    weights = "the weights of an adapter" if count == 1 else f"the mean of the weights of {count} adapters"
    begun = f", from {weights} trained before" if count else ""
    if not taught:
        return labelled + begun
    said = f"what a teacher said of {taught} texts, at a temperature of {config.soft_temperature:g}"
    if config.soft_weight == 1:
        return said + begun
    return f"{labelled} and on {said}; its probabilities have {config.soft_weight:g} of the loss{begun}"


def _command(settings: str, config: TrainingConfig) -> str:
    taught = " --soft-labels TEXTS" if config.soft_labels else ""
    begun = "".join(f" --start-from {name}" for name in _begun_with(config))
    return f"toolkit train {settings} --dataset DATASET{taught}{begun}"


def _places(config: TrainingConfig) -> str:
    taught = ", TEXTS a folder with what the teacher said" if config.soft_labels else ""
    begun = {0: "", 1: ", ADAPTER the one that it began with"}
    several = f", {' and '.join(_begun_with(config))} those whose mean it began with"
    return taught + begun.get(len(config.start_from), several)


def _begun_with(config: TrainingConfig) -> list[str]:
    """A name for each adapter that the run began with."""
    count = len(config.start_from)
    return ["ADAPTER"] if count == 1 else [f"ADAPTER_{number}" for number in range(1, count + 1)]


def _calibration(result: TrainingResult) -> str:
    test = result.test
    if not test:
        return (
            f"Scores are calibrated: the logits are divided by {result.temperature:.3f}, fitted on the validation split. The test "
            f"split was not measured. {describe_temperature(result.temperature)}"
        ).rstrip()
    if result.temperature == 1:
        return f"{describe_temperature(1.0)} On the test split their expected calibration error is {test['ece']:.4f}."
    return (
        f"Scores are calibrated: the logits are divided by {result.temperature:.3f}, fitted on the validation split. On the "
        "test split,\nwhich the fit did not see, that takes the expected calibration error (15 bins) from "
        f"{test['ece_uncalibrated']:.4f} to {test['ece']:.4f} and the Brier\nscore from {test['brier_uncalibrated']:.4f} to "
        f"{test['brier']:.4f}. {describe_temperature(result.temperature)}"
    ).rstrip()


def _threads(conditions: Conditions) -> str:
    """They decide the last bits of sums on a CPU."""
    threads, processes = conditions.threads, conditions.processes
    counted = f"{threads} thread{'s' if threads > 1 else ''}"
    return f"{processes} processes of {counted} each" if processes > 1 else counted


def _preset_note(config: TrainingConfig) -> str:
    """The shorter way to the same settings, where there is one."""
    for preset in PRESETS:
        if load_config(preset).recipe == config.recipe:
            return f"; `{_command(f'--preset {preset}', config)}` is the same"
    return ""


def _table(measured: Mapping[str, tuple[int, Mapping[str, float]]], labels: LabelSet) -> str:
    """The figures of each split: the number of its reviews, and the metrics by name."""
    titles = {
        "accuracy": "accuracy",
        "precision": "precision",
        "recall": "recall",
        "f1": "F1",
        "roc_auc": "ROC AUC",
        "loss": "loss",
    }
    if len(labels) > 2:
        del titles["roc_auc"]
    lines = [f"| split | reviews | {' | '.join(titles.values())} |", "|---|---|" + "---|" * len(titles)]
    for split, (count, metrics) in measured.items():
        cells = [f"{metrics[name]:.4f}" if name in metrics else "-" for name in titles]
        lines.append(f"| {split} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _hardware() -> str:
    """The GPU, or the processor and its cores, as a reader would name it."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} × {torch.cuda.get_device_name()}"
    return f"{available_cores()} CPU cores ({processor_name()})"
