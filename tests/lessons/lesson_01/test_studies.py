"""The measures behind the recorded sweeps of lesson 01, on cases small enough to know."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.datasets.regression import regression as regression_data
from mtl_helpers.lessons.lesson_01 import few_and_many
from mtl_helpers.lessons.lesson_01 import studies as study
from mtl_helpers.models import HardSharing, tanh_trunk
from mtl_helpers.tasks import regression

TASKS = [regression("task_1"), regression("task_2"), regression("task_3")]


def make_data(seed):
    return regression_data(3, 12, valid=20, test=30, seed=seed)


SHORT = {"steps": 6, "batch_size": None, "lr": 0.01}


def test_training_alone_gives_every_seed_and_task_a_network_of_its_own():
    results = study.train_alone(make_data, TASKS, (4, 3), [7, 9], **SHORT)
    assert results.seeds == (21, 22, 23, 27, 28, 29)
    model = HardSharing.linear(tanh_trunk((4, 3)), study.ALONE)
    model.load_state_dict(results.state(28))
    test = make_data(9).test
    with torch.no_grad():
        rmse = (model(test.inputs)["alone"][:, 0] - test.targets["task_2"]).square().mean().sqrt()
    assert float(results.scores["alone"][4]) == pytest.approx(float(rmse))


def test_pairs_are_trained_in_the_order_pair_gains_reads_them():
    alone = study.train_alone(make_data, TASKS, (4, 3), [0, 1], **SHORT)
    pairs = study.train_pairs(make_data, TASKS, (4, 3), [0, 1], **SHORT)
    gains = study.pair_gains(alone.scores, pairs.scores, 2, 3)
    assert gains.shape == (2, 3, 3)
    # seed 1, pairs (1,2), (1,3), (2,3): the target task_3 with partner task_1 is "second" of no. 1
    expected = 100 * (1 - pairs.scores["second"][3 + 1] / alone.scores["alone"][3 + 2])
    assert float(gains[1, 2, 0]) == pytest.approx(float(expected))


def test_tuning_finds_the_best_of_the_grid():
    train = partial(study.train_together, make_data, TASKS, (4, 3))
    grid = {"learning_rates": [1e-6, 0.02], "tuning_seeds": [3, 4], "steps": 40}
    chosen = study.tuned(train, {**grid, "record_every": 10, "batch_size": None})
    assert chosen["lr"] == 0.02
    assert chosen["steps"] in (10, 20, 30, 40)


def test_label_correlation_is_1_for_a_mirrored_task():
    y = torch.randn(30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = study.label_correlation(MultiTaskData(y[:, None], {"a": y, "b": 3 - 2 * y}))
    torch.testing.assert_close(found, torch.ones(2, 2, dtype=torch.float64))


def test_feature_similarity_is_1_with_itself_symmetric_and_below_1_else():
    results = study.train_alone(make_data, TASKS, (4, 3), [0, 1], **SHORT)
    found = study.feature_similarity(results, [make_data(0), make_data(1)], (4, 3))
    assert found.shape == (2, 3, 3)
    torch.testing.assert_close(found, found.transpose(1, 2))
    torch.testing.assert_close(
        found.diagonal(dim1=1, dim2=2), torch.ones(2, 3, dtype=torch.float64)
    )
    assert found.min() >= 0 and found[0, 0, 1] < 0.999


def test_gradient_affinities_of_a_task_and_its_copy():
    data = make_data(0)

    def doubled(part):
        y = part.targets["task_1"]
        return MultiTaskData(part.inputs, {"task_1": y, "task_2": y, "task_3": -y})

    copies = Splits(*(doubled(part) for part in data))
    run = study.train_together(lambda seed: copies, TASKS, (4, 3), [0], **SHORT)
    head = "heads.task_task_{}.{}"
    for kind in ("weight", "bias"):  # the copy gets the same head, the mirrored task its mirror
        first = run.parameters[head.format(1, kind)]
        run.parameters[head.format(2, kind)] = first.clone()
        run.parameters[head.format(3, kind)] = -first
    found = study.gradient_affinities([run], [copies], TASKS, (4, 3), 0.01)
    torch.testing.assert_close(found["gradient_cosine"][0], torch.ones(3, 3, dtype=torch.float64))
    lookahead = found["lookahead"][0]
    assert (lookahead > 0).all() and float(lookahead.std()) < 1e-12
    # to first order, 1 - L(after) / L = step * |g|^2 / L: half the step, half the value
    half = study.gradient_affinities([run], [copies], TASKS, (4, 3), 0.005)["lookahead"][0]
    torch.testing.assert_close(2 * half, lookahead, rtol=0.05, atol=0)


def test_a_family_keeps_its_truth_and_redraws_its_data():
    settings = {"tasks": 4, "noise": [0.2, 0.6], "examples": 10}
    (a, truth), (b, same), (_, other) = (
        study.family(*which, settings) for which in ((3, 0), (3, 1), (4, 0))
    )
    assert torch.equal(truth, same) and not torch.equal(truth, other)
    assert not torch.equal(a.train.inputs, b.train.inputs)
    assert not torch.equal(a.train.inputs, a.test.inputs[:10])


def test_box_loss_is_small_for_close_boxes_and_one_number_each():
    true = torch.tensor([[0.5, 0.5, 0.4, 0.4]] * 2, dtype=torch.float64)
    found = true + torch.tensor([[0.0], [0.2]], dtype=torch.float64)
    assert study.box_loss(found, true).tolist() == pytest.approx([0.0, 0.15])
    assert float(study.mean_iou(true, true)) == pytest.approx(1.0)


def test_a_stranger_bends_elsewhere_and_few_keeps_few_labels():
    kin, guest = (few_and_many.one_input(40, 8, 3, related) for related in (True, False))
    assert torch.equal(kin.inputs, guest.inputs)
    assert int((~kin.targets["few"].isnan()).sum()) == 8
    known = ~kin.targets["few"].isnan()
    torch.testing.assert_close(kin.targets["few"][known], guest.targets["few"][known])
    both = few_and_many.one_input(400, 400, 0)
    mirrored = torch.corrcoef(torch.stack([both.targets["few"], both.targets["many"]]))
    assert float(mirrored[0, 1]) < -0.9


def test_guests_give_a_row_for_each_arm_and_seed():
    short = {**study.GUESTS, "learning_rates": [0.01], "steps": 4, "record_every": 2}
    rows = study.guests({**short, "tuning_seeds": [5]}, [0, 1])
    assert [(row["arm"], row["seed"]) for row in rows[:3]] == [
        ("alone", 0), ("alone", 1), ("relatives", 0),
    ]  # fmt: skip
    assert {row["arm"]: len(row["rmse"]) for row in rows} == {
        "alone": 9, "relatives": 8, "ninth": 8, "stranger": 9,
    }  # fmt: skip
