"""What looks in on the Trainer's loop: the clock, the last evaluation, the progress bar."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState, ProgressCallback

from toolkit.progress import Progress, track


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


class Steps(TrainerCallback):
    """Report steps, and the batches of evaluations, where nobody sees the Trainer's bar.

    Args:
        loss: Gives the loss of the last batch.
    """

    def __init__(self, loss: Callable[[], float]) -> None:
        self._loss = loss
        self._losses: list[float] = []
        self._open = ExitStack()
        self._evaluation = ExitStack()
        self._steps: Progress | None = None
        self._batches: Progress | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Start, or start again."""
        self._steps = self._open.enter_context(
            track("training", "steps", state.max_steps, done=state.global_step, detail=self._mean_loss, bar=False)
        )

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - TrainerCallback's own signature
        """Count it."""
        self._losses.append(self._loss())
        if self._steps:
            self._steps.advance()

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Count a batch of an evaluation."""
        if self._batches is None:
            self._batches = self._evaluation.enter_context(
                track("evaluating", "batches", len(kwargs["eval_dataloader"]), bar=False)
            )
        self._batches.advance()
        if self._batches.done == self._batches.total:
            self._evaluation.close()
            self._batches = None

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - TrainerCallback's own signature
        """Say the last."""
        self._evaluation.close()
        self._open.close()

    def _mean_loss(self) -> dict[str, float]:
        """Over the steps since it was last asked for."""
        losses, self._losses = self._losses, []
        return {"loss": sum(losses) / len(losses)} if losses else {}
