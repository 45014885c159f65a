"""The arms of lesson 05's sweeps: what they are, how they are tuned, and what is measured."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.lessons.lesson_05 import studies as study
from mtl_helpers.models.norms import TaskBatchNorm
from mtl_helpers.teaching.studies import all_studies

SMALL = {
    **study.SHIFTED,
    "shifts": [0.0, 1.0],
    "sizes": {"train": 40, "valid": 30, "test": 35},
    "widths": [8, 8],
    "steps": 6,
    "batch_size": 10,
    "learning_rates": [0.001, 0.01],
    "further_rates": [],
    "tuning_seeds": [100, 101],
}
DEEP = {
    **study.WHY_BN,
    "sizes": {"train": 40, "valid": 30, "test": 30},
    "depth": 3,
    "width": 8,
    "steps": 7,
    "batch_size": 10,
    "measure_every": 3,
    "learning_rates": [0.01, 0.1],
    "further_rates": [],
    "tuning_seeds": [100],
}


def with_other_test_labels(real):
    """The same data, where the labels of the test part stand in another order."""

    def make(*args, **kwargs):
        train, valid, test = real(*args, **kwargs)
        targets = {name: target.flip(0) for name, target in test.targets.items()}
        return Splits(train, valid, MultiTaskData(test.inputs, targets))

    return make


@pytest.fixture(scope="module")
def rows():
    return study.shifted_tasks(SMALL, [0, 1])


@pytest.fixture(scope="module")
def deep_rows():
    return study.why_bn(DEEP, [0, 1])


# ---------------------------------------------------------------------------------- the tuning


@pytest.mark.parametrize(
    ("peak", "asked"),
    [
        (0.2, [0.1, 0.2, 0.3]),  # inside: the grid is enough
        (0.4, [0.1, 0.2, 0.3, 0.4, 0.5]),  # beyond its upper edge: on until the next is worse
        (0.05, [0.1, 0.2, 0.3, 0.05, 0.02]),
        (0.5, [0.1, 0.2, 0.3, 0.4, 0.5]),  # nothing further to try
    ],
)
def test_no_edge_of_the_grid_wins_while_there_are_further_rates(peak, asked):
    grid = {"learning_rates": [0.1, 0.2, 0.3], "further_rates": [0.02, 0.05, 0.4, 0.5]}
    tried = []

    def accuracy(rate):
        tried.append(rate)
        return -abs(rate - peak)

    assert study.best_rate(accuracy, grid) == peak
    assert tried == asked


def test_a_single_rate_is_not_searched_for():
    grid = {"learning_rates": [0.1], "further_rates": [0.01, 1.0]}
    assert study.best_rate(lambda rate: pytest.fail("it searched"), grid) == 0.1


# -------------------------------------------------------------------- tasks whose inputs differ


@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0])
def test_the_shift_can_be_undone(strength):
    pictures = torch.rand(5, 1, 8, 8, dtype=torch.float64)
    shifted = study.shift_pictures(pictures, strength)
    ramp = torch.arange(8, dtype=torch.float64) / 7
    torch.testing.assert_close((shifted - strength * ramp) * (1 + strength), pictures)
    assert torch.equal(shifted, pictures) is (strength == 0)
    left, right = shifted[..., 0], shifted[..., -1]
    torch.testing.assert_close(left, pictures[..., 0] / (1 + strength))
    torch.testing.assert_close(right, pictures[..., -1] / (1 + strength) + strength)


def test_every_example_holds_a_plain_and_a_shifted_digit():
    sizes = {"train": 50, "valid": 20, "test": 30}
    as_they_are, shifted = (study.two_pictures(s, sizes, seed=3) for s in (0.0, 1.0))
    for before, after, size in zip(as_they_are, shifted, sizes.values(), strict=True):
        assert after.inputs.shape == (size, 2, 1, 8, 8)
        assert torch.equal(before.inputs[:, 0], after.inputs[:, 0])
        expected = study.shift_pictures(before.inputs[:, 1], 1.0)
        torch.testing.assert_close(after.inputs[:, 1], expected)
        assert list(after.targets) == ["plain", "shifted"]
        assert not torch.equal(after.targets["plain"], after.targets["shifted"])


def test_the_labels_belong_to_their_pictures():
    """A digit's nearest neighbour among the others mostly has the same label."""
    train = study.two_pictures(0.0, {"train": 900, "valid": 1, "test": 1}, seed=0).train
    pictures = train.inputs.flatten(2)
    for k, target in enumerate(train.targets.values()):
        one = pictures[:, k]
        nearest = torch.cdist(one, one).fill_diagonal_(torch.inf).argmin(1)
        assert (target[nearest] == target).double().mean() > 0.9


