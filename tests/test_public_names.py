"""What `from toolkit import …` offers: every name is there, and none is paid for before it is asked for."""

import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest

import toolkit
from tests.test_cli import HEAVY


@pytest.mark.parametrize("name", toolkit.__all__)
def test_every_public_name_resolves_and_says_what_it_is(name):
    value = getattr(toolkit, name)
    assert name in dir(toolkit)
    if name == "__version__":
        assert value == version("distilbert-review-toolkit")
    else:
        assert callable(value)
        assert inspect.getdoc(value)
        assert value.__name__ == name


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'toolkit' has no attribute 'predict'"):
        toolkit.predict  # noqa: B018


@pytest.mark.parametrize(
    ("use", "loaded"),
    [
        ("import toolkit; dir(toolkit); toolkit.__version__", []),
        ("from toolkit import load_predictor, Prediction, InferenceOptions", ["tokenizers", "numpy"]),
    ],
)
def test_importing_costs_no_more_than_what_is_asked_for(use, loaded):
    script = f"import sys\n{use}\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == str(loaded)
