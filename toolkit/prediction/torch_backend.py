"""The torch backend: the adapter itself, on a GPU where there is one, in padded length-sorted batches."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolkit.errors import needs_extra
from toolkit.models.adapter import adapter_tokenizer, load_adapter, merge_adapter
from toolkit.models.bundle import Manifest, check_max_length, max_positions, read_stable
from toolkit.models.completion import folder_with
from toolkit.prediction.abstention import Abstention
from toolkit.prediction.base import InferenceOptions, Predictor
from toolkit.text.tokenisation import Encoding, ReviewTokenizer

with needs_extra("train", "the torch backend"):
    import torch


class TorchPredictor(Predictor):
    """Serves a model with PyTorch.

    Args:
        model: A sequence classifier in evaluation mode, merged or with its adapter beside.
        tokenizer: The model's tokenizer.
        manifest: What the adapter's folder says of it.
        device: A torch device; the GPU where there is one by default.
        batch_size: The number of windows in one forward pass.
        abstention: See `Predictor`.
        positions: See `Predictor`.
    """

    backend = "torch"

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: ReviewTokenizer,
        manifest: Manifest,
        device: str | None = None,
        batch_size: int = 32,
        *,
        abstention: Abstention | None = None,
        positions: int = 512,
    ) -> None:
        super().__init__(manifest, tokenizer, abstention=abstention, positions=positions)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.device = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "CPU"
        self.model = model.to(self._device)
        self.batch_size = batch_size
        self.chunk_size = 16 * batch_size  # enough to sort by length, little enough to hold

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
            options: The length and the truncation; `workers` concerns the ONNX backend alone.
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
            return cls(merge_adapter(adapter), tokenizer, manifest, abstention=abstention, positions=positions)

        return read_stable(folder, read)

    def logits(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Run padded batches of similar length; see `Predictor.logits`."""
        logits = np.empty((len(encodings), len(self.labels)), np.float32)
        by_length = sorted(range(len(encodings)), key=lambda index: len(encodings[index].input_ids))
        for start in range(0, len(by_length), self.batch_size):
            rows = by_length[start : start + self.batch_size]
            longest = len(encodings[rows[-1]].input_ids)
            input_ids = torch.zeros((len(rows), longest), dtype=torch.long)  # (B, T); masked, so the id is no matter
            attention_mask = torch.zeros_like(input_ids)
            for row, index in enumerate(rows):
                ids = torch.from_numpy(encodings[index].input_ids)
                input_ids[row, : len(ids)] = ids
                attention_mask[row, : len(ids)] = 1
            with torch.inference_mode():
                output = self.model(
                    input_ids=input_ids.to(self._device), attention_mask=attention_mask.to(self._device)
                )
            logits[rows] = output.logits.float().cpu().numpy()
        return logits