def norms(model):
    kinds = (nn.BatchNorm1d, nn.GroupNorm, nn.LayerNorm)
    return [type(module) for module in model.modules() if isinstance(module, kinds)]


@pytest.mark.parametrize(
    ("arm", "kind", "count", "passes"),
    [
        ("none", None, 0, "mixed"),
        ("mixed", nn.BatchNorm1d, 2, "mixed"),
        ("alternating", nn.BatchNorm1d, 2, "alternating"),
        ("per_task", nn.BatchNorm1d, 4, "alternating"),
        ("group", nn.GroupNorm, 2, "mixed"),
        ("layer", nn.LayerNorm, 2, "mixed"),
    ],
)
def test_arms_differ_in_their_normalisation_alone(arm, kind, count, passes):
    model = study.shifted_network(arm, study.SHIFTED_TASKS, [8, 8])
    assert norms(model) == [kind] * count
    assert model.passes == passes
    assert any(isinstance(m, TaskBatchNorm) for m in model.modules()) is (arm == "per_task")
    linear = [tuple(m.weight.shape) for m in model.modules() if isinstance(m, nn.Linear)]
    assert linear == [(8, 64), (8, 8), (10, 8), (10, 8)]


def test_the_single_arm_is_one_network_a_task_on_that_task_s_pictures():
    for k, task in enumerate(study.SHIFTED_TASKS):
        model = study.shifted_network("single", (task,), [8, 8])
        assert list(model.heads) == [f"task_{task.name}"]
        assert norms(model) == [nn.BatchNorm1d] * 2
        alone = study._shifted_data(SMALL, 1.0, "single", (task,), 5)
        both = study._shifted_data(SMALL, 1.0, "mixed", study.SHIFTED_TASKS, 5)
        for one, two in zip(alone, both, strict=True):
            assert torch.equal(one.inputs, two.inputs[:, k])
            assert list(one.targets) == [task.name]
            assert torch.equal(one.targets[task.name], two.targets[task.name])


def test_there_is_a_row_for_every_strength_arm_and_seed(rows):
    found = [(row["shift"], row["arm"], row["seed"]) for row in rows]
    assert found == [
        (s, arm, seed) for s in SMALL["shifts"] for arm in SMALL["arms"] for seed in (0, 1)
    ]
    for row in rows:
        has_statistics = row["arm"] not in ("none", "group", "layer")
        for name in ("plain", "shifted"):
            assert 0 <= row[name] <= 100
            assert (row[f"{name}_batch"] is not None) is has_statistics
        rates = row["lr"] if row["arm"] == "single" else [row["lr"]]
        assert len(rates) == 1 + (row["arm"] == "single")
        assert set(rates) <= set(SMALL["learning_rates"])


def test_alternating_is_also_trained_at_the_rate_of_per_task(rows):
    by_arm = {(row["arm"], row["seed"]): row for row in rows if row["shift"] == 1.0}
    for seed in (0, 1):
        row = by_arm["alternating_same_lr", seed]
        assert row["lr"] == by_arm["per_task", seed]["lr"]
        again = study._train_shifted(
            SMALL, 1.0, "alternating", study.SHIFTED_TASKS, row["lr"], [seed]
        )
        assert 100 * float(again.scores["plain"][0]) == pytest.approx(row["plain"], abs=0.01)


def test_a_row_holds_the_test_scores_of_what_was_tuned(rows):
    row = next(r for r in rows if (r["shift"], r["arm"], r["seed"]) == (1.0, "mixed", 1))
    again = study._train_shifted(SMALL, 1.0, "mixed", study.SHIFTED_TASKS, row["lr"], [1])
    for name in ("plain", "shifted"):
        assert 100 * float(again.scores[name][0]) == pytest.approx(row[name], abs=0.01)


@pytest.mark.parametrize("arm", ["single", "mixed", "per_task"])
def test_rates_are_tuned_on_validation_data(arm, monkeypatch):
    tasks = study.SHIFTED_TASKS[1:] if arm == "single" else study.SHIFTED_TASKS
    before = study._tune_shifted(SMALL, 1.0, arm, tasks)
    real = study.overlapping_digits
    monkeypatch.setattr(study, "overlapping_digits", with_other_test_labels(real))
    assert study._tune_shifted(SMALL, 1.0, arm, tasks) == before


