"""Balances made from task losses."""

import copy
import io
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, vmap

from mtl_helpers.balancing import (
    DynamicWeightAverage,
    EqualWeights,
    Famo,
    FixedWeights,
    GeometricMean,
    GradNorm,
    ImtlL,
    RandomLossWeights,
    SmoothTchebycheff,
    UncertaintyWeights,
    make_balance,
)
from mtl_helpers.datasets import MultiTaskData
from mtl_helpers.models import HardSharing, mlp
from mtl_helpers.tasks import regression
from mtl_helpers.training import fit

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


# -------------------------------------------------------------- what all balances have in common

KINDS = {
    "equal": EqualWeights,
    "fixed": lambda names: FixedWeights({name: 0.5 + k for k, name in enumerate(names)}),
    "uncertainty": lambda names: UncertaintyWeights(names, names[:1]),
    "dwa": DynamicWeightAverage,
    "random": RandomLossWeights,
    "gradnorm": GradNorm,
    "geometric": GeometricMean,
    "imtl_l": ImtlL,
    "famo": Famo,
    "tchebycheff": lambda names: SmoothTchebycheff(names, 0.5),
}
STACKABLE = {"equal", "fixed", "uncertainty", "geometric", "imtl_l", "tchebycheff"}
every_kind = pytest.mark.parametrize("kind", KINDS)


def names_of(tasks):
    return tuple(f"task{k}" for k in range(tasks))


