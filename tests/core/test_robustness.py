"""Trouble that users of comparable packages reported: nothing lost, nothing silently wrong."""

from __future__ import annotations

import functools
import os
import random
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mtl_helpers import files
from mtl_helpers.balancing import (
    DynamicWeightAverage,
    FixedWeights,
    GradientBalance,
    UncertaintyWeights,
)
from mtl_helpers.balancing import gradients as methods
from mtl_helpers.datasets import overlapping_digits
from mtl_helpers.datasets.base import MultiTaskData, Splits, with_missing
from mtl_helpers.datasets.regression import regression as related_tasks
from mtl_helpers.datasets.shapes import shapes
from mtl_helpers.experiments import many_seeds
from mtl_helpers.metrics import from_torchmetrics
from mtl_helpers.models import HardSharing, mlp
from mtl_helpers.tasks import Task, binary, by_name, classification, regression
from mtl_helpers.training import evaluate, fit, load_checkpoint, make_optimizer
from mtl_helpers.values import identity, plain, whole_number

F64 = torch.float64
A = [regression("a")]
AB = [regression("a"), regression("b")]
ROOT = Path(__file__).resolve().parents[2]


def inputs(rows=32, seed=0):
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed), dtype=F64)


def data(*names, rows=32):
    x = inputs(rows)
    return MultiTaskData(x, {name: x[:, k % 3].clone() for k, name in enumerate(names or ("a",))})


def network(tasks=A, seed=0, **options):
    torch.manual_seed(seed)
    return HardSharing.linear(mlp(3), tasks, **options)


