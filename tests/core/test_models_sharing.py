"""Ways of sharing: by structure, by who gets whose gradient, and by what they cost."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from mtl_helpers.balancing.gradients import METHODS
from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.experiments import many_seeds
from mtl_helpers.models import (
    CGC,
    MTAN,
    PLE,
    CrossStitch,
    FiLM,
    HardSharing,
    MMoE,
    SoftSharing,
    mlp,
    size_report,
    small_cnn,
    torchvision_trunk,
)
from mtl_helpers.models.experts import Experts
from mtl_helpers.tasks import classification, regression
from mtl_helpers.training import evaluate, fit, task_losses

F64 = torch.float64
TASKS = (regression("size"), classification("kind", 3))
NAMES = ("size", "kind")


def stages():
    """Two stages, 5 -> 6 -> 4 numbers."""
    return [
        nn.Sequential(nn.Linear(5, 6, dtype=F64), nn.Tanh()),
        nn.Sequential(nn.Linear(6, 4, dtype=F64), nn.Tanh()),
    ]


MAKE = {
    "hard": lambda: HardSharing.linear(mlp(5, (6, 4)), TASKS),
    "split": lambda: HardSharing.split(lambda: mlp(5, (6, 4)), TASKS, 3),
    "cross-stitch": lambda: CrossStitch(stages, TASKS),
    "MTAN": lambda: MTAN((1, 8, 8), TASKS, (3, 4)),
    "MMoE": lambda: MMoE(5, TASKS, experts=3, hidden=(6, 4), tower=(3,)),
    "CGC": lambda: CGC(5, TASKS, hidden=(6, 4), tower=(3,)),
    "PLE": lambda: PLE(5, TASKS, hidden=(6, 4), tower=(3,)),
    "FiLM": lambda: FiLM(stages(), (6, 4), TASKS),
    "soft": lambda: SoftSharing(lambda: mlp(5, (6, 4)), TASKS),
}
every_model = pytest.mark.parametrize("kind", sorted(MAKE))


def make(kind, seed=0):
    torch.manual_seed(seed)
    return MAKE[kind]()


def draw(kind, examples=10, seed=0):
    rng = torch.Generator().manual_seed(seed)
    shape = (1, 8, 8) if kind == "MTAN" else (5,)
    inputs = torch.randn(examples, *shape, generator=rng, dtype=F64)
    size = inputs.flatten(1)[:, 0] * 2 + inputs.flatten(1)[:, 1]
    kinds = torch.randint(3, (examples,), generator=rng)
    return MultiTaskData(inputs, {"size": size, "kind": kinds})


# ------------------------------------------------------------------- what holds for all of them


@every_model
def test_outputs_by_task(kind):
    outputs = make(kind)(draw(kind).inputs)
    assert {name: tuple(x.shape) for name, x in outputs.items()} == {
        "size": (10, 1),
        "kind": (10, 3),
    }


@every_model
def test_every_parameter_is_shared_or_one_tasks_own(kind):
    model = make(kind)
    parts = [model.shared_parameters(), *(model.task_parameters(name) for name in NAMES)]
    ids = [id(p) for part in parts for p in part]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(p) for p in model.parameters()}
    with pytest.raises(KeyError, match="no head for task 'age'; this model has size, kind"):
        model.task_parameters("age")


@every_model
def test_a_loss_never_touches_another_tasks_own_parameters(kind):
    model, data = make(kind), draw(kind)
    for number, name in enumerate(NAMES):
        losses = task_losses(model(data.inputs), data.targets, TASKS)
        model.zero_grad(set_to_none=False)
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        losses[number].backward()
        other = NAMES[1 - number]
        assert all((p.grad == 0).all() for p in model.task_parameters(other))
        assert all((p.grad != 0).any() for p in model.task_parameters(name))
        if kind != "soft":
            assert all((p.grad != 0).any() for p in model.shared_parameters())


@every_model
def test_one_batch_can_be_overfitted(kind):
    data, left = draw(kind, examples=6), []
    for seed in range(3):  # so few units that a start may have too many dead ones
        model = make(kind, seed)
        fit(model, TASKS, data, epochs=600, batch_size=None, lr=0.03)
        model.train()  # batch statistics of this very batch
        left.append(task_losses(model(data.inputs), data.targets, TASKS).max().item())
        if left[-1] < 0.05:
            return
    raise AssertionError(left)


@every_model
def test_a_saved_model_gives_the_same_outputs(kind, tmp_path):
    model, other, inputs = make(kind), make(kind, seed=1), draw(kind).inputs
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    for name, output in model.eval()(inputs).items():
        assert torch.equal(other.eval()(inputs)[name], output)


@every_model
def test_compiled_and_exported_models_give_the_same_outputs(kind):
    model, inputs = make(kind).eval(), draw(kind).inputs
    wanted = model(inputs)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    exported = torch.export.export(model, (inputs,)).module()
    for other in (compiled, exported):
        found = other(inputs)
        for name in NAMES:
            torch.testing.assert_close(found[name], wanted[name])


@every_model
@pytest.mark.parametrize("balance", ["uncertainty", "gradnorm", "famo", *sorted(METHODS)])
def test_models_train_under_every_method_that_their_structure_admits(kind, balance):
    model, data = make(kind), draw(kind)
    if kind == "soft" and balance in (*METHODS, "gradnorm"):
        with pytest.raises(ValueError, match=r"no shared param|SoftSharing has no shared"):
            fit(model, TASKS, data, balance=balance, epochs=1)
        return
    before = sum(v["loss"] for v in evaluate(model, TASKS, data).values())
    fit(model, TASKS, data, balance=balance, epochs=15, batch_size=None, lr=0.01)
    assert sum(v["loss"] for v in evaluate(model, TASKS, data).values()) < before


@pytest.mark.parametrize("kind", sorted(set(MAKE) - {"MTAN", "soft"}))
def test_many_seeds_at_once_are_a_loop(kind):
    def data(seed):
        return Splits(draw(kind, 12, seed), draw(kind, 6, seed + 99), draw(kind, 6, seed + 199))

    settings = {"seeds": [0, 1], "steps": 20, "batch_size": 4, "lr": 0.01}
    one = many_seeds(MAKE[kind], TASKS, data, method="vmap", **settings)
    other = many_seeds(MAKE[kind], TASKS, data, method="loop", **settings)
    for name in NAMES:
        torch.testing.assert_close(one.losses[name], other.losses[name], rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------------------- structure


def test_a_trunk_may_be_split_anywhere():
    whole = sum(p.numel() for p in mlp(5, (6, 4)).parameters())
    shared = [
        sum(
            p.numel()
            for p in HardSharing.split(lambda: mlp(5, (6, 4)), TASKS, at).trunk.parameters()
        )
        for at in range(6)
    ]
    assert shared == [0, 0, 36, 36, 64, whole]
    for at in range(6):
        model = HardSharing.split(lambda: mlp(5, (6, 4)), TASKS, at)
        own = sum(p.numel() for n in NAMES for p in model.task_parameters(n))
        assert own == 2 * (whole - shared[at]) + 4 * (5 - 1) + 4
        assert model(torch.zeros(2, 5, dtype=F64))["kind"].shape == (2, 3)
    first, second = model.heads.values()
    assert first is not second


@pytest.mark.parametrize("at", [-1, 6])
def test_a_split_beyond_the_last_layer_is_refused(at):
    with pytest.raises(ValueError, match=f"first {at} layers of a trunk of 5; split at 0 to 5"):
        HardSharing.split(lambda: mlp(5, (6, 4)), TASKS, at)


def test_own_layers_start_differently_for_each_task():
    model = HardSharing.split(lambda: mlp(5, (6, 4)), TASKS, 0)
    first, second = (model.heads[f"task_{n}"][1].weight for n in NAMES)
    assert not torch.equal(first, second)


def test_stitches_of_the_identity_leave_separate_networks():
    torch.manual_seed(0)
    model = CrossStitch(stages, TASKS, own=1.0)
    inputs = draw("cross-stitch").inputs
    for name, output in model(inputs).items():
        alone = model.heads[f"task_{name}"](model.columns[f"task_{name}"](inputs))
        torch.testing.assert_close(output, alone)
    output = model(inputs)["size"].sum()
    grads = torch.autograd.grad(output, list(model.columns["task_kind"].parameters()))
    assert all((g == 0).all() for g in grads)


def test_stitches_mix_by_hand():
    torch.manual_seed(0)
    model = CrossStitch(stages, TASKS, own=0.7)
    inputs = draw("cross-stitch").inputs
    a, b = model.columns["task_size"], model.columns["task_kind"]
    x, y = a[0](inputs), b[0](inputs)
    x, y = 0.7 * x + 0.3 * y, 0.3 * x + 0.7 * y
    x, y = a[1](x), b[1](y)
    torch.testing.assert_close(model(inputs)["size"], model.heads["task_size"](0.7 * x + 0.3 * y))
    torch.testing.assert_close(model.stitches[1], torch.tensor([[0.7, 0.3], [0.3, 0.7]], dtype=F64))


def test_mtan_by_hand_for_one_stage():
    torch.manual_seed(0)
    model = MTAN((1, 4, 4), TASKS, (3,)).eval()
    x = torch.randn(2, 1, 4, 4, dtype=F64)
    u = model.first[0](x)
    p = model.second[0](u)
    mask = model.masks["task_kind"][0](u)
    own = F.max_pool2d(model.picked[0](mask * p), 2).mean((2, 3))
    torch.testing.assert_close(model(x)["kind"], model.heads["task_kind"](own))
    torch.testing.assert_close(model.attention["kind"][0], mask)
    assert mask.min() > 0
    assert mask.max() < 1


def test_the_trunk_of_mtan_runs_once():
    model, runs = make("MTAN"), []
    model.first[0].register_forward_hook(lambda *_: runs.append(1))
    model(draw("MTAN").inputs)
    assert len(runs) == 1


def test_all_tasks_of_mtan_pass_what_they_picked_through_one_convolution():
    model, runs = make("MTAN"), []
    model.picked[0].register_forward_hook(lambda *_: runs.append(1))
    model(draw("MTAN").inputs)
    assert len(runs) == len(NAMES)
    shared = {id(p) for p in model.shared_parameters()}
    assert all(id(p) in shared for p in model.picked.parameters())


def test_experts_side_by_side_are_experts_one_by_one():
    torch.manual_seed(0)
    experts, inputs = Experts(3, 5, (6, 4)), draw("MMoE").inputs
    for number, found in enumerate(experts(inputs)):
        x = inputs
        for weight, bias in zip(experts.weights, experts.biases, strict=True):
            x = (x @ weight[number] + bias[number]).relu()
        torch.testing.assert_close(found, x)
    assert all(w.abs().max() <= 1 / w.shape[1] ** 0.5 for w in experts.weights)
    assert all((w[0] != w[1]).any() for w in experts.weights)


def test_one_expert_is_hard_sharing():
    torch.manual_seed(0)
    model, inputs = MMoE(5, TASKS, experts=1, hidden=(6,), tower=()), draw("MMoE").inputs
    features = (inputs @ model.experts.weights[0][0] + model.experts.biases[0][0]).relu()
    for name, output in model(inputs).items():
        torch.testing.assert_close(output, model.towers[f"task_{name}"](features))


def test_mmoe_by_hand():
    model, inputs = make("MMoE"), draw("MMoE").inputs
    outputs, found = model(inputs), model.experts(inputs)
    for name in NAMES:
        gate = torch.softmax(inputs @ model.gating[f"task_{name}"].weight.T, dim=1)
        mixed = sum(gate[:, e, None] * found[e] for e in range(3))
        torch.testing.assert_close(outputs[name], model.towers[f"task_{name}"](mixed))
        torch.testing.assert_close(model.gates[name], gate)


@pytest.mark.parametrize("kind", ["MMoE", "CGC", "PLE"])
def test_gates_sum_to_one_and_carry_no_graph(kind):
    model = make(kind)
    model(draw(kind).inputs)
    assert set(model.gates) == set(NAMES)
    for gate in model.gates.values():
        torch.testing.assert_close(gate.sum(1), torch.ones(10, dtype=F64))
        assert not gate.requires_grad


def test_ple_of_one_level_is_cgc():
    options = {"own": 2, "shared": 1, "hidden": (6, 4), "tower": (3,)}
    ple, cgc = PLE(5, TASKS, levels=1, **options), CGC(5, TASKS, **options)
    cgc.load_state_dict(ple.state_dict())
    inputs = draw("PLE").inputs
    for name, output in ple(inputs).items():
        assert torch.equal(cgc(inputs)[name], output)


def test_cgc_by_hand():
    model, inputs = make("CGC"), draw("CGC").inputs
    level = model.levels[0]
    for name, output in model(inputs).items():
        both = torch.cat([level.own[f"task_{name}"](inputs), level.shared(inputs)])
        gate = torch.softmax(level.gating[f"task_{name}"](inputs), dim=1)
        mixed = torch.einsum("be,ebf->bf", gate, both)
        torch.testing.assert_close(output, model.towers[f"task_{name}"](mixed))


def test_ple_of_two_levels_by_hand():
    model, x = make("PLE"), draw("PLE").inputs
    one, two = model.levels
    own = {n: one.own[f"task_{n}"](x) for n in NAMES}
    common = one.shared(x)

    def mix(gate, parts):
        return torch.einsum("be,ebf->bf", gate.softmax(1), torch.cat(parts))

    stream = {n: mix(one.gating[f"task_{n}"](x), [own[n], common]) for n in NAMES}
    shared = mix(one.shared_gate(x), [own["size"], own["kind"], common])
    for name, output in model(x).items():
        parts = [two.own[f"task_{name}"](stream[name]), two.shared(shared)]
        mixed = mix(two.gating[f"task_{name}"](stream[name]), parts)
        torch.testing.assert_close(output, model.towers[f"task_{name}"](mixed))
    assert two.shared_gate is None


def test_experts_below_the_last_level_count_as_shared():
    """They feed the shared stream, so every task's loss reaches them."""
    model = make("PLE")
    shared = {id(p) for p in model.shared_parameters()}
    experts = [*model.levels[0].own.parameters(), *model.levels[0].shared.parameters()]
    assert all(id(p) in shared for p in experts)
    assert not any(id(p) in shared for p in model.levels[1].own.parameters())


