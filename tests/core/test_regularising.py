"""What lesson 05 adds: norms and inputs a task, Monte-Carlo dropout, clipping."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.experiments import many_seeds
from mtl_helpers.models import (
    HardSharing,
    MultiInput,
    TaskBatchNorm,
    freeze_statistics,
    mc_dropout,
    mlp,
    per_task_batch_norm,
    use_task,
)
from mtl_helpers.tasks import classification, regression
from mtl_helpers.training import clipped, evaluate, fit, task_losses

F64 = torch.float64
TASKS = (regression("size"), classification("kind", 3))
NAMES = ("size", "kind")


def normed(wide=6):
    """A trunk 4 -> wide -> 5 with one batch normalisation.

    A bias before it would have the gradient 0 but for rounding, which Adam blows up.
    """
    return nn.Sequential(
        nn.Linear(4, wide, bias=False, dtype=F64),
        nn.BatchNorm1d(wide, dtype=F64),
        nn.ReLU(),
        nn.Linear(wide, 5, dtype=F64),
    )


def two_inputs(examples=12, seed=0, shift=0.0):
    """One input of 4 numbers for each of two tasks; the second task's are shifted."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(examples, 2, 4, generator=rng, dtype=F64)
    targets = {"size": x[:, 0].sum(1), "kind": x[:, 1, :3].argmax(1)}
    x[:, 1] = 2 * x[:, 1] + shift
    return MultiTaskData(x, targets)


def make(passes, own=False, seed=0):
    torch.manual_seed(seed)
    trunk = per_task_batch_norm(normed(), NAMES) if own else normed()
    return MultiInput.linear(trunk, TASKS, passes=passes, features=5)


WAYS = {
    "mixed": lambda: make("mixed"),
    "alternating": lambda: make("alternating"),
    "own": lambda: make("alternating", own=True),
}
every_way = pytest.mark.parametrize("way", sorted(WAYS))


# ------------------------------------------------------------------------- batch norm a task


def test_one_copy_a_task_and_the_active_one_works():
    torch.manual_seed(0)
    layer = TaskBatchNorm(nn.BatchNorm1d(3, dtype=F64), ["a", "b"])
    x, y = torch.randn(8, 3, dtype=F64), torch.randn(8, 3, dtype=F64) * 3 + 5
    for name, batch in (("a", x), ("b", y)):
        alone = nn.BatchNorm1d(3, dtype=F64)
        use_task(layer, name)
        torch.testing.assert_close(layer(batch), alone(batch), rtol=0, atol=1e-12)
        torch.testing.assert_close(layer.of(name).running_mean, alone.running_mean)
        torch.testing.assert_close(layer.of(name).running_var, alone.running_var)
        assert int(layer.of(name).num_batches_tracked) == 1
    assert (layer.of("a").running_mean - layer.of("b").running_mean).abs().min() > 0.1


def test_copies_begin_with_the_state_of_the_layer_and_are_apart():
    norm = nn.BatchNorm2d(2)
    nn.init.constant_(norm.weight, 3.0)
    norm.running_mean.fill_(7.0)
    layer = TaskBatchNorm(norm, ["a", "b"])
    assert layer.of("a").weight.tolist() == [3, 3] and layer.of("b").running_mean.tolist() == [7, 7]
    with torch.no_grad():
        layer.of("a").weight.zero_()
    assert layer.of("b").weight.tolist() == [3, 3] and norm.weight.tolist() == [3, 3]


def test_without_a_task_it_refuses():
    trunk = per_task_batch_norm(normed(), ["a", "b"])
    with pytest.raises(RuntimeError, match=r"does not know whose.*use_task\(trunk, name\)"):
        trunk(torch.zeros(3, 4, dtype=F64))
    use_task(trunk, "a")
    trunk(torch.ones(3, 4, dtype=F64))
    use_task(trunk, None)
    with pytest.raises(RuntimeError, match="use_task"):
        trunk(torch.zeros(3, 4, dtype=F64))
    with pytest.raises(KeyError, match=r"for task 'c'; there are \['a', 'b'\]"):
        use_task(trunk, "c")


def test_what_it_cannot_copy():
    with pytest.raises(TypeError, match=r"found GroupNorm.*keep no statistics"):
        TaskBatchNorm(nn.GroupNorm(1, 4), ["a"])
    for names in ([], ["a", "a"]):
        with pytest.raises(ValueError, match=r"tasks of different names are needed; found \["):
            TaskBatchNorm(nn.BatchNorm1d(3), names)
    with pytest.raises(ValueError, match=r"this Linear holds no batch normalisation"):
        per_task_batch_norm(nn.Linear(2, 2), ["a"])


def test_every_norm_of_a_trunk_is_replaced_and_the_trunk_is_left_alone():
    inner = nn.BatchNorm1d(6)
    trunk = nn.Sequential(nn.Linear(4, 6), inner, nn.Sequential(inner, nn.BatchNorm1d(6)))
    done = per_task_batch_norm(trunk, NAMES)
    assert trunk[1] is inner and isinstance(trunk[2][1], nn.BatchNorm1d)
    assert isinstance(done[1], TaskBatchNorm) and isinstance(done[2][1], TaskBatchNorm)
    assert done[1] is done[2][0] and done[1] is not done[2][1]  # used twice stays one layer
    assert isinstance(per_task_batch_norm(nn.BatchNorm1d(3), NAMES), TaskBatchNorm)
    again = per_task_batch_norm(done, NAMES)  # what is a task's own already stays so
    assert isinstance(again[1], TaskBatchNorm) and isinstance(again[1].of("size"), nn.BatchNorm1d)


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.SyncBatchNorm])
def test_all_kinds_of_batch_norm_count(kind):
    assert isinstance(per_task_batch_norm(nn.Sequential(kind(3)), ["a"])[0], TaskBatchNorm)


# --------------------------------------------------------------------------- frozen statistics


def test_frozen_statistics_stand_still_while_gamma_and_beta_learn():
    torch.manual_seed(0)
    model = HardSharing.linear(normed(), TASKS, features=5)
    x = torch.randn(20, 4, dtype=F64)
    model.train()(x)  # one batch of statistics
    freeze_statistics(model)
    norm = model.trunk[1]
    before = copy.deepcopy(norm.state_dict())
    data = MultiTaskData(x, {"size": x.sum(1), "kind": x[:, :3].argmax(1)})
    fit(model, TASKS, data, epochs=2, batch_size=1, seed=0)  # a batch of one works
    after = norm.state_dict()
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(before[name], after[name])
    assert not torch.equal(before["weight"], after["weight"])
    assert not torch.equal(before["bias"], after["bias"])


def test_frozen_is_a_switch():
    norm = nn.BatchNorm1d(2)
    trunk = nn.Sequential(norm)
    x = torch.randn(5, 2) + 3
    for _ in range(2):  # twice frozen is frozen
        freeze_statistics(trunk)
    trunk.train()
    torch.testing.assert_close(trunk(x), x / (1 + 1e-5) ** 0.5)
    twin = copy.deepcopy(trunk)
    freeze_statistics(trunk, False)
    assert norm.training  # as the trunk around it
    assert trunk(x).mean().abs() < 1e-6
    assert norm.running_mean.abs().min() > 0
    torch.testing.assert_close(twin.train()(x), x / (1 + 1e-5) ** 0.5)  # a copy is frozen by itself
    buffer = io.BytesIO()
    torch.save(twin, buffer)
    buffer.seek(0)
    back = torch.load(buffer, weights_only=False)
    torch.testing.assert_close(back.train()(x), twin(x))
    freeze_statistics(trunk.eval())
    freeze_statistics(trunk, False)
    assert not norm.training


def test_nothing_to_freeze():
    with pytest.raises(ValueError, match=r"batch normalisation '0' keeps no running averages"):
        freeze_statistics(nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)))


# ---------------------------------------------------------------------------- inputs of one's own


def test_mixed_takes_its_statistics_over_all_tasks_inputs():
    model, x = make("mixed"), two_inputs(shift=3.0).inputs
    trunk = copy.deepcopy(model.trunk)
    features = trunk(x.reshape(-1, 4)).view(12, 2, 5)
    found = model(x)
    for k, name in enumerate(NAMES):
        torch.testing.assert_close(found[name], model.heads[f"task_{name}"](features[:, k]))
    assert int(model.trunk[1].num_batches_tracked) == 1


def test_alternating_normalises_each_task_by_itself_and_mixes_the_averages():
    model, x = make("alternating"), two_inputs(shift=3.0).inputs
    linear, norm, relu, last = model.trunk
    found = model(x)
    means = []
    for k, name in enumerate(NAMES):
        z = linear(x[:, k])
        means.append(z.mean(0))
        z = F.batch_norm(z, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
        torch.testing.assert_close(found[name], model.heads[f"task_{name}"](last(relu(z))))
    expected = 0.9 * (0.1 * means[0]) + 0.1 * means[1]  # the later task counts more
    torch.testing.assert_close(norm.running_mean, expected)
    assert int(norm.num_batches_tracked) == 2


def test_own_norms_keep_the_tasks_apart():
    model, x = make("alternating", own=True), two_inputs(shift=3.0).inputs
    model(x)
    linear, norm = model.trunk[0], model.trunk[1]
    for k, name in enumerate(NAMES):
        torch.testing.assert_close(norm.of(name).running_mean, 0.1 * linear(x[:, k]).mean(0))
    assert norm.active is None  # nobody's afterwards
    with pytest.raises(ValueError, match="the trunk, for task 'size', cannot take"):
        model(torch.zeros(3, 2, 7, dtype=F64))
    assert norm.active is None


@every_way
def test_parameters_are_shared_or_one_tasks_own(way):
    model = WAYS[way]()
    shared = {id(p) for p in model.shared_parameters()}
    own = [{id(p) for p in model.task_parameters(name)} for name in NAMES]
    assert not shared & own[0] and not shared & own[1] and not own[0] & own[1]
    assert shared | own[0] | own[1] == {id(p) for p in model.parameters()}
    norms = sum(p.numel() for p in model.task_parameters("size")) - 6  # its head is 5 -> 1
    assert norms == (12 if way == "own" else 0)


@every_way
def test_no_loss_reaches_what_is_another_tasks(way):
    model, data = WAYS[way](), two_inputs()
    losses = task_losses(model(data.inputs), data.targets, TASKS)
    for k, name in enumerate(NAMES):
        model.zero_grad()
        losses[k].backward(retain_graph=True)
        other = NAMES[1 - k]
        assert all(p.grad is None or not p.grad.any() for p in model.task_parameters(other))
        assert all(p.grad is not None for p in model.task_parameters(name))


@every_way
@pytest.mark.parametrize("balance", ["equal", "pcgrad", "imtl_g"])
def test_it_trains(way, balance):
    model, data = WAYS[way](), two_inputs(60)
    history = fit(model, TASKS, data, balance=balance, epochs=30, batch_size=20, lr=0.02, seed=0)
    for name in NAMES:
        assert history.train_losses[name][-1] < 0.7 * history.train_losses[name][0]


@every_way
def test_many_seeds_at_once_and_one_by_one(way):
    def data(seed):
        return Splits(*(two_inputs(20, 3 * seed + i, 2.0) for i in range(3)))

    found = [
        many_seeds(
            WAYS[way], TASKS, data, seeds=(0, 1, 5), steps=40, batch_size=8, lr=0.01, method=method
        )
        for method in ("vmap", "loop")
    ]
    for name, values in found[0].parameters.items():
        torch.testing.assert_close(values, found[1].parameters[name], rtol=1e-9, atol=1e-9)
    for name in NAMES:
        torch.testing.assert_close(
            found[0].losses[name], found[1].losses[name], rtol=1e-9, atol=1e-9
        )


@every_way
def test_state_dict_brings_the_same_outputs(way):
    model, x = WAYS[way](), two_inputs().inputs
    for _ in range(3):
        model(x)
    model.eval()
    other = WAYS[way]()
    other.load_state_dict(model.state_dict())
    for name, output in other.eval()(x).items():
        torch.testing.assert_close(output, model(x)[name], rtol=0, atol=0)


@every_way
def test_it_compiles_and_exports(way):
    model, x = WAYS[way]().eval(), two_inputs().inputs
    expected = model(x)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager")(x)
    exported = torch.export.export(model, (x,)).module()(x)
    for name in NAMES:
        torch.testing.assert_close(compiled[name], expected[name])
        torch.testing.assert_close(exported[name], expected[name])


def test_what_multi_input_refuses():
    with pytest.raises(ValueError, match=r"'mixed' or 'alternating'; found 'both'"):
        make("both")
    with pytest.raises(ValueError, match=r"cannot take all tasks' inputs at once"):
        make("mixed", own=True)
    with pytest.raises(KeyError, match=r"for task 'kind'; there are \['size'\]"):
        trunk = per_task_batch_norm(normed(), ["size"])
        MultiInput.linear(trunk, TASKS, passes="alternating", features=5)
    for shape in ((4, 3, 4), (4, 2)):
        with pytest.raises(ValueError, match=r"shape \(B, 2, \.\.\.\); found \(4"):
            make("mixed")(torch.zeros(shape, dtype=F64))


def test_features_are_read_off_the_trunk():
    model = MultiInput.linear(mlp(4, (7,)), TASKS)
    assert model.heads["task_kind"].in_features == 7 and model.passes == "mixed"


# ------------------------------------------------------------------------- Monte-Carlo dropout


def dropped(p=0.5):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, 6, dtype=F64), nn.BatchNorm1d(6, dtype=F64), nn.Dropout(p))
    return HardSharing.linear(trunk, TASKS, features=6)


def test_mc_dropout_is_what_dropout_by_hand_gives():
    model = dropped()
    x = torch.randn(7, 4, dtype=F64)
    model.train()(x)
    before = copy.deepcopy(model.state_dict())
    model.train()
    model.trunk[0].eval()  # a mode of its own, to be put back
    found = mc_dropout(model, x, draws=3, seed=4)
    assert {name: tuple(v.shape) for name, v in found.items()} == {
        "size": (3, 7, 1),
        "kind": (3, 7, 3),
    }
    model.trunk[1].eval()
    z = model.trunk[1](model.trunk[0](x))
    torch.manual_seed(4)
    for draw in range(3):
        kept = F.dropout(z, 0.5)
        for name in NAMES:
            torch.testing.assert_close(found[name][draw], model.heads[f"task_{name}"](kept))
    for name, value in model.state_dict().items():  # no running average moved
        assert torch.equal(value, before[name])


def test_mc_dropout_puts_everything_back():
    model = dropped().train()
    model.trunk[0].eval()
    modes = [m.training for m in model.modules()]
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = mc_dropout(model, torch.ones(2, 4, dtype=F64), draws=5, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    assert [m.training for m in model.modules()] == modes
    second = mc_dropout(model, torch.ones(2, 4, dtype=F64), draws=5, seed=1)
    other = mc_dropout(model, torch.ones(2, 4, dtype=F64), draws=5, seed=2)
    assert torch.equal(first["size"], second["size"])
    assert not torch.equal(first["size"], other["size"])
    assert not first["size"].requires_grad
    with pytest.raises(RuntimeError):
        mc_dropout(model, torch.ones(2, 9, dtype=F64))
    assert [m.training for m in model.modules()] == modes


def test_mc_dropout_has_the_mean_of_the_plain_prediction():
    """The heads are linear in the dropped features, so inverted scaling is exact on average."""
    model = dropped(0.3).eval()
    x = torch.randn(3, 4, dtype=F64)
    found = mc_dropout(model, x, draws=4000, seed=0)["size"]
    error = (found.mean(0) - model(x)["size"]).abs() / (found.std(0) / 4000**0.5)
    assert error.max() < 4


@pytest.mark.parametrize("p", [0.0, None])
def test_mc_dropout_needs_something_to_drop(p):
    model = HardSharing.linear(mlp(4, (3,)), TASKS) if p is None else dropped(p)
    with pytest.raises(ValueError, match=r"found draws=5 and 0 such layers"):
        mc_dropout(model, torch.ones(2, 4, dtype=F64), draws=5)
    with pytest.raises(ValueError, match=r"found draws=0 and 1 such layers"):
        mc_dropout(dropped(), torch.ones(2, 4, dtype=F64), draws=0)


def plain(seed=0):
    torch.manual_seed(seed)
    return HardSharing.linear(mlp(4, (6, 5)), TASKS)


def one_input(examples=30, seed=0):
    x = torch.randn(examples, 4, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return MultiTaskData(x, {"size": x.sum(1), "kind": x[:, :3].argmax(1)})


# ----------------------------------------------------------------------------------- clipping


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_clipped_steps_are_those_of_a_shortened_gradient(name):
    for size in (0.01, 100.0):
        parameters = [nn.Parameter(torch.tensor([3.0, 4.0])), nn.Parameter(torch.zeros(2))]
        twins = copy.deepcopy(parameters)
        mine = clipped(name, lr=0.1, max_norm=0.5)(parameters)
        kind = torch.optim.SGD if name == "sgd" else torch.optim.Adam
        theirs = kind(twins, lr=0.1)
        gradient = torch.tensor([[3.0, 0.0], [0.0, 4.0]]) * size
        shortened = gradient * min(1.0, 0.5 / float(gradient.norm() + 1e-6))
        for p, q, g, h in zip(parameters, twins, gradient, shortened, strict=True):
            p.grad, q.grad = g.clone(), h.clone()
        mine.step()
        theirs.step()
        for p, q in zip(parameters, twins, strict=True):
            torch.testing.assert_close(p, q)


def test_clipping_keeps_an_exploding_run_finite():
    data = one_input()
    data = MultiTaskData(data.inputs * 1e3, {**data.targets, "size": data.targets["size"] * 1e3})
    with pytest.raises(FloatingPointError):
        fit(plain(), TASKS, data, optimizer="sgd", lr=0.1, epochs=20, seed=0)
    model = plain()
    fit(model, TASKS, data, optimizer=clipped("sgd", lr=0.1, max_norm=1.0), epochs=20, seed=0)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert evaluate(model, TASKS, data)["size"]["score"] >= 0


def test_a_balances_parameters_are_clipped_apart():
    optimizer = clipped("sgd", lr=1.0, max_norm=1.0)
    one, other = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    stepper = optimizer([{"params": [one]}, {"params": [other]}])
    one.grad, other.grad = torch.tensor([100.0]), torch.tensor([0.5])
    stepper.step()
    assert one.item() == pytest.approx(-1, rel=1e-4) and other.item() == -0.5


def test_clipping_is_not_stacked():
    """The length of one seed's gradient must not depend on the other seeds."""

    def data(seed):
        return Splits(*(one_input(20, 3 * seed + i) for i in range(3)))

    def run(seeds, method="auto"):
        optimizer = clipped("sgd", lr=0.5, max_norm=0.1)
        return many_seeds(
            plain, TASKS, data, seeds=seeds, steps=5, batch_size=8,
            optimizer=optimizer, method=method,
        )  # fmt: skip

    both = run((0, 1))
    assert both.method == "loop" and "clipped at 0.1 is not known to treat each" in both.reason
    assert torch.equal(both.scores["size"][1:], run((1,)).scores["size"])
    with pytest.raises(ValueError, match="vmap"):
        run((0, 1), "vmap")


def test_a_checkpoint_of_a_clipped_run_is_not_taken_for_another(tmp_path):
    path, data = tmp_path / "run.pt", one_input()
    optimizer = clipped("adam", lr=0.01, max_norm=1.0)
    whole = plain()
    fit(whole, TASKS, data, optimizer=optimizer, epochs=4, seed=0)
    part = plain()
    fit(part, TASKS, data, optimizer=optimizer, epochs=2, seed=0, checkpoint=path)
    with pytest.raises(ValueError, match="another run"):
        fit(plain(), TASKS, data, optimizer="adam", lr=0.01, epochs=4, seed=0, checkpoint=path)
    resumed = plain()
    fit(resumed, TASKS, data, optimizer=optimizer, epochs=4, seed=0, checkpoint=path)
    for p, q in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("bad", [0, -1, float("inf"), float("nan")])
def test_a_length_that_makes_no_sense(bad):
    with pytest.raises(ValueError, match="max_norm must be a positive number; found"):
        clipped("sgd", lr=0.1, max_norm=bad)
    with pytest.raises(ValueError, match=r"unknown optimizer 'sdg'"):
        clipped("sdg", lr=0.1, max_norm=1)
    with pytest.raises(ValueError, match="learning rate must be a positive"):
        clipped("sgd", lr=bad, max_norm=1)


def test_a_clipped_step_gives_the_loss_of_its_closure():
    weights = [nn.Parameter(torch.ones(2, dtype=torch.float64))]
    stepper = clipped("sgd", lr=0.1, max_norm=1.0)(weights)

    def closure():
        loss = (weights[0] ** 2).sum()
        loss.backward()
        return loss

    assert stepper.step(closure) == 2
