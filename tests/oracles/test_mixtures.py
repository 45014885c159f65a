"""Mixtures of experts against deepctr-torch, on copied weights; skipped where it is missing."""

import pytest
import torch
from torch import nn

from mtl_helpers.models import PLE, MMoE
from mtl_helpers.tasks import regression

F64 = torch.float64
TASKS = [regression("first"), regression("second")]
INPUTS, HIDDEN, TOWER = 5, (6, 4), (3,)


@pytest.fixture
def columns():
    inputs = pytest.importorskip("deepctr_torch.inputs", reason="deepctr-torch is not installed")
    return [inputs.DenseFeat("x", INPUTS)]


def options(**more):
    return {
        "expert_dnn_hidden_units": HIDDEN,
        "gate_dnn_hidden_units": (),
        "tower_dnn_hidden_units": TOWER,
        "task_types": ("regression", "regression"),
        "task_names": ("first", "second"),
        "init_std": 0.5,
        **more,
    }


def copy_experts(ours, theirs):
    """Lay the weights of separate perceptrons side by side."""
    for number, perceptron in enumerate(theirs):
        for layer, linear in enumerate(perceptron.linears):
            ours.weights[layer][number].copy_(linear.weight.T)
            ours.biases[layer][number].copy_(linear.bias[None])


def copy_towers(ours, theirs):
    for k, tower in enumerate(ours.towers.values()):
        hidden, last = [layer for layer in tower if isinstance(layer, nn.Linear)]
        hidden.load_state_dict(theirs.tower_dnn[k].linears[0].state_dict())
        last.weight.copy_(theirs.tower_dnn_final_layer[k].weight)
        last.bias.copy_(theirs.out[k].bias)


def assert_same(ours, theirs):
    for seed in range(5):
        x = torch.randn(7, INPUTS, dtype=F64, generator=torch.Generator().manual_seed(seed))
        found = torch.cat(list(ours(x).values()), 1)
        torch.testing.assert_close(found, theirs.eval()(x))


@torch.no_grad()
def test_mmoe_is_that_of_deepctr(columns):
    from deepctr_torch.models import MMOE

    theirs = MMOE(columns, num_experts=3, **options()).to(F64)
    ours = MMoE(INPUTS, TASKS, experts=3, hidden=HIDDEN, tower=TOWER)
    copy_experts(ours.experts, theirs.expert_dnn)
    for gate, other in zip(ours.gating.values(), theirs.gate_dnn_final_layer, strict=True):
        gate.load_state_dict(other.state_dict())
    copy_towers(ours, theirs)
    assert_same(ours, theirs)


@pytest.mark.parametrize("levels", [1, 2, 3])
@torch.no_grad()
def test_ple_is_that_of_deepctr(columns, levels):
    from deepctr_torch.models.multitask import ple

    theirs = ple.PLE(
        columns, num_levels=levels, specific_expert_num=2, shared_expert_num=2, **options()
    ).to(F64)
    ours = PLE(INPUTS, TASKS, levels=levels, own=2, shared=2, hidden=HIDDEN, tower=TOWER)
    for i, level in enumerate(ours.levels):
        copy_experts(level.shared, theirs.shared_experts[i][0])
        for k, name in enumerate(level.own):
            copy_experts(level.own[name], theirs.specific_experts[i][k])
            gate = theirs.specific_gate_dnn_final_layer[i][k]
            level.gating[name].load_state_dict(gate.state_dict())
        if level.shared_gate is not None:
            level.shared_gate.load_state_dict(theirs.shared_gate_dnn_final_layer[i].state_dict())
    copy_towers(ours, theirs)
    assert_same(ours, theirs)