def test_every_arm_tries_the_same_rates_on_the_same_seeds(monkeypatch):
    asked = []
    real = study.many_seeds

    def spy(make_model, tasks, make_data, **settings):
        arm, names = make_model.args[0], tuple(task.name for task in tasks)
        asked.append((arm, names, settings["lr"], tuple(settings["seeds"]), settings["steps"]))
        return real(make_model, tasks, make_data, **settings)

    monkeypatch.setattr(study, "many_seeds", spy)
    study.shifted_tasks({**SMALL, "shifts": [1.0]}, [0])
    networks = {one[:2] for one in asked}
    assert len(networks) == 6 + 2
    for network in networks:
        tries = [one[2:] for one in asked if one[:2] == network]
        assert tries[:2] == [(0.001, (100, 101), 6), (0.01, (100, 101), 6)]
        tests = 2 if network[0] == "alternating" else 1  # once more at the rate of per_task
        assert [one[1:] for one in tries[2:]] == [((0,), 6)] * tests


def test_batch_statistics_are_those_of_each_task_alone():
    """By hand: every layer normalised with the mean and variance of one task's test pictures."""
    tasks = study.SHIFTED_TASKS
    results = study._train_shifted(SMALL, 1.0, "mixed", tasks, 0.01, [7])
    found = study._with_batch_statistics(SMALL, 1.0, "mixed", tasks, results)
    test = study._shifted_data(SMALL, 1.0, "mixed", tasks, 7).test
    state = results.state(7)
    for k, name in enumerate(("plain", "shifted")):
        x = test.inputs[:, k].flatten(1)
        for i in (1, 4):
            x = x @ state[f"trunk.{i}.weight"].T + state[f"trunk.{i}.bias"]
            x = (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()
            x = (x * state[f"trunk.{i + 1}.weight"] + state[f"trunk.{i + 1}.bias"]).relu()
        head = f"heads.task_{name}"
        classes = (x @ state[f"{head}.weight"].T + state[f"{head}.bias"]).argmax(1)
        expected = (classes == test.targets[name]).double().mean()
        assert float(found[f"{name}_batch"][0]) == pytest.approx(float(expected))


# ------------------------------------------------------------------------------ why does it help?


def test_the_noise_moves_and_stretches_in_training_alone():
    noise = study.MovingNoise(0.5, 1.25)
    x = torch.randn(4000, 6, dtype=torch.float64)
    assert torch.equal(noise.eval()(x), x)
    noise.train()
    first, second = noise(x), noise(x)
    means = torch.stack([(y - x).mean(0) for y in (first, second)])
    assert (means.abs() < 0.65).all() and means.abs().max() > 0.1
    assert (means[0] - means[1]).abs().max() > 0.1  # drawn anew at every step
    factors = first.std(0) / x.std(0)
    assert (factors > 0.95).all() and (factors < 1.35).all() and factors.std() > 0.01


@pytest.mark.parametrize(("arm", "count", "noisy"), [("plain", 0, 0), ("bn", 3, 0),
                                                     ("bn_shifted", 3, 3)])  # fmt: skip
def test_deep_arms_begin_with_the_same_weights(arm, count, noisy):
    torch.manual_seed(4)
    model = study.deep_network(arm, DEEP)
    torch.manual_seed(4)
    plain = study.deep_network("plain", DEEP)
    assert sum(isinstance(m, nn.BatchNorm1d) for m in model.modules()) == count
    assert sum(isinstance(m, study.MovingNoise) for m in model.modules()) == noisy
    pairs = [
        [m.weight for m in one.modules() if isinstance(m, nn.Linear)] for one in (model, plain)
    ]
    for ours, theirs in zip(*pairs, strict=True):
        assert torch.equal(ours, theirs)


def test_the_initial_weights_keep_the_size_of_the_activations():
    torch.manual_seed(0)
    model = study.deep_network("plain", {**DEEP, "depth": 12, "width": 200})
    x = model.features(torch.randn(100, 120, dtype=torch.float64))
    assert 0.3 < float(x.detach().square().mean()) < 3


@pytest.fixture
def batch():
    return study.overlapping_digits(train=20, valid=1, test=1, seed=0).train


def test_along_the_gradient_of_a_known_loss(batch, monkeypatch):
    """For a loss a w^2 / 2 everything along the gradient is known."""
    a, w = 3.0, 2.0
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(model.weight, w)
    monkeypatch.setattr(study, "_total_loss", lambda m, _: a / 2 * m.weight.square().sum())
    found = study.along_the_gradient(model, batch, [0.1, 0.2], seed=0)
    losses = [a / 2 * (w - size * a * w) ** 2 for size in (0, 0.1, 0.2)]
    assert found["range"] == pytest.approx(max(losses) - min(losses))
    assert found["gradient_change"] == pytest.approx(a * 0.2 * a * w)
    assert found["gradient_norm"] == pytest.approx(a * w)
    assert float(model.weight.detach()) == w


def test_measuring_leaves_the_model_and_the_random_numbers_alone(batch):
    model = study.deep_network("bn_shifted", DEEP)
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    first = study.along_the_gradient(model, batch, [0.1], seed=0)
    study.moved(model, model, batch, seed=0)
    study._clean_loss(model, batch)
    assert first == study.along_the_gradient(model, batch, [0.1], seed=0)
    assert torch.equal(random, torch.get_rng_state()) and model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_running_statistics_are_settled_on_the_training_data_without_noise(batch):
    model = study.deep_network("bn_shifted", DEEP).train()
    study.settle(model, batch)
    x = batch.inputs.flatten(1)
    first = x @ model.trunk[1].weight.T + model.trunk[1].bias
    torch.testing.assert_close(model.trunk[2].running_mean, first.mean(0))
    torch.testing.assert_close(model.trunk[2].running_var, first.var(0))
    second = model.trunk[5](
        torch.relu((first - first.mean(0)) / (first.var(0, False) + 1e-5).sqrt())
    )
    torch.testing.assert_close(model.trunk[6].running_mean, second.mean(0))
    assert model.trunk[2].momentum == 0.1
    assert all(module.training for module in model.modules())


def test_nothing_has_moved_between_a_model_and_itself_but_for_the_noise(batch):
    for arm in ("plain", "bn"):
        model = study.deep_network(arm, DEEP)
        assert study.moved(model, model, batch, seed=0) == 0
    model = study.deep_network("bn_shifted", DEEP)
    assert study.moved(model, model, batch, seed=0) > 0.05


def test_the_shift_is_in_standard_deviations(batch):
    before = study.deep_network("plain", {**DEEP, "depth": 1})
    after = copy.deepcopy(before)
    with torch.no_grad():
        for values in after.trunk[1].parameters():
            values.mul_(2)  # twice the activations: both mean and spread double
    x = before.features(batch.inputs)
    expected = (x.mean(0) + x.std(0)).mean() / x.std(0).mean()
    assert study.moved(before, after, batch, seed=0) == pytest.approx(float(expected.detach()))


def test_rows_of_the_deep_arms(deep_rows):
    found = [(row["arm"], row["seed"]) for row in deep_rows]
    assert found == [(arm, seed) for arm in DEEP["arms"] for seed in (0, 1)]
    for row in deep_rows:
        assert row["steps"] == [0, 3, 6]
        for column in ("train_loss", "range", "gradient_change", "gradient_norm", "shift"):
            assert len(row[column]) == 3 and all(value > 0 for value in row[column])
    by_arm = {row["arm"]: row["lr"] for row in deep_rows}
    assert by_arm["plain_same_lr"] == by_arm["bn"]


def test_measuring_changes_no_training():
    for arm in ("bn", "bn_shifted"):
        runs = [study.train_deep(DEEP, arm, 0.1, 3, measure=measure) for measure in (False, True)]
        assert runs[0]["accuracy"] == runs[1]["accuracy"]


def test_deep_arms_are_tuned_on_validation_data(monkeypatch):
    before = study._tune_deep(DEEP, "bn")
    real = study.overlapping_digits
    monkeypatch.setattr(study, "overlapping_digits", with_other_test_labels(real))
    assert study._tune_deep(DEEP, "bn") == before


def test_a_network_that_diverges_has_numbers_or_nothing():
    grid = {"learning_rates": [1e100], "arms": ["plain"], "depth": 12}
    row = study.why_bn({**DEEP, **grid}, [0])[0]
    assert row["accuracy"] is None
    assert row["train_loss"][0] > 0 and row["train_loss"][-1] is None


def test_a_rate_at_which_a_run_diverged_is_not_chosen():
    grid = {"learning_rates": [0.1, 0.2, 0.3], "further_rates": []}
    values = {0.1: float("nan"), 0.2: 0.5, 0.3: float("nan")}
    assert study.best_rate(values.get, grid) == 0.2


def test_tuning_seeds_are_no_test_seeds():
    for name in ("05_shifted_tasks", "05_why_bn"):
        one = all_studies()[name]
        assert not set(one.configuration["tuning_seeds"]) & set(one.seeds)