class Problem:
    """Regressions on one shared trunk; task k is k times as hard, and may lack labels."""

    def __init__(self, kind, tasks=3, dtype=torch.float64, optimizer=torch.optim.Adam):
        self.names = names_of(tasks)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            heads = [regression(name) for name in self.names]
            self.model = HardSharing.linear(mlp(3, [12, 8], dtype=dtype), heads, dtype=dtype)
            self.inputs = torch.randn(8, 3, dtype=dtype)
            self.targets = self.inputs[:, :tasks] * torch.arange(1, tasks + 1)
        self.balance = KINDS[kind](self.names)
        own = {"params": list(self.balance.parameters()), "weight_decay": 0.0}
        if self.balance.lr is not None:
            own["lr"] = self.balance.lr
        groups = [{"params": list(self.model.parameters())}, own]
        self.stepper = optimizer(groups, lr=0.02)

    def losses(self, labelled):
        outputs = self.model(self.inputs)
        columns = torch.cat([outputs[name] for name in self.names], 1)
        return (columns - self.targets).square().mean(0) * labelled

    def step(self, number, labelled=None):
        """One step as ``fit`` takes it; two steps are an epoch."""
        given_ = torch.ones(len(self.names), dtype=torch.bool) if labelled is None else labelled
        context = {"model": self.model, "step": number, "epoch": number // 2, "labelled": given_}
        losses = self.losses(given_)
        self.stepper.zero_grad()
        self.balance.backward(losses, context)
        self.stepper.step()
        with torch.no_grad():
            again = self.losses(given_) if self.balance.needs_losses_after_step else None
        self.balance.after_step(again, context)
        return losses.detach()

    def parts(self):
        return {"model": self.model, "balance": self.balance, "stepper": self.stepper}


def assert_identical(one, other):
    for mine, theirs in zip(one.parts().values(), other.parts().values(), strict=True):
        mine, theirs = (pickle.loads(pickle.dumps(p.state_dict())) for p in (mine, theirs))
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@every_kind
@pytest.mark.parametrize("tasks", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_balance_trains(kind, tasks, dtype):
    torch.manual_seed(0)
    problem = Problem(kind, tasks, dtype)
    losses = problem.losses(torch.ones(tasks, dtype=torch.bool))
    total = problem.balance(losses, {"model": problem.model})
    assert total.shape == () and total.dtype == dtype
    record = torch.stack([problem.step(number) for number in range(80)])
    assert record[-1].sum() < 0.6 * record[0].sum()
    for value in [*problem.model.parameters(), *problem.balance.state_dict().values()]:
        assert value.isfinite().all()
    start = KINDS[kind](problem.names).state_dict()
    for name, parameter in problem.balance.named_parameters():
        assert parameter.dtype == torch.float64
        assert tasks == 1 or not torch.equal(parameter, start[name])


@every_kind
def test_one_task_keeps_the_direction_of_its_gradient(kind):
    problem = Problem(kind, 1)
    parameters = list(problem.model.parameters())
    alone = torch.autograd.grad(problem.losses(True).sum(), parameters)
    problem.balance.backward(problem.losses(True), {"model": problem.model})
    found = torch.cat([p.grad.flatten() for p in parameters])
    alone = torch.cat([gradient.flatten() for gradient in alone])
    assert found.norm() > 0
    torch.testing.assert_close(found / found.norm(), alone / alone.norm())


@every_kind
def test_a_run_goes_on_from_its_state_as_if_never_stopped(kind):
    whole, first, second = (Problem(kind) for _ in range(3))
    torch.manual_seed(1)
    for number in range(5):
        first.step(number)
    buffer = io.BytesIO()
    torch.save({name: part.state_dict() for name, part in first.parts().items()}, buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    for name, part in second.parts().items():
        part.load_state_dict(state[name])
    for number in range(5, 11):
        second.step(number)
    torch.manual_seed(1)
    for number in range(11):
        whole.step(number)
    assert_identical(whole, second)


@every_kind
def test_an_unlabelled_task_changes_nothing_of_its_own(kind):
    """Nothing learned about it, and no weight; the rest goes on as without it."""
    problem = Problem(kind, 3, optimizer=torch.optim.SGD)
    for number in range(4):
        problem.step(number)
    problem.balance(problem.losses(True), {"model": problem.model, "epoch": 2})  # a new epoch
    before = copy.deepcopy(problem.balance.state_dict())
    for number in (4, 5):
        problem.step(number, torch.tensor([True, False, True]))
    after = problem.balance.state_dict()
    assert all(not p.grad.any() for p in problem.model.task_parameters("task1"))
    for name in before:
        if before[name].shape == (3,):
            assert after[name][1] == before[name][1], name
    if kind == "gradnorm":
        assert after["weights"].sum().item() == pytest.approx(3)
        assert not torch.equal(after["weights"], before["weights"])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "random"])
def test_an_unlabelled_task_is_as_good_as_none(kind):
    losses = torch.tensor([1.5, 7.0, 0.25], dtype=torch.float64, requires_grad=True)
    labelled = torch.tensor([True, False, True])
    layer = nn.Parameter(torch.ones(1, 1, dtype=torch.float64))
    three, two = KINDS[kind](("a", "b", "c")), KINDS[kind](("a", "c"))
    if kind == "fixed":
        two = FixedWeights({"a": 0.5, "c": 2.5})
    values = layer.squeeze() * losses
    context = {"labelled": labelled}
    if kind == "gradnorm":
        three, two = (GradNorm(balance.task_names, layer=layer) for balance in (three, two))
    total = three(values, context)
    torch.testing.assert_close(total, two(values[labelled]))
    (gradient,) = torch.autograd.grad(total, losses)
    assert gradient[1] == 0 and (gradient[labelled] > 0).all()


@every_kind
def test_a_batch_without_any_label_is_a_zero_that_changes_nothing(kind):
    problem = Problem(kind, 2, optimizer=torch.optim.SGD)
    for number in range(3):
        problem.step(number)
    before = copy.deepcopy(problem.balance.state_dict())
    none = torch.zeros(2, dtype=torch.bool)
    losses = problem.losses(none)
    total = problem.balance(losses, {"model": problem.model, "labelled": none, "epoch": 1})
    assert total.item() == 0
    problem.stepper.zero_grad()
    problem.step(3, none)
    assert all(p.grad is None or not p.grad.any() for p in problem.model.parameters())
    torch.testing.assert_close(problem.balance.state_dict(), before, rtol=0, atol=0)


@every_kind
def test_a_copy_lives_its_own_life(kind):
    problem, other = Problem(kind), Problem(kind)
    other.balance = copy.deepcopy(problem.balance)
    before = copy.deepcopy(other.balance.state_dict())
    for number in range(4):
        problem.step(number)
    torch.testing.assert_close(other.balance.state_dict(), before, rtol=0, atol=0)


@every_kind
def test_losses_of_another_number_are_refused(kind):
    balance = KINDS[kind](NAMES)
    for wrong in (torch.ones(3), torch.ones(()), torch.ones(2, 2)):
        with pytest.raises(ValueError, match=r"\['left', 'right'\], shape \(2,\); found shape"):
            balance(wrong)


@every_kind
def test_task_names_differ(kind):
    if kind != "fixed":
        with pytest.raises(ValueError, match=r"different names; found \['a', 'a'\]"):
            KINDS[kind](("a", "a"))
        with pytest.raises(ValueError, match=r"different names; found \[\]"):
            KINDS[kind](())


@every_kind
def test_what_says_stackable_runs_under_vmap_with_parameters_of_its_own(kind):
    balance = KINDS[kind](names_of(3))
    assert balance.stackable == (kind in STACKABLE)
    if not balance.stackable:
        return
    draws = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.rand(*shape, dtype=torch.float64, generator=draws)

    state = {name: value + draw(4, 3) for name, value in balance.state_dict().items()}
    losses, labelled = draw(4, 3), draw(4, 3) > 0.4
    losses = losses * labelled

    def one(state, losses, labelled):
        return functional_call(balance, state, (losses, {"labelled": labelled}))

    rows = [one({n: v[s] for n, v in state.items()}, losses[s], labelled[s]) for s in range(4)]
    torch.testing.assert_close(vmap(one)(state, losses, labelled), torch.stack(rows))


@pytest.mark.parametrize("kind", ["geometric", "famo"])
def test_a_negative_loss_is_named(kind):
    balance = KINDS[kind](NAMES)
    with pytest.raises(ValueError, match="'right'.*at least 0, found -2"):
        balance(torch.tensor([1.0, -2.0]))
    if kind == "geometric":
        with pytest.raises(ValueError, match="'left'.*found -1"):
            vmap(balance)(torch.tensor([[1.0, 2.0], [-1.0, 2.0]]))
    else:
        balance(torch.tensor([1.0, 2.0]))
        with pytest.raises(ValueError, match="'left'.*found -1"):
            balance.after_step(torch.tensor([-1.0, 2.0]))


@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_and_tiny_losses_give_finite_numbers(kind, dtype):
    for small in (torch.finfo(dtype).smallest_normal / 4, 1e-30, 0.0):
        layer = nn.Parameter(torch.ones(1, 1, dtype=dtype))
        balance = GradNorm(NAMES, layer=layer) if kind == "gradnorm" else KINDS[kind](NAMES)
        for _ in range(3):
            balance.backward(layer.squeeze() * torch.tensor([small, 3.0], dtype=dtype))
            assert all(p.grad.isfinite().all() for p in [layer, *balance.parameters()])
            balance.after_step(torch.tensor([0.0, small], dtype=dtype))
            assert all(value.isfinite().all() for value in balance.state_dict().values())


# --------------------------------------------------------------------------- uncertainty weights


def test_uncertainty_weights_by_hand():
    balance = UncertaintyWeights(NAMES, ["right"], log_sigma=math.log(2))
    total = balance(torch.tensor([3.0, 5.0], dtype=torch.float64))
    assert total.item() == pytest.approx(3 / (2 * 4) + 5 / 4 + 2 * math.log(2))
    assert balance.sigma.tolist() == pytest.approx([2, 2])
    assert not balance.sigma.requires_grad


def test_the_total_may_be_negative_and_nothing_is_clipped():
    balance = UncertaintyWeights(NAMES, log_sigma=-30.0)
    total = balance(torch.zeros(2, dtype=torch.float64))
    assert total.item() == -60


def slope(balance, parameter, value, losses):
    """The gradient of the total where the parameter [2] has this value."""
    with torch.no_grad():
        parameter.copy_(value)
    return torch.autograd.grad(balance(losses), parameter)[0]


two_losses = st.lists(st.floats(1e-2, 1e2), min_size=2, max_size=2)


@given(two_losses)
def test_uncertainty_settles_where_the_noise_explains_the_loss(values):
    """The one stationary point is sigma^2 = L for a regression and 2 L for a classification."""
    balance = UncertaintyWeights(NAMES, ["right"])
    losses = torch.tensor(values, dtype=torch.float64)
    best = 0.5 * torch.tensor([values[0], 2 * values[1]], dtype=torch.float64).log()
    for away in (-0.3, 0.0, 0.3):
        found = slope(balance, balance.log_sigma, best + away, losses)
        assert found.tolist() == pytest.approx([1 - math.exp(-2 * away)] * 2, abs=1e-9)


@given(two_losses)
def test_imtl_l_settles_where_scaled_losses_are_one(values):
    balance = ImtlL(NAMES)
    losses = torch.tensor(values, dtype=torch.float64)
    for away in (-0.3, 0.0, 0.3):
        found = slope(balance, balance.scales, away - losses.log(), losses)
        assert found.tolist() == pytest.approx([math.exp(away) - 1] * 2, abs=1e-9)


def test_uncertainty_left_out_of_the_optimiser_is_the_plain_sum_for_ever():
    """A failure of published code, and the loop that mends it."""
    targets = torch.tensor([1.0, 10.0])

    def train(with_balance):
        weights = nn.Parameter(torch.zeros(2))
        balance = UncertaintyWeights(NAMES)
        parameters = [weights, *(balance.parameters() if with_balance else [])]
        stepper = torch.optim.SGD(parameters, lr=0.01)
        for _ in range(20):
            stepper.zero_grad()
            balance.backward((weights - targets).square())
            stepper.step()
        return balance.sigma

    assert train(with_balance=False).tolist() == [1, 1]
    learned = train(with_balance=True)
    assert learned[0] < 1 < learned[1]


def fitted(balance, **settings_):
    """Train two heads on one trunk by ``fit``: targets of size 1 and 20."""
    tasks = [regression(name) for name in NAMES]
    inputs = torch.randn(16, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    data = MultiTaskData(inputs, {"left": inputs[:, :1], "right": 20 * inputs[:, 1:]})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = HardSharing.linear(mlp(2, [8]), tasks)
    fit(model, tasks, data, balance=balance, lr=0.01, batch_size=8, **settings_)
    return model, balance


@pytest.mark.parametrize("kind", ["uncertainty", "imtl_l", "gradnorm", "famo"])
def test_fit_trains_what_a_balance_learns(kind):
    start = KINDS[kind](NAMES)
    _, balance = fitted(KINDS[kind](NAMES), epochs=2)
    learned = next(iter(start.state_dict()))
    assert not torch.equal(balance.state_dict()[learned], start.state_dict()[learned])


@every_kind
def test_fit_resumes_a_balance_as_if_never_stopped(kind, tmp_path):
    whole = fitted(KINDS[kind](NAMES), epochs=4)
    fitted(KINDS[kind](NAMES), epochs=2, checkpoint=tmp_path / "run.pt")
    resumed = fitted(KINDS[kind](NAMES), epochs=4, checkpoint=tmp_path / "run.pt")
    for one, other in zip(whole, resumed, strict=True):
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_fit_refuses_a_checkpoint_of_other_settings(tmp_path):
    for one, other in (
        (GradNorm(NAMES, 1.5), GradNorm(NAMES, 0.5)),
        (GradNorm(NAMES, layer="trunk.1.weight"), GradNorm(NAMES)),
        (DynamicWeightAverage(NAMES), DynamicWeightAverage(NAMES, 1.0)),
        (SmoothTchebycheff(NAMES), SmoothTchebycheff(NAMES, 0.1)),
        (Famo(NAMES), Famo(NAMES, gamma=0.1)),
        (UncertaintyWeights(NAMES), UncertaintyWeights(NAMES, ["left"])),
    ):
        path = tmp_path / f"{id(one)}.pt"
        fitted(one, epochs=1, checkpoint=path)
        with pytest.raises(ValueError, match="belongs to another run"):
            fitted(other, epochs=2, checkpoint=path)


# ------------------------------------------------------------------------ dynamic weight average


def test_dynamic_weights_by_hand():
    balance = DynamicWeightAverage(NAMES, temperature=2.0)
    epochs = [[[1.0, 4.0], [3.0, 4.0]], [[1.5, 5.0], [0.5, 3.0]], [[1.0, 1.0]]]  # means 2 4, 1 4
    for epoch, batches in enumerate(epochs):
        for values in batches:
            losses = torch.tensor(values, dtype=torch.float64, requires_grad=True)
            total = balance(losses, {"epoch": epoch})
            if epoch < 2:
                assert total.item() == pytest.approx(sum(values))
    expected = 2 * torch.tensor([0.5 / 2, 1.0 / 2], dtype=torch.float64).softmax(0)
    torch.testing.assert_close(balance.weights, expected)
    (gradient,) = torch.autograd.grad(total, losses)
    torch.testing.assert_close(gradient, expected)


def test_dynamic_weights_average_over_labelled_steps():
    """A task seen in half of an epoch's steps has not halved its loss: the mean, not the sum."""
    balance = DynamicWeightAverage(NAMES)
    one, both = torch.tensor([True, False]), torch.tensor([True, True])
    for epoch, masks in enumerate([[both, both], [both, one], [both]]):
        for labelled in masks:
            balance(torch.ones(2), {"epoch": epoch, "labelled": labelled})
    assert balance.weights.tolist() == [1, 1]


def test_dynamic_weights_remember_a_task_that_an_epoch_did_not_see():
    balance = DynamicWeightAverage(NAMES)
    one, both = torch.tensor([True, False]), torch.tensor([True, True])
    for epoch, (left, right, labelled) in enumerate(
        [(4.0, 4.0, both), (2.0, 1.0, both), (2.0, 9.0, one), (2.0, 1.0, both)]
    ):
        balance(torch.tensor([left, right]), {"epoch": epoch, "labelled": labelled})
    expected = 2 * torch.tensor([1.0 / 2, 0.25 / 2], dtype=torch.float64).softmax(0)
    torch.testing.assert_close(balance.weights, expected)


def test_by_hand_every_call_is_an_epoch():
    balance = DynamicWeightAverage(NAMES, temperature=1.0)
    for left in (4.0, 2.0, 9.0):
        balance(torch.tensor([left, 1.0]))
    expected = 2 * torch.tensor([0.5, 1.0], dtype=torch.float64).softmax(0)
    torch.testing.assert_close(balance.weights, expected)


def test_a_loss_that_was_zero_gives_an_even_weight():
    balance = DynamicWeightAverage(NAMES)
    for left in (0.0, 5.0, 1.0):
        balance(torch.tensor([left, 1.0]))
    assert balance.weights.tolist() == [1, 1]


@given(st.lists(st.lists(st.floats(1e-6, 1e6), min_size=3, max_size=3), min_size=1, max_size=5))
def test_weights_that_are_to_sum_to_the_number_of_tasks_do(rows):
    """So a learning rate tuned for the sum fits them too; against the mean it would be K times."""
    dynamic, drawn = DynamicWeightAverage(names_of(3)), RandomLossWeights(names_of(3))
    for row in rows:
        dynamic(torch.tensor(row, dtype=torch.float64))
        assert dynamic.weights.sum().item() == pytest.approx(3)
        assert (dynamic.weights >= 0).all()
    ones = torch.ones(3, dtype=torch.float64)
    assert drawn(ones).item() == pytest.approx(3)


def test_random_weights_are_drawn_anew_and_by_the_global_generator():
    balance = RandomLossWeights(NAMES)
    losses = torch.tensor([1.0, 0.0], dtype=torch.float64)
    torch.manual_seed(0)
    one, two = balance(losses), balance(losses)
    torch.manual_seed(0)
    assert one != two and torch.equal(balance(losses), one)
    many = torch.stack([balance(losses) for _ in range(2000)])
    assert many.mean().item() == pytest.approx(1, abs=0.05)
    torch.manual_seed(0)
    assert balance(losses.float()).item() == pytest.approx(one.item())


# --------------------------------------------------------------------------------------- GradNorm


def two_norms(left=1.0, right=4.0):
    """Two losses whose gradients at ``layer`` have the norms left and right, for ever."""
    layer = nn.Parameter(torch.tensor([[3.0, 0.0]], dtype=torch.float64))
    return layer, lambda: torch.stack([left * layer[0, 0], right * layer[0, 0]])


@pytest.mark.parametrize("norms", [(1.0, 4.0), (7.0, 0.5)])
def test_gradnorm_brings_the_gradients_to_one_length(norms):
    layer, losses = two_norms(*norms)
    balance = GradNorm(NAMES, alpha=0.0, layer=layer)
    stepper = torch.optim.SGD(balance.parameters(), lr=1.0)
    for step in range(600):
        stepper.param_groups[0]["lr"] = 0.05 / (1 + step)
        stepper.zero_grad()
        balance.backward(losses())
        stepper.step()
        balance.after_step()
    found = balance.weights.detach() * torch.tensor(norms)
    assert found[0].item() == pytest.approx(found[1].item(), rel=1e-2)


def test_gradnorm_favours_the_task_that_learns_slowly():
    layer = nn.Parameter(torch.tensor([[1.0, 1.0]], dtype=torch.float64))
    balance = GradNorm(NAMES, alpha=1.0, layer=layer)
    balance(layer[0])
    layer.data = torch.tensor([[0.1, 1.0]], dtype=torch.float64)  # left has learned
    balance.backward(layer[0])
    assert balance.weights.grad[0] > 0 > balance.weights.grad[1]
    assert balance.first_losses.tolist() == [1, 1]


def test_gradnorm_leaves_the_model_the_gradient_of_its_weighted_sum():
    problem = Problem("gradnorm", 2)
    with torch.no_grad():
        problem.balance.weights.copy_(torch.tensor([0.5, 1.5]))
    both = torch.ones(2, dtype=torch.bool)
    parameters = list(problem.model.parameters())
    weighted = (torch.tensor([0.5, 1.5], dtype=torch.float64) * problem.losses(both)).sum()
    wanted = torch.autograd.grad(weighted, parameters)
    total = problem.balance(problem.losses(both), {"model": problem.model})
    assert all(p.grad is None for p in parameters)
    assert total.item() == weighted.item()
    total.backward()
    for parameter, gradient in zip(parameters, wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=0)
    assert problem.balance.weights.grad.abs().sum() > 0


def test_gradnorm_measures_at_the_last_shared_matrix_unless_told():
    """The paper's "last shared layer"; published codes differ, and so do the weights."""
    problem = Problem("gradnorm", 2)
    context = {"model": problem.model}
    matrices = [p for p in problem.model.shared_parameters() if p.dim() == 2]
    assert len(matrices) == 2
    assert GradNorm(NAMES).find_layer(context) is matrices[-1] is problem.model.trunk[3].weight
    assert GradNorm(NAMES, layer="trunk.1.weight").find_layer(context) is matrices[0]
    assert GradNorm(NAMES, layer=matrices[0]).find_layer() is matrices[0]
    learned = []
    for layer in (None, matrices[1], matrices[0], "trunk.1.weight"):
        balance = GradNorm(problem.names, layer=layer)
        assert [name for name, _ in balance.named_parameters()] == ["weights"]
        balance.backward(problem.losses(torch.ones(2, dtype=torch.bool)), context)
        learned.append(balance.weights.grad.tolist())
    assert learned[0] == learned[1] and learned[2] == learned[3] and learned[0] != learned[2]


def test_gradnorm_says_what_it_lacks():
    problem = Problem("gradnorm", 2)
    losses = problem.losses(torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"context=\{'model': model\}.*layer="):
        problem.balance(losses)
    with pytest.raises(ValueError, match="no shared parameter with two axes in this Linear"):
        problem.balance(losses, {"model": nn.Linear(1, 1)})
    with pytest.raises(ValueError, match=r"no parameter 'trunk\.9'"):
        GradNorm(problem.names, layer="trunk.9")(losses, {"model": problem.model})
    stranger = nn.Parameter(torch.ones(2, 5))
    for given_ in (losses, losses.detach()):
        with pytest.raises(ValueError, match=r"'task0'.*not reach the layer \(shape \(2, 5\)\)"):
            GradNorm(problem.names, layer=stranger)(given_)
    head = problem.model.heads["task_task0"].weight
    with pytest.raises(ValueError, match=r"'task1'.*no gradient at the layer \(shape \(1, 8\)\)"):
        GradNorm(problem.names, layer=head)(losses)


def test_gradnorm_keeps_weights_positive_and_their_sum():
    balance = GradNorm(names_of(3))
    with torch.no_grad():
        balance.weights.copy_(torch.tensor([-5.0, 1.0, 4.0]))
    balance.after_step()
    weights = balance.weights.detach()
    assert weights.sum().item() == pytest.approx(3)
    torch.testing.assert_close(weights, torch.tensor([1e-3, 1, 4], dtype=torch.float64) * 3 / 5.001)


def test_gradnorm_takes_the_first_loss_of_a_task_when_it_comes():
    layer = nn.Parameter(torch.ones(1, 2, dtype=torch.float64))
    balance = GradNorm(NAMES, layer=layer)
    balance(layer[0] * torch.tensor([5.0, 0.0]), {"labelled": torch.tensor([True, False])})
    assert balance.first_losses.tolist() == [5, 0]
    balance(layer[0] * torch.tensor([2.0, 3.0]))
    assert balance.first_losses.tolist() == [5, 3]


# ----------------------------------------------------------------- geometric mean, smooth maximum


three_numbers = st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3)


@given(three_numbers, three_numbers)
def test_the_direction_of_the_geometric_mean_ignores_the_unit_of_a_loss(values, units):
    layer = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    bends = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]], dtype=torch.float64)
    values, units = (torch.tensor(v, dtype=torch.float64) for v in (values, units))

    def direction(scale):
        losses = scale * (values + (bends @ layer).square())
        (gradient,) = torch.autograd.grad(GeometricMean(names_of(3))(losses), layer)
        return gradient / gradient.norm()

    torch.testing.assert_close(direction(units), direction(torch.ones_like(units)))


