"""Dropout on a CPU: torch's own function, from fewer random bits."""

from unittest import mock

import pytest
import torch
from torch.nn.functional import dropout

from toolkit.training import dropout as module
from toolkit.training.dropout import Dropout, kept, share_dropped


@pytest.mark.parametrize("share", [0.1, 0.5, 0.001])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_share_is_dropped_and_the_rest_scaled(share, dtype):
    torch.manual_seed(1)
    given = torch.full((401, 503), 2.0, dtype=dtype, requires_grad=True)
    with Dropout():
        result = dropout(given, share)
    dropped = result == 0
    deviation = (share * (1 - share) / given.numel()) ** 0.5
    assert float(dropped.double().mean()) == pytest.approx(share, abs=5 * deviation + 2**-17)
    rows, columns = (dropped.double().mean(dim=dim) for dim in (1, 0))
    assert float(rows.var()) == pytest.approx(share * (1 - share) / 503, rel=0.4)
    assert float(columns.var()) == pytest.approx(share * (1 - share) / 401, rel=0.4)
    assert torch.equal(result[~dropped].unique(), torch.tensor([2 / (1 - share_dropped(share))], dtype=dtype))
    result.sum().backward()
    assert torch.equal(given.grad, torch.where(dropped, 0, result.detach() / 2))


def test_the_numbers_are_those_of_the_seed_and_of_no_other_draw():
    draws = []
    for _ in range(2):
        torch.manual_seed(7)
        draws += [kept((5, 3), 0.5, torch.float32), kept((5, 3), 0.5, torch.float32)]
    assert torch.equal(draws[0], draws[2])
    assert torch.equal(draws[1], draws[3])
    assert not torch.equal(draws[0], draws[1])


def test_each_of_the_four_draws_of_a_word_has_its_share():
    torch.manual_seed(2)
    assert kept((50_000, 4), 0.25, torch.float64).mean(dim=0).tolist() == pytest.approx([0.75] * 4, abs=0.01)


@pytest.mark.parametrize(
    ("share", "training", "inplace"), [(0.5, False, False), (0.0, True, False), (1.0, True, False), (0.5, True, True)]
)
def test_the_rest_is_torchs(share, training, inplace):
    results = []
    for mode in (torch.no_grad(), Dropout()):
        torch.manual_seed(3)
        with mode, mock.patch.object(module, "_Dropped") as ours:
            results.append(dropout(torch.ones(9, 9), share, training, inplace))
    ours.apply.assert_not_called()
    assert torch.equal(*results)


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (5, 7)])
def test_any_shape(shape):
    with Dropout():
        assert dropout(torch.ones(shape, dtype=torch.float64), 0.5).shape == shape


def test_a_module_of_torch_uses_it():
    with Dropout(), mock.patch.object(module, "_Dropped", wraps=module._Dropped) as ours:
        torch.nn.Dropout(0.1)(torch.ones(3))
    assert ours.apply.call_count == 1
