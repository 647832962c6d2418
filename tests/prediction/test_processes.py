"""A predictor in other threads and processes than the one that loaded it: forked, pickled, copied, and at the very end."""

import copy
import os
import pickle
import subprocess
import sys

import pytest

from toolkit.errors import BundleError
from toolkit.prediction import Abstention, load_predictor

TEXTS = ["A fine evening at the cinema.", "A waste of a ticket.", "Sleepy, and rather long."] * 3

_PROGRAM = f"""
import atexit, os, sys, threading, time
from toolkit.prediction import load_predictor
backend, bundle, adapter, case = sys.argv[1:]
texts = {TEXTS!r}
predictor = load_predictor(backend, onnx_model=bundle, adapter=adapter)

def answers():
    return [predictor.predict(texts[0]), *predictor.predict_many(texts)]

def in_child():
    child = os.fork()
    if not child:
        os._exit(0 if answers() == expected else 3)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, status
            return
        time.sleep(0.1)
    os.kill(child, 9)
    raise SystemExit("the child still waits")

if case == "fork":
    expected = answers()
    in_child()
    assert answers() == expected, "the parent goes on"
    in_child()
elif case == "fork-unused":
    expected = [load_predictor(backend, onnx_model=bundle, adapter=adapter).predict(texts[0])]
    expected += load_predictor(backend, onnx_model=bundle, adapter=adapter).predict_many(texts)
    in_child()
elif case == "fork-busy":
    expected = answers()
    stop = threading.Event()
    def work():
        while not stop.is_set():
            answers()
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        in_child()
    stop.set()
    for thread in threads:
        thread.join()
elif case == "late-thread":
    expected = answers()
    def job():
        threading.main_thread().join()
        time.sleep(0.3)
        print("same" if answers() == expected else "other", flush=True)
    threading.Thread(target=job).start()
elif case == "atexit":
    expected = answers()
    atexit.register(lambda: print("same" if answers() == expected else "other", flush=True))
"""


def run(case, backend, bundle, adapter):
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, backend, bundle, adapter, case], capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "true"},
    )  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(
    ("case", "backend"), [("fork", "onnx"), ("fork", "torch"), ("fork-unused", "onnx"), ("fork-busy", "onnx")]
)
def test_a_forked_process_answers_as_its_parent_does(case, backend, tiny_bundle, tiny_adapter):
    """It waited for ever for threads that stayed behind."""
    done = run(case, backend, tiny_bundle, tiny_adapter)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("case", ["late-thread", "atexit"])
@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_it_answers_to_the_very_end_of_python(case, backend, tiny_bundle, tiny_adapter):
    """It raised "cannot schedule new futures after interpreter shutdown"."""
    done = run(case, backend, tiny_bundle, tiny_adapter)
    assert (done.returncode, done.stdout) == (0, "same\n"), done.stderr


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize("duplicate", [lambda each: pickle.loads(pickle.dumps(each)), copy.copy, copy.deepcopy])
def test_a_copy_answers_alike_and_is_closed_by_itself(duplicate, backend, tiny_bundle, tiny_adapter):
    predictor = load_predictor(backend, onnx_model=tiny_bundle, adapter=tiny_adapter)
    predictor = predictor.with_options(max_length=12, truncation="head-tail", abstention=Abstention(0.9))
    expected = list(predictor.predict_many(TEXTS))
    again = duplicate(predictor)
    assert list(again.predict_many(TEXTS)) == expected
    again.close()
    assert list(predictor.predict_many(TEXTS)) == expected


def test_other_processes_and_places_get_the_same(tiny_bundle, monkeypatch, tmp_path):
    monkeypatch.chdir(tiny_bundle.parent)
    predictor = load_predictor("onnx", onnx_model=tiny_bundle.name)
    expected = predictor.predict(TEXTS[0])
    (tmp_path / "predictor.pickle").write_bytes(pickle.dumps(predictor))
    program = "import pickle, sys; predictor = pickle.load(open('predictor.pickle', 'rb')); print(predictor.predict(sys.argv[1]).logits)"
    done = subprocess.run(
        [sys.executable, "-c", program, TEXTS[0]], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{expected.logits}\n"


def test_what_is_gone_or_another_by_then_is_refused(tiny_bundle, tmp_path):
    import shutil

    bundle = tmp_path / "onnx_model"
    shutil.copytree(tiny_bundle, bundle)
    content = pickle.dumps(load_predictor("onnx", onnx_model=bundle))
    damaged = bytearray((bundle / "tokenizer.json").read_bytes())
    damaged[-10] ^= 1
    (bundle / "tokenizer.json").write_bytes(damaged)
    with pytest.raises(BundleError, match=r"tokenizer.json does not match its SHA-256"):
        pickle.loads(content)
    shutil.rmtree(bundle)
    with pytest.raises(BundleError, match=r"onnx_model not found; make it with: toolkit export"):
        pickle.loads(content)


def test_another_model_in_its_place_is_not_taken_for_it(tiny_bundle, tmp_path):
    import shutil
    from dataclasses import replace

    from toolkit.models.bundle import MANIFEST, Kind, read_manifest, write_manifest

    bundle = tmp_path / "onnx_model"
    shutil.copytree(tiny_bundle, bundle)
    content = pickle.dumps(load_predictor("onnx", onnx_model=bundle))
    write_manifest(bundle / MANIFEST, replace(read_manifest(bundle, Kind.ONNX), temperature=1.5))
    with pytest.raises(BundleError, match="holds another model than the predictor that was pickled"):
        pickle.loads(content)


def test_a_closed_predictor_is_not_opened_again_by_pickling_it(tiny_bundle):
    predictor = load_predictor("onnx", onnx_model=tiny_bundle)
    predictor.close()
    with pytest.raises(RuntimeError, match="this predictor is closed"):
        pickle.dumps(predictor)