def test_film_at_identity_is_the_trunk():
    model, inputs = make("FiLM"), draw("FiLM").inputs
    features = nn.Sequential(*model.stages)(inputs)
    for name, output in model(inputs).items():
        torch.testing.assert_close(output, model.heads[f"task_{name}"](features))


@pytest.mark.parametrize("tasks", [TASKS[:1], TASKS, (*TASKS, regression("age"))])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_film_runs_the_stage_before_the_first_adapter_once(tasks, depth):
    torch.manual_seed(0)
    widths, x = (6, 4, 3)[:depth], torch.randn(7, 5, dtype=F64)
    parts = [mlp(a, (b,)) for a, b in pairwise((5, *widths))]
    model, runs = FiLM(parts, widths, tasks), [0] * depth
    for number, stage in enumerate(model.stages):

        def count(*_, number=number):
            runs[number] += 1

        stage.register_forward_hook(count)
    with torch.no_grad():
        for parameter in model.adapters.parameters():
            parameter.copy_(torch.randn_like(parameter))
    outputs = model(x)
    assert runs == [1, *[len(tasks)] * (depth - 1)]
    for name, output in outputs.items():  # and nothing but the work has changed
        z = x
        for stage, adapter in zip(model.stages, model.adapters[f"task_{name}"], strict=True):
            z = adapter(stage(z))
        assert torch.equal(output, model.heads[f"task_{name}"](z))


