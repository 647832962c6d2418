"""A cluster that a job starts for itself answers nobody else, though its ports are open on every interface."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra ray is not installed")

# A job; after its first piece of work a stranger tries every port that its processes listen on, then its owner does.
JOB = """
import glob, json, os, subprocess, sys
HOME = f"HOME={os.environ['HOME']}".encode()  # which no other test's processes have
def read(path):
    try:
        return open(path, "rb").read()
    except OSError:  # it has ended
        return b""
def target(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""
def ports():
    ours = [os.path.dirname(path) for path in glob.glob("/proc/[0-9]*/environ") if HOME in read(path).split(bytes(1))]
    sockets = {target(each) for process in ours for each in glob.glob(f"{process}/fd/*")}
    lines = [line.split() for name in ("tcp", "tcp6") for line in open(f"/proc/net/{name}").read().splitlines()[1:]]
    return {int(line[1].rpartition(":")[2], 16) for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets}
answers = {}
def advance(done, whole):
    if answers:
        return
    strange = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    new = json.dumps(sorted(ports()))
    assert new != '[]'
    for who, environment in (("stranger", strange), ("guess", {**strange, "TOKEN": "0" * 64}),
                             ("owner", {**strange, "TOKEN": os.environ["RAY_AUTH_TOKEN"]})):
        run = subprocess.run([sys.executable, "-c", sys.argv[4], new], env=environment, capture_output=True, text=True)
        answers[who] = json.loads(run.stdout)
    import ray
    folder = os.path.dirname(os.path.dirname(ray._private.worker.global_worker.node.get_session_dir_path()))
    answers["folder"] = [folder, os.stat(folder).st_mode & 0o077]
    if sys.argv[5]:
        driver = f"import ray; ray.init({ray.get_runtime_context().gcs_address!r}); print('in', ray.get(ray.remote(lambda: 1).remote()))"
        run = subprocess.run([sys.executable, "-c", driver], env=strange, capture_output=True, text=True)
        answers["driver"] = [run.returncode, run.stdout, run.stderr]
from pathlib import Path
from toolkit.cluster.jobs import Job
from toolkit.cluster.ray_engine import classify_files
classify_files(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Job(), concurrency=1, advance=advance)
print(json.dumps(answers))
"""
CALLS = """
import grpc, json, os, sys
metadata = [("authorization", "Bearer " + os.environ["TOKEN"])] if "TOKEN" in os.environ else []
answers = {}
for port in json.loads(sys.argv[1]):
    for method in ("NodeInfoGcsService/CheckAlive", "NodeManagerService/GetSystemConfig", "CoreWorkerService/PushTask",
                   "ObjectManagerService/Pull", "JobInfoGcsService/GetAllJobInfo"):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                channel.unary_unary(f"/ray.rpc.{method}")(b"", timeout=5, metadata=metadata)
                code = "OK"
            except grpc.RpcError as error:
                code = error.code().name
        if code not in ("UNIMPLEMENTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"):  # another's port, or one that speaks otherwise
            answers.setdefault(method, []).append(code)
print(json.dumps(answers))
"""


def answers(tmp_path, tiny_bundle, with_driver: bool) -> dict:
    pytest.importorskip("grpc", reason="nothing speaks Ray's protocol here")
    if not Path("/proc/net/tcp").exists():
        pytest.skip("this system does not list its ports")
    (tmp_path / "a.csv").write_text("text\nfine\n")
    (tmp_path / "home").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = subprocess.run(
        [sys.executable, "-c", JOB, tmp_path / "a.csv", tmp_path / "out", tiny_bundle, CALLS, "driver" if with_driver else ""],
        env={**environment, "HOME": str(tmp_path / "home")}, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert not (tmp_path / "home" / ".ray").exists()  # no secret is kept
    return json.loads(process.stdout.splitlines()[-1])


def test_a_stranger_is_refused_at_every_port(tmp_path, tiny_bundle):
    found = answers(tmp_path, tiny_bundle, with_driver=False)
    assert set(found["owner"]) == {
        "NodeInfoGcsService/CheckAlive", "NodeManagerService/GetSystemConfig", "CoreWorkerService/PushTask",
        "ObjectManagerService/Pull", "JobInfoGcsService/GetAllJobInfo",
    }  # fmt: skip
    for who in ("stranger", "guess"):
        assert set(found[who]) == set(found["owner"])
        assert {code for codes in found[who].values() for code in codes} == {"UNAUTHENTICATED"}
    folder, others = found["folder"]
    assert not others  # Ray's own /tmp/ray, with sockets, logs and what is spilled, is everybody's to write
    assert not Path(folder).exists()
    assert "UNAUTHENTICATED" not in {code for codes in found["owner"].values() for code in codes}


@pytest.mark.slow
def test_a_strangers_driver_fails(tmp_path, tiny_bundle):
    """Ray tries for twenty seconds before it gives up."""
    code, out, err = answers(tmp_path, tiny_bundle, with_driver=True)["driver"]
    assert code != 0
    assert "in 1" not in out
    assert "InvalidAuthToken" in err