def numbers(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# ------------------------------------------------------------------------- checkpoints are not lost


NUMPY_SETTINGS = {
    "rate": {"lr": np.logspace(-3, -1, 3)[1]},
    "rate in a function": {"optimizer": lambda p: torch.optim.SGD(p, lr=np.float64(0.01))},
    "float32 rate": {"lr": np.float32(0.01)},
    "batch size": {"batch_size": np.int64(8)},
    "seed": {"seed": np.int32(3)},
    "patience": {"patience": np.int64(3)},
    "weights": {"balance": {"a": np.float64(2.0)}},
    "betas": {"optimizer": lambda p: torch.optim.Adam(p, betas=(np.float64(0.8), 0.9))},
}


@pytest.mark.parametrize("name", NUMPY_SETTINGS)
def test_numbers_of_numpy_in_the_settings_do_not_spoil_a_checkpoint(name, tmp_path):
    settings = {"valid": data(), **NUMPY_SETTINGS[name]}
    path, straight, stopped = tmp_path / "run.pt", network(), network()
    fit(straight, A, data(), epochs=2, **settings)
    fit(stopped, A, data(), epochs=1, checkpoint=path, **settings)
    assert load_checkpoint(path)["history"]["train_losses"]["a"]
    resumed = network(seed=1)
    assert fit(resumed, A, data(), epochs=2, checkpoint=path, **settings).resumed_from == 1
    assert torch.equal(numbers(resumed), numbers(straight))


class Noisy(nn.Module):
    """Noise from the generators of NumPy and Python, as an augmentation may draw it."""

    def forward(self, x):
        return x * (1 + 0.1 * np.random.rand() + 0.1 * random.random()) if self.training else x


def test_noise_of_numpy_and_python_is_resumed_too(tmp_path):
    def noisy():
        return HardSharing.linear(nn.Sequential(Noisy(), *mlp(3)), A, features=64)

    found = []
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    for stops in ([3], [1, 2, 3], [3]):
        torch.manual_seed(0)
        model = noisy()
        for epochs in stops:
            path = tmp_path / f"{len(stops)}.pt"
            fit(model, A, data(), epochs=epochs, checkpoint=path if len(stops) > 1 else None)
            np.random.rand(epochs)  # whatever else goes on in between
        found.append(numbers(model))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    np.random.seed(5)
    fit(noisy(), A, data(), epochs=1)
    assert (random.random(), np.random.rand()) == expected  # the caller's stay as they were


def test_what_cannot_be_read_back_is_refused_before_it_is_written(tmp_path):
    class Odd(torch.optim.SGD):
        def state_dict(self):
            return {**super().state_dict(), "odd": Path("x")}

    path = tmp_path / "run.pt"
    with pytest.raises(ValueError, match=r"run\.pt was not written: .*neither plain data nor"):
        fit(network(), A, data(), epochs=1, optimizer=Odd, checkpoint=path)
    assert not path.exists()


RUN = """
import functools, sys, torch
from mtl_helpers.balancing import GradientBalance
from mtl_helpers.models import HardSharing, mlp
from mtl_helpers.training import MultiTaskData, Task, fit

def absolute(o, t, power=1):
    return (o[:, 0] - t).abs() ** power

class Scaled:
    def __init__(self, by):
        self.by = by
    def __call__(self, o, t):
        return self.by * absolute(o, t)

def worst(o, t):
    return (o[:, 0] - t).abs().max()

def total(grads):
    return grads.sum(0)

losses = {
    "function": absolute, "lambda": lambda o, t: (o[:, 0] - t).abs(),
    "partial": functools.partial(absolute, power=1), "object": Scaled(1.0),
    "other object": Scaled(2.0), "other lambda": lambda o, t: (o[:, 0] - t).abs() * 2,
    "other partial": functools.partial(absolute, power=2), "method": Scaled(1.0).__call__,
}
torch.manual_seed(0)
task = Task("a", losses[sys.argv[1]], worst, 1, False)
data = MultiTaskData(torch.ones(8, 3).double(), {"a": torch.ones(8).double()})
done = fit(HardSharing.linear(mlp(3), [task]), [task], data, data, epochs=int(sys.argv[2]),
           checkpoint=sys.argv[3], balance=GradientBalance(total, ["a"]))
print("resumed from", done.resumed_from)
"""


def run(path, kind, epochs):
    command = [sys.executable, str(path.parent / "run.py"), kind, str(epochs), str(path)]
    (path.parent / "run.py").write_text(textwrap.dedent(RUN))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("kind", ["function", "lambda", "partial", "object", "method"])
def test_a_task_with_its_own_loss_is_resumed_in_a_new_process(kind, tmp_path):
    assert run(tmp_path / "run.pt", kind, 1).stdout == "resumed from 0\n"
    done = run(tmp_path / "run.pt", kind, 2)
    assert done.stdout == "resumed from 1\n", done.stderr


@pytest.mark.parametrize("kind", ["lambda", "partial", "object"])
def test_another_loss_of_the_same_kind_is_not_taken_for_it(kind, tmp_path):
    run(tmp_path / "run.pt", kind, 1)
    done = run(tmp_path / "run.pt", f"other {kind}", 2)
    assert "run.pt belongs to another run: its tasks is" in done.stderr


def test_a_checkpoint_cut_at_any_length_or_damaged_anywhere_is_named(tmp_path):
    path = tmp_path / "run.pt"
    fit(network(), A, data(), epochs=1, checkpoint=path)
    content = path.read_bytes()
    for length in [0, 1, 3, 4, 30, *range(100, len(content), 977), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"^run\.pt cannot be read as a checkpoint"):
            load_checkpoint(path)
    unnoticed = 0
    for at in range(0, len(content), 199):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            state = load_checkpoint(path)
        except ValueError as error:
            assert str(error).startswith("run.pt ")
        else:  # a byte between the parts of the archive
            unnoticed += 1
            assert torch.equal(state["model"]["trunk.1.weight"], load(content)["trunk.1.weight"])
    assert unnoticed < len(content) / 199 / 2


def load(content):
    import io

    return torch.load(io.BytesIO(content), weights_only=True)["model"]


def test_a_folder_or_a_missing_file_says_so_itself(tmp_path):
    with pytest.raises(IsADirectoryError):
        load_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no\.pt"):
        load_checkpoint(tmp_path / "no.pt")


def test_a_file_of_something_else_is_never_written(tmp_path):
    mine = tmp_path / "thesis.txt"
    mine.write_text("years of work")
    with pytest.raises(ValueError, match=r"thesis\.txt cannot be read .*give another file name"):
        fit(network(), A, data(), epochs=1, checkpoint=mine)
    assert mine.read_text() == "years of work"
    fit(network(), A, data(), epochs=1, checkpoint=tmp_path / "other.pt")  # the advice works


def test_home_and_links_are_followed(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    fit(network(), A, data(), epochs=1, checkpoint="~/runs/run.pt")
    assert (tmp_path / "runs" / "run.pt").is_file() and not (tmp_path / "~").exists()
    assert load_checkpoint("~/runs/run.pt")["model"]
    link = tmp_path / "link.pt"
    link.symlink_to(tmp_path / "runs" / "run.pt")
    assert fit(network(), A, data(), epochs=2, checkpoint=link).resumed_from == 1
    assert link.is_symlink() and fit(network(), A, data(), epochs=2, checkpoint="~/runs/run.pt")
    dangling = tmp_path / "later.json"
    dangling.symlink_to(tmp_path / "store.json")
    files.write_json(dangling, {"x": 1})
    assert dangling.is_symlink() and (tmp_path / "store.json").is_file()


@pytest.mark.parametrize("path", ["", ".", "~nobody-of-that-name/run.pt"])
def test_a_path_that_is_none_is_named(path):
    with pytest.raises(ValueError, match=r"a file name is needed|write the folder out"):
        fit(network(), A, data(), epochs=1, checkpoint=path)


# ----------------------------------------------------------------- nothing silently wrong: training


def tied(kind):
    torch.manual_seed(0)
    line = functools.partial(nn.Linear, dtype=F64)
    first, shared = line(3, 4), line(4, 4)
    if kind == "trunk and head":
        return HardSharing(
            nn.Sequential(first, shared),
            {"a": nn.Sequential(shared, line(4, 1)), "b": line(4, 1)},
        )
    return HardSharing(
        first, {"a": nn.Sequential(shared, line(4, 1)), "b": nn.Sequential(shared, line(4, 1))}
    )


@pytest.mark.parametrize("kind", ["trunk and head", "two heads"])
def test_a_layer_in_two_places_is_shared(kind):
    model = tied(kind)
    shared = {id(p) for p in model.shared_parameters()}
    own = [{id(p) for p in model.task_parameters(name)} for name in "ab"]
    assert not own[0] & own[1] and not shared & (own[0] | own[1])
    assert shared | own[0] | own[1] == {id(p) for p in model.parameters()}
    found = []
    for balance in ("equal", "sum"):  # the same method by two roads
        model = tied(kind)
        fit(model, AB, data("a", "b"), balance=balance, optimizer="sgd", lr=0.1, epochs=2)
        found.append(numbers(model))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)
    assert len(model.tied_parameters()) == 2
    with pytest.raises(ValueError, match="heads that share no layer .* Use at='shared'"):
        at_features = GradientBalance("mgda", ["a", "b"], at="features")
        fit(tied(kind), AB, data("a", "b"), balance=at_features, epochs=1)
    fit(tied(kind), AB, data("a", "b"), balance="mgda", epochs=1)  # the advice works


def test_a_layer_that_two_of_three_tasks_share():
    """As discussed for torchjd (pull request 183): neither shared by all nor one task's own."""
    abc = [regression(name) for name in "abc"]
    found = []
    for balance in ("equal", "sum"):
        model = tied("two heads")
        heads = {name: model.heads[f"task_{name}"] for name in "ab"}
        torch.manual_seed(1)
        three = HardSharing(model.trunk, {**heads, "c": nn.Linear(4, 1, dtype=F64)})
        fit(three, abc, data("a", "b", "c"), balance=balance, optimizer="sgd", lr=0.1, epochs=2)
        found.append(numbers(three))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)


