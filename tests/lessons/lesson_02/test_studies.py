"""The measures behind the recorded study of lesson 02, on cases small enough to know."""

import pytest
import torch
from sklearn.linear_model import Ridge

from mtl_helpers.datasets.footsteps import footsteps
from mtl_helpers.lessons.lesson_02 import studies as study


def rows(seeds):
    return [footsteps(20, target="count", seed=seed) for seed in seeds]


def test_scales_go_there_and_back():
    targets = torch.stack([study.columns(part.train) for part in rows([0, 1])])
    for own in (True, False):
        scale = study.Scale.of(targets, own)
        torch.testing.assert_close(
            scale.undo(scale.apply(targets)), targets, equal_nan=True, rtol=1e-9, atol=1e-9
        )
        spread = scale.apply(targets).square().nanmean(1).sqrt()
        assert (spread.std() < 1e-9) == own


@pytest.mark.parametrize("name", ["raw sum", "standardised", "learned noise", "alone", "Poisson"])
def test_networks_side_by_side_learn_as_if_alone(name):
    how = {"lr": 0.03, "decay": 0.3, "steps": 5}
    both = study.train(study.ARMS[name], rows([3, 4]), [3, 4], 6, **how)
    one = study.train(study.ARMS[name], rows([4]), [4], 6, **how)
    inputs = rows([4])[0].test.inputs[:7]
    torch.testing.assert_close(both.predict(1, inputs), one.predict(0, inputs))
    assert both.predict(0, inputs).shape == (7, 20)


def test_learned_noise_comes_to_rest_at_the_error_on_the_training_labels():
    data = rows([0])
    nets = study.train(study.ARMS["learned noise"], data, [0], 4, lr=0.03, decay=0.0, steps=400)
    train = data[0].train
    reached = study.rmse(nets.predict(0, train.inputs), study.columns(train))
    ratio = (nets.sigma * nets.scale.factor[:, 0])[0] / reached
    assert float(ratio.median()) == pytest.approx(1, abs=0.02)  # one counter may be overfitted


def test_ridge_is_scikit_learns():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 30, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(2, 30, generator=generator, dtype=torch.float64)
    slopes, rest = study.ridge(x, y, 2.0)
    for k in range(2):
        model = Ridge(2.0).fit(x[k], y[k])
        torch.testing.assert_close(slopes[k], torch.from_numpy(model.coef_))
        assert float(rest[k]) == pytest.approx(model.intercept_)


def test_the_best_constant_has_relative_error_one():
    targets = torch.tensor([[1.0, 5.0], [3.0, float("nan")], [5.0, 7.0]], dtype=torch.float64)
    guess = targets.nanmean(0).expand_as(targets)
    torch.testing.assert_close(
        study.relative_error(guess, targets), torch.ones(2, dtype=torch.float64)
    )


def test_the_poisson_arm_minimises_the_poisson_loss_of_the_counts():
    data = rows([0])
    nets = study.train(study.ARMS["Poisson"], data, [0], 4, lr=0.0, decay=0.0, steps=1)
    train = data[0].train
    inputs, counts = train.inputs, study.columns(train)
    start = [p.clone() for p in study.first_parameters(0, inputs.shape[1], 4, 20)]
    f = study.outputs_of([p.requires_grad_() for p in start], inputs)
    means = counts.nanmean(0)
    torch.testing.assert_close(nets.predict(0, inputs), (f.exp() * means).detach())
    there = ~counts.isnan()
    loss = torch.nn.functional.poisson_nll_loss(
        f + means.log(), counts.nan_to_num(), reduction="none"
    )
    ((loss * there).sum(0) / there.sum(0)).sum().div(means.mean()).backward()
    moved, _ = study.fit(
        inputs[None], (counts / means)[None], [p.detach()[None] for p in start],
        lr=1.0, decay=0.0, steps=1, optimizer="SGD", poisson=(means / means.mean())[None],
    )  # fmt: skip
    for now, before in zip(moved, start, strict=True):
        torch.testing.assert_close(before.detach() - now[0], before.grad)


def test_what_guesses_below_zero_make_of_the_error_in_logs():
    data = rows([0])[0]
    right = study.columns(data.test).nan_to_num(1.0)
    smallest = study.columns(data.train).nan_to_num(float("inf")).amin(0)
    low = right.clone()
    low[0] = -5.0
    row = study._row("standardised", 0, data, [study.columns(data.train), low])
    seen = ~study.columns(data.test)[0].isnan() & (right[0] > 0)
    assert all(part == 1 for part, there in zip(row["below"], seen.tolist(), strict=True) if there)
    raised = low.maximum(smallest).log1p()
    wanted = study.relative_error(raised, study.columns(data.test).log1p())
    torch.testing.assert_close(
        torch.tensor(row["floored"], dtype=torch.float64), wanted, rtol=1e-3, atol=1e-3
    )
