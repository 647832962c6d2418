"""What looks in on the Trainer's loop: the clock, the last evaluation, the progress bar."""

import logging
import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState, ProgressCallback

_LINE_EVERY = 120.0  # seconds between two lines of a run that has no progress bar
_logger = logging.getLogger(__name__)


class Clock(TrainerCallback, ExportableState):
    """Measures the time a run took, all its resumptions together; checkpoints carry it.

    Attributes:
        seconds: The wall-clock time of the steps and the evaluations between them.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._since = time.monotonic()

    def state(self) -> dict[str, dict[str, float]]:
        """What a checkpoint keeps, in the form the Trainer asks for."""
        return {"args": {"seconds": self.seconds}, "attributes": {}}

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - TrainerCallback's own signature
        """Start, or start again."""
        self._since = time.monotonic()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Add what has passed."""
        now = time.monotonic()
        self.seconds += now - self._since
        self._since = now

    on_evaluate = on_train_end = on_step_end


class FinalEvaluation(TrainerCallback):
    """Evaluate at the last step too, unless the last evaluation is only a few steps away."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Ask for it."""
        since_last = state.global_step % args.eval_steps
        if state.global_step >= state.max_steps and since_last > args.eval_steps // 2:
            control.should_evaluate = control.should_log = control.should_save = True


class Bar(ProgressCallback):
    """The Trainer's progress bar, without the raw dictionaries it prints to stdout."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - ProgressCallback's own signature
        """Leave them out."""


class Progress(TrainerCallback):
    """Log a line every other minute, where nobody sees a progress bar.

    Args:
        loss: Gives the loss of the last batch.
    """

    def __init__(self, loss: Callable[[], float]) -> None:
        self._loss = loss
        self._losses: list[float] = []
        self._since = 0.0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - TrainerCallback's own signature
        """Start, or start again."""
        self._since = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Log it when it is due."""
        self._losses.append(self._loss())
        seconds = time.monotonic() - self._since
        if seconds < _LINE_EVERY:
            return
        steps, left = len(self._losses), state.max_steps - state.global_step
        _logger.info(
            "step %d of %d: loss %.4f over the last %d, %.1f s each; %.0f minutes to go",
            state.global_step, state.max_steps, sum(self._losses) / steps, steps, seconds / steps, left * seconds / steps / 60,
        )  # fmt: skip
        self._losses.clear()
        self._since = time.monotonic()