def test_an_optimiser_that_leaves_something_out_is_refused():
    model, weights = network(AB), UncertaintyWeights(["a", "b"])
    with pytest.raises(ValueError, match="does not hold the balance's parameter 'log_sigma'"):
        fit(
            model, AB, data("a", "b"), balance=weights, epochs=1,
            optimizer=lambda _: torch.optim.Adam(model.parameters()),
        )  # fmt: skip
    part = lambda _: torch.optim.Adam(model.trunk.parameters())  # noqa: E731
    with pytest.raises(ValueError, match=r"the model's parameter 'heads\.task_a\.weight'"):
        fit(model, AB, data("a", "b"), epochs=1, optimizer=part)
    with pytest.raises(ValueError, match="the model's parameter"):
        many_seeds(
            lambda: network(), A, lambda s: Splits(data(), data(), data()), seeds=[0, 1], steps=1,
            batch_size=None, method="loop", optimizer=lambda p: torch.optim.SGD(list(p)[:1], lr=1),
        )  # fmt: skip
    model.heads.requires_grad_(False)  # the advice works
    fit(model, AB, data("a", "b"), epochs=1, optimizer=part)


def test_a_class_given_as_optimizer_keeps_the_rate():
    found = []
    for optimizer in ("sgd", torch.optim.SGD, functools.partial(torch.optim.SGD, momentum=0.0)):
        model = network()
        fit(model, A, data(), optimizer=optimizer, lr=0.05, epochs=2)
        found.append(numbers(model))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_a_rate_that_would_be_dropped_is_refused():
    weights = [nn.Parameter(torch.zeros(1))]
    for own in (
        lambda p: torch.optim.SGD(p, lr=0.1),
        functools.partial(torch.optim.SGD, lr=0.1),
    ):
        with pytest.raises(ValueError, match=r"lr=0\.5 would not be used"):
            make_optimizer(own, weights, 0.5)
        assert make_optimizer(own, weights).param_groups[0]["lr"] == 0.1
    with pytest.raises(ValueError, match="a SGD that was made before; give its name or its class"):
        fit(network(), A, data(), optimizer=torch.optim.SGD(weights, lr=0.1), epochs=1)
    with pytest.raises(ValueError, match="returned a NoneType; it must return an optimiser"):
        fit(network(), A, data(), optimizer=lambda p: None, epochs=1)


