"""What an error message advises is done as it says, and then the call goes through."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from mtl_helpers.balancing import GeometricMean, GradNorm
from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.experiments import many_seeds
from mtl_helpers.models import HardSharing, mlp
from mtl_helpers.tasks import Task, regression
from mtl_helpers.training import fit

F64 = torch.float64
AB = [regression("a"), regression("b")]
NAMES = ["a", "b"]


def data(rows=16, dtype=F64):
    x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return MultiTaskData(x, {"a": x[:, 0].clone(), "b": x[:, 1].clone()})


def network(dtype=F64):
    torch.manual_seed(0)
    return HardSharing.linear(mlp(3, (4,), dtype=dtype), AB, dtype=dtype)


def test_a_run_that_is_already_longer(tmp_path):
    path = tmp_path / "run.pt"
    fit(network(), AB, data(), epochs=3, checkpoint=path)
    with pytest.raises(ValueError, match="has 3 epochs, and epochs=2 .*; ask for more, or give an"):
        fit(network(), AB, data(), epochs=2, checkpoint=path)
    assert fit(network(), AB, data(), epochs=4, checkpoint=path).resumed_from == 3
    assert fit(network(), AB, data(), epochs=2, checkpoint=tmp_path / "new.pt").epochs == 2


def test_the_checkpoint_of_another_run(tmp_path):
    path = tmp_path / "run.pt"
    fit(network(), AB, data(), epochs=1, checkpoint=path)
    change = {"lr": 0.05, "epochs": 2}
    with pytest.raises(ValueError, match="another checkpoint file, or delete that one to start"):
        fit(network(), AB, data(), checkpoint=path, **change)
    other = fit(network(), AB, data(), checkpoint=tmp_path / "other.pt", **change)
    path.unlink()
    assert fit(network(), AB, data(), checkpoint=path, **change) == other
    assert other.resumed_from == 0


def test_a_rate_that_is_too_high():
    with pytest.raises(FloatingPointError, match="lower the learning rate") as caught:
        fit(network(), AB, data(), optimizer="sgd", lr=1e6, epochs=20)
    tried = float(re.search(r"\(now ([0-9.e+]+)\)", str(caught.value))[1])
    assert fit(network(), AB, data(), optimizer="sgd", lr=tried / 1e8, epochs=20).epochs == 20


def test_patience_without_a_validation_set():
    with pytest.raises(ValueError, match=r"pass valid=\.\.\. or leave patience out"):
        fit(network(), AB, data(), epochs=1, patience=2)
    fit(network(), AB, data(), valid=data(), epochs=1, patience=2)
    fit(network(), AB, data(), epochs=1)


def test_a_model_of_another_type_than_its_data():
    with pytest.raises(ValueError, match=r"call data\.to\(dtype=\.\.\.\) or model\.to") as caught:
        fit(network(torch.float32), AB, data(), epochs=1)
    assert "model's dtype is torch.float32" in str(caught.value)
    fit(network(torch.float32), AB, data().to(dtype=torch.float32), epochs=1)
    fit(network(torch.float32).to(F64), AB, data(), epochs=1)


def test_targets_on_another_device_than_their_inputs():
    apart = data()
    apart.targets["b"] = apart.targets["b"].to("meta")  # there is one on every machine
    with pytest.raises(ValueError, match=r"'b': its train targets are on meta.* call data\.to"):
        fit(network(), AB, apart, epochs=1)
    with pytest.raises(ValueError, match=r"model's device is meta .*call data\.to\(device="):
        fit(network().to("meta"), AB, data(), epochs=1)
    apart.targets["b"] = data().targets["b"]
    fit(network(), AB, apart.to(device="cpu"), epochs=1)


class Alone(nn.Module):
    """A network for each task: nothing is shared."""

    def __init__(self):
        super().__init__()
        self.nets = nn.ModuleDict({name: nn.Linear(3, 1, dtype=F64) for name in NAMES})

    def forward(self, inputs):
        return {name: net(inputs) for name, net in self.nets.items()}

    def shared_parameters(self):
        return []

    def task_parameters(self, name):
        return list(self.nets[name].parameters())


def test_a_gradient_method_where_nothing_is_shared():
    with pytest.raises(ValueError, match="nothing to balance; use balance='equal'"):
        fit(Alone(), AB, data(), balance="mgda", epochs=1)
    fit(Alone(), AB, data(), balance="equal", epochs=1)


class Spare(HardSharing):
    """Has a parameter that it gives to nobody, until ``counted`` says so."""

    counted = False

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.scale = nn.Parameter(torch.ones(1, dtype=F64))

    def forward(self, inputs):
        return {name: self.scale * output for name, output in super().forward(inputs).items()}

    def shared_parameters(self):
        found = [p for p in super().shared_parameters() if p is not self.scale]
        return [*found, self.scale] if self.counted else found


def test_a_parameter_that_belongs_to_nobody():
    model = Spare.linear(mlp(3, (4,)), AB)
    with pytest.raises(ValueError, match=r"'scale' is neither .* add it to shared_parameters\(\)"):
        fit(model, AB, data(), balance="mgda", epochs=1)
    model.counted = True
    fit(model, AB, data(), balance="mgda", epochs=1)
    assert model.scale.item() != 1


def test_gradnorm_without_a_layer_of_its_own():
    model, batch = network(), data()
    outputs = model(batch.inputs)
    losses = torch.stack([t.mean_loss(outputs[t.name], batch.targets[t.name]) for t in AB])
    with pytest.raises(ValueError, match=r"context={'model': model}.* layer=a parameter"):
        GradNorm(NAMES)(losses)
    by_context = GradNorm(NAMES)(losses, {"model": model})
    assert torch.equal(GradNorm(NAMES, layer=model.trunk[1].weight)(losses), by_context)
    copied = network().trunk[1].weight
    with pytest.raises(ValueError, match="a parameter of this very model .by its name, if"):
        fit(model, AB, batch, balance=GradNorm(NAMES, layer=copied), epochs=1)
    fit(model, AB, batch, balance=GradNorm(NAMES, layer="trunk.1.weight"), epochs=1)


def test_a_loss_below_zero_where_its_logarithm_is_taken():
    def shifted(by):
        own = Task("a", lambda o, t: (o[:, 0] - t) ** 2 + by, "mae", 1, False)
        return [own, regression("b")]

    with pytest.raises(ValueError, match="'a': .* losses of at least 0.* add a constant .* or cho"):
        fit(network(), shifted(-9), data(), balance=GeometricMean(NAMES), epochs=1)
    fit(network(), shifted(-9 + 10), data(), balance=GeometricMean(NAMES), epochs=1)
    fit(network(), shifted(-9), data(), balance="equal", epochs=1)


def test_weights_and_a_balance_at_once_and_seeds_given_twice():
    def run(seeds=(0, 1), **more):
        make = lambda seed: Splits(data(), data(), data())  # noqa: E731
        return many_seeds(network, AB, make, seeds=seeds, steps=2, batch_size=4, **more)

    weights = {"a": 1.0, "b": 2.0}
    with pytest.raises(ValueError, match="not both: fixed weights are a balance"):
        run(weights=weights, balance="equal")
    one, other = run(weights=weights), run(balance=weights)
    assert torch.equal(one.scores["a"], other.scores["a"])
    with pytest.raises(ValueError, match="seeds must be given and differ from each other"):
        run(seeds=(1, 1))
    run(seeds=(1, 2))
