import os

import pytest

from toolkit.errors import ToolkitError
from toolkit.training.launch import Launch, read_launch, settled_environment

TWO = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    ("environment", "launch"),
    [
        ({}, Launch(0, 1)),
        (TWO, Launch(1, 2)),
        ({"RANK": ""}, Launch(0, 1)),
        ({"RANK": " ", "LOCAL_RANK": "-1"}, Launch(0, 1)),
        ({"LOCAL_RANK": "1"}, Launch(0, 1)),
        ({"RANK": "3"}, Launch(0, 1)),
        ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}, Launch(0, 1)),
    ],
)
def test_the_place_among_processes(environment, launch):
    assert read_launch(environment) == launch


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "first"}, r"\$RANK is 'first', expected a number"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 but lacks RANK, LOCAL_RANK; start with torchrun"),
        ({**TWO, "LOCAL_RANK": ""}, "WORLD_SIZE=2 but lacks LOCAL_RANK"),
        ({**TWO, "RANK": "2"}, "WORLD_SIZE=2 but has RANK=2"),
    ],
)
def test_half_a_launch_is_refused(environment, message):
    with pytest.raises(ToolkitError, match=message):
        read_launch(environment)


def test_settings_in_the_environment_do_not_decide(monkeypatch, caplog):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "inductor")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    with settled_environment():
        assert not {"LOCAL_RANK", "ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_USE_FSDP"} & os.environ.keys()
        assert os.environ["ACCELERATE_USE_CPU"] == "true", "it chooses a device, as CUDA_VISIBLE_DEVICES does"
        os.environ["SET_WITHIN"] = "stays"
        os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16"  # as the Trainer does
    assert os.environ["LOCAL_RANK"] == "1"
    assert os.environ["ACCELERATE_DYNAMO_BACKEND"] == "inductor"
    assert "ACCELERATE_MIXED_PRECISION" not in os.environ
    assert os.environ.pop("SET_WITHIN") == "stays"
    assert [record.message for record in caplog.records] == [
        "$LOCAL_RANK left out of account: no launcher set all of RANK, LOCAL_RANK, WORLD_SIZE; training in one process",
        "$ACCELERATE_DYNAMO_BACKEND=inductor left out of account: the run's settings decide",
    ]


def test_the_environment_of_a_launcher_stays(monkeypatch, caplog):
    for name, value in TWO.items():
        monkeypatch.setenv(name, value)
    with settled_environment() as launch:
        assert launch == Launch(1, 2)
        assert TWO.items() <= os.environ.items()
    assert not caplog.records
