import json
from collections import Counter

import pytest

from tests.families import family_base, said
from tests.hub_server import Hub, serve
from toolkit.datasets.splits import read_reviews
from toolkit.models.hub import DEADLINE_SECONDS

MODEL = "someone/tiny-distilbert"


@pytest.fixture
def hub_files(tmp_path, tiny_base, demo_reviews):
    """The tiny base and a tiny IMDB in Parquet, as the hub lays them out."""
    pandas = pytest.importorskip("pandas")
    parquet = tmp_path / "hub-imdb" / "plain_text"
    parquet.mkdir(parents=True)
    for split, shard in (("train", "train-00000-of-00001"), ("test", "test-00000-of-00001")):
        rows = [(review.text, int(review.label)) for review in demo_reviews[split]]
        pandas.DataFrame(rows, columns=["text", "label"]).to_parquet(parquet / f"{shard}.parquet")
    pandas.DataFrame({"text": ["?"], "label": [-1]}).to_parquet(parquet / "unsupervised-00000-of-00001.parquet")
    return {("models", MODEL): tiny_base, ("datasets", "stanfordnlp/imdb"): parquet.parent}


@pytest.fixture
def with_hub(tmp_path, hub_files, toolkit_command):
    """Run a command against a hub with a fault; returns the process and the hub."""

    def run(*arguments, fault=None):
        hub = Hub(hub_files, fault)
        with serve(hub) as address:
            process = toolkit_command(
                *arguments,
                cwd=tmp_path,
                HF_ENDPOINT=address,
                HF_HOME=str(tmp_path / "hf"),
                HF_HUB_DISABLE_TELEMETRY="1",
            )
            return process, hub

    return run


def train_arguments(tiny_dataset):
    return ("train", "--base-model", MODEL, "--dataset", tiny_dataset, "--max-steps", 5, "--output", "out/lora_model")


def test_trains_on_a_model_of_the_hub_and_again_from_the_cache(with_hub, tiny_dataset, tmp_path):
    first, hub = with_hub(*train_arguments(tiny_dataset))
    assert first.returncode == 0, first.stderr.decode()
    assert (tmp_path / "out" / "lora_model" / "adapter_model.safetensors").is_file()
    assert any(path.endswith("/model.safetensors") for path in hub.requests)

    again, _ = with_hub(*train_arguments(tiny_dataset), fault="500")
    assert again.returncode == 0, again.stderr.decode()


def test_another_encoder_of_the_hub_gets_the_layers_of_its_family(
    with_hub, hub_files, demo_reviews, tiny_dataset, tmp_path
):
    base = family_base("roberta", tmp_path / "roberta", [review.text for review in demo_reviews["train"]])
    (base / "modeling_evil.py").write_text("raise SystemExit('it ran')\n")
    said(base, auto_map={"AutoModel": "modeling_evil.Model", "AutoConfig": "modeling_evil.Config"})
    hub_files["models", "someone/tiny-roberta"] = base
    arguments = [
        "train",
        "--base-model",
        "someone/tiny-roberta",
        "--dataset",
        tiny_dataset,
        "--max-steps",
        2,
        "--max-length",
        60,
    ]
    process, hub = with_hub(*arguments, "--output", "out/lora_model")
    assert process.returncode == 0, process.stderr.decode()
    adapter = json.loads((tmp_path / "out" / "lora_model" / "adapter_config.json").read_text())
    assert (sorted(adapter["target_modules"]), adapter["modules_to_save"][0]) == (["query", "value"], "classifier")
    assert not any(path.endswith(".py") for path in hub.requests)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("404", "there is none of that name"),
        ("500", "HTTP status 500"),
        ("hang", "it does not answer"),
        ("500-files", "it gave no usable answer within 7 seconds"),
        ("hang-files", "it gave no usable answer within 7 seconds"),
        ("nonsense", "its answer makes no sense"),
        ("truncate", "the connection closed before the end of a file"),
    ],
)
def test_a_hub_that_fails_is_two_lines_without_minutes_of_retries(with_hub, tiny_dataset, tmp_path, fault, reason):
    process, hub = with_hub(*train_arguments(tiny_dataset), fault=fault)
    message = process.stderr.decode()
    assert process.returncode == 1
    assert reason in message
    # A file is probed, found and fetched, or its probe is tried again within the deadline: never over and over.
    assert max(Counter(hub.requests).values()) <= 4
    assert "--base-model minilm" in message
    assert "FOLDER" in message
    assert "Traceback" not in message
    assert len(message.strip().splitlines()) == 2, message
    assert not (tmp_path / "out").exists()


def test_nobody_listens(toolkit_command, tiny_dataset, tmp_path):
    process = toolkit_command(
        *train_arguments(tiny_dataset), cwd=tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path)
    )
    assert process.returncode == 1
    assert len(process.stderr.decode().strip().splitlines()) == 2
    assert b"it cannot be reached" in process.stderr


def test_imports_the_hubs_imdb(with_hub, tmp_path, demo_reviews):
    process, hub = with_hub("dataset", "import", "imdb", "--official", "--output", "data")
    assert process.returncode == 0, process.stderr.decode()
    assert not any("unsupervised" in path for path in hub.requests if "resolve" in path)
    assert {review.text for review in read_reviews(tmp_path / "data" / "test.csv")} == {
        review.text for review in demo_reviews["test"]
    }


@pytest.mark.parametrize("fault", ["404", "truncate"])
def test_a_failed_import_writes_nothing(with_hub, tmp_path, fault):
    process, _ = with_hub("dataset", "import", "imdb", "--output", "data", fault=fault)
    assert process.returncode == 1
    assert b"aclImdb" in process.stderr
    assert not (tmp_path / "data").exists()


def test_a_repository_without_safetensors(with_hub, hub_files, tmp_path, tiny_dataset):
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "pytorch_model.bin").write_bytes(b"\x80\x04")
    hub_files["models", MODEL] = bare
    process, hub = with_hub(*train_arguments(tiny_dataset))
    assert process.returncode == 1
    assert b"it has no file" in process.stderr
    assert not any("pytorch_model" in path for path in hub.requests)


def test_nobody_waits_longer_than_ten_seconds_for_a_hub():
    assert DEADLINE_SECONDS < 10
