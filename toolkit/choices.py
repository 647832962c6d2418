"""Every choice of a user, defined once: types for the library, from which the command line takes what it offers."""

from typing import Any, Literal, get_args

Backend = Literal["auto", "onnx", "torch"]
Truncation = Literal["head", "head-tail", "window"]
Readers = Literal["auto", "both", "model"]
ReadBy = Literal["ngrams", "both", "model"]
Precision = Literal["fp32", "bf16"]
Reason = Literal["unsure", "unfamiliar", "script"]  # why a verdict is withheld
Quantization = Literal["none", "int8", "auto"]
Engine = Literal["local", "ray"]
Language = Literal["en", "zh"]
Split = Literal["train", "validation", "test"]
OutputFormat = Literal["tsv", "jsonl", "csv", "label"]
ProgressStyle = Literal["auto", "json", "none"]
OnError = Literal["report", "skip", "stop"]


def choices(kind: Any) -> tuple[str, ...]:  # noqa: ANN401 - a Literal is no type that could be named
    """The values of one of the types above, in their order."""
    return get_args(kind)


def check_choice(name: str, value: object, kind: Any) -> None:  # noqa: ANN401
    """Refuse a value that is none of the choices.

    Raises:
        ValueError: names the argument, the choices and the value.
    """
    if value not in get_args(kind):
        raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, not {value!r}")