def test_the_geometric_mean_of_a_zero_is_zero_and_stands_still():
    for values in ([0.0, 3.0], [1e-310, 3.0]):
        losses = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        total = GeometricMean(NAMES)(losses)
        total.backward()
        assert total.item() == pytest.approx(0, abs=1e-300) and losses.grad.tolist() == [0, 0]
    assert GeometricMean(NAMES)(torch.tensor([math.nan, 1.0])).isnan()


def test_the_geometric_mean_of_many_large_losses_does_not_overflow():
    for value in (1e30, 1e-30):
        total = GeometricMean(names_of(40))(torch.full((40,), value))
        assert total.item() == pytest.approx(value, rel=1e-5)


def test_smooth_tchebycheff_goes_to_the_maximum():
    losses = torch.tensor([1.0, 4.0], dtype=torch.float64)
    weights, reference = {"right": 0.5, "left": 3.0}, {"left": 0.5, "right": 1.0}
    total = SmoothTchebycheff(NAMES, 1e-4, weights, reference)(losses)
    assert total.item() == pytest.approx(max(3 * 0.5, 0.5 * 3), abs=1e-3)
    smooth = SmoothTchebycheff(NAMES)(losses)
    assert smooth.item() == pytest.approx(math.log(math.exp(1) + math.exp(4)))