@pytest.mark.parametrize("rate", [0, -1.0, float("nan"), float("inf"), "0.1", True, [0.1]])
def test_a_rate_that_is_none_is_named(rate):
    with pytest.raises(ValueError, match="learning rate must be a positive number; found"):
        fit(network(), A, data(), lr=rate, epochs=1)


def test_a_task_without_any_label_is_refused_in_training_too():
    bare = data("a", "b")
    bare.targets["b"].fill_(float("nan"))
    with pytest.raises(ValueError, match="task 'b' has no label at all in the train data; leave"):
        fit(network(AB), AB, bare, epochs=1)
    fit(network(A), A, bare, epochs=1)  # the advice works


def test_a_balance_that_has_learned_is_not_used_for_another_model():
    learned = UncertaintyWeights(["a"])
    model = network()
    fit(model, A, data(), balance=learned, lr=0.05, epochs=3)
    fit(model, A, data(), balance=learned, lr=0.05, epochs=3)  # going on with the same model
    with pytest.raises(ValueError, match="UncertaintyWeights has learned in another run"):
        fit(network(), A, data(), balance=learned, epochs=1)
    remembers = DynamicWeightAverage(["a"])
    fit(network(), A, data(), balance=remembers, epochs=4)
    with pytest.raises(ValueError, match="DynamicWeightAverage has learned"):
        fit(network(), A, data(), balance=remembers, epochs=1)
    fixed = FixedWeights({"a": 2.0})  # never changes: as often as one likes
    for _ in range(2):
        fit(network(), A, data(), balance=fixed, epochs=1)


def test_a_resumed_run_may_bring_its_balance_again(tmp_path):
    learned, path = UncertaintyWeights(["a"]), tmp_path / "run.pt"
    fit(network(), A, data(), balance=learned, lr=0.05, epochs=1, checkpoint=path)
    straight, twin = UncertaintyWeights(["a"]), network()
    fit(twin, A, data(), balance=straight, lr=0.05, epochs=2)
    fit(network(), A, data(), balance=learned, lr=0.05, epochs=2, checkpoint=path)
    assert torch.equal(learned.sigma, straight.sigma)


def test_everything_frozen_is_named():
    frozen = network().requires_grad_(False)
    with pytest.raises(ValueError, match=r"every parameter .* frozen.*requires_grad_\(True\)"):
        fit(frozen, A, data(), epochs=1)
    with pytest.raises(ValueError, match="every parameter of the model is frozen"):
        many_seeds(
            lambda: network().requires_grad_(False), A, lambda s: Splits(data(), data(), data()),
            seeds=[0], steps=1, batch_size=None,
        )  # fmt: skip
    assert evaluate(frozen, A, data())["a"]["score"] > 0  # to measure it is fine
    fit(frozen.requires_grad_(True), A, data(), epochs=1)  # the advice works