def test_film_scales_and_shifts_channels_of_images():
    torch.manual_seed(0)
    stage = nn.Conv2d(1, 3, 3, padding=1, dtype=F64)
    after = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = FiLM([stage, after], (3, 3), TASKS)
    with torch.no_grad():
        model.adapters["task_kind"][0].gamma.copy_(torch.tensor([2.0, 0.0, -1.0]))
        model.adapters["task_kind"][0].beta.copy_(torch.tensor([0.0, 1.0, 0.5]))
    x = torch.randn(2, 1, 4, 4, dtype=F64)
    mean = stage(x).mean((2, 3))
    wanted = mean * torch.tensor([2.0, 0.0, -1.0]) + torch.tensor([0.0, 1.0, 0.5])
    torch.testing.assert_close(model(x)["kind"], model.heads["task_kind"](wanted))
    torch.testing.assert_close(model(x)["size"], model.heads["task_size"](mean))


def test_soft_sharing_pulls_trunks_together():
    data = draw("soft", 12)

    def distance(strength):
        torch.manual_seed(0)
        model = SoftSharing(lambda: mlp(5, (6, 4)), TASKS, strength=strength)
        before = [p.clone() for p in model.parameters()]
        wanted = sum(
            (a - b).square().sum()
            for a, b in zip(*(list(t.parameters()) for t in model.trunks.values()), strict=True)
        )
        torch.testing.assert_close(model.penalty(), strength * wanted)
        fit(model, TASKS, data, epochs=30, lr=0.02)
        assert any((a != b).any() for a, b in zip(before, model.parameters(), strict=True))
        return model.penalty().item() / strength

    assert distance(10.0) < 0.05 * distance(0.001)