# ------------------------------------------------------------------------------------------- FAMO


def test_famo_takes_the_authors_step():
    """Two steps written out: the softmax's Jacobian, decay, and Adam as PyTorch has it."""
    balance = Famo(NAMES, lr=0.1, gamma=0.01)
    logits = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([logits], lr=0.1, weight_decay=0.01)
    for before, after in (([2.0, 3.0], [1.0, 2.9]), ([1.0, 2.9], [0.9, 3.5])):
        before, after = (torch.tensor(v, dtype=torch.float64) for v in (before, after))
        shares = logits.softmax(0)
        weights = shares / (before + 1e-8)
        losses = before.clone().requires_grad_()
        total = balance(losses)
        total.backward()
        torch.testing.assert_close(losses.grad, (weights / weights.sum()).detach())
        assert losses.grad.sum().item() == pytest.approx(1)
        fall = (before + 1e-8).log() - (after + 1e-8).log()
        (logits.grad,) = torch.autograd.grad(shares, logits, grad_outputs=fall)
        adam.step()
        balance.after_step(after)
        torch.testing.assert_close(balance.logits, logits.detach(), rtol=1e-12, atol=0)
    assert balance.logits[1] > balance.logits[0]  # the task that fell least has gained


def test_famo_needs_both_losses():
    balance = Famo(NAMES)
    with pytest.raises(ValueError, match="before and after the step"):
        balance.after_step(torch.ones(2))
    balance(torch.ones(2))
    with pytest.raises(ValueError, match="before and after the step"):
        balance.after_step(None)
    balance.after_step(torch.ones(2))
    with pytest.raises(ValueError, match="before and after the step"):
        balance.after_step(torch.ones(2))