def test_the_mark_of_a_missing_class_is_refused_among_floats():
    given = data()
    given.targets["a"][[3, 5]] = -100
    with pytest.raises(ValueError, match=r"'a': a target of -100 at example 3, far from all"):
        fit(network(), A, given, epochs=1)
    given.targets["a"][given.targets["a"] == -100] = float("nan")  # the advice works
    fit(network(), A, given, epochs=1)
    with pytest.raises(ValueError, match="target of -100 at example 0"):
        regression("a").check_targets(torch.full((3,), -100.0))
    with pytest.raises(ValueError, match="target of -100"):
        Task("a", lambda o, t: o[:, 0] - t, "mae", 1, False).check_targets(
            torch.tensor([0.0, -100.0])
        )


@pytest.mark.parametrize("real", [[-120.0, -100.0, -60.0, 0.0], [-100.0, -99.0, 20.0], [5.0, 7.0]])
def test_data_that_really_reach_minus_one_hundred_are_let_through(real):
    regression("a").check_targets(torch.tensor(real))


# ------------------------------------------------------------------ nothing silently wrong: numbers


def test_logits_inside_zero_and_one_are_not_taken_for_probabilities():
    logits, truth = torch.tensor([[0.1], [0.2], [0.3], [0.4]]), torch.ones(4, 1)
    for options in ("binary_accuracy", "accuracy"):
        kind = {"task": "binary"} if options == "accuracy" else {}
        metric = from_torchmetrics(options, **kind)
        assert Task("b", "bce", metric, 1, True).score(logits, truth) == 1.0
    negative = Task("b", "bce", from_torchmetrics("binary_accuracy"), 1, True)
    assert negative.score(-logits, truth) == 0.0
    several = Task("b", "bce", from_torchmetrics("multilabel_accuracy", num_labels=2), 2, True)
    assert several.score(torch.tensor([[0.1, 0.2]]), torch.ones(1, 2)) == 1.0


def test_probabilities_of_classes_come_from_logits():
    logits, truth = torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.5, 0.4]]), torch.tensor([0, 1])
    error = from_torchmetrics("multiclass_calibration_error", num_classes=3)
    confidence = logits.softmax(1).amax(1)
    assert float(error(logits, truth)) == pytest.approx(float((1 - confidence).mean()), abs=1e-6)
    assert float(error(10 * logits, truth)) != pytest.approx(float(error(logits, truth)))
    chosen = from_torchmetrics("multiclass_accuracy", num_classes=3)
    assert chosen(logits.argmax(1), truth) == 1  # classes instead of logits


def test_a_metric_takes_the_floats_that_a_yes_no_task_needs_and_no_others():
    task = Task("b", "bce", from_torchmetrics("binary_auroc"), 1, True)
    x = inputs()
    given = MultiTaskData(x, {"b": (x[:, 0] > 0).double()})
    fit(network([task]), [task], given, given, epochs=1)
    assert 0 <= evaluate(network([task]), [task], given)["b"]["score"] <= 1
    with pytest.raises(ValueError, match="'b': its metric 'binary_auroc'.*targets 0 and 1"):
        task.score(torch.zeros(2, 1), torch.tensor([[0.5], [1.0]]))
    away = from_torchmetrics("mean_absolute_error")  # no classification: nothing is changed
    assert away(torch.tensor([0.25]), torch.tensor([0.75])) == 0.5


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (lambda o, t: o.no_such, "its metric '<lambda>' cannot take outputs of shape .*no_such"),
        (lambda o, t: (o[:, 0] - t).abs(), "the metric must give one number; found a Tensor of"),
        (lambda o, t: "good", "the metric must give one number; found a str"),
        (lambda o, t: {}["x"], "its metric '<lambda>' cannot take"),
    ],
)
def test_a_metric_that_fails_is_tried_before_training_and_its_task_is_named(metric, text):
    task, model = [Task("a", "mse", metric, 1, False)], network()
    before = numbers(model)
    with pytest.raises(ValueError, match=f"task 'a': {text}"):
        fit(model, task, data(), data(), epochs=1)
    assert torch.equal(numbers(model), before)


