"""Balances made from task losses."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl_helpers.balancing import EqualWeights, FixedWeights, make_balance

NAMES = ("left", "right")
losses = st.lists(st.floats(0, 1e6), min_size=2, max_size=2)


@given(losses, st.lists(st.floats(0.01, 10), min_size=2, max_size=2))
def test_fixed_weights_weigh(values, weights):
    balance = FixedWeights(dict(zip(NAMES, weights, strict=True)))
    total = balance(torch.tensor(values, dtype=torch.float64))
    assert total.item() == pytest.approx(values[0] * weights[0] + values[1] * weights[1])


def test_weights_go_by_name_and_not_by_position():
    balance = make_balance({"right": 5.0, "left": 1.0}, NAMES)
    assert balance(torch.tensor([1.0, 0.0])).item() == 1


@given(losses)
def test_equal_weights_are_the_plain_sum(values):
    assert make_balance("equal", NAMES)(torch.tensor(values, dtype=torch.float64)).item() == (
        pytest.approx(sum(values))
    )


def test_the_total_keeps_the_type_and_the_gradient_of_the_losses():
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    total = FixedWeights({"left": 0.25, "right": 4.0})(values)
    total.backward()
    assert total.dtype == torch.float32
    assert values.grad.tolist() == [0.25, 4.0]


def test_a_balance_is_passed_through():
    balance = EqualWeights(NAMES)
    assert make_balance(balance, NAMES) is balance


def test_weights_are_saved_but_not_trained():
    balance = FixedWeights({"left": 2.0, "right": 3.0})
    assert list(balance.parameters()) == []
    assert balance.state_dict()["weights"].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"left": 1.0}, r"without a weight: \['right'\]"),
        ({"left": 1.0, "right": 1.0, "top": 1.0}, r"not a task: \['top'\]"),
        ({"left": -1.0, "right": 1.0}, "'left'.*found -1.0"),
        ({"left": 1.0, "right": math.nan}, "'right'.*found nan"),
        ({"left": math.inf, "right": 1.0}, "'left'.*found inf"),
        ({"left": 0.0, "right": 0.0}, "all task weights are zero"),
        ("clever", "unknown balance 'clever'"),
        (EqualWeights(("right", "left")), r"\['right', 'left'\].*their order counts"),
    ],
)
def test_wrong_use_is_named(weights, message):
    with pytest.raises(ValueError, match=message):
        make_balance(weights, NAMES)
