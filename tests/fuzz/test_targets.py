"""A short look at every target with hypothesis; `nox -s fuzz` takes ten minutes. Cases that were found stay here."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.conftest import ROOT
from tests.fuzz.strategies import any_bytes
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.skipif(not (ROOT / "onnx_model" / "model.onnx").is_file(), reason="no model is shipped")
FOUND = {
    "predictor": [
        b"\0",
        b"\xed\xa0\x80",
        "\N{REPLACEMENT CHARACTER}\u0301".encode(),
    ],  # classified from no token at all
    "toml": [b"\r", b"r = " + b"[" * 5000],  # taken for a line's end; a recursion without an end
}


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_end_in_an_answer_that_adds_up_or_in_words(name):
    target, seeds = TARGETS[name]
    for data in [*seeds(), b"", *FOUND.get(name, [])]:
        target(data)
    given(any_bytes(seeds()))(settings(deadline=None, suppress_health_check=list(HealthCheck))(target))()