def test_the_penalty_is_a_mean_over_pairs():
    three = (*TASKS, regression("age"))
    model = SoftSharing(lambda: nn.Linear(2, 2, bias=False, dtype=F64), three, strength=1.0)
    for number, trunk in enumerate(model.trunks.values()):
        nn.init.constant_(trunk.weight, float(number))
    assert model.penalty().item() == pytest.approx((4 + 16 + 4) / 3)
    one = SoftSharing(lambda: mlp(5, (4,)), TASKS[:1])
    assert one.penalty().item() == 0


def test_many_seeds_do_not_forget_the_penalty():
    def data(seed):
        return Splits(draw("soft", 12, seed), draw("soft", 6, 98), draw("soft", 6, 99))

    def make_model():
        return SoftSharing(lambda: mlp(5, (6, 4)), TASKS, strength=1.0)

    settings = {"seeds": [0, 1], "steps": 20, "batch_size": None, "lr": 0.01}
    found = many_seeds(make_model, TASKS, data, **settings)
    torch.manual_seed(0)
    model = make_model()
    fit(model, TASKS, data(0).train, epochs=20, batch_size=None, lr=0.01)
    wanted = evaluate(model, TASKS, data(0).test)
    assert float(found.losses["size"][0]) == pytest.approx(wanted["size"]["loss"], rel=1e-9)


