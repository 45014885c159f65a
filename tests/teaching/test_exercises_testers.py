"""Each generic tester accepts right forms, and refuses wrong ones with a sentence of their own."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from mtl_helpers.teaching.exercises import NotAttemptedError, compare, exercise
from mtl_helpers.teaching.exercises import core as exercises_core
from mtl_helpers.teaching.exercises.testers import (
    each_example_counts,
    gradient_reaches,
    inputs_left_alone,
    layers_stay,
    order_of_keys,
    parameters_learn,
    takes_any_array,
    trains,
)

F64 = torch.float64


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


# ------------------------------------------------------------------------------ gradient reaches


def loss(outputs, weights):
    return (outputs.square() * weights).sum()


def without_grad(outputs, weights):
    with torch.no_grad():
        return loss(outputs, weights)


class Half:
    def __call__(self, outputs, weights):
        return loss(outputs, weights) / 2


PAIR = (drawn(4), drawn(4, seed=1).abs())


@pytest.mark.parametrize(
    "answer",
    [
        loss,
        Half(),
        lambda outputs, weights: (loss(outputs, weights), weights.sum()),
        lambda outputs, weights: {"a": loss(outputs, weights), "b": outputs * weights},
        lambda outputs, weights: [o * o * w for o, w in zip(outputs, weights, strict=True)],
        lambda outputs, weights: (outputs * weights).softmax(0),
    ],
)
def test_a_result_that_can_be_trained_through_is_accepted(answer):
    assert gradient_reaches(answer, PAIR) is None


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda o, w: loss(o, w).detach(), "no gradient: detach() cut it off"),
        (lambda o, w: loss(o.data, w.data), "no gradient: .data gives"),
        (without_grad, "computed under no_grad"),
        (lambda o, w: float(loss(o, w)), "the result is a plain number"),
        (lambda o, w: loss(o, w).item(), "the result is a plain number"),
        (lambda o, w: bool(loss(o, w) > 0), "the result is True or False"),
        (lambda o, w: torch.tensor(float(loss(o, w))), "no gradient: float() made a plain number"),
        (lambda o, w: torch.tensor(loss(o, w).item()), "no gradient: item() made a plain number"),
        (lambda o, w: torch.tensor((o * w).tolist()), "no gradient: tolist() made plain numbers"),
        (lambda o, w: (o.detach().numpy() * 2).sum(), "the result is a NumPy array"),
        (lambda o, w: np.asarray(o).sum() + w.sum(), "NumPy keeps no gradient: compute with"),
        (lambda o, w: (o * w).argmax(), "argmax gives a place"),
        (lambda o, w: (o * w).long().sum(), "long() gives whole numbers"),
        (lambda o, w: torch.tensor(3.0), "torch.tensor(...) made new numbers"),
        (lambda o, w: torch.tensor((o * w).sum()), "torch.tensor(...) made new numbers"),
        (lambda o, w: torch.zeros(1), "detached, turned into a plain number or computed under"),
        (lambda o, w: loss(o.detach(), w), "no gradient reaches `o`"),
        (lambda o, w: loss(o, w.detach()), "no gradient reaches `w`"),
        (lambda o, w: w.sum() + (o * w).round().sum(), "the gradient in `o` is 0 everywhere"),
        (lambda o, w: w.sum() + (0 * o).sqrt().sum(), "the gradient in `o` is nan or infinite"),
        (lambda o, w: {"a": loss(o, w), "b": loss(o, w).detach()}, "no gradient: detach()"),
    ],
)
def test_what_cuts_a_gradient_is_told_apart(answer, sentence):
    message = gradient_reaches(answer, PAIR)
    assert sentence in message
    assert message.endswith(".")


def test_only_the_gradients_asked_for_must_arrive():
    def answer(outputs, weights):
        return loss(outputs, weights.detach())

    assert gradient_reaches(answer, PAIR, to=[0]) is None
    assert "`weights`" in gradient_reaches(answer, PAIR, to=[0, 1])


def centred(x):
    return (x - x.mean(0)).square()


def test_a_part_that_is_detached_is_seen_next_to_a_reference():
    assert gradient_reaches(lambda x: (x - x.mean(0)) ** 2, (drawn(4, 2),), right=centred) is None
    half = gradient_reaches(lambda x: (x - x.mean(0).detach()) ** 2, (drawn(4, 2),), right=centred)
    assert "the numbers are right and the gradient in `x` is not" in half
    unused = gradient_reaches(lambda x, y: x * y, PAIR, right=lambda x, y: x * y.detach())
    assert "the gradient in `y` is not" in unused


def test_an_error_of_the_answer_is_not_hidden():
    with pytest.raises(RuntimeError, match="own"):
        gradient_reaches(lambda x: (_ for _ in ()).throw(RuntimeError("my own")), (drawn(2),))


def test_the_tester_speaks_also_through_a_check(monkeypatch):
    monkeypatch.setattr(exercises_core, "_REGISTRY", {})

    @exercise("98.1", "Square", kind="fill one line", difficulty=1, minutes=1)
    def check(answer):
        return compare(answer, torch.square, [(drawn(2),), (drawn(3),)]) or gradient_reaches(
            answer, (drawn(3),)
        )

    assert check(lambda x: x * x).status == "right"
    assert "detach() cut it off" in check(lambda x: x.detach() ** 2).message
    through = check(lambda x: torch.as_tensor(np.asarray(x) ** 2))
    assert "compute with torch" in through.message
    assert "detach().numpy()" not in through.message


# ------------------------------------------------------------------------------ parameters learn


class Net(nn.Module):
    """A trunk and two heads, with one fault."""

    def __init__(self, fault=""):
        super().__init__()
        self.fault = fault
        self.trunk = nn.Linear(3, 4, dtype=F64)
        self.left, self.right = nn.Linear(4, 2, dtype=F64), nn.Linear(4, 1, dtype=F64)
        self.hidden = [nn.Linear(4, 4, dtype=F64)]
        if fault == "frozen":
            self.left.requires_grad_(False)

    def forward(self, x):
        if self.fault == "made":
            z = nn.Linear(3, 4, dtype=F64)(x)
        elif self.fault == "remade":
            self.trunk = nn.Linear(3, 4, dtype=F64)
            z = self.trunk(x)
        else:
            z = self.trunk(x).relu()
        if self.fault == "plain list":
            z = self.hidden[0](z)
        if self.fault == "detached":
            z = z.detach()
        if self.fault == "mean":
            z = z.mean(0, keepdim=True).expand(len(x), -1)
        if self.fault == "centred":
            z = z - z.mean(0)
        if self.fault == "late":
            if not hasattr(self, "late"):
                self.late = nn.Linear(4, 4, dtype=F64)
            z = self.late(z)
        left, right = self.left(z), self.right(z)
        if self.fault == "no_grad":
            with torch.no_grad():
                left = self.left(z)
        return {"left": left, "right": left[:, :1] if self.fault == "unused" else right}


X = (drawn(5, 3),)


@pytest.mark.parametrize(
    ("model", "frozen"),
    [(Net(), ()), (Net("frozen"), ("left",)), (nn.Linear(3, 2, dtype=F64), ())],
)
def test_a_model_that_learns_is_accepted(model, frozen):
    assert parameters_learn(model, X, frozen) is None


def test_a_model_that_is_frozen_as_a_whole_has_no_gradient_to_ask_for():
    assert parameters_learn(nn.Linear(3, 2).requires_grad_(False), X, ("",)) is None


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("detached", "no gradient reaches `trunk.weight`, `trunk.bias`"),
        ("unused", "no gradient reaches `right.weight`, `right.bias`"),
        ("frozen", "`left.weight` asks for no gradient (requires_grad is off)"),
        ("made", "no gradient reaches `trunk.weight`"),
        ("no_grad", "the result has no gradient: it was computed under no_grad"),
    ],
)
def test_a_parameter_that_does_not_learn_is_named(fault, sentence):
    assert sentence in parameters_learn(Net(fault), X)


def test_more_about_parameters():
    assert "shall be frozen" in parameters_learn(Net(), X, frozen=("trunk",))
    assert "no parameters" in parameters_learn(nn.ReLU(), X)
    assert "`right.weight`" in parameters_learn(Net(), X, part="left")
    many = nn.Sequential(*(nn.Linear(3, 3, dtype=F64) for _ in range(3)))
    many.forward = lambda x: x * many[2].weight.sum()
    assert "`1.weight` and 2 more" in parameters_learn(many, X)


# ------------------------------------------------------------------------------ layers stay


@pytest.mark.parametrize("model", [Net(), Net("late"), nn.Linear(3, 2, dtype=F64), Net("frozen")])
def test_layers_of_its_own_are_accepted(model):
    assert layers_stay(model, X) is None


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("made", "forward makes a new layer in every call"),
        ("remade", "forward makes a new layer in every call"),
        ("plain list", "2 of the tensors that the model uses are not among model.parameters()"),
    ],
)
def test_layers_that_nobody_trains_are_told_apart(fault, sentence):
    assert sentence in layers_stay(Net(fault), X)


# ------------------------------------------------------------------------------ inputs left alone


def filled(output, target):
    target[target.isnan()] = 0.0
    return output - target


def popped(scores):
    return scores.pop("a")


def sorts(values):
    values.sort()
    return values[0]


def stepped(theta):
    theta.data -= 0.1
    return theta.sum()


def evaluated(model, x):
    return model.eval()(x)


def trained(model, x):
    for p in model.parameters():
        p.data += 1
    return model(x)


def frozen(model, x):
    model.requires_grad_(False)
    return model(x)


def retyped(values):
    values["x"].resize_(2)


def renamed(model):
    model.more = nn.Linear(1, 1)


def asked(x):
    x.requires_grad_()


def backwards(theta):
    theta.square().sum().backward()


THETA = drawn(3).requires_grad_()
MODEL = nn.Sequential(nn.Linear(3, 2, dtype=F64), nn.Dropout(0.5))
GAPS = torch.tensor([1.0, torch.nan])


@pytest.mark.parametrize(
    ("answer", "inputs"),
    [
        (lambda output, target: output - target.nan_to_num(), (drawn(2), GAPS)),
        (lambda scores: dict(scores, a=0), ({"a": 1, "b": [1, 2]},)),
        (sorted, ([3, 1, 2],)),
        (lambda x: np.sort(x), (np.array([3.0, 1.0, np.nan]),)),
        (lambda theta: theta * 2, (THETA,)),
        (lambda theta: theta * 2, (THETA * 2,)),
        (lambda model, x: model(x), (MODEL, drawn(4, 3))),
        (lambda theta: torch.autograd.grad(theta.sum(), theta), (THETA,)),
        (lambda x: None, (torch.zeros(2, device="meta"),)),
        (backwards, (THETA,)),
    ],
)
def test_an_answer_that_leaves_its_inputs_alone_is_accepted(answer, inputs):
    kept = copy.deepcopy([v for v in inputs if not isinstance(v, torch.Tensor)])
    assert inputs_left_alone(answer, inputs) is None
    assert str(kept) == str([v for v in inputs if not isinstance(v, torch.Tensor)])


@pytest.mark.parametrize(
    ("answer", "inputs", "sentence"),
    [
        (filled, (drawn(2), GAPS), "changes `target`, which belongs to the caller: its numbers"),
        (popped, ({"a": 1, "b": 2},), "`scores`, which belongs to the caller: something was added"),
        (lambda s: s.update(a=5), ({"a": 1},), "at ['a'] 1 became 5"),
        (lambda s: s["t"].add_(1), ({"t": drawn(2)},), "at ['t'] its numbers are overwritten"),
        (lambda s: s.append(1), ([1],), "something was added"),
        (sorts, ([3, 1],), "at [0] 3 became 1"),
        (sorts, (np.array([3.0, 1.0]),), "`values`, which belongs to the caller: its numbers"),
        (stepped, (THETA,), "changes `theta`, which belongs to the caller: its numbers"),
        (evaluated, (MODEL, drawn(4, 3)), "`model`, which belongs to the caller: its mode"),
        (trained, (MODEL, drawn(4, 3)), "its `0.weight`, `0.bias` changed"),
        (frozen, (MODEL, drawn(4, 3)), "the requires_grad of a parameter is switched"),
        (renamed, (MODEL,), "its parameters or buffers have other names"),
        (asked, (drawn(2),), "its requires_grad is switched"),
        (retyped, ({"x": drawn(3)},), "at ['x'] its shape or number type"),
    ],
)
def test_a_side_effect_is_named(answer, inputs, sentence):
    assert sentence in inputs_left_alone(answer, inputs)


def test_names_and_gradients_can_be_asked_for():
    assert "`start`" in inputs_left_alone(stepped, (THETA,), names=["start"])
    assert ".grad is filled" in inputs_left_alone(backwards, (THETA,), grads=True)
    assert inputs_left_alone(lambda theta: theta.sum(), (THETA,), grads=True) is None
    model = nn.Linear(2, 1)
    moved = inputs_left_alone(lambda m: m(torch.ones(2)).backward(), (model,), grads=True)
    assert "`m`" in moved
    assert ".grad is filled" in moved


# ------------------------------------------------------------------------------ each example


@pytest.mark.parametrize(
    "answer",
    [Net().eval(), torch.relu, lambda x: x.sum(1), lambda x: [x.mean(1), x.var(1).numpy()]],
)
def test_examples_of_their_own_are_accepted(answer):
    assert each_example_counts(answer, *X) is None


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Net("mean"), "every example gets the same result"),
        (lambda x: torch.ones(len(x)), "every example gets the same result"),
        (Net("centred"), "depends on the other examples"),
        (lambda x: x.softmax(0), "depends on the other examples"),
        (lambda x: x + x[1], "depends on the other examples"),
        (nn.BatchNorm1d(3, dtype=F64, track_running_stats=False), "depends on the other examples"),
        (lambda x: x.mean(0), "5 examples must give 5 results; found shape [3]"),
        (lambda x: x.sum(), "5 examples must give 5 results; found shape []"),
        (lambda x: "text", "5 examples must give 5 results; found no numbers"),
    ],
)
def test_a_mean_over_the_batch_is_seen(answer, sentence):
    model = answer.eval() if isinstance(answer, nn.Module) else answer
    assert sentence in each_example_counts(model, *X)


# ------------------------------------------------------------------------------ training


def stepper(model, names, size=0.1):
    def step():
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if name.startswith(names):
                    value.add_(size)

    return step


def test_training_that_moves_what_it_must_is_accepted():
    model = Net()
    assert trains(stepper(model, ("trunk", "left", "right")), model) is None
    assert trains(stepper(model, ("left", "right")), model, frozen=["trunk"]) is None
    assert trains(stepper(model, ("left",)), model, moving=["left"]) is None
    norm = nn.BatchNorm1d(2)
    assert trains(stepper(norm, ("weight", "bias")), norm) is None


@pytest.mark.parametrize(
    ("moved", "asked", "sentence"),
    [
        (("trunk", "left"), {}, "training leaves `right.weight` where it was"),
        (("trunk", "left", "right"), {"frozen": ["trunk"]}, "`trunk.weight` shall be frozen"),
        (("left",), {"moving": ["trunk"]}, "training leaves `trunk.weight` where it was"),
        (("nothing",), {}, "training leaves `trunk.weight` where it was"),
    ],
)
def test_training_that_moves_something_else_is_told(moved, asked, sentence):
    model = Net()
    assert sentence in trains(stepper(model, moved), model, **asked)


def test_training_that_runs_away_and_frozen_buffers_are_told():
    model = Net()
    assert "nan or infinity" in trains(stepper(model, ("left",), torch.inf), model)
    norm = nn.BatchNorm1d(2)
    step = stepper(norm, ("",), 1)
    assert "`running_mean` shall be frozen" in trains(step, norm, frozen=["running"])


# ------------------------------------------------------------------------------ other inputs


BY_NAME = ({"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 5.0})


@pytest.mark.parametrize(
    "answer",
    [
        lambda multi, single: sum(multi[k] / single[k] for k in multi),
        lambda multi, single: {k: multi[k] - single[k] for k in single},
        lambda multi, single: multi["a"] - single["b"],
    ],
)
def test_names_instead_of_positions_are_accepted(answer):
    assert order_of_keys(answer, BY_NAME) is None


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda m, s: sum(x / y for x, y in zip(m.values(), s.values(), strict=True)), "`m`"),
        (lambda m, s: next(iter(m.values())), "`m`"),
        (lambda m, s: list(s.values()), "`s`"),
    ],
)
def test_positions_instead_of_names_are_told(answer, name):
    message = order_of_keys(answer, BY_NAME)
    assert f"entries of {name} in another order" in message


def test_inputs_without_dictionaries_have_no_order():
    assert order_of_keys(lambda x: x, (1,)) is None


@pytest.mark.parametrize(
    "answer",
    [
        lambda x, k: torch.as_tensor(x, dtype=F64).sum() * k,
        lambda x, k: np.asarray(x).sum() * k,
        lambda x, k: sum(float(v) for v in x) * k,
        lambda x, k: [float(v) * k for v in x],
    ],
)
def test_a_function_that_converts_takes_every_form(answer):
    assert takes_any_array(answer, (drawn(4), 2)) is None


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda x, k: x.sum() * k, "given a list your function does not run"),
        (lambda x, k: (x * 2)[:4], "given a list your function gives something else"),
        (lambda x, k: len(x) if isinstance(x, np.ndarray) else 0, "given a NumPy array"),
        (lambda x, k: x.dtype.itemsize if hasattr(x, "dtype") else 8, "given a float32 tensor"),
    ],
)
def test_a_function_for_one_form_only_is_told(answer, sentence):
    assert sentence in takes_any_array(answer, (drawn(4), 2))


def test_only_the_forms_asked_for_are_tried():
    assert takes_any_array(lambda x: x.sum(), (drawn(3),), forms=["a NumPy array"]) is None


def test_a_blank_and_a_function_without_a_signature_are_left_to_the_check():
    with pytest.raises(NotAttemptedError):
        takes_any_array(lambda x: 1 if isinstance(x, torch.Tensor) else None, X)
    assert "changes `argument 1`" in inputs_left_alone(dict.update, ({"a": 1}, {"b": 2}))
