"""Numbers that torch draws are shaken a little, decisions are not, and equal seeds stay equal."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from mtl_helpers.teaching import jitter

SHAPE = (50,)
# Every function that draws numbers and that the lessons, or what they call, use.
NUMBERS = {
    "rand": lambda: torch.rand(SHAPE),
    "randn": lambda: torch.randn(SHAPE),
    "normal": lambda: torch.normal(torch.zeros(SHAPE), torch.ones(SHAPE)),
    "rand_like": lambda: torch.rand_like(torch.zeros(SHAPE)),
    "randn_like": lambda: torch.randn_like(torch.zeros(SHAPE)),
    "normal_": lambda: torch.empty(SHAPE).normal_(),
    "uniform_": lambda: torch.empty(SHAPE).uniform_(-1, 1),
    "exponential_": lambda: torch.empty(SHAPE).exponential_(),
    "cauchy_": lambda: torch.empty(SHAPE).cauchy_(),
    "log_normal_": lambda: torch.empty(SHAPE).log_normal_(),
    "a layer": lambda: torch.nn.Linear(7, 9).weight.detach(),
    "a convolution": lambda: torch.nn.Conv2d(2, 3, 3).weight.detach(),
    "kaiming_normal_": lambda: torch.nn.init.kaiming_normal_(torch.empty(9, 9)),
    "xavier_uniform_": lambda: torch.nn.init.xavier_uniform_(torch.empty(9, 9)),
    "trunc_normal_": lambda: torch.nn.init.trunc_normal_(torch.empty(SHAPE)),
    "orthogonal_": lambda: torch.nn.init.orthogonal_(torch.empty(9, 9)),
    "Normal": lambda: torch.distributions.Normal(0.0, 1.0).sample(SHAPE),
    "MultivariateNormal": lambda: torch.distributions.MultivariateNormal(
        torch.zeros(2), torch.eye(2)
    ).sample(SHAPE),
}
DECISIONS = {
    "randint": lambda: torch.randint(9, SHAPE),
    "randperm": lambda: torch.randperm(50),
    "multinomial": lambda: torch.multinomial(torch.ones(9), 5),
    "bernoulli": lambda: torch.bernoulli(torch.full(SHAPE, 0.5)),
    "bernoulli_": lambda: torch.empty(SHAPE).bernoulli_(0.5),
    "poisson": lambda: torch.poisson(torch.full(SHAPE, 4.0)),
    "dropout": lambda: torch.nn.functional.dropout(torch.ones(SHAPE), 0.5),
}


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)


def drawn(make, phase=None):
    undo = jitter.shake_draws(1e-12, phase) if phase else lambda: None
    try:
        torch.manual_seed(3)
        return make()
    finally:
        undo()


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_shaken_a_little_and_by_the_phase(name, double):
    plain, one, two = (drawn(NUMBERS[name], phase) for phase in (None, 1, 2))
    assert not torch.equal(plain, one) and not torch.equal(one, two)
    torch.testing.assert_close(one, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NUMBERS)
def test_equal_seeds_stay_equal(name, double):
    assert torch.equal(drawn(NUMBERS[name], 1), drawn(NUMBERS[name], 1))


@pytest.mark.parametrize("name", DECISIONS)
def test_decisions_are_left_alone(name):
    assert torch.equal(drawn(DECISIONS[name]), drawn(DECISIONS[name], 1))


def test_the_shake_is_a_function_of_the_value():
    x = torch.randn(20, dtype=torch.float64)
    both = jitter.shake(torch.cat([x, x.flip(0)]), relative=1e-12, phase=1)
    assert torch.equal(both[:20], both[20:].flip(0))
    assert 0 < ((both[:20] - x) / x).abs().max() <= 1.001e-12


def test_float32_is_shaken_by_its_own_rounding_and_half_precision_not_at_all():
    x = torch.randn(1000)
    relative = ((jitter.shake(x.clone(), relative=1e-12, phase=1) - x) / x).abs().max()
    assert 0 < relative < 3e-7
    half = torch.randn(9).half()
    assert torch.equal(jitter.shake(half.clone(), relative=1e-12, phase=1), half)


def test_a_parameter_stays_a_parameter():
    layer = drawn(lambda: torch.nn.Linear(2, 2), 1)
    assert isinstance(layer.weight, torch.nn.Parameter) and layer.weight.is_leaf


def test_undo_puts_everything_back():
    places = [(torch, n) for n in jitter.FUNCTIONS] + [(torch.Tensor, n) for n in jitter.METHODS]
    before = [(getattr(owner, name), name in vars(owner)) for owner, name in places]
    jitter.shake_draws(1e-12)()
    assert before == [(getattr(owner, name), name in vars(owner)) for owner, name in places]


def test_without_a_wish_in_the_environment_nothing_is_shaken(monkeypatch):
    before = torch.randn
    monkeypatch.delenv("MTL_JITTER", raising=False)
    assert jitter.from_environment() is None
    monkeypatch.setenv("MTL_JITTER", "0")
    assert jitter.from_environment() is None and torch.randn is before


CHILD = """
import subprocess, sys, torch
torch.manual_seed(0)
print(repr(torch.rand(1, dtype=torch.float64).item()), flush=True)
if len(sys.argv) > 1:
    subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
"""


def test_the_environment_reaches_a_process_and_what_it_starts(tmp_path):
    def says(**more):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, CHILD],
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return [float(line) for line in done.stdout.split()]

    plain, shaken = says(), says(**jitter.environment(tmp_path, 1e-12, 1))
    assert plain[0] == plain[1] and shaken[0] == shaken[1] != plain[0]
    assert shaken[0] == pytest.approx(plain[0], rel=2e-12)