# -------------------------------------------------------------------------------------- costs


def count(kind):
    return size_report(make(kind), draw(kind).inputs).parameters


def test_parameters_by_formula():
    trunk, a, b = 6 * 6 + 7 * 4, 4 + 1, 3 * (4 + 1)
    assert count("hard") == {"shared": trunk, "size": a, "kind": b}
    assert count("split") == {"shared": 36, "size": 28 + a, "kind": 28 + b}
    assert count("cross-stitch") == {"shared": 2 * trunk + 2 * 4, "size": a, "kind": b}
    assert count("FiLM") == {"shared": trunk, "size": 2 * (6 + 4) + a, "kind": 2 * (6 + 4) + b}
    assert count("soft") == {"shared": 0, "size": trunk + a, "kind": trunk + b}
    tower_a, tower_b = 3 * (4 + 1) + 4, 3 * (4 + 1) + 3 * 4
    assert count("MMoE") == {"shared": 3 * trunk, "size": 15 + tower_a, "kind": 15 + tower_b}
    own = 2 * trunk + 5 * 4
    assert count("CGC") == {"shared": 2 * trunk, "size": own + tower_a, "kind": own + tower_b}
    upper = 2 * (5 * 6 + 7 * 4) + 4 * 4 + 5 * 4  # experts and gate above, the gate below
    lower = 6 * trunk + 5 * 6  # all experts and the shared gate
    assert count("PLE") == {
        "shared": lower + 2 * (5 * 6 + 7 * 4),
        "size": upper + tower_a,
        "kind": upper + tower_b,
    }

    def convolution(inputs, outputs, size):
        return (size**2 * inputs + 1) * outputs + 2 * outputs  # and batch norm's scale and shift

    stage = [convolution(i, o, 3) for i, o in ((1, 3), (3, 4), (3, 3), (4, 4))]
    picked = convolution(3, 3, 3) + convolution(4, 4, 3)  # one for all tasks
    masks = sum(convolution(i, o, 1) for i, o in ((3, 3), (3, 3), (4 + 3, 4), (4, 4)))
    assert count("MTAN") == {"shared": sum(stage) + picked, "size": masks + a, "kind": masks + b}


