"""The export stage: merge the adapter, convert it to ONNX, quantise it, and check that nothing changed on the way."""

from toolkit.errors import needs_extra

with needs_extra("train", "exporting"):
    import torch  # noqa: F401 - for its error, which names the extra, before those of the modules below

from export.pipeline import ExportOptions, ExportResult, export_model

__all__ = ["ExportOptions", "ExportResult", "export_model"]
