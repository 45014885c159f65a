"""Probes: each task's gradient, layer by layer, while a model trains."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mtl_helpers.balancing import GradientBalance
from mtl_helpers.datasets.base import MultiTaskData
from mtl_helpers.models import HardSharing, mlp
from mtl_helpers.tasks import classification, regression
from mtl_helpers.teaching.probes import GradientProbe, cosines, layer_gradients
from mtl_helpers.training import fit, task_losses

F64 = torch.float64
TASKS = (regression("size"), classification("kind", 3))
NAMES = ("size", "kind")


def plain(seed=0):
    torch.manual_seed(seed)
    return HardSharing.linear(mlp(4, (6, 5)), TASKS)


def one_input(examples=30, seed=0):
    x = torch.randn(examples, 4, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return MultiTaskData(x, {"size": x.sum(1), "kind": x[:, :3].argmax(1)})


def test_layer_gradients_are_those_of_backward():
    model, data = plain(), one_input()
    losses = task_losses(model(data.inputs), data.targets, TASKS)
    found = layer_gradients(model, losses)
    assert list(found) == [f"trunk.{i}.{what}" for i in (1, 3) for what in ("weight", "bias")]
    assert all(p.grad is None for p in model.parameters())
    for k in range(2):
        model.zero_grad()
        losses[k].backward(retain_graph=True)
        for name, parameter in model.named_parameters():
            if name in found:
                assert torch.equal(found[name][k], parameter.grad.flatten())


def test_a_task_that_does_not_reach_a_layer_has_gradient_zero():
    model, data = plain(), one_input()
    features = model.features(data.inputs)
    outputs = {**model.from_features(features.detach()), "size": model(data.inputs)["size"]}
    found = layer_gradients(model, task_losses(outputs, data.targets, TASKS))
    assert found["trunk.1.weight"][0].any() and not found["trunk.1.weight"][1].any()
    assert cosines(found["trunk.1.weight"])[0, 1] == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 2**16))
def test_cosines(tasks, wide, seed):
    g = torch.randn(tasks, wide, generator=torch.Generator().manual_seed(seed), dtype=F64)
    found = cosines(g * 1e-200)  # vanished gradients still have a direction
    expected = F.cosine_similarity(g[:, None], g[None], dim=2)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_layer_gradients_wants_to_know_what_is_shared():
    model = plain()
    loss = model(one_input().inputs)["size"].sum()[None]
    with pytest.raises(ValueError, match=r"shared_parameters\(\).*; Linear has not"):
        layer_gradients(nn.Linear(2, 2), loss)
    model.trunk.requires_grad_(False)
    with pytest.raises(ValueError, match="HardSharing shares no parameter that is trained"):
        layer_gradients(model, loss)


@pytest.mark.parametrize(
    "inner", ["equal", "dwa", "uncertainty", "famo", "pcgrad", {"size": 2, "kind": 1}]
)
def test_a_probe_changes_nothing(inner):
    results = []
    for probed in (False, True):
        model = plain()
        balance = GradientProbe(inner, TASKS, every=2) if probed else inner
        history = fit(model, TASKS, one_input(), balance=balance, epochs=3, batch_size=10, seed=0)
        results.append((history, [p.detach() for p in model.parameters()]))
    assert results[0][0] == results[1][0]
    for one, other in zip(results[0][1], results[1][1], strict=True):
        assert torch.equal(one, other)
    assert [record["step"] for record in balance.records] == [0, 2, 4, 6, 8]


def test_what_a_probe_writes_down():
    model, data, probe = plain(), one_input(), GradientProbe("equal", NAMES)
    expected = layer_gradients(model, task_losses(model(data.inputs), data.targets, TASKS))
    fit(model, TASKS, data, balance=probe, epochs=2, batch_size=None, seed=0)
    first = probe.records[0]
    assert list(first["norms"]) == [*expected, "all"] == list(first["cosines"])
    for name, g in expected.items():
        assert first["norms"][name] == pytest.approx(g.norm(dim=1).tolist())
        assert first["cosines"][name][0][1] == pytest.approx(
            float(F.cosine_similarity(g[0], g[1], dim=0))
        )
    whole = sum(g[1].square().sum() for g in expected.values()) ** 0.5
    assert first["norms"]["all"][1] == pytest.approx(float(whole))
    assert len(probe.records) == 2


def test_a_probe_by_hand_and_what_it_refuses():
    probe = GradientProbe("equal", NAMES, every=2)
    with pytest.raises(ValueError, match="needs the model in the context"):
        probe.backward(torch.ones(2, requires_grad=True))
    with pytest.raises(ValueError, match="found every=0"):
        GradientProbe("equal", NAMES, every=0)
    with pytest.raises(ValueError, match="works at the parameters; found every=1 and GradientBal"):
        GradientProbe(GradientBalance("mgda", NAMES, at="features"), NAMES)
    model, data = plain(), one_input()
    for _ in range(3):  # without a step in the context it counts its calls
        losses = task_losses(model(data.inputs), data.targets, TASKS)
        probe.backward(losses, {"model": model})
    assert [record["step"] for record in probe.records] == [0, 2]
    assert float(probe(torch.tensor([1.0, 2.0]))) == 3.0
    assert "every=2" in str(probe) and "EqualWeights" in str(probe)


def test_a_probe_passes_on_what_its_balance_needs():
    assert GradientProbe("famo", NAMES).needs_losses_after_step
    assert GradientProbe("gradnorm", NAMES).lr == 0.025
    assert not GradientProbe("equal", NAMES).needs_losses_after_step
