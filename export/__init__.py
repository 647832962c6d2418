"""The export stage: merge the adapter, convert it to ONNX, quantise it, and check that nothing changed on the way."""

from export.pipeline import ExportOptions, ExportResult, export_model

__all__ = ["ExportOptions", "ExportResult", "export_model"]