def test_a_loss_that_fails_names_its_task():
    with pytest.raises(ValueError, match="task 'a': its loss 'cross_entropy' cannot take outputs"):
        fit(network(), [Task("a", F.cross_entropy, "mae", 1, False)], data(), epochs=1)
    with pytest.raises(ValueError, match="one value per example, shape .* found float"):
        fit(network(), [Task("a", lambda o, t: 0.5, "mae", 1, False)], data(), epochs=1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_stay_in_range(dtype):
    x = torch.randn(70_000, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    model = HardSharing.linear(mlp(3, dtype=dtype), A, dtype=dtype)
    found = evaluate(model, A, MultiTaskData(x, {"a": x[:, 0]}))["a"]
    twin = HardSharing.linear(mlp(3), A)
    twin.load_state_dict({k: v.double() for k, v in model.state_dict().items()})
    exact = evaluate(twin, A, MultiTaskData(x.double(), {"a": x[:, 0].double()}))["a"]
    assert found["loss"] == pytest.approx(exact["loss"], rel=0.02)
    assert found["score"] == pytest.approx(exact["score"], rel=0.02)
    far = regression("a").mean_loss(
        torch.full((9, 1), 300.0, dtype=dtype), torch.zeros(9).to(dtype)
    )
    assert float(far) == pytest.approx(90_000)
    loss = regression("a").mean_loss(model(x[:8])["a"], x[:8, 0])
    loss.backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.dtype == dtype for p in model.parameters())


@pytest.mark.parametrize("name", sorted(methods.METHODS))
def test_gradient_methods_in_half_precision_agree_with_double(name):
    rows = torch.tensor([[100.0, 3.0, 0.0], [-0.5, 2.0, 1.0]])
    options = {"generator": torch.Generator().manual_seed(0)} if name == "graddrop" else {}
    options |= {"draws": torch.tensor([0.3, 0.4, 0.6])} if name == "graddrop" else {}
    half = methods.METHODS[name](rows.half(), **options)
    assert half.dtype == torch.float16 and torch.isfinite(half).all()
    exact = methods.METHODS[name](rows.double(), **options)
    torch.testing.assert_close(half.double(), exact, rtol=0.02, atol=0.02)


def test_surgery_on_tiny_gradients_in_half_precision():
    found = methods.pcgrad(torch.tensor([[100.0, 0.0], [-1e-3, 1e-4]]).half())
    torch.testing.assert_close(
        found.double(), torch.tensor([0.99, 9.90]).double(), rtol=0.02, atol=0
    )


# --------------------------------------------------------------------- refused though it was right


def test_a_loss_of_ones_own_may_take_class_indices():
    def weighed(o, t):
        return F.cross_entropy(o, t, weight=o.new_tensor([1.0, 9.0]), reduction="none")

    task = [Task("rare", weighed, "accuracy", 2, True)]
    x = inputs()
    truth = (x[:, 0] > 1).long()
    truth[0] = -100  # no label, as everywhere
    given = MultiTaskData(x, {"rare": truth})
    fit(network(task), task, given, given, epochs=1)


SEEDED = {
    "many_seeds": lambda seed: many_seeds(
        network, A, lambda s: Splits(data(), data(), data()), seeds=[seed], steps=2, batch_size=4
    ).scores["a"],
    "fit": lambda seed: torch.tensor(
        fit(network(), A, data(), epochs=1, seed=seed).train_losses["a"]
    ),
    "digits": lambda seed: overlapping_digits(seed=seed).train.inputs[:3],
    "regression": lambda seed: related_tasks(seed=seed).train.inputs[:3],
    "shapes": lambda seed: shapes(seed=seed).train.inputs[:3],
    "with_missing": lambda seed: with_missing(data(), "a", 0.5, seed=seed).targets["a"].isnan(),
}


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int32])
@pytest.mark.parametrize("name", SEEDED)
def test_seeds_may_come_from_numpy(name, kind):
    assert torch.equal(SEEDED[name](kind(3)), SEEDED[name](3))


@pytest.mark.parametrize("seed", [0.5, "3", None, True, np.float64(1), np.bool_(True)])
@pytest.mark.parametrize("name", SEEDED)
def test_what_is_no_seed_is_named(name, seed):
    with pytest.raises(ValueError, match="seed must be a whole number; found"):
        SEEDED[name](seed)


def test_a_range_or_an_array_of_seeds():
    for seeds in (np.arange(3), range(3), torch.arange(3)):
        found = many_seeds(
            network, A, lambda s: Splits(data(), data(), data()), seeds=seeds, steps=2, batch_size=4
        )
        assert found.seeds == (0, 1, 2)


