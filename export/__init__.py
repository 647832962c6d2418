"""The export stage: merge the adapter, convert it to ONNX, quantise it, and prove that nothing changed on the way."""

from export.pipeline import ExportResult, export_model

__all__ = ["ExportResult", "export_model"]
