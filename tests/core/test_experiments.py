"""Many seeds at once: equal numbers by every method."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mtl_helpers.experiments as experiments
from mtl_helpers.balancing import (
    DynamicWeightAverage,
    EqualWeights,
    GradNorm,
    SmoothTchebycheff,
    UncertaintyWeights,
    make_balance,
)
from mtl_helpers.balancing.per_task import GradientBalance
from mtl_helpers.datasets import MultiTaskData, Splits, with_missing
from mtl_helpers.experiments import many_seeds
from mtl_helpers.models import HardSharing, mlp, small_cnn
from mtl_helpers.tasks import Task, classification, regression
from mtl_helpers.training import evaluate, fit

TASKS = [classification("kind", 3), regression("size")]
NAMES = ("kind", "size")
OPTIMIZERS = ["sgd", "adam", "adamw", "rmsprop", "adagrad"]


def make_data(seed, examples=21, missing=False, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def part(n):
        x = torch.randn(n, 4, generator=generator, dtype=dtype)
        data = MultiTaskData(x, {"kind": x[:, :3].argmax(1), "size": x.sum(1, keepdim=True)})
        if not missing:
            return data
        data = with_missing(data, "kind", 0.5, seed=seed)
        return with_missing(data, "size", 0.3, seed=seed + 1)

    return Splits(part(examples), part(10), part(12))


def make_model(dtype=torch.float64):
    return HardSharing.linear(mlp(4, [6], dtype=dtype), TASKS, dtype=dtype)


class Normed(nn.Module):
    """A trunk with batch normalisation, a frozen layer, and dropout if asked for."""

    def __init__(self, dropout=0.0):
        super().__init__()
        layers = [nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6)]
        if dropout:
            layers.append(nn.Dropout(dropout))
        layers[-1 if not dropout else -2].requires_grad_(False)
        self.net = HardSharing.linear(nn.Sequential(*layers), TASKS, features=6).double()

    def forward(self, x):
        return self.net(x)


class Recurrent(nn.Module):
    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.layer = kind(1, 5, batch_first=True, dtype=torch.float64)
        self.heads = HardSharing.linear(nn.Identity(), TASKS, features=5)

    def forward(self, x):
        return self.heads(self.layer(x[:, :, None])[0][:, -1])


class Branching(nn.Module):
    """A model that decides by looking at a value, which vmap cannot do."""

    def __init__(self):
        super().__init__()
        self.net = make_model()

    def forward(self, x):
        return self.net(x * 2 if x.sum() > 0 else x)


def run(method, seeds=(3, 0, 7), steps=200, model=make_model, data=make_data, **more):
    lr = None if callable(more.get("optimizer")) else 0.01  # a function sets its own
    settings_ = {"batch_size": 8, "optimizer": "adam", "lr": lr, **more}
    return many_seeds(model, TASKS, data, seeds=seeds, steps=steps, method=method, **settings_)


def assert_same(one, other, relative=1e-9):
    def close(a, b):
        torch.testing.assert_close(a, b, rtol=relative, atol=relative)

    assert one.seeds == other.seeds
    close(one.scores, other.scores)
    close(one.losses, other.losses)
    assert one.parameters.keys() == other.parameters.keys()
    for name, values in one.parameters.items():
        close(values, other.parameters[name])
    assert (one.curves is None) == (other.curves is None)
    if one.curves is not None:
        assert one.curves.steps.tolist() == other.curves.steps.tolist()
        close(one.curves.losses, other.curves.losses)
        close(one.curves.scores, other.curves.scores)


# ---------------------------------------------------------------------------------- the methods


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_vmap_gives_the_numbers_of_the_loop(optimizer):
    same = {"optimizer": optimizer, "weight_decay": 0.01, "weights": {"kind": 0.3, "size": 2.0}}
    assert_same(run("vmap", **same), run("loop", **same))


def test_momentum_and_a_factory_stack_too():
    def momentum(parameters):
        return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True)

    stacked = run("auto", optimizer=momentum)
    assert stacked.method == "vmap"
    assert_same(stacked, run("loop", optimizer=momentum))


def test_processes_give_the_numbers_of_the_loop_for_functions_defined_here():
    width = 4  # what a closure holds travels with it
    same = {"data": lambda seed: make_data(seed), "steps": 20, "record_every": 7}
    same["model"] = lambda: nn.Sequential(nn.Linear(4, width).double(), make_model())
    assert_same(run("processes", **same), run("loop", **same))


@given(
    seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=4, unique=True),
    examples=st.integers(2, 12),
    batch_size=st.one_of(st.none(), st.integers(1, 15)),
    missing=st.booleans(),
)
@settings(max_examples=15)
def test_the_methods_agree_for_any_sizes(seeds, examples, batch_size, missing):
    def data(seed):
        one = make_data(seed, examples)
        if not missing:
            return one
        return one._replace(train=make_data(seed, examples, missing=True).train)

    same = {"seeds": seeds, "steps": 9, "data": data, "batch_size": batch_size}
    assert_same(run("vmap", **same), run("loop", **same))


def test_missing_labels_and_batches_without_any():
    same = {"data": lambda seed: make_data(seed, missing=True), "batch_size": 2, "record_every": 50}
    stacked = run("vmap", **same)
    assert stacked.losses["size"].isfinite().all()
    assert_same(stacked, run("loop", **same))


def test_batch_normalisation_and_frozen_parameters():
    same = {"model": Normed, "record_every": 90, "weight_decay": 0.1}
    stacked, looped = run("vmap", **same), run("loop", **same)
    assert_same(stacked, looped)
    counted = stacked.parameters["net.trunk.1.num_batches_tracked"]
    assert counted.tolist() == [200, 200, 200]
    with torch.random.fork_rng():
        torch.manual_seed(7)
        frozen = Normed().net.trunk[3].weight
    assert torch.equal(stacked.state(7)["net.trunk.3.weight"], frozen)


def test_float32_agrees_for_ten_steps():
    same = {
        "model": lambda: make_model(torch.float32),
        "data": lambda seed: make_data(seed, dtype=torch.float32),
        "steps": 10,
    }
    stacked = run("vmap", **same)
    assert stacked.parameters["trunk.1.weight"].dtype == torch.float32
    assert_same(stacked, run("loop", **same), relative=1e-5)


@pytest.mark.parametrize("method", ["vmap", "loop"])
def test_a_seed_is_fit_with_that_seed(method):
    """21 examples in batches of 8 are 3 steps an epoch."""
    weights = {"kind": 0.5, "size": 2.0}
    found = run(method, steps=12, weights=weights)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = make_model()
    data = make_data(7)
    fit(model, TASKS, data.train, balance=weights, lr=0.01, epochs=4, batch_size=8, seed=7)
    for name, value in found.state(7).items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-9, atol=1e-12)
    test = evaluate(model, TASKS, data.test)
    row = found.seeds.index(7)
    for task in ("kind", "size"):
        assert float(found.losses[task][row]) == pytest.approx(test[task]["loss"], rel=1e-9)
        assert float(found.scores[task][row]) == pytest.approx(test[task]["score"], rel=1e-9)


def test_a_seed_does_not_depend_on_its_company_or_on_the_callers_generator():
    before = torch.get_rng_state()
    alone = run("vmap", seeds=[7], steps=20)
    assert torch.equal(before, torch.get_rng_state())
    company = run("vmap", seeds=[1, 7], steps=20)
    torch.testing.assert_close(
        alone.losses["size"][0], company.losses["size"][1], rtol=1e-9, atol=0
    )
    assert company.losses["size"][0] != company.losses["size"][1]
    torch.manual_seed(123)
    torch.testing.assert_close(run("loop", seeds=[7], steps=20).losses, alone.losses)


@pytest.mark.parametrize("method", ["vmap", "loop"])
def test_curves_are_validation_data_from_before_the_first_step_to_the_last(method):
    found = run(method, steps=10, record_every=4)
    assert found.curves.steps.tolist() == [0, 4, 8, 10]
    assert found.curves.losses["kind"].shape == found.curves.scores["size"].shape == (3, 4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make_model()
    row = found.seeds.index(0)
    valid = make_data(0).valid
    start = evaluate(model, TASKS, valid)
    model.load_state_dict(found.state(0))
    end = evaluate(model, TASKS, valid)
    for point, expected in ((0, start), (-1, end)):
        for task in ("kind", "size"):
            got = found.curves.losses[task][row, point], found.curves.scores[task][row, point]
            assert [float(v) for v in got] == pytest.approx(list(expected[task].values()), rel=1e-9)
    assert run(method, steps=2).curves is None


def test_dropout_is_on_in_training_and_off_in_measuring():
    plain = run("vmap", model=Normed, steps=30)
    before = torch.get_rng_state()
    dropped = run("vmap", model=lambda: Normed(0.5), steps=30)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(1)
    assert_same(dropped, run("vmap", model=lambda: Normed(0.5), steps=30))
    assert not torch.allclose(plain.losses["size"], dropped.losses["size"])
    model = Normed(0.5)
    model.load_state_dict(dropped.state(7))
    measured = evaluate(model, TASKS, make_data(7).test)["size"]["loss"]
    assert float(dropped.losses["size"][2]) == pytest.approx(measured, rel=1e-9)


def test_stacked_steps_use_one_thread_and_give_the_others_back():
    used = []

    class Watching(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = make_model()

        def forward(self, x):
            used.append(torch.get_num_threads())
            return self.net(x)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert run("vmap", steps=3, model=Watching).method == "vmap"
        assert used[-1] == 1 and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# ---------------------------------------------------------------------------------- the balances


STACKABLE = {
    "equal": EqualWeights(NAMES),
    "fixed": {"kind": 0.3, "size": 2.0},
    "uncertainty": UncertaintyWeights(NAMES, ["kind"], lr=0.3),
    "geometric": "geometric",
    "imtl_l": "imtl_l",
    "tchebycheff": SmoothTchebycheff(NAMES, 0.5, {"kind": 1.0, "size": 0.2}),
}
OTHERS = {
    "random": "random",
    "dwa": DynamicWeightAverage(NAMES, temperature=0.5),
    "gradnorm": GradNorm(NAMES, 0.5),
    "famo": "famo",
    "pcgrad": "pcgrad",
    "mgda at features": GradientBalance("mgda", NAMES, at="features"),
}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("name", STACKABLE)
def test_stacked_balances_give_the_numbers_of_the_loop(name, optimizer):
    """With missing labels (batches without any, too), decay, and a learning rate of their own."""
    same = {
        "balance": STACKABLE[name],
        "optimizer": optimizer,
        "lr": 0.002,
        "weight_decay": 0.05,
        "data": lambda seed: make_data(seed, missing=True),
        "batch_size": 3,
        "steps": 60,
    }
    stacked = run("auto", **same)
    assert stacked.method == "vmap"
    assert_same(stacked, run("loop", **same))


@pytest.mark.parametrize("name", OTHERS)
def test_balances_that_do_not_stack_go_to_a_loop_with_the_reason(name):
    found = run("auto", steps=9, balance=OTHERS[name])
    assert found.method == "loop"
    assert f"because {type(make_balance(OTHERS[name], TASKS)).__name__} remembers" in found.reason
    with pytest.raises(ValueError, match="remembers, draws or asks for gradients"):
        run("vmap", steps=9, balance=OTHERS[name])


def test_processes_train_balances_too():
    for balance in (STACKABLE["uncertainty"], OTHERS["famo"]):
        same = {"balance": balance, "steps": 10}
        assert_same(run("processes", **same), run("loop", **same))


@pytest.mark.parametrize("name", [*STACKABLE, *OTHERS])
def test_a_seed_with_a_balance_is_fit_with_it(name):
    """21 examples in batches of 8 are 3 steps an epoch; weights move with the epochs."""
    balance = {**STACKABLE, **OTHERS}[name]
    data = make_data(7)
    found = run("auto", steps=12, balance=balance)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = make_model()
    own = copy.deepcopy(make_balance(balance, TASKS))
    fit(model, TASKS, data.train, balance=own, lr=0.01, epochs=4, batch_size=8, seed=7)
    for key, value in found.state(7).items():
        torch.testing.assert_close(value, model.state_dict()[key], rtol=1e-9, atol=1e-12)
    row = found.seeds.index(7)
    for key, value in own.state_dict().items():
        found_value = found.parameters[f"balance.{key}"][row]
        torch.testing.assert_close(found_value, value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", ["vmap", "loop"])
def test_every_seed_learns_weights_of_its_own_and_the_given_balance_stays(method):
    balance = UncertaintyWeights(NAMES)
    found = run(method, steps=30, balance=balance)
    learned = found.parameters["balance.log_sigma"]
    assert learned.shape == (3, 2) and len(learned.unique()) == 6
    assert balance.log_sigma.tolist() == [0, 0]
    assert found.state(7).keys() == make_model().state_dict().keys()
    assert_same(run(method, steps=30, balance=balance), found)


@pytest.mark.parametrize("method", ["vmap", "loop"])
def test_what_a_balance_learns_has_its_own_rate_and_no_decay(method):
    """A step of SGD from 0.5 by hand: rate 0.2, not 0.01, and the decay of 3 left out."""
    balance = UncertaintyWeights(NAMES, log_sigma=0.5, lr=0.2)
    settings_ = {"optimizer": "sgd", "batch_size": None, "seeds": [7], "weight_decay": 3.0}
    found = run(method, steps=1, balance=balance, **settings_)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = make_model()
    losses = [value["loss"] for value in evaluate(model, TASKS, make_data(7).train).values()]
    wanted = 0.5 - 0.2 * (1 - math.exp(-2 * 0.5) * torch.tensor(losses, dtype=torch.float64))
    torch.testing.assert_close(found.parameters["balance.log_sigma"][0], wanted)


def test_weights_are_a_balance():
    weights = {"kind": 0.3, "size": 2.0}
    assert_same(run("auto", steps=9, weights=weights), run("auto", steps=9, balance=weights))
    assert_same(run("auto", steps=9), run("auto", steps=9, balance="equal"))
    with pytest.raises(ValueError, match="weights or balance, not both"):
        run("auto", steps=1, weights=weights, balance="equal")


def test_float32_balances_agree_for_ten_steps():
    same = {
        "model": lambda: make_model(torch.float32),
        "data": lambda seed: make_data(seed, dtype=torch.float32),
        "balance": "uncertainty",
        "steps": 10,
    }
    stacked = run("vmap", **same)
    assert stacked.parameters["balance.log_sigma"].dtype == torch.float64
    assert_same(stacked, run("loop", **same), relative=1e-5)


# ---------------------------------------------------------------------------- choosing a method


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"model": Recurrent}, "nn.LSTM has no batching rule"),
        ({"model": lambda: Recurrent(nn.GRU)}, "nn.GRU has no batching rule"),
        ({"model": Branching}, "stacking failed"),
        ({"data": lambda seed: make_data(seed, 20 + seed)}, "stacking failed"),
        ({"optimizer": lambda p: torch.optim.Rprop(p)}, "Rprop is not known"),
    ],
)
def test_where_vmap_does_not_reach_a_loop_takes_over_and_says_so(more, words):
    found = run("auto", steps=3, **more)
    assert found.method == "loop" and words in found.reason
    assert found.reason.startswith("loop, because")
    assert_same(found, run("loop", steps=3, **more))
    with pytest.raises(ValueError, match=words):
        run("vmap", steps=3, **more)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"model": lambda: Normed(0.5)}, "dropout"),
        (
            {
                "model": lambda: nn.Sequential(
                    nn.Unflatten(1, (1, 2, 2)), HardSharing.linear(small_cnn((1, 2, 2), [2]), TASKS)
                )
            },
            "convolutions",
        ),
        (
            {"model": lambda: HardSharing.linear(mlp(4, [300, 300]), TASKS), "batch_size": 20},
            "size",
        ),
    ],
)
def test_where_vmap_does_not_pay_it_is_used_only_when_asked_for(more, words):
    found = run("auto", steps=2, **more)
    assert found.method == "loop" and words in found.reason
    assert run("vmap", steps=2, **more).method == "vmap"


def test_too_much_data_is_not_stacked(monkeypatch):
    monkeypatch.setattr(experiments, "LARGE_DATA", 3 * 43 * 4 * 8 - 1)
    assert "GiB" in run("auto", steps=1).reason
    monkeypatch.setattr(experiments, "LARGE_DATA", 3 * 43 * 4 * 8)
    assert run("auto", steps=1).method == "vmap"


def test_long_work_goes_to_processes_where_there_are_cores(monkeypatch):
    monkeypatch.setattr(experiments, "SHORT_WORK", 6)
    monkeypatch.setattr(experiments, "_in_processes", experiments._in_a_loop)
    monkeypatch.setattr(experiments.joblib, "cpu_count", lambda: 2)
    assert run("auto", steps=2, model=Recurrent).method == "processes"
    assert run("auto", steps=1, model=Recurrent).method == "loop"
    monkeypatch.setattr(experiments.joblib, "cpu_count", lambda: 1)
    found = run("auto", steps=2, model=Recurrent)
    assert found.method == "loop" and "one core" in found.reason


def test_trying_a_step_leaves_no_trace():
    """The buffers, gradients and generator that the first real step sees are untouched."""
    found = run("auto", steps=1, model=Normed, optimizer="sgd")
    assert found.method == "vmap"
    assert found.parameters["net.trunk.1.num_batches_tracked"].tolist() == [1, 1, 1]
    assert_same(found, run("loop", steps=1, model=Normed, optimizer="sgd"))


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"weights": {"kind": 1.0, "size": -1.0}}, "'size'.*at least 0"),
        ({"weights": {"kind": 0.0, "size": 0.0}}, "all task weights are zero"),
        ({"weights": {"kind": 1.0}}, r"without a weight: \['size'\]"),
        ({"weights": {"kind": 1.0, "size": 1.0, "age": 1.0}}, r"not a task: \['age'\]"),
        ({"balance": "clever"}, "unknown balance 'clever'"),
        ({"balance": EqualWeights(("size", "kind"))}, "their order counts"),
        ({"seeds": []}, "seeds must be given"),
        ({"seeds": [1, 1]}, "differ"),
        ({"steps": 0}, "steps must be at least 1; found 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"record_every": 0}, "record_every must be at least 1"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"optimizer": "adamm"}, "unknown optimizer 'adamm'"),
        ({"lr": 0.0}, "learning rate"),
        ({"model": lambda: make_model(torch.float32)}, "dtype"),
    ],
)
@pytest.mark.parametrize("method", ["auto", "loop"])
def test_a_request_that_makes_no_sense_is_refused(method, more, words):
    with pytest.raises(ValueError, match=words):
        run(method, **{"steps": 1, **more})


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="unknown method 'fast'; use one of auto, vmap"):
        run("fast", steps=1)


@pytest.mark.parametrize("method", ["vmap", "loop"])
def test_bad_data_of_any_seed_are_named(method):
    def data(seed):
        splits = make_data(seed)
        if seed == 7:
            splits.train.targets["kind"][0] = 3
        return splits

    with pytest.raises(ValueError, match=r"task 'kind': label 3 at example 0"):
        run(method, steps=1, data=data)


def test_a_diverged_seed_holds_nan_and_leaves_the_others_alone():
    def data(seed):
        splits = make_data(seed)
        splits.train.targets["size"].mul_(1e200 if seed == 0 else 1)
        return splits

    found = run("vmap", steps=30, data=data, optimizer="sgd")
    assert not found.losses["size"][1].isfinite()
    assert found.losses["size"][[0, 2]].isfinite().all()


def test_a_loss_of_the_users_own():
    def absolute(output, target):
        return (output - target).abs().flatten(1).mean(1)

    tasks = [TASKS[0], Task("size", absolute, "mae", 1, higher_is_better=False)]
    kwargs = {"seeds": [0, 1], "steps": 20, "batch_size": 8}
    stacked, looped = (
        many_seeds(make_model, tasks, make_data, method=m, **kwargs) for m in ("vmap", "loop")
    )
    assert_same(stacked, looped)