class Words(nn.Module):
    """Token ids [B, T] to the mean of their embeddings."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 4, dtype=F64)

    def forward(self, ids):
        return self.table(ids).mean(1)


def test_token_ids_are_inputs_like_others():
    ids = torch.randint(10, (32, 5), generator=torch.Generator().manual_seed(0))
    given = MultiTaskData(ids, {"a": ids.double().mean(1)})
    fit(HardSharing.linear(Words(), A, features=4), A, given, given, epochs=2)
    assert evaluate(HardSharing.linear(Words(), A, features=4), A, given)["a"]["score"] > 0


def test_pictures_of_whole_numbers_are_told_what_to_do():
    grey = torch.randint(256, (8, 3), dtype=torch.uint8)
    given = MultiTaskData(grey, {"a": torch.zeros(8, dtype=F64)})
    with pytest.raises(ValueError, match=r"whole numbers \(torch.uint8\).*inputs.double\(\)"):
        fit(network(), A, given, epochs=1)
    fit(network(), A, MultiTaskData(grey.double() / 255, given.targets), epochs=1)


def test_numbers_of_numpy_in_a_task():
    task = Task("a", "mse", "rmse", np.int64(1), np.bool_(False))
    assert task.outputs == 1 and type(task.outputs) is int and task.higher_is_better is False


# ------------------------------------------------------------ raw errors of libraries are explained


def with_norm(kind=nn.BatchNorm1d):
    trunk = nn.Sequential(nn.Linear(3, 4, dtype=F64), kind(4, dtype=F64))
    return HardSharing.linear(trunk, A, features=4)


@pytest.mark.parametrize(("rows", "batch_size"), [(33, 32), (33, 1), (9, 4), (9, 8)])
def test_a_last_batch_of_one_is_named_and_the_advice_works(rows, batch_size):
    with pytest.raises(ValueError, match="batch normalisation needs at least two") as caught:
        fit(with_norm(), A, data(rows=rows), batch_size=batch_size, epochs=1)
    advised = int(re.search(r"use batch_size=(\d+)", str(caught.value))[1])
    assert advised >= batch_size
    model = with_norm()
    fit(model, A, data(rows=rows), batch_size=advised, epochs=1)
    with pytest.raises(ValueError, match="needs at least two"):
        many_seeds(
            with_norm, A, lambda s: Splits(*[data(rows=rows)] * 3), seeds=[0], steps=2,
            batch_size=batch_size,
        )  # fmt: skip


def test_only_where_it_matters_is_a_batch_of_one_refused():
    with pytest.raises(ValueError, match="give more examples"):
        fit(with_norm(), A, data(rows=1), batch_size=None, epochs=1)
    before = with_norm()
    statistics = before.trunk[1].running_mean.clone()
    with pytest.raises(ValueError, match="at least two"):
        fit(before, A, data(rows=33), batch_size=32, epochs=1)
    assert torch.equal(before.trunk[1].running_mean, statistics)  # the trial left no trace
    fit(network(), A, data(rows=33), batch_size=32, epochs=1)  # no batch norm
    fit(with_norm(), A, data(rows=34), batch_size=32, epochs=1)
    picture = nn.Sequential(
        nn.Conv2d(1, 2, 3, dtype=F64), nn.BatchNorm2d(2, dtype=F64), nn.Flatten()
    )
    one = MultiTaskData(torch.randn(5, 1, 4, 4, dtype=F64), {"a": torch.zeros(5, dtype=F64)})
    fit(HardSharing.linear(picture, A, features=8), A, one, batch_size=4, epochs=1)


def loader():
    pairs = torch.utils.data.TensorDataset(inputs(), inputs()[:, 0])
    return torch.utils.data.DataLoader(pairs)


NOT_DATA = {
    "DataLoader": (loader(), r"DataLoader: give all examples, .*batch_size=\.\.\. deals"),
    "tuple": ((inputs(), inputs()[:, 0]), "found tuple: give MultiTaskData"),
    "Splits": (Splits(data(), data(), data()), r"found Splits: give one of its parts, such as"),
    "tensor": (inputs(), "found Tensor: give MultiTaskData"),
    "nothing": (None, "found NoneType"),
}


@pytest.mark.parametrize("name", NOT_DATA)
def test_other_kinds_of_data_are_told_what_to_give(name):
    given, text = NOT_DATA[name]
    with pytest.raises(TypeError, match=f"the train data must be MultiTaskData; .*{text}|{text}"):
        fit(network(), A, given, epochs=1)
    with pytest.raises(TypeError, match="the test data must be MultiTaskData"):
        evaluate(network(), A, given)


def test_one_task_without_a_list_is_named():
    with pytest.raises(ValueError, match=r"tasks must be a list: \[a\]"):
        fit(network(), A[0], data(), epochs=1)
    with pytest.raises(ValueError, match=r"a list of Task; found \['str'\]. Make one with"):
        by_name(["a"])


@pytest.mark.parametrize("epochs", [1.5, "2", None, True])
def test_epochs_are_a_whole_number(epochs):
    with pytest.raises(ValueError, match="epochs must be a whole number; found"):
        fit(network(), A, data(), epochs=epochs)


# -------------------------------------------------------------------------------- values themselves


def make(factor):
    def scaled(o, t):
        return factor * (o - t)

    return scaled


ALPHA = 1.0


def reads_a_global(o, t):
    return ALPHA * (o - t)


class Holder:
    def __init__(self, x):
        self.x = x
        self.me = self  # a circle

    def loss(self, o, t):
        return self.x


PAIRS = {
    "closure": (make(1.0), make(1.0), make(2.0)),
    "partial": tuple(functools.partial(pow, exp=e) for e in (2, 2, 3)),
    "object": (Holder(1), Holder(1), Holder(2)),
    "method": (Holder(1).loss, Holder(1).loss, Holder(2).loss),
    "module": tuple(nn.MSELoss(reduction=r) for r in ("none", "none", "sum")),
    "weights": tuple(nn.CrossEntropyLoss(weight=torch.tensor(w)) for w in ([1.0], [1.0], [2.0])),
    "tensor": (torch.ones(2), torch.ones(2), torch.ones(2, 1)),
    "array": (np.ones(2), np.ones(2), np.zeros(2)),
    "numbers": (np.float64(0.1), 0.1, 0.2),
    "nested": ({"a": [1, (2, None)]}, {"a": [1, (2, None)]}, {"a": [1, (3, None)]}),
    "library": (F.mse_loss, F.mse_loss, F.l1_loss),
    "metric": tuple(from_torchmetrics("accuracy", task=t) for t in ("binary", "binary", "x")),
}


@pytest.mark.parametrize("name", PAIRS)
def test_identity_tells_apart_what_differs_and_nothing_else(name):
    one, same, other = PAIRS[name]
    assert identity(one) == identity(same) != identity(other)
    assert " at 0x" not in identity(one) and len(identity(one)) < 260


def test_identity_sees_the_globals_that_a_function_reads(monkeypatch):
    before = identity(reads_a_global)
    monkeypatch.setattr(sys.modules[__name__], "ALPHA", 2.0)
    assert identity(reads_a_global) != before


def test_identity_without_source():
    space = {}
    exec("f = lambda o, t: [x for x in (o, 1)]\ng = lambda o, t: [x for x in (o, 2)]", space)
    assert identity(space["f"]) != identity(space["g"])


def test_plain_unwraps_numpy_everywhere():
    found = plain({np.str_("a"): (np.float64(1), [np.int64(2)]), "b": np.ones(2), "c": {1}})
    assert found["a"] == (1.0, [2]) and type(found["a"][0]) is float
    assert torch.equal(found["b"], torch.ones(2, dtype=F64)) and found["c"] == {1}


def test_whole_numbers():
    assert [whole_number("x", v) for v in (3, np.uint8(3), torch.tensor(3))] == [3, 3, 3]
    for wrong in (0.5, "3", True, np.bool_(False), None, torch.tensor(0.5)):
        with pytest.raises(ValueError, match="x must be a whole number; found"):
            whole_number("x", wrong)


def test_binary_targets_with_a_mark_of_a_missing_class():
    with pytest.raises(ValueError, match="target of -100 at example 1"):
        binary("b").check_targets(torch.tensor([0.0, -100.0]))
    classification("c", 2).check_targets(torch.tensor([0, -100]))
