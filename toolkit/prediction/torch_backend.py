"""The torch backend: the adapter itself, on a GPU where there is one, in padded length-sorted batches."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from toolkit.choices import Precision, Readers
from toolkit.errors import BundleError, needs_extra
from toolkit.models.adapter import adapter_tokenizer, load_adapter, merge_adapter
from toolkit.models.bundle import Manifest, check_max_length, max_positions
from toolkit.models.completion import folder_with
from toolkit.models.stable import read_stable
from toolkit.prediction.abstention import Abstention
from toolkit.prediction.answers import InferenceOptions
from toolkit.prediction.base import SKIPPED, Predictor
from toolkit.prediction.combination import NgramReader
from toolkit.prediction.origin import Origin
from toolkit.text.tokenisation import Encoding, ReviewTokenizer

with needs_extra("train", "the torch backend"):
    import torch

_USUAL_LENGTH = 256  # tokens


class TorchPredictor(Predictor):
    """Serves a model with PyTorch.

    Args:
        model: A sequence classifier in evaluation mode, merged or with its adapter beside.
        tokenizer: The model's tokenizer.
        manifest: What the adapter's folder says of it.
        device: A torch device; the GPU where there is one by default.
        batch_size: The number of windows of 256 tokens in one forward pass, of shorter ones there are more; by default 32 on
            a GPU, and 4 on a CPU, whose caches hold no more: 32 took twice the time there.
        abstention: See `Predictor`.
        positions: See `Predictor`.
        ngrams: See `Predictor`.
        readers: See `Predictor`.
        precision: See `InferenceOptions`.
    """

    backend = "torch"

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: ReviewTokenizer,
        manifest: Manifest,
        device: str | None = None,
        batch_size: int | None = None,
        *,
        abstention: Abstention | None = None,
        positions: int = 512,
        ngrams: NgramReader | None = None,
        readers: Readers = "auto",
        precision: Precision = "fp32",
    ) -> None:
        super().__init__(
            manifest, tokenizer, abstention=abstention, positions=positions, ngrams=ngrams, readers=readers
        )
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.device = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "CPU"
        self.model = model.to(self._device)
        self.precision = precision
        if precision == "bf16":
            for module in self.model.modules():
                if isinstance(module, torch.nn.Linear):
                    module.to(torch.bfloat16)  # as autocast would round it again for every batch
        self.batch_size = batch_size or (4 if self._device.type == "cpu" else 32)
        # Enough to sort by length, little enough to hold.
        self.chunk_size = 512 * (SKIPPED if self.readers == "auto" else 1)
        self._process = os.getpid()

    @classmethod
    def load(
        cls,
        folder: Path,
        options: InferenceOptions = InferenceOptions(),
        abstention: Abstention | None = None,
        base_model: str | None = None,
    ) -> "TorchPredictor":
        """Open `lora_model/`, verified, and merge it into its base, which is faster and what export does.

        Args:
            folder: An adapter made by `toolkit train` or by PEFT.
            options: The length, the truncation, the precision and the readers; `workers` concerns the ONNX backend alone.
            abstention: See `Predictor`.
            base_model: The base to use instead of the one the adapter names.

        Raises:
            BundleError: The adapter is missing, damaged or does not fit its base.
            HubError: The base is the hub's and cannot be had.
        """

        def read() -> TorchPredictor:
            adapter, manifest = load_adapter(folder, base_model)
            positions = max_positions(folder_with(("config.json",), folder, base_model))
            length = check_max_length(options.max_length or manifest.max_length, positions)
            truncation = options.truncation or manifest.truncation
            tokenizer = adapter_tokenizer(folder, length, truncation, base_model)
            return cls(
                merge_adapter(adapter), tokenizer, manifest, abstention=abstention, positions=positions,
                ngrams=NgramReader.load(folder, manifest), readers=options.readers, precision=options.precision or "fp32",
            )  # fmt: skip

        predictor = read_stable(folder, read)
        predictor.origin = Origin(
            partial(cls.load, base_model=base_model), folder.absolute(), precision=options.precision
        )
        return predictor

    def logits(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Run padded batches of similar length; see `Predictor.logits`.

        Raises:
            BundleError: The model is on a GPU, and this process was forked from the one that put it there.
        """
        if os.getpid() == self._process:
            return self._run(encodings)
        if self._device.type != "cpu":
            raise BundleError(
                "a GPU cannot be used by a process that was forked from one that used it; load the predictor in this "
                "process, or start processes by 'spawn'"
            )
        # The threads that OpenMP had did not come along, and it would wait for them; a new thread gets new ones.
        with ThreadPoolExecutor(1) as fresh:
            return fresh.submit(self._run, encodings).result()

    def _run(self, encodings: Sequence[Encoding]) -> np.ndarray:
        logits = np.empty((len(encodings), len(self.labels)), np.float32)
        by_length = sorted(range(len(encodings)), key=lambda index: len(encodings[index].input_ids))
        for rows in self._batches(by_length, encodings):
            longest = len(encodings[rows[-1]].input_ids)
            input_ids = torch.zeros((len(rows), longest), dtype=torch.long)  # (B, T); masked, so the id is no matter
            attention_mask = torch.zeros_like(input_ids)
            for row, index in enumerate(rows):
                ids = torch.from_numpy(encodings[index].input_ids)
                input_ids[row, : len(ids)] = ids
                attention_mask[row, : len(ids)] = 1
            in_bf16 = torch.autocast(self._device.type, torch.bfloat16, enabled=self.precision == "bf16")
            with torch.inference_mode(), in_bf16:
                output = self.model(
                    input_ids=input_ids.to(self._device), attention_mask=attention_mask.to(self._device)
                )
            logits[rows] = output.logits.float().cpu().numpy()
        return logits

    def _batches(self, by_length: Sequence[int], encodings: Sequence[Encoding]) -> Iterator[list[int]]:
        """Windows of similar length, shortest first, with about as many tokens in each batch, padding counted."""
        batch: list[int] = []
        for index in by_length:
            if batch and (len(batch) + 1) * len(encodings[index].input_ids) > self.batch_size * _USUAL_LENGTH:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch
