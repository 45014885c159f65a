"""What the regression generators promise: known variance, a dial that works, one seed one truth."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_helpers.datasets.regression import (
    mmoe_synthetic,
    mmoe_weights,
    regression,
    regression_truth,
)


def stacked(targets):
    return torch.stack(list(targets.values()))


def test_shapes_names_and_type():
    splits = regression(3, examples=5, unrelated=1, valid=6, test=7, inputs=9)
    assert [len(part) for part in splits] == [5, 6, 7]
    assert splits.train.inputs.shape == (5, 9)
    assert list(splits.train.targets) == ["task_1", "task_2", "task_3", "unrelated_1"]
    assert all(t.shape == (7,) and t.dtype == torch.float64 for t in splits.test.targets.values())


@settings(max_examples=10, deadline=None)
@given(
    relatedness=st.floats(0, 1),
    noise=st.floats(0, 2),
    frequency=st.floats(0.3, 3),
    seed=st.integers(0, 10_000),
)
def test_targets_have_mean_0_and_variance_1(relatedness, noise, frequency, seed):
    splits = regression(
        2, 1, relatedness, 1, noise=noise, frequency=frequency, valid=1, test=20_000, seed=seed
    )
    targets = stacked(splits.test.targets)
    assert targets.mean(1).abs().max() < 0.05
    assert (targets.var(1) - 1).abs().max() < 0.06


@settings(max_examples=10, deadline=None)
@given(rho=st.floats(0, 1), features=st.integers(1, 3), seed=st.integers(0, 10_000))
def test_the_dial_is_the_share_of_variance_from_the_shared_feature(rho, features, seed):
    truth = regression_truth(4, rho, inputs=8, features=features, noise=0.0, seed=seed)
    x = torch.randn(20_000, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    shared = truth.features(x)[:, : truth.shared] @ truth.loadings[:, : truth.shared].T
    assert (shared.var(0) - rho).abs().max() < 0.05
    rest = stacked(truth.signal(x)).T - shared
    assert (rest.var(0) - (1 - rho)).abs().max() < 0.05
    assert (shared * rest).mean(0).abs().max() < 0.03


def test_private_features_are_at_right_angles_to_every_shared_one():
    truth = regression_truth(3, 0.5, unrelated=1, groups=[0, 1, 1], inputs=10)
    shared, private = truth.directions[:4], truth.directions[4:]
    torch.testing.assert_close(shared @ shared.T, torch.eye(4, dtype=torch.float64))
    assert (shared @ private.T).abs().max() < 1e-12
    assert (truth.directions.norm(dim=1) - 1).abs().max() < 1e-12


def test_an_unrelated_task_uses_no_shared_feature_and_a_fully_related_one_nothing_else():
    truth = regression_truth(2, 1.0, unrelated=1)
    assert truth.loadings[2, : truth.shared].abs().max() == 0
    assert truth.loadings[:2, truth.shared :].abs().max() == 0


def test_the_relatedness_matrix():
    truth = regression_truth(4, [1, 0.5, 0.8, 0.5], 1, groups=[0, 0, 1, 1], features=1)
    expected = torch.eye(5, dtype=torch.float64)
    expected[0, 1] = expected[1, 0] = math.sqrt(0.5)
    expected[2, 3] = expected[3, 2] = math.sqrt(0.4)
    torch.testing.assert_close(truth.relatedness, expected)


def test_the_linear_share_of_a_feature_is_what_the_docstring_says():
    truth = regression_truth(1, features=1, noise=0.0, frequency=1.2)
    x = torch.randn(50_000, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z, f = x @ truth.directions[0], truth.features(x)[:, 0]
    correlation = torch.corrcoef(torch.stack([z, f]))[0, 1]
    assert float(correlation**2) == pytest.approx(1.2**2 / math.sinh(1.2**2), abs=0.01)


def test_the_truth_reaches_the_best_rmse_it_states():
    dials = {"relatedness": [0.3, 0.9], "noise": [0.2, 1.0], "tasks": 2, "seed": 3}
    truth, test = regression_truth(**dials), regression(**dials, test=20_000).test
    error = stacked(truth.signal(test.inputs)) - stacked(test.targets)
    rmse = error.square().mean(1).sqrt().tolist()
    assert rmse == pytest.approx(list(truth.best_rmse.values()), rel=0.03)
    assert truth.best_rmse["task_2"] == pytest.approx(math.sqrt(0.5))


def test_one_seed_one_data_set_and_other_seeds_others():
    a, b, c = (regression(2, seed=seed).train for seed in (5, 5, 6))
    assert torch.equal(a.inputs, b.inputs) and torch.equal(a.targets["task_1"], b.targets["task_1"])
    assert not torch.equal(a.inputs, c.inputs)


def test_the_parts_differ_and_the_test_set_does_not_depend_on_the_number_of_examples():
    small, large = regression(2, 10, test=50), regression(2, 20, test=50)
    assert torch.equal(small.test.inputs, large.test.inputs)
    assert torch.equal(small.test.targets["task_2"], large.test.targets["task_2"])
    same = regression(2, 50, valid=50, test=50)
    assert not torch.equal(same.train.inputs, same.valid.inputs)
    assert not torch.equal(same.train.inputs, same.test.inputs)


def test_global_random_state_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    regression(2)
    mmoe_synthetic(0.5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"relatedness": 1.5}, "relatedness must lie in 0..1; found"),
        ({"relatedness": [1.0, 1.0]}, "each of the 8 tasks; found 2"),
        ({"noise": [0.1] * 3}, "noise needs one number, or one for each of the 8 tasks; found 3"),
        ({"noise": -1.0}, "at least 0; found"),
        ({"groups": [0, 1]}, "each of the 8 tasks"),
        ({"inputs": 3}, "need 4 inputs .* found 3"),
        ({"tasks": 0}, "tasks must be at least 1"),
    ],
)
def test_refusals_say_what_was_found(arguments, message):
    with pytest.raises(ValueError, match=message):
        regression(**arguments)


@settings(max_examples=20, deadline=None)
@given(p=st.floats(-1, 1), scale=st.floats(0.1, 5), seed=st.integers(0, 10_000))
def test_mmoe_weights_have_the_cosine_asked_for(p, scale, seed):
    w1, w2 = mmoe_weights(p, inputs=12, scale=scale, seed=seed)
    assert float(w1.norm()) == pytest.approx(scale)
    assert float(w2.norm()) == pytest.approx(scale)
    assert float(w1 @ w2) / scale**2 == pytest.approx(p, abs=1e-9)


def test_the_defaults_of_the_synthetic_data_stay_as_the_recorded_studies_used_them():
    spelt = {
        "examples": 1000, "inputs": 100, "scale": 1.0, "noise": 0.1, "valid": 500, "test": 2000,
        "alphas": (1.0, 2.0, 3.0, 4.0), "betas": (1.0, 2.0, 3.0, 4.0), "seed": 0,
    }  # fmt: skip
    for mine, theirs in zip(mmoe_synthetic(0.5), mmoe_synthetic(0.5, **spelt), strict=True):
        assert torch.equal(stacked(mine.targets), stacked(theirs.targets))


def test_mmoe_targets_follow_the_formula():
    data = mmoe_synthetic(0.3, alphas=[0.5, 2], betas=[1, 3], noise=0.0, inputs=6, seed=2).train
    for name, w in zip(data.targets, mmoe_weights(0.3, inputs=6, seed=2), strict=True):
        z = data.inputs @ w
        torch.testing.assert_close(
            data.targets[name], z + torch.sin(0.5 * z + 1) + torch.sin(2 * z + 3)
        )


def test_mmoe_target_correlation_grows_with_p_and_the_noise_is_independent():
    def correlation(p):
        return float(torch.corrcoef(stacked(mmoe_synthetic(p, test=20_000).test.targets))[0, 1])

    found = [correlation(p) for p in (0, 0.5, 0.9, 1)]
    assert found == sorted(found) and abs(found[0]) < 0.03
    assert 0.98 < found[-1] < 1
    noisy, clean = (mmoe_synthetic(1.0, noise=s, test=20_000).test.targets for s in (0.1, 0.0))
    error = stacked(noisy) - stacked(clean)
    assert error.std(1).tolist() == pytest.approx([0.1, 0.1], rel=0.03)


def test_mmoe_refusals():
    with pytest.raises(ValueError, match="correlation must lie in -1..1"):
        mmoe_synthetic(1.1)
    with pytest.raises(ValueError, match="found 1 and 2"):
        mmoe_synthetic(0.5, alphas=[1], betas=[1, 2])
