"""`toolkit train`."""

import json
import logging
import os
import textwrap
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from toolkit.choices import Split, choices
from toolkit.commands.options import PATH, Command, encoding_option, progress_option
from toolkit.commands.redirection import refuse_own_output
from toolkit.training.config import DEFAULT_PRESET, OPTIONS, PRESETS, TrainingConfig
from toolkit.training.settings import to_toml

_logger = logging.getLogger(__name__)


def _settings_epilog() -> str:
    settings = (f"{each.name} = {json.dumps(each.default)}: {each.metadata['help']}" for each in fields(TrainingConfig))
    lines = [textwrap.fill(each, 78, initial_indent="  ", subsequent_indent="      ") for each in settings]
    return "\b\nSettings of a --config FILE.toml, with their defaults:\n" + "\n".join(lines)


def _train_option(name: str, **kwargs: Any) -> Callable[[Command], Command]:  # noqa: ANN401 - click's
    """An option that overrides one setting; its help is the setting's own."""
    plain = name.removeprefix("--").replace("-", "_")
    setting = OPTIONS.get(plain, plain)
    help_text = next(each.metadata["help"] for each in fields(TrainingConfig) if each.name == setting)
    return click.option(name, setting, default=None, help=help_text[0].upper() + help_text[1:] + ".", **kwargs)


def _add_reader(config: TrainingConfig, encoding: str | None) -> None:
    from toolkit.training.second_reader import add_reader

    for split, metrics in add_reader(config, encoding).metrics.items():
        click.echo(f"{split}: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    _logger.info("n-gram table saved in %s", config.adapter_dir)


@click.command(epilog=_settings_epilog())
@click.option(
    "--preset",
    type=click.Choice(PRESETS),
    metavar="NAME",
    help=f"Settings that belong together: {', '.join(PRESETS)}.  [default: {DEFAULT_PRESET}]",
)
@click.option("--config", "config_file", type=PATH, help="Settings from a TOML file.")
@_train_option("--dataset")
@_train_option("--output")
@_train_option("--base-model")
@_train_option("--epochs", type=float)
@_train_option("--max-steps", type=int)
@_train_option("--batch-size", type=int)
@_train_option("--learning-rate", type=float)
@_train_option("--max-length", type=int)
@_train_option("--seed", type=int)
@_train_option("--early-stopping", type=int)
@_train_option("--soft-labels", multiple=True, metavar="PATH")
@_train_option("--soft-weight", type=float)
@_train_option("--soft-temperature", type=float)
@_train_option("--start-from", multiple=True, metavar="PATH")
@_train_option("--display", multiple=True, metavar="LANG:LABEL=WORD")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any setting of those below, as eval_steps=50 or target_modules=q_lin,v_lin; may be repeated.",
)
@click.option(
    "--show", is_flag=True, help="Print the settings of the run as a TOML file for --config, and train nothing."
)
@encoding_option()
@progress_option()
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint of an interrupted run.")
@click.option(
    "--only", type=click.Choice(["ngrams"]), help="Fit the n-gram table alone, for the adapter that is at --output."
)
def train(
    preset: str | None,
    config_file: Path | None,
    resume: bool,
    only: str | None,
    assignments: tuple[str, ...],
    show: bool,
    encoding: str | None,
    **settings: Any,  # noqa: ANN401 - the configuration's
) -> None:
    """Fine-tune a base model with LoRA and save the adapter.

    \b
    Examples:
      toolkit train                      # distilbert-base-uncased, from the hub
      toolkit train --preset demo --output build/demo/lora_model
      toolkit train --preset imdb-minilm-cpu --dataset imdb --output build/run
      toolkit train --preset imdb-minilm-cpu --set r=8 --set eval_steps=50 --show
      toolkit train --only ngrams --dataset build/imdb --output lora_model
      accelerate launch -m toolkit train --dataset build/imdb
    """
    from toolkit.training.config import load_config, parse_assignments

    overrides = {name: value for name, value in settings.items() if value not in (None, ())}
    assigned = parse_assignments(assignments)
    if twice := sorted(overrides.keys() & assigned.keys()):
        raise click.UsageError(f"{', '.join(twice)}: given by --set and by an option of its own; give one of them")
    config = load_config(preset, config_file, overrides | assigned)
    if show:
        click.echo(to_toml(config))
        return
    refuse_own_output(*(Path(config.dataset, f"{split}.csv") for split in choices(Split)))
    if only:
        if resume:
            raise click.UsageError("--only ngrams has nothing to go on with; leave out --resume")
        _add_reader(config, encoding)
        return

    from toolkit.training.launch import read_launch
    from toolkit.training.run import train as run_training

    if read_launch(os.environ).rank > 0:  # of several processes the first speaks for all
        logging.getLogger("toolkit").setLevel(logging.WARNING)
    result = run_training(config, resume, encoding)
    if result is None:
        return
    for split, metrics in result.metrics.items():
        click.echo(
            f"{split}: "
            + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items() if not name.endswith("_uncalibrated"))
        )
    _logger.info("adapter saved in %s after %d steps, %.0f s", result.adapter, result.steps, result.seconds)
