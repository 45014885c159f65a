"""The studies of lesson 05 on regularisers: arms that differ in what they say, and nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mtl_helpers.lessons.lesson_05 import studies as study

GAP = {
    **study.GAP,
    "problems": [{"widths": [6, 4], "tasks": [1, 3], "relatedness": [1.0], "examples": [10]}],
    "sizes": {"valid": 20, "test": 30},
    "steps": 6,
    "most_steps": 4,
    "record_every": 2,
    "learning_rates": [0.01, 0.03],
    "tuning_seeds": [100, 101],
}
RATES = {
    **study.RATES,
    "rates": [0.0, 0.5],
    "data": {"train": 30, "valid": 20, "test": 1},
    "widths": [8, 6],
    "steps": 4,
    "batch_size": 10,
    "record_every": 2,
}
ABLATION = {
    **study.ABLATION,
    "labelled": 12,
    "sizes": [20, 30, 40],
    "widths": [8, 6],
    "steps": 4,
    "record_every": 2,
    "tries": 2,
    "tuning_seeds": [100, 101],
}
GRADIENTS = {
    **study.GRADIENTS,
    "data": {"train": 40, "valid": 20, "test": 20},
    "depth": 3,
    "width": 6,
    "steps": 6,
    "batch_size": 20,
    "window": [0.0, 100.0],
    "learning_rates": [0.01, 0.1],
    "tuning_seeds": [100],
}


# ------------------------------------------------------------------------------------ the gap


def test_task_one_has_the_same_data_beside_any_number_of_others():
    alone, beside = (study.relatives(k, 0.5, 12, {"valid": 5, "test": 7}, 3) for k in (1, 8))
    for one, eight in zip(alone, beside, strict=True):
        torch.testing.assert_close(one.inputs, eight.inputs)
        torch.testing.assert_close(one.targets["task_1"], eight.targets["task_1"])
        assert (len(one.targets), len(eight.targets)) == (1, 8)


def test_every_setting_of_the_gap_has_one_row_a_seed():
    rows = study.gap(GAP, [0, 1])
    assert [(row["tasks"], row["seed"]) for row in rows] == [(1, 0), (1, 1), (3, 0), (3, 1)]
    assert all(row["stopped"]["steps"] in (2, 4) for row in rows)
    assert all(row["stopped"]["lr"] in GAP["learning_rates"] for row in rows)
    again = study.gap(GAP, [1])
    assert [row["test"] for row in again] == pytest.approx([rows[1]["test"], rows[3]["test"]])


def test_training_longer_lowers_the_training_loss_that_is_recorded():
    short, long = (study.gap({**GAP, "steps": steps}, [0, 1]) for steps in (1, 200))
    assert all(b["train"] < a["train"] / 2 for a, b in zip(short, long, strict=True))


# ---------------------------------------------------------------------------------- dropout


def test_the_dropout_trunk_drops_units_in_training_only():
    trunk = study.dropout_trunk(5, [400, 300], 0.5)
    x = torch.randn(3, 5, dtype=torch.float64)
    shares = [float((trunk.train(mode)(x) == 0).double().mean()) for mode in (True, False)]
    assert shares[0] > 0.6 and shares[1] < 0.6
    assert torch.equal(trunk.eval()(x), trunk(x))


def test_curves_are_measured_on_the_part_they_name():
    rows = study.dropout_rates(RATES, [0, 1])
    assert [(row["rate"], row["seed"]) for row in rows] == [(0.0, 0), (0.0, 1), (0.5, 0), (0.5, 1)]
    row = rows[0]
    assert row["steps"] == [0, 2, 4]
    assert set(row["train"]) == set(row["valid"]) == {"left", "right"}
    assert row["train"]["left"] != row["valid"]["left"]
    # before training, networks of all rates are the same: in eval mode nothing is dropped
    assert [rows[0]["train"][t][0] for t in ("left", "right")] == [
        rows[2]["train"][t][0] for t in ("left", "right")
    ]


# --------------------------------------------------------------------------------- ablation


def test_no_picture_is_on_two_sides_and_the_questions_fit_the_digits():
    parts = study.questions_about_digits([60, 300, 1000], 4)
    assert [len(part) for part in parts] == [60, 300, 1000]
    images, classes = study.overlapping._sklearn_digits()
    known = {tuple(i.flatten().tolist()): int(c) for i, c in zip(images, classes, strict=True)}
    for part in parts:
        digits = [known[tuple((16 * p).flatten().int().tolist())] for p in part.inputs]
        for name, yes in study.QUESTIONS.items():
            assert part.targets[name].tolist() == [float(d in yes) for d in digits]
    seen = [{tuple(p.flatten().tolist()) for p in part.inputs} for part in parts]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_only_sharing_sees_more_pictures_and_never_more_labels_of_the_target():
    def drawn(setting):
        return study.few_labels(ABLATION, setting, 2)

    alone, same = drawn({}), drawn({"sharing": 1.0, "same_pictures": True})
    shared = drawn({"sharing": 1.0})
    assert [len(one.train) for one in (alone, same, shared)] == [12, 12, 20]
    for one in (alone, same, shared):
        ring = one.train.targets["ring"][:, 0]
        torch.testing.assert_close(ring[:12], alone.train.targets["ring"][:, 0])
        assert torch.isnan(ring[12:]).all() and not torch.isnan(ring[:12]).any()
        assert not torch.isnan(one.train.targets["even"]).any()
        for part in ("valid", "test"):
            torch.testing.assert_close(getattr(one, part).inputs, getattr(alone, part).inputs)
            assert not torch.isnan(getattr(one, part).targets["ring"]).any()


def test_pictures_move_by_one_pixel_at_most_and_only_in_training():
    torch.manual_seed(0)
    picture = torch.rand(1, 1, 8, 8, dtype=torch.float64) + 1
    pictures = picture.expand(600, -1, -1, -1)
    padded = torch.nn.functional.pad(picture[0, 0], (1, 1, 1, 1))
    possible = [padded[i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    moved = study.Shift(1.0).train()(pictures)[:, 0]
    found = [[k for k, p in enumerate(possible) if torch.equal(p, m)] for m in moved]
    assert all(len(one) == 1 for one in found)
    counts = torch.bincount(torch.tensor(found)[:, 0], minlength=9)
    assert counts.min() > 30 and counts.max() < 110
    half = study.Shift(0.5).train()(pictures)
    assert 0.4 < float((half == pictures).flatten(1).all(1).double().mean()) < 0.7
    assert torch.equal(study.Shift(1.0).eval()(pictures), pictures)
    assert torch.equal(study.Shift(0.0).train()(pictures), pictures)


def test_smoothing_moves_targets_towards_one_half():
    output = torch.tensor([[2.0], [-1.0]], dtype=torch.float64)
    target = torch.tensor([[1.0], [1.0]], dtype=torch.float64)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    for amount in (0.0, 0.2):
        expected = bce(output, target * (1 - amount / 2), reduction="none")[:, 0]
        torch.testing.assert_close(study.smoothed(amount)(output, target), expected)
    zero = study.smoothed(0.2)(output, 0 * target)
    torch.testing.assert_close(zero, bce(output, 0 * target + 0.1, reduction="none")[:, 0])


def test_every_arm_tries_as_often_and_inside_the_ranges():
    for parts in study.ARMS.values():
        tried = study.candidates(parts, 12)
        assert len(tried) == 12
        for name, (least, most, _) in study.RANGES.items():
            values = [setting[name] for setting in tried if name in setting]
            assert len(values) == (12 if name in ("lr", *parts) else 0)
            assert all(least <= value <= most for value in values)
    # a setting two arms have takes the same values in both
    one, both = study.candidates(["dropout"], 5), study.candidates(["sharing", "dropout"], 5)
    assert [{k: s[k] for k in ("lr", "dropout")} for s in both] == one


def test_an_arm_has_the_parts_of_its_name_and_no_others():
    def network(setting):
        tasks, model = study._arm_network(ABLATION, setting)
        rates = {m.p for m in model.modules() if isinstance(m, nn.Dropout)}
        shift = next(m for m in model.modules() if isinstance(m, study.Shift))
        return [task.name for task in tasks], rates, shift.probability

    assert network({"lr": 0.01}) == (["ring"], {0.0}, 0.0)
    everything = {"lr": 0.01, "sharing": 1.0, "dropout": 0.3, "augmentation": 0.7}
    assert network(everything) == (["ring", "even", "large", "prime"], {0.3}, 0.7)


def test_the_arms_start_alike_and_each_part_changes_the_training():
    def trained(setting):
        found = study._train_arm(ABLATION, {"lr": 0.01, **setting}, [0, 1]).parameters
        return torch.cat([v.flatten() for k, v in sorted(found.items()) if k.startswith("trunk")])

    plain = trained({})
    assert torch.equal(plain, trained({}))
    for part in ("sharing", "weight_decay", "dropout", "label_smoothing", "augmentation"):
        assert not torch.allclose(plain, trained({part: 0.5}), atol=1e-6), part
    assert not torch.allclose(plain, trained({"steps": 2}), atol=1e-6)


def test_rows_of_the_ablation():
    config = {**ABLATION, "arms": ["none", "early_stopping", "all"]}
    rows = study.ablation(config, [0, 1])
    assert [(row["arm"], row["seed"]) for row in rows] == [
        (arm, seed) for arm in config["arms"] for seed in (0, 1)
    ]
    for row in rows:
        assert row["gap"] == pytest.approx(row["train_accuracy"] - row["accuracy"], abs=0.011)
        assert row["tries"] == 2
        assert ("steps" in row["setting"]) is (row["arm"] != "none")
    known = {arm: rows[2 * i]["setting"] for i, arm in enumerate(config["arms"])}
    assert study.ablation({**config, "tuned": known}, [0, 1]) == rows


# -------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("arm", study.GRADIENT_ARMS)
def test_every_trunk_has_its_depth_and_runs(arm):
    trunk = study.deep_trunk(arm, 120, 8, 5)
    x = torch.rand(4, 1, 10, 12, dtype=torch.float64)
    assert trunk(x).shape == (4, 8)
    assert sum(isinstance(m, nn.Linear) for m in trunk.modules()) == 5
    norms = sum(isinstance(m, nn.BatchNorm1d | nn.LayerNorm) for m in trunk.modules())
    assert norms == (5 if arm.endswith("_norm") else 0)


def test_an_unknown_arm_is_refused():
    with pytest.raises(ValueError, match="unknown arm 'relu_huge'"):
        study.deep_trunk("relu_huge", 120, 8, 5)


def test_initial_weights_are_those_the_arms_are_named_for():
    torch.manual_seed(0)
    for arm, spread in (("relu_he", 1), ("relu_large", 2), ("relu_default", 1 / math.sqrt(6))):
        weight = next(study.deep_trunk(arm, 400, 300, 1).parameters())
        assert float(weight.detach().std()) == pytest.approx(spread * math.sqrt(2 / 400), rel=0.02)


def test_clipping_bounds_the_step_and_nothing_else_differs():
    data = study.overlapping_digits(**GRADIENTS["data"], seed=0).train
    moved = {}
    for arm in ("relu_large", "relu_large_clipped"):
        model = study._deep_network(GRADIENTS, arm, 0)
        before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        one_step = {**GRADIENTS, "steps": 1, "max_norm": 0.5}
        list(study._descend(one_step, arm, model, data, 0.01, 0))
        after = torch.cat([p.detach().flatten() for p in model.parameters()])
        moved[arm] = after - before
    a, b = moved["relu_large"], moved["relu_large_clipped"]
    assert float(b.norm()) == pytest.approx(0.005, rel=1e-3)
    torch.testing.assert_close(a / a.norm(), b / b.norm(), atol=1e-6, rtol=1e-6)


def test_the_cosine_is_that_of_the_gradients_by_the_trunk():
    model = study._deep_network(GRADIENTS, "relu_he", 0)
    data = study.overlapping_digits(**GRADIENTS["data"], seed=0).train
    rows = []
    for k in range(2):
        model.zero_grad()
        study.task_losses(model(data.inputs), data.targets, study.SIDES)[k].backward()
        rows.append(torch.cat([p.grad.flatten() for p in model.trunk.parameters()]))
    expected = float(rows[0] @ rows[1] / rows[0].norm() / rows[1].norm())
    losses = study.task_losses(model(data.inputs), data.targets, study.SIDES)
    assert study._cosine(model, losses) == pytest.approx(expected)


def test_rows_of_the_gradients():
    rows = study.deep_gradients({**GRADIENTS, "arms": ["batch_norm", "residual"]}, [0, 1])
    assert [(row["arm"], row["seed"]) for row in rows] == [
        (arm, seed) for arm in ("batch_norm", "residual") for seed in (0, 1)
    ]
    for row in rows:
        assert len(row["norms_start"]) == len(row["norms_later"]) == 3
        assert -1 <= row["conflict_start"] <= 1 and 0 <= row["negative"] <= 1
        assert row["conflict_matched"] == row["conflict_steps"]  # the window holds every loss


def test_a_rate_that_diverges_is_never_chosen():
    config = {**GRADIENTS, "learning_rates": [1e300, 0.01]}
    assert study._tune_gradients(config, "relu_large") == 0.01


def test_what_is_not_finite_is_left_out():
    found = study._or_none([1.0, float("nan"), [float("inf")]])
    assert found == [1.0, None, [None]]
