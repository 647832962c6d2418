import json
import os
from collections import Counter
from threading import Thread
from time import sleep

import pytest

pytest.importorskip("ray", reason="the extra ray is not installed")

from toolkit.cluster.jobs import Job
from toolkit.cluster.ray_engine import classify_files
from toolkit.prediction import load_predictor

FILES, ROWS = 8, 400


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of one core each, on this machine, as a process that has run no job of its own starts them."""
    from ray._private.authentication_test_utils import reset_auth_token_state
    from ray.cluster_utils import Cluster

    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):  # an earlier test's job leaves them to whatever Ray starts next
        monkeypatch.delenv(name, raising=False)
    reset_auth_token_state()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield nodes
    nodes.shutdown()


def test_a_machine_that_dies_loses_and_doubles_nothing(cluster, demo_reviews, tiny_bundle, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    texts = [demo_reviews["train"][number % 60].text for number in range(ROWS)]
    for number in range(FILES):
        rows = ({"id": f"{number}-{n}", "text": text} for n, text in enumerate(texts))
        (source / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    dying = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()

    def kill() -> None:
        while len(list(out.glob("_done/*"))) < 2:
            sleep(0.02)
        cluster.remove_node(dying, allow_graceful=False)

    killer = Thread(target=kill, daemon=True)
    killer.start()
    totals = classify_files(str(source), str(out), tiny_bundle, Job(), address=cluster.address)
    killer.join(30)
    assert not killer.is_alive()
    assert len(cluster.list_all_nodes()) == 1
    rows = [json.loads(line) for path in out.glob("*.jsonl") for line in path.read_text().splitlines()]
    assert Counter(row["id"] for row in rows) == Counter(
        f"{number}-{n}" for number in range(FILES) for n in range(ROWS)
    )
    scores = [prediction.score for prediction in load_predictor("onnx", onnx_model=tiny_bundle).predict_many(texts)]
    assert all(row["score"] == scores[int(row["id"].partition("-")[2])] for row in rows)
    assert totals.rows_in == totals.rows_out == FILES * ROWS
