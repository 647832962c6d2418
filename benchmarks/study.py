"""Which settings make the better model: prints the table of docs/model.md.

    python benchmarks/study.py --dataset build/imdb --output build/study

Every row changes one thing of the first one, the preset `imdb-minilm-cpu`, learns from the same reviews and is judged on the
same validation reviews. Finished rows are kept in the output folder, so that a study that was stopped goes on.
"""

import json
import logging
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import torch
from transformers import TrainerCallback, set_seed

from toolkit.choices import Truncation
from toolkit.datasets.splits import Review, Splits, read_splits
from toolkit.datasets.torch_dataset import IMDBDataset
from toolkit.errors import ConfigError
from toolkit.models.adapter import load_tokenizer
from toolkit.models.base_models import resolve_base_model
from toolkit.models.files import write_json
from toolkit.text.tokenisation import ReviewTokenizer
from toolkit.training.config import TrainingConfig, read_preset
from toolkit.training.trainer import ProbeTrainer, build_trainer

_ALL_DROPOUT = {"lora_dropout": 0.1, "dropout": 0.1, "attention_dropout": 0.1, "seq_classif_dropout": 0.2}
_DEFAULTS = {"r": 8, "target_modules": ("q_lin", "v_lin"), "learning_rate": 1e-4, "num_train_epochs": 3,
              "per_device_train_batch_size": 8, **_ALL_DROPOUT}  # fmt: skip
ROWS: dict[str, dict[str, Any]] = {
    "the preset": {},
    "another seed": {"seed": 43},
    "LoRA on q and v only": {"target_modules": ("q_lin", "v_lin")},
    "learning rate 3e-4": {"learning_rate": 3e-4},
    "256 tokens in training": {"train_max_length": 256},
    "rank 8": {"r": 8},
    "one epoch": {"num_train_epochs": 1},
    "dropout 0.1 everywhere": _ALL_DROPOUT,
    "learning rate 2e-3": {"learning_rate": 2e-3},
    "three epochs": {"num_train_epochs": 3},
    "rank 32": {"r": 32},
    "TrainingConfig's defaults": _DEFAULTS,
}
READINGS: dict[str, tuple[Truncation, int]] = {
    "512": ("head", 512),
    "head-tail 128": ("head-tail", 128),
    "head 128": ("head", 128),
}
_AVERAGED = 0.2  # the last share of the steps, whose weights are averaged


class _Average(TrainerCallback):
    """The mean of the trained weights over the last steps, taken after every one of them."""

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.count = 0

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:  # noqa: ANN401
        if state.global_step <= (1 - _AVERAGED) * state.max_steps:
            return
        self.count += 1
        for name, weight in _trained(model).items():
            self.sums[name] = self.sums.get(name, 0) + weight.detach().double()

    def load_into(self, model: torch.nn.Module) -> None:
        """Put the mean into the model."""
        with torch.no_grad():
            for name, weight in _trained(model).items():
                weight.copy_(self.sums[name] / self.count)


def _trained(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


@click.command()
@click.option("--dataset", type=click.Path(path_type=Path), default="build/imdb", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default="build/study", show_default=True)
@click.option("--reviews", default=2000, show_default=True, help="Train reviews a row learns from.")
@click.option("--validation", default=2483, show_default=True, help="Validation reviews that judge it.")
@click.option("--base-model", default="minilm", show_default=True)
@click.option("--rows", default=len(ROWS), show_default=True, help="How many rows, from the first.")
def main(dataset: Path, output: Path, reviews: int, validation: int, base_model: str, rows: int) -> None:
    """Train and judge every row, then print the table as Markdown."""
    logging.disable(logging.WARNING)
    output.mkdir(parents=True, exist_ok=True)
    splits = read_splits(dataset, ("train", "validation"))
    chosen = Splits(
        {
            name: random.Random(0).sample(splits[name], min(count, len(splits[name])))
            for name, count in (("train", reviews), ("validation", validation))
        },
        splits.labels,
    )
    results = []
    for number, (name, changes) in enumerate(list(ROWS.items())[:rows]):
        file = output / f"{number:02}.json"
        if not file.is_file():
            try:
                write_json(file, {"name": name, **_run(chosen, base_model, changes)})
            except ConfigError as error:
                raise click.ClickException(f"{name}: {error}") from error
        results.append(json.loads(file.read_text(encoding="utf-8")))
        click.echo(json.dumps(results[-1]), err=True)
    _print(results)


def _run(splits: Splits, base_model: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Train one row; accuracy by reading, with the last weights and with their average, minutes and parameters."""
    with tempfile.TemporaryDirectory(prefix="study.") as folder:
        preset = {key: tuple(value) if isinstance(value, list) else value
                  for key, value in read_preset("imdb-minilm-cpu").items()}  # fmt: skip
        places = {"base_model": base_model, "adapter_dir": f"{folder}/adapter", "eval_limit": 32, "train_probe": 32}
        config = TrainingConfig(**{**preset, **places, **changes})
        set_seed(config.seed)
        base = resolve_base_model(config.base_model)
        tokenizer = load_tokenizer(base.folder)
        trainer = build_trainer(config, base, tokenizer, splits)
        average = _Average()
        trainer.add_callback(average)
        trainer.args.eval_strategy = trainer.args.save_strategy = "no"  # judged at the end, on all of validation
        trainer.args.load_best_model_at_end = False
        started = time.perf_counter()
        trainer.train()
        minutes = (time.perf_counter() - started) / 60
        last = {name: _accuracy(trainer, splits["validation"], *READINGS[name]) for name in READINGS}
        average.load_into(trainer.model)
        averaged = _accuracy(trainer, splits["validation"], *READINGS["512"])
    return {
        "minutes": minutes,
        "parameters": sum(weight.numel() for weight in _trained(trainer.model).values()),
        "accuracy": last,
        "averaged": averaged,
    }


def _accuracy(trainer: ProbeTrainer, reviews: list[Review], truncation: Truncation, max_length: int) -> float:
    reader = ReviewTokenizer.wrap(trainer.processing_class, max_length, truncation)
    answers = trainer.predict(IMDBDataset.from_reviews(reviews, reader, max_length))
    return float((answers.predictions.argmax(axis=1) == answers.label_ids).mean())


def _print(results: list[dict[str, Any]]) -> None:
    click.echo(f"| changed | {' | '.join(READINGS)} | averaged | minutes | trained parameters |")
    click.echo("|---" * (len(READINGS) + 4) + "|")
    for row in results:
        cells = [f"{row['accuracy'][name]:.4f}" for name in READINGS]
        click.echo(
            f"| {row['name']} | {' | '.join(cells)} | {row['averaged']:.4f} | {row['minutes']:.1f} | {row['parameters']:,} |"
        )


if __name__ == "__main__":
    main()
