"""The arms of lesson 04's sweeps: tuned on validation data alone, and compared seed by seed."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mtl_helpers.balancing.gradients import METHODS
from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.lessons.lesson_04 import studies as study
from mtl_helpers.metrics import delta_m
from mtl_helpers.tasks import binary, regression
from mtl_helpers.teaching.studies import all_studies

SMALL = {
    "problems": {"different": {"examples": 20, "steps": 8}},
    "methods": ["single", "equal", "mgda", "tuned_weights"],
    "widths": [6, 4],
    "batch_size": 10,
    "learning_rates": [0.001, 0.02],
    "tuning_seeds": [100, 101],
    "record_every": 4,
    "candidates": 3,
}
UP = {"plain": False, "times_ten": False, "yes_no": True, "noisy": False}


def changed(problem, part):
    """The same problem, where one part of every draw holds other numbers."""

    def make_data(seed):
        splits = problem.make_data(seed)
        old = getattr(splits, part)
        order = torch.randperm(len(old), generator=torch.Generator().manual_seed(seed))
        targets = {name: target[order] for name, target in old.targets.items()}
        return splits._replace(**{part: MultiTaskData(old.inputs, targets)})

    return dataclasses.replace(problem, make_data=make_data)


@pytest.fixture(scope="module")
def rows():
    return study.does_it_help(SMALL, [0, 1, 2])


# ------------------------------------------------------------------------------- the problems


def test_the_tasks_that_differ_have_the_scales_they_are_said_to_have():
    problem = study.different(4000)
    targets = problem.make_data(3).train.targets
    squares = {name: float(target.square().mean()) for name, target in targets.items()}
    assert squares["plain"] == pytest.approx(1, rel=0.15)
    assert squares["times_ten"] == pytest.approx(100, rel=0.15)
    assert set(targets["yes_no"].unique().tolist()) == {0.0, 1.0}
    assert float(targets["yes_no"].mean()) == pytest.approx(0.5, abs=0.1)
    assert [task.loss for task in problem.tasks] == ["mse", "mse", "bce", "mse"]
    assert {task.name: task.higher_is_better for task in problem.tasks} == UP


def test_units_apart_two_of_them_are_the_tasks_that_are_alike():
    alike, different = (make(30).make_data(5).train for make in (study.alike, study.different))
    torch.testing.assert_close(alike.inputs, different.inputs)
    again = study.regression_data(4, 30, [1.0, 1.0, 1.0, 0.5], noise=[0.3, 0.3, 0.3, 1.0], seed=5)
    names = list(again.train.targets)
    torch.testing.assert_close(different.targets["times_ten"], 10 * again.train.targets[names[1]])
    assert torch.equal(different.targets["yes_no"] > 0.5, again.train.targets[names[2]] > 0)


def test_a_seed_redraws_data_and_network():
    problem = study.alike(20)
    first, second = (problem.make_data(seed) for seed in (0, 1))
    assert not torch.equal(first.train.inputs, second.train.inputs)
    found = study.train(problem, SMALL, "equal", [0, 1], study.Settings(1e-9, 1))
    weights = found.parameters["trunk.0.weight"]
    assert not torch.allclose(weights[0], weights[1], atol=1e-3)


def test_one_task_of_a_problem_is_the_same_task():
    problem = study.different(20)
    alone = problem.only("yes_no")
    assert alone.tasks == (problem.tasks[2],)
    for part, whole in zip(alone.make_data(4), problem.make_data(4), strict=True):
        assert list(part.targets) == ["yes_no"]
        assert torch.equal(part.targets["yes_no"], whole.targets["yes_no"])


# ---------------------------------------------------------------------------------- the tuning


def test_relative_gains_are_delta_m_of_every_run():
    tasks = [regression("cm"), binary("yes_no")]
    ours = {"cm": torch.tensor([[2.0, 1.0], [3.0, 2.0]]), "yes_no": torch.tensor([[0.5] * 2] * 2)}
    single = {"cm": torch.tensor([[2.0], [4.0]]), "yes_no": torch.tensor([[0.8], [0.5]])}
    found = study.relative_gains(tasks, ours, single)
    for s in range(2):
        for p in range(2):
            a = {name: float(values[s, p]) for name, values in ours.items()}
            b = {name: float(values[s, 0]) for name, values in single.items()}
            expected = delta_m(a, b, {"cm": False, "yes_no": True})
            assert float(found[s, p]) == pytest.approx(expected)


def test_the_choice_does_not_depend_on_the_unit_of_a_task():
    """A task measured in another unit changes no relative gain, so it decides nothing."""
    tasks = [regression("cm"), regression("other")]
    ours = {name: torch.rand(4, 5) + 0.5 for name in ("cm", "other")}
    single = {name: torch.rand(4, 1) + 0.5 for name in ours}
    times_ten = study.relative_gains(
        tasks, {**ours, "cm": 10 * ours["cm"]}, {**single, "cm": 10 * single["cm"]}
    )
    torch.testing.assert_close(times_ten, study.relative_gains(tasks, ours, single))


@pytest.mark.parametrize(("part", "matters"), [("test", False), ("valid", True)])
def test_tuning_looks_at_validation_data_and_never_at_test_data(part, matters):
    settings = {**SMALL, "record_every": 1, "methods": ["single", "equal"]}
    problem = study.different(20)
    before, after = (study.tune_all(one, settings, 8) for one in (problem, changed(problem, part)))
    assert (before == after) is not matters


def test_the_search_finds_the_best_rate_and_step_of_the_grid():
    asked = []

    class Curves:
        def __init__(self, lr):
            self.steps = torch.tensor([0, 4, 8])
            best = {0.001: [9.0, 1.0, 2.0], 0.02: [9.0, 7.0, float("nan")]}[lr]
            self.scores = {"a": torch.tensor([best, best])}

    def train_with(settings, every):
        asked.append((settings.lr, settings.steps, every))
        return type("Results", (), {"curves": Curves(settings.lr)})

    value, chosen, at_best = study.search(train_with, SMALL, 8, lambda valid: valid["a"].mean(0))
    # step 0, before training, does not count; a run that diverged is never the best
    assert (value, chosen) == (7.0, study.Settings(0.02, 4))
    assert at_best["a"].tolist() == [7.0, 7.0]
    assert asked == [(0.001, 8, 4), (0.02, 8, 4)]


def test_every_arm_tries_the_same_grid_on_the_same_seeds(monkeypatch):
    asked = []

    def spy(make_model, tasks, make_data, **settings):
        names = tuple(task.name for task in tasks)
        asked.append((names, str(settings["balance"]), settings["lr"], tuple(settings["seeds"])))
        return real(make_model, tasks, make_data, **settings)

    real = study.many_seeds
    monkeypatch.setattr(study, "many_seeds", spy)
    study.tune_all(study.different(20), SMALL, 8)
    arms = {one[:2] for one in asked}
    assert len(arms) == 4 + 2 + 3  # four networks alone, two methods, three candidates
    for arm in arms:
        tries = [one[2:] for one in asked if one[:2] == arm]
        assert tries == [(0.001, (100, 101)), (0.02, (100, 101))]


def test_candidates_begin_with_equal_weights_and_stay_in_their_range():
    tasks = study.different(20).tasks
    found = study.candidate_weights(tasks, 40)
    assert len(found) == 40 and set(found[0].values()) == {1.0}
    values = [w for weights in found[1:] for w in weights.values()]
    assert 0.01 <= min(values) < 0.02 and 0.8 < max(values) <= 1
    assert found == study.candidate_weights(tasks, 40)


# ------------------------------------------------------------------------------------ the rows


def test_there_is_a_row_for_every_problem_method_and_seed(rows):
    assert [(r["method"], r["seed"]) for r in rows] == [
        (method, seed) for method in SMALL["methods"] for seed in (0, 1, 2)
    ]
    tries = {row["method"]: row["tries"] for row in rows}
    assert tries == {"single": 2, "equal": 2, "mgda": 2, "tuned_weights": 6}


def test_delta_m_is_against_the_single_task_networks_of_the_same_seed(rows):
    single = {row["seed"]: row["scores"] for row in rows if row["method"] == "single"}
    for row in rows:
        expected = delta_m(row["scores"], single[row["seed"]], UP)
        assert row["delta_m"] == pytest.approx(expected, abs=0.1)  # scores are rounded
    assert all(row["delta_m"] == 0 for row in rows if row["method"] == "single")
    assert all(row["delta_m"] != 0 for row in rows if row["method"] == "mgda")


def test_a_row_holds_the_test_scores_of_what_was_tuned(rows):
    row = next(r for r in rows if r["method"] == "mgda" and r["seed"] == 2)
    settings = study.Settings(row["lr"], row["steps"])
    again = study.train(study.different(20), SMALL, "mgda", [2], settings)
    for name, score in row["scores"].items():
        assert float(again.scores[name][0]) == pytest.approx(score, abs=1e-4)
    alone = next(r for r in rows if r["method"] == "single" and r["seed"] == 1)
    problem = study.different(20).only("noisy")
    settings = study.Settings(alone["lr"][3], alone["steps"][3])
    again = study.train(problem, SMALL, "equal", [1], settings)
    assert float(again.scores["noisy"][0]) == pytest.approx(alone["scores"]["noisy"], abs=1e-4)


def test_settings_that_are_known_are_not_searched_for(monkeypatch):
    monkeypatch.setattr(study, "tune_all", lambda *_: pytest.fail("it searched"))
    task = ("plain", "times_ten", "yes_no", "noisy")
    known = {"single": {name: (0.02, 3) for name in task}, "equal": (0.001, 5)}
    settings = {**SMALL, "methods": ["single", "equal"], "tuned": {"different": known}}
    found = study.does_it_help(settings, [0])
    assert [(row["lr"], row["steps"]) for row in found] == [([0.02] * 4, [3] * 4), (0.001, 5)]


# ------------------------------------------------------------------------------- the other studies


FRONT = {
    **study.FRONT,
    "examples": 30,
    "weights": [0.0, 1.0],
    "methods": ["single", "equal"],
    "learning_rates": [0.01],
    "tuning_seeds": [100],
    "steps": 30,
    "batch_size": None,
}


def test_at_weight_0_and_1_the_front_meets_the_single_task_network():
    rows = study.front(FRONT, [0, 1])
    by = {(r["weight"], r["method"], r["seed"]): r["losses"] for r in rows}
    for seed in (0, 1):
        single = by[None, "single", seed]
        # the network alone begins with other numbers in its head, so the two are near, not equal
        assert by[1.0, None, seed][0] == pytest.approx(single[0], rel=0.5)
        assert by[0.0, None, seed][1] == pytest.approx(single[1], rel=0.5)
        assert by[0.0, None, seed][0] > 1.3 * single[0]


def test_a_seed_of_the_front_draws_fresh_data_of_one_truth():
    problem = study.front_problem(FRONT)
    first, second = (problem.make_data(seed) for seed in (0, 1))
    assert not torch.equal(first.train.inputs, second.train.inputs)
    assert not torch.equal(first.train.inputs, first.test.inputs[:30])
    signals = [
        torch.linalg.lstsq(part.test.inputs, part.test.targets["task_1"]).solution
        for part in (first, second)
    ]
    assert float(torch.cosine_similarity(*signals, dim=0)) > 0.97


PICTURES = {
    "methods": ["single", "equal", "tuned_weights", "mgda_features"],
    "sources": {
        "digits": {
            **study.MULTI_MNIST["sources"]["digits"],
            "train": 100,
            "valid": 40,
            "test": 50,
            "steps": 3,
            "learning_rates": [0.001, 0.01],
            "weights": [0.3, 0.5],
            "tuning_seeds": [9],
        }
    },
}


def check_pictures(rows, source):
    assert {row["source"] for row in rows} == {source}
    assert all(0 <= row[side] <= 100 for row in rows for side in ("left", "right"))
    about = {row["method"]: (row["lr"], row["tries"]) for row in rows}
    assert list(about) == PICTURES["methods"]
    assert len(about["single"][0]) == 2 and about["tuned_weights"][1] == 4


def test_overlapping_pictures_give_a_row_a_method_and_seed():
    rows = study.multi_mnist(PICTURES, [0, 1])
    assert len(rows) == 8
    check_pictures(rows, "digits")


@pytest.mark.real_data
def test_overlapping_pictures_of_mnist():
    small = {**PICTURES["sources"]["digits"], "image": [1, 28, 28], "dtype": "float32"}
    check_pictures(study.multi_mnist({**PICTURES, "sources": {"mnist": small}}, [0]), "mnist")


def test_picture_arms_are_tuned_on_validation_data(monkeypatch):
    options = {**PICTURES["sources"]["digits"], "source": "digits"}
    real = study._pictures

    def other_test(options, seed):
        train, valid, test = real(options, seed)
        targets = {name: target.flip(0) for name, target in test.targets.items()}
        return Splits(train, valid, MultiTaskData(test.inputs, targets))

    before = study._tune_pictures(options, study.PICTURE_TASKS, ["equal"])
    monkeypatch.setattr(study, "_pictures", other_test)
    assert study._tune_pictures(options, study.PICTURE_TASKS, ["equal"]) == before


def test_all_ways_of_a_step_fill_the_same_gradients():
    ways = study.step_functions(3, batch=8)
    found = {}
    for name, way in ways.items():
        way()
        cells = dict(zip(way.__code__.co_freevars, way.__closure__, strict=True))
        model = cells["model"].cell_contents
        found[name] = [p.grad.clone() for p in model.parameters()]
    assert {"joint", "K passes", "loop", "features"} <= set(found)
    for name, grads in found.items():
        for grad, joint in zip(grads, found["joint"], strict=True):
            torch.testing.assert_close(grad, joint, rtol=1e-3, atol=1e-5, msg=name)


def test_ratios_are_to_the_base_and_rows_name_what_was_measured():
    threads = torch.get_num_threads()
    small = {
        "tasks": [2], "batch": 4, "aggregated_tasks": 3, "parameters": 50, "threads": 1,
        "rounds": 2,
    }  # fmt: skip
    rows = study.step_time(small, [0])
    assert torch.get_num_threads() == threads
    steps = {row["how"]: row["ratio"] for row in rows if row["what"] == "step"}
    assert steps["joint"] == 1 and min(steps.values()) > 0
    aggregated = {row["method"] for row in rows if row["what"] == "aggregation"}
    assert aggregated == {"product", *METHODS}


def test_every_method_is_in_the_comparison_once():
    methods = all_studies()["04_does_it_help"].configuration["methods"]
    assert methods[0] == "single" and len(set(methods)) == len(methods)
    assert set(METHODS) - {"sum"} < set(methods)  # the sum of the gradients is "equal"


# ------------------------------------------------------------ what single-task networks may do


FREE = {
    **{k: v for k, v in SMALL.items() if k not in ("methods", "candidates")},
    "front": {
        **{k: v for k, v in study.FREEDOM["front"].items()},
        "examples": 30, "steps": 8, "record_every": 4, "learning_rates": [0.001, 0.02],
        "tuning_seeds": [100, 101], "seeds": 1,
    },
}  # fmt: skip


def test_arms_share_what_they_are_said_to_share():
    rows = study.single_freedom(FREE, [0, 1])
    arms = {(row["problem"], row["arm"]): row for row in rows}
    assert list(arms) == [
        *(("different", arm) for arm in ("common", "one_rate", "one_stop")),
        ("front", "single"),
        ("front", "weight"),
    ]
    shared = {"common": ("lr", "steps"), "one_rate": ("lr",), "one_stop": ("steps",)}
    for arm, columns in shared.items():
        assert all(len(set(arms["different", arm][column])) == 1 for column in columns)
    assert arms["front", "weight"]["weights"] == {"task_1": 0.3, "task_2": 0.7}
    assert [row["seed"] for row in rows if row["arm"] == "weight"] == [0]


def test_less_freedom_is_chosen_by_the_mean_gain_over_the_tasks(monkeypatch):
    """Two tasks with made-up curves: each restriction has its own best settings."""
    # RMSE by rate (rows) and stop (columns); what each task likes best is 1.0
    curves = {
        "a": torch.tensor([[1.0, 2.0, 4.0], [1.2, 3.0, 1.1]]),
        "b": torch.tensor([[4.0, 3.0, 1.0], [3.0, 1.05, 1.3]]),
    }
    rates, stops = [0.1, 0.2], [4, 8, 12]

    class Curves:
        def __init__(self, name, row):
            self.steps = torch.tensor([0, *stops])
            self.scores = {name: torch.cat([torch.tensor([9.0]), row])[None]}

    def train(problem, configuration, balance, seeds, settings, every=None):
        name = problem.tasks[0].name
        row = curves[name][rates.index(settings.lr)]
        return type("Found", (), {"curves": Curves(name, row)})

    monkeypatch.setattr(study, "train", train)
    problem = study.Problem((regression("a"), regression("b")), lambda seed: None)
    small = {"learning_rates": rates, "tuning_seeds": [0], "record_every": 4}
    found = study.tune_bound(problem, small, 12)
    as_pairs = {arm: [tuple(one)[:2] for one in own.values()] for arm, own in found.items()}
    assert as_pairs == {
        "common": [(0.2, 12), (0.2, 12)],  # 1.1 and 1.3: the lowest sum in one place
        "one_rate": [(0.1, 4), (0.1, 12)],  # 1 and 1
        "one_stop": [(0.2, 12), (0.1, 12)],  # 1.1 and 1
    }


def test_the_loss_of_one_task_chooses_rate_and_stop(monkeypatch):
    losses = {0.1: [3.0, 2.0, 4.0], 0.2: [5.0, 6.0, 1.0]}

    def train(problem, configuration, balance, seeds, settings, every=None):
        other = torch.tensor([[9.0, 0.0, 9.0, 9.0]])
        own = torch.tensor([[0.0, *losses[settings.lr]]])  # step 0 does not count
        curves = {"losses": {"a": own, "b": other}, "steps": torch.tensor([0, 4, 8, 12])}
        return type("Found", (), {"curves": type("Curves", (), curves)})

    monkeypatch.setattr(study, "train", train)
    small = {"learning_rates": [0.1, 0.2], "tuning_seeds": [0], "record_every": 4, "steps": 12}
    assert study.tune_loss(None, small, "equal", "a") == study.Settings(0.2, 12)
    weights = {"a": 0.3, "b": 0.7}
    assert study.tune_loss(None, small, weights, "b") == study.Settings(0.1, 4, weights)
