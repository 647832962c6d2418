"""A plain training loop against `toolkit train`: prints the table of docs/benchmarks.md.

    python benchmarks/training.py --dataset build/imdb

The same real reviews, base, steps and number of evaluations; each run in a process of its own, in turn.
"""

import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import click

from toolkit.benchmark.report import as_markdown
from toolkit.datasets.splits import read_reviews, write_reviews
from toolkit.models.base_models import resolve_base_model

EVALUATIONS = 5  # of a run; what `toolkit train` makes at the least
_PROBE_SHARE = 500 / 25_000  # of the train set, as on the whole of IMDB


class Run(NamedTuple):
    """What a run took and reached.

    Attributes:
        seconds: of all epochs, evaluations between them included.
        accuracy: on the whole validation split, at the end.
        steps: of the optimiser.
        precision: `fp32` or `bf16`.
    """

    seconds: float
    accuracy: float
    steps: int
    precision: str


@click.command()
@click.option("--dataset", type=click.Path(path_type=Path), default="build/imdb", show_default=True)
@click.option("--base-model", default="minilm", show_default=True)
@click.option("--reviews", default=512, show_default=True, help="Train reviews.")
@click.option("--validation", default=256, show_default=True, help="Validation reviews.")
@click.option("--epochs", default=1, show_default=True)
@click.option("--rounds", default=1, show_default=True, help="Runs of each; medians are shown.")
@click.option("--precision", default="auto", show_default=True, help="Of `toolkit train`: auto, fp32 or bf16.")
@click.option("--seed", default=0, show_default=True, help="Chooses the reviews.")
def main(
    dataset: Path, base_model: str, reviews: int, validation: int, epochs: int, rounds: int, precision: str, seed: int
) -> None:
    """Print the table as Markdown."""
    shuffle = random.Random(seed)
    splits = {
        split: shuffle.sample(read_reviews(dataset / f"{split}.csv"), count)
        for split, count in (("train", reviews), ("validation", validation), ("test", 8))
    }
    ways: dict[str, Callable[[Path, str, int, str], Run]] = {
        "the plain loop": run_plain,
        "toolkit train, default settings": run_toolkit,
        "toolkit train --preset imdb-minilm-cpu": run_preset,
    }
    measured: dict[str, list[Run]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory(prefix="training.") as name:
        folder = Path(name)
        for split, chosen in splits.items():
            write_reviews(folder / f"{split}.csv", chosen)
        tokens = count_tokens(folder, base_model)
        for _ in range(rounds):
            for way, run in ways.items():
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                    measured[way].append(process.submit(run, folder, base_model, epochs, precision).result())
                click.echo(f"{way}: {measured[way][-1]}", err=True)
    first = statistics.median(run.seconds for run in measured["the plain loop"])
    table = [["way", "steps", "precision", "s an epoch", "tokens/s", "speed", "validation accuracy"]]
    for way, runs in measured.items():
        seconds = statistics.median(run.seconds for run in runs)
        table.append([
            way, f"{runs[0].steps}", runs[0].precision, f"{seconds / epochs:.1f}", f"{tokens * epochs / seconds:,.0f}",
            f"{first / seconds:.2f} ×", f"{statistics.median(run.accuracy for run in runs):.3f}",
        ])  # fmt: skip
    click.echo(
        f"{reviews} reviews of {tokens:,} tokens, {validation} for validation, {epochs} epochs, {rounds} rounds\n"
    )
    click.echo(as_markdown(table))


def count_tokens(dataset: Path, base_model: str) -> int:
    """Tokens of the train reviews, 512 at most of each, padding not counted."""
    from toolkit.text.tokenisation import ReviewTokenizer

    tokenizer = ReviewTokenizer.from_file(resolve_base_model(base_model).folder / "tokenizer.json", 512)
    encodings = tokenizer.encode([review.text for review in read_reviews(dataset / "train.csv")])
    return sum(len(encoding.input_ids) for encoding in encodings)


def run_plain(dataset: Path, base_model: str, epochs: int, _precision: str) -> Run:
    """A plain loop, as tutorials have it: all in float32, nothing done once that may be done again.

    A review is tokenised when it is asked for and padded to 512, in batches of 8; LoRA r 8 and alpha 32 on `q_lin` and
    `v_lin`; the base's own dropout; accuracy on the whole train set at every evaluation.
    """
    import numpy as np
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainerCallback, TrainingArguments, logging, set_seed
    from transformers.trainer_callback import PrinterCallback

    from toolkit.models.adapter import load_classifier, load_tokenizer

    class Reviews(torch.utils.data.Dataset[dict[str, Any]]):
        def __init__(self, split: str) -> None:
            self.reviews = read_reviews(dataset / f"{split}.csv")

        def __len__(self) -> int:
            return len(self.reviews)

        def __getitem__(self, index: int) -> dict[str, Any]:
            encoding = tokenizer(
                self.reviews[index].text, truncation=True, padding="max_length", max_length=512, return_tensors="pt"
            )
            return {
                "input_ids": encoding["input_ids"].squeeze(0),
                "attention_mask": encoding["attention_mask"].squeeze(0),
                "labels": torch.tensor(int(self.reviews[index].label)),
            }

    class TrainAccuracy(TrainerCallback):
        inside = False

        def on_evaluate(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - TrainerCallback's own
            if not self.inside:
                self.inside = True  # evaluating calls back
                trainer.evaluate(trainer.train_dataset, metric_key_prefix="train")
                self.inside = False

    logging.set_verbosity_error()
    set_seed(42)
    base = resolve_base_model(base_model)
    tokenizer = load_tokenizer(base.folder)
    lora = LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=32, lora_dropout=0.1, target_modules=["q_lin", "v_lin"],
                      modules_to_save=["pre_classifier", "classifier"])  # fmt: skip
    train, validation = Reviews("train"), Reviews("validation")
    steps = -(-len(train) // 8) * epochs
    with tempfile.TemporaryDirectory(prefix="plain.") as output:
        every = max(1, steps // EVALUATIONS)
        trainer = Trainer(
            model=get_peft_model(load_classifier(base), lora),
            args=TrainingArguments(
                output_dir=output, num_train_epochs=epochs, per_device_train_batch_size=8,
                per_device_eval_batch_size=8, learning_rate=1e-4, weight_decay=0.01, lr_scheduler_type="cosine",
                warmup_ratio=0.1, eval_strategy="steps", eval_steps=every, save_strategy="steps", save_steps=every,
                load_best_model_at_end=True, metric_for_best_model="accuracy", logging_steps=every, report_to=[],
                disable_tqdm=True, use_cpu=True, label_names=["labels"], dataloader_pin_memory=False,
            ),
            train_dataset=train,
            eval_dataset=validation,
            compute_metrics=lambda prediction: {
                "accuracy": float((np.argmax(prediction.predictions, axis=1) == prediction.label_ids).mean())
            },
            callbacks=[TrainAccuracy()],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        trainer.remove_callback(TrainAccuracy)
        accuracy = trainer.evaluate()["eval_accuracy"]
    return Run(seconds, float(accuracy), trainer.state.global_step, "fp32")


def run_toolkit(dataset: Path, base_model: str, epochs: int, precision: str) -> Run:
    """`toolkit train` with its default hyper-parameters."""
    return _train(dataset, None, base_model=base_model, num_train_epochs=epochs, precision=precision)


def run_preset(dataset: Path, base_model: str, epochs: int, precision: str) -> Run:
    """`toolkit train` with the preset for a CPU."""
    return _train(dataset, "imdb-minilm-cpu", base_model=base_model, num_train_epochs=epochs, precision=precision)


def _train(dataset: Path, preset: str | None, **settings: Any) -> Run:  # noqa: ANN401 - TrainingConfig's own
    from toolkit.training.config import load_config
    from toolkit.training.run import train

    probe = max(1, round(_PROBE_SHARE * len(read_reviews(dataset / "train.csv"))))
    with tempfile.TemporaryDirectory(prefix="toolkit.") as output:
        places = {"dataset": str(dataset), "adapter_dir": str(Path(output) / "lora_model")}
        result = train(load_config(preset, None, {**settings, **places, "train_probe": probe}))
    if result is None:
        raise RuntimeError("a single process always has a result")
    return Run(result.seconds, result.validation["accuracy"], result.steps, result.conditions.precision)


if __name__ == "__main__":
    main()
