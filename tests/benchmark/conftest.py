import pytest

from toolkit.benchmark.engines import Torch
from toolkit.benchmark.models import Models


@pytest.fixture(scope="session")
def engine_models(tmp_path_factory, tiny_bundle, tiny_adapter):
    return Models(tiny_bundle, tiny_adapter, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def engine_texts(demo_reviews):
    return [review.text for review in demo_reviews["test"][:20]]


@pytest.fixture(scope="session")
def engine_labels(engine_models, engine_texts):
    labels = Torch(engine_models.adapter, engine_models.max_length).classify(engine_texts)
    assert set(labels) == {0, 1}
    return labels