def test_multiply_adds_by_formula():
    def adds(kind):
        return size_report(make(kind), draw(kind).inputs).multiply_adds

    trunk = 5 * 6 + 6 * 4
    assert adds("hard") == {"shared": trunk, "size": 4, "kind": 12}
    assert adds("split") == {"shared": 30, "size": 24 + 4, "kind": 24 + 12}
    assert adds("FiLM") == {"shared": 30 + 2 * 24, "size": 4, "kind": 12}  # stage 0 runs once
    assert adds("soft") == {"shared": 0, "size": trunk + 4, "kind": trunk + 12}
    stitches = 4 * (6 + 4)
    assert adds("cross-stitch") == {"shared": 2 * trunk + stitches, "size": 4, "kind": 12}
    mixing = 2 * 3 * 4
    assert adds("MMoE") == {
        "shared": 3 * trunk + mixing,
        "size": 15 + 4 * 3 + 3,
        "kind": 15 + 4 * 3 + 9,
    }
    trunk = 8 * 8 * 9 * (1 * 3 + 3 * 3) + 4 * 4 * 9 * (3 * 4 + 4 * 4)
    picked = 8 * 8 * 9 * 3 * 3 + 4 * 4 * 9 * 4 * 4  # once for each task
    masks = 8 * 8 * (3 * 3 + 3 * 3) + 4 * 4 * (7 * 4 + 4 * 4)
    assert adds("MTAN") == {"shared": trunk + 2 * picked, "size": masks + 4, "kind": masks + 12}
    cnn = HardSharing.linear(small_cnn((1, 8, 8), (2,), 5), TASKS)
    size = size_report(cnn, torch.zeros(3, 1, 8, 8, dtype=F64))
    assert size.multiply_adds["shared"] == 8 * 8 * 9 * 2 + 2 * 4 * 4 * 5
    assert size.total_multiply_adds == sum(size.multiply_adds.values())
    assert size.total_parameters == sum(p.numel() for p in cnn.parameters())


def test_the_report_leaves_the_model_as_it_was():
    model, inputs = make("MTAN").train(), draw("MTAN").inputs
    state = {n: v.clone() for n, v in model.state_dict().items()}
    size = size_report(model, inputs)
    assert size.seconds is None
    assert model.training
    assert all(torch.equal(v, state[n]) for n, v in model.state_dict().items())
    task_losses(model(inputs), draw("MTAN").targets, TASKS).sum().backward()
    grads = [p.grad for p in model.parameters()]
    assert size_report(model, inputs, repeats=2).seconds > 0
    assert all(p.grad is g for p, g in zip(model.parameters(), grads, strict=True))


