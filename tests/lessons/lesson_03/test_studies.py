"""The measures behind the recorded sweeps of lesson 03, on cases small enough to know."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from mtl_helpers.datasets.base import Splits
from mtl_helpers.experiments import many_seeds
from mtl_helpers.lessons.lesson_03 import studies as study
from mtl_helpers.models import HardSharing, SoftSharing
from mtl_helpers.tasks import regression

TASKS = [regression("task_1"), regression("task_2")]
GRID = {
    "learning_rates": [1e-6, 0.02],
    "tuning_seeds": [100, 101],
    "steps": 30,
    "record_every": 10,
    "batch_size": None,
}


def two(seed, depth=1):
    return study.parting_tasks(depth, tasks=2, examples=20, seed=seed)


def model():
    return HardSharing.split(partial(study.stages, 8, 6, 3), TASKS, 1, features=6)


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_tasks_share_exactly_the_layers_they_should(depth):
    data = study.parting_tasks(depth, tasks=12, noise=0.0, examples=80).train
    columns = torch.stack(list(data.targets.values()), 1)
    rank = int(torch.linalg.matrix_rank(columns, rtol=1e-8))
    assert rank == (6 if depth == 3 else 12)


def test_targets_of_parting_tasks_have_variance_one_and_the_noise_asked_for():
    for noise in (0.0, 0.5):
        parts = study.parting_tasks(1, examples=3000, noise=noise)
        every = torch.cat([part.targets["task_2"] for part in parts])
        assert float(every.var()) == pytest.approx(1 + noise**2, rel=0.05)


def test_a_seed_redraws_everything_and_gives_the_same_again():
    a, b, other = two(3), two(3), two(4)
    assert torch.equal(a.train.inputs, b.train.inputs)
    assert torch.equal(a.test.targets["task_1"], b.test.targets["task_1"])
    assert not torch.equal(a.train.inputs, other.train.inputs)
    with pytest.raises(ValueError, match="part at 0 to 3; found 4"):
        study.parting_tasks(4)


methods = pytest.mark.parametrize("method", ["vmap", "loop"])


def choose(makers, make_data=two, method="vmap", **changes):
    return study.tune(makers, TASKS, make_data, {**GRID, **changes}, method=method)


@methods
def test_tuning_finds_the_best_rate_and_step_of_the_grid(method):
    found = choose([model], method=method)
    assert (found.lr, found.steps, found.choice) == (0.02, 30, 0)
    late = choose([model], method=method, learning_rates=[0.02, 1e9])  # diverges at once
    assert late == found


@methods
def test_what_is_reported_are_the_test_scores_of_the_reported_seeds(method):
    settings = study.Settings(0.0, 0, 0.02, 20)
    found = study.scores_of(model, TASKS, two, settings, GRID, [0, 1], method=method)
    plain = many_seeds(
        model, TASKS, two, seeds=[0, 1], steps=20, batch_size=None, lr=0.02, method="loop"
    )
    for name, values in plain.scores.items():
        torch.testing.assert_close(found[name], values, rtol=1e-8, atol=0)


@methods
def test_only_the_validation_data_of_the_tuning_seeds_choose(method):
    def spoilt(seed):
        parts = two(seed)
        assert seed in GRID["tuning_seeds"]
        broken = {name: 1000 + y for name, y in parts.test.targets.items()}
        return Splits(parts.train, parts.valid, type(parts.test)(parts.test.inputs, broken))

    assert choose([model], spoilt, method) == choose([model], two, method)


def test_what_chooses_is_the_mean_loss_or_the_mean_score():
    plain = many_seeds(
        model, TASKS, two, seeds=GRID["tuning_seeds"], steps=30, record_every=30,
        batch_size=None, lr=0.02, method="loop",
    ).curves  # fmt: skip
    for by in ("losses", "scores"):
        found = study.tune([model], TASKS, two, GRID, method="vmap", by=by)
        wanted = torch.stack([values[:, -1] for values in getattr(plain, by).values()]).mean()
        assert found.value == pytest.approx(float(wanted), rel=1e-8)


def test_tuning_chooses_among_candidates_too():
    makers = [partial(tied, strength) for strength in (1e4, 0.0, 1e3)]
    found = choose(makers, method="loop", learning_rates=[0.02])
    assert found.choice == 1
    alone = choose(makers[1:2], method="loop", learning_rates=[0.02])
    assert (found.value, found.steps) == (alone.value, alone.steps)


def tied(strength):
    """Networks whose trunks a strong band keeps from learning."""
    trunk = partial(study.stages, 8, 6, 3)
    return SoftSharing(trunk, TASKS, strength=strength, features=6)


def test_all_arms_of_the_mixtures_have_nearly_the_same_parameters():
    widths = study.equal_widths(10)
    counts = {n: study.parameters_of(study.mixture(n, 10, w)) for n, w in widths.items()}
    assert set(counts) == set(study.ARMS)
    assert max(counts.values()) < 1.1 * min(counts.values())


@pytest.mark.parametrize("arm", study.ARMS)
def test_arms_that_are_compared_are_equally_deep(arm):
    def deepest(node):
        below = max((deepest(other) for other, _ in node.next_functions if other), default=0)
        return below + ("Relu" in node.name())

    model = study.mixture(arm, 10, 4)
    outputs = model(torch.randn(3, 10, dtype=torch.float64))
    layers = {deepest(output.grad_fn) for output in outputs.values()}
    assert layers == {3 if arm in study.TWO_LAYERS else 2}  # hidden layers, and that of the tower
    assert (arm in study.ONE_LAYER) != (arm in study.TWO_LAYERS)


def test_tuning_seeds_lie_evenly_over_the_dial():
    settings = {"inputs": 4, "examples": 10, "alphas": [1.0], "betas": [0.0]}
    places = study.CORRELATION["tuning_correlations"]
    assert len(study.CORRELATION["tuning_seeds"]) % len(places) == 0
    drawn = [study._everywhere(places, settings, seed) for seed in range(100, 105)]
    for p, parts in zip(places, drawn, strict=True):
        seed = 100 + places.index(p)
        wanted = study._correlated(p, settings, seed)
        assert torch.equal(parts.train.targets["task_2"], wanted.train.targets["task_2"])


@pytest.mark.parametrize("split", [0, 1, 2, 3])
def test_all_splits_have_about_one_size(split):
    width = study.equal_width(4, 8, 3, split, 680)
    tasks = [regression(f"task_{k}") for k in range(4)]
    trunk = partial(study.stages, 8, width, 3)
    made = HardSharing.split(trunk, tasks, split, features=width)
    assert study.parameters_of(made) == pytest.approx(680, rel=0.1)


def test_a_line_fits_what_is_a_line():
    parts = study.correlated(0.5, 0)
    line = {n: 1 + 2 * parts.train.inputs[:, 0] for n in ("task_1", "task_2")}
    train = type(parts.train)(parts.train.inputs, line)
    test = type(parts.test)(parts.test.inputs, {n: 1 + 2 * parts.test.inputs[:, 0] for n in line})
    assert study.linear_rmse(Splits(train, parts.valid, test)) < 1e-9
    assert study.linear_rmse(parts) > 0.7