# ------------------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UncertaintyWeights(NAMES, ["top"]), r"not a task: \['top'\]"),
        (lambda: UncertaintyWeights(NAMES, log_sigma=math.inf), "log_sigma.*found inf"),
        (lambda: UncertaintyWeights(NAMES, lr=0.0), "lr must be a positive number; found 0.0"),
        (lambda: ImtlL(NAMES, lr=-1.0), "lr must be a positive number; found -1.0"),
        (lambda: DynamicWeightAverage(NAMES, 0.0), "temperature must be a positive.*found 0.0"),
        (lambda: DynamicWeightAverage(NAMES, math.nan), "temperature.*found nan"),
        (lambda: GradNorm(NAMES, -0.1), "alpha must be.*at least 0; found -0.1"),
        (lambda: GradNorm(NAMES, math.inf), "alpha.*found inf"),
        (lambda: GradNorm(NAMES, lr=0.0), "lr must"),
        (lambda: Famo(NAMES, lr=0.0), "lr must"),
        (lambda: Famo(NAMES, gamma=-1.0), "gamma must be.*at least 0; found -1.0"),
        (lambda: Famo(NAMES, gamma=math.nan), "gamma.*found nan"),
        (lambda: SmoothTchebycheff(NAMES, 0.0), "mu must be a positive number; found 0.0"),
        (lambda: SmoothTchebycheff(NAMES, weights={"left": 1.0}), r"without a weight: \['right'\]"),
        (lambda: SmoothTchebycheff(NAMES, reference={"left": 1.0}), "finite loss for each"),
        (
            lambda: SmoothTchebycheff(NAMES, reference={"left": 1.0, "right": math.nan}),
            "finite loss for each.*nan",
        ),
        (
            lambda: SmoothTchebycheff(NAMES, reference={"left": 1.0, "right": 1.0, "top": 1.0}),
            "finite loss for each.*top",
        ),
    ],
)
def test_arguments_that_make_no_sense_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_arguments_at_the_edge_are_taken():
    assert GradNorm(NAMES, 0.0, lr=None).lr is None
    assert Famo(NAMES, gamma=0.0).gamma == 0
    assert UncertaintyWeights(NAMES, lr=0.5).lr == 0.5 and ImtlL(NAMES, lr=0.5).lr == 0.5
    assert (UncertaintyWeights(NAMES).lr, ImtlL(NAMES).lr) == (None, None)
    assert GradNorm(NAMES).lr == 0.025