# ---------------------------------------------------------------------------------- wrong use


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda: HardSharing.linear(mlp(5, (6,)), TASKS, features=9)(torch.zeros(2, 5).double()),
            r"head of task 'size' cannot take features of shape \(2, 6\).*",
        ),
        (
            lambda: CrossStitch(lambda: [mlp(5, (6,)), mlp(7, (4,))], TASKS)(
                torch.zeros(2, 5, dtype=F64)
            ),
            r"stage 1 of the columns cannot take features of shape \(2, 6\)",
        ),
        (lambda: CrossStitch(list, TASKS), "at least one; found {0}"),
        (lambda: CrossStitch(stages, TASKS, own=1.5), "found 1.5"),
        (lambda: MTAN((1, 8, 3), TASKS, (3, 4)), r"at least 4x4 pixels.*found \(1, 8, 3\)"),
        (lambda: MTAN((8, 8), TASKS, (3, 4)), r"found \(8, 8\)"),
        (lambda: MMoE(5, TASKS, experts=0), "found 0 experts"),
        (lambda: Experts(2, 5, ()), r"found 2 experts of widths \[5\]"),
        (lambda: PLE(5, TASKS, levels=0), "at least one level; found 0"),
        (lambda: FiLM(stages(), (6,), TASKS), r"found 2 stages and channels \[6\]"),
        (
            lambda: FiLM(stages(), (7, 4), TASKS)(torch.zeros(2, 5, dtype=F64)),
            r"adapter behind stage 0 cannot take features of shape \(2, 6\)",
        ),
        (lambda: SoftSharing(lambda: mlp(5, (4,)), TASKS, strength=-1), "found -1"),
        (lambda: MMoE(5, [TASKS[0], TASKS[0]]), "found .*size.* more than once"),
        (lambda: CrossStitch(stages, [TASKS[0], TASKS[0]]), "different names"),
    ],
)
def test_wrong_use_is_explained(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


# --------------------------------------------------------------------------------- torchvision


@pytest.mark.parametrize(
    ("name", "cut", "features"),
    [
        ("resnet18", "layer2", 128),
        ("vgg11_bn", "features.10", 256),
        ("efficientnet_b0", "features.3", 40),
    ],
)
def test_torchvisions_networks_are_cut_at_a_named_layer(name, cut, features):
    trunk = torchvision_trunk(name, cut, image=(3, 32, 32))
    assert trunk.features == features
    assert trunk.training
    model = HardSharing.linear(trunk, TASKS, features=features, dtype=torch.float32)
    outputs = model(torch.rand(2, 3, 32, 32))
    assert outputs["kind"].shape == (2, 3)
    outputs["kind"].sum().backward()
    reached = [p.grad is not None for p in trunk.parameters()]
    assert all(reached)
    from torchvision import models

    assert len(reached) < len(list(models.get_model(name).parameters()))


def test_a_cut_trunk_gives_what_torchvision_gives_there():
    trunk = torchvision_trunk("resnet18", "layer1", image=(3, 32, 32)).eval()
    from torchvision import models

    whole = models.resnet18().eval()
    whole.load_state_dict(
        {
            **whole.state_dict(),
            **{n.removeprefix("0.body."): v for n, v in trunk.state_dict().items()},
        }
    )
    seen = []
    whole.layer1.register_forward_hook(lambda _m, _i, output: seen.append(output))
    x = torch.rand(2, 3, 32, 32)
    whole(x)
    torch.testing.assert_close(trunk(x), seen[0].mean((2, 3)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: torchvision_trunk("alexnet"), "unknown network 'alexnet'; use one of resnet18"),
        (lambda: torchvision_trunk("resnet18", "layer9"), "no layer 'layer9'.*layer3, layer4"),
        (lambda: torchvision_trunk("resnet18", "fc"), "no layer 'fc'"),
        (
            lambda: torchvision_trunk("vgg11_bn", image=(3, 8, 8)),
            r"up to 'features' cannot take images of shape \(3, 8, 8\)",
        ),
    ],
)
def test_networks_layers_and_images_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_weights_are_fetched_on_request_only(monkeypatch):
    from torchvision import models

    asked = []

    def offline(name, weights=None):
        asked.append(weights)
        raise OSError("no route to host")

    monkeypatch.setattr(models, "get_model", offline)
    with pytest.raises(OSError, match=r"resnet18 cannot be downloaded.*weights=None"):
        torchvision_trunk("resnet18", weights="DEFAULT")
    assert asked == ["DEFAULT"]


def test_functional_calls_work():
    """The vmapped trainer calls a model with parameters from outside."""
    model, inputs = make("PLE"), draw("PLE").inputs
    state = {n: torch.zeros_like(p) for n, p in model.named_parameters()}
    outputs = functional_call(model, state, (inputs,))
    assert all((x == 0).all() for x in outputs.values())
