"""Private or moving surfaces of the libraries below, each once and with its reason; tests/test_compat.py notices a change.

What training touches of the Trainer and of torch stands in `toolkit/training/compat.py`, since it cannot be had without importing
them, and what the chat app touches of Chainlit in `toolkit/chat/server.py`, beside what it is for.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ORT_TELEMETRY = "ORT_DISABLE_TELEMETRY"
_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


def quiet_libraries(verbose: bool) -> None:
    """Let transformers speak of errors alone, and tokenizers use its threads without a word on forks.

    Both read a variable of the environment when they are imported, which is too late for a call and keeps helper
    processes quiet too. Who set one of them keeps it.

    Args:
        verbose: Whether transformers tells what it does.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "info" if verbose else "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def import_onnxruntime() -> Any:  # noqa: ANN401 - onnxruntime ships no types
    """The module, its telemetry off: official builds report home unless this is set before the import."""
    os.environ[ORT_TELEMETRY] = "1"
    import onnxruntime

    return onnxruntime


def onnxruntime_telemetry_is_off() -> bool:
    """Whether `import_onnxruntime` has been called, or the user has set the same."""
    return os.environ.get(ORT_TELEMETRY) == "1"


def import_ray() -> Any:  # noqa: ANN401 - skipped by the type checker
    """The module with `ray.data`, its usage statistics off and its C++ side silent: it reads both at its import.

    Workers inherit the environment.
    """
    for name, value in _RAY.items():
        os.environ.setdefault(name, value)
    import ray
    import ray.data

    return ray


def fuse_attention(graph: Path, heads: int, width: int) -> Any:  # noqa: ANN401 - onnx ships no types
    """Replace each layer's attention by one `MultiHeadAttention` node without a mask.

    onnxruntime's tool for transformers is a set of scripts without a promise of stability: which fusions there are, what
    they are called and which are on changes between versions, so all that are not wanted are switched off by name.

    Args:
        graph: The float graph.
        heads: The attention heads of a layer.
        width: The width of the hidden state.

    Returns:
        An `onnx.ModelProto`; where the tool did not know the pattern, with fewer such nodes than layers.
    """
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    options = FusionOptions("bert")
    options.use_multi_head_attention = True
    options.disable_attention_mask()
    options.enable_embed_layer_norm = options.enable_skip_layer_norm = options.enable_bias_gelu = False
    with quiet_root_logger():
        return optimize_model(str(graph), "bert", heads, width, opt_level=0, optimization_options=options).model


@contextmanager
def quiet_root_logger() -> Iterator[None]:
    """Keep onnxruntime's tools from telling the root logger how to use them."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
