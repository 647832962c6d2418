"""The order in which reviews are seen, the same however often the run was interrupted."""

from collections.abc import Iterator

import numpy as np
import torch
from transformers.trainer_pt_utils import LengthGroupedSampler


class EpochSampler(LengthGroupedSampler):
    """Groups reviews of similar length, in an order drawn from the seed and the epoch and from nothing else.

    The Trainer's own draws it from the global generator, whose state in the middle of an epoch is not the one that the epoch
    began with: a resumed run, or a second process whose dropout had drawn other numbers, would deal another order.
    """

    def __init__(self, sampler: LengthGroupedSampler, seed: int) -> None:
        super().__init__(sampler.batch_size, lengths=sampler.lengths, generator=torch.Generator())
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called before every epoch, a resumed one too."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Indices of reviews."""
        (mixed,) = np.random.SeedSequence((self.seed, self.epoch)).generate_state(1, np.uint64)
        self.generator.manual_seed(int(mixed))
        return iter(super().__iter__())
