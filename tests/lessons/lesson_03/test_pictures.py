"""The pictures of lesson 03: they show the numbers they say, and draw at every corner."""

import itertools
import re

import pytest
import torch

from mtl_helpers.lessons.lesson_03 import pictures as pictures
from mtl_helpers.metrics import mean_interval
from mtl_helpers.models import Size
from mtl_helpers.teaching.figures import cut_off

F64 = torch.float64


def numbers(text):
    return [float(n) for n in re.findall(r"-?\d+\.\d+", text)]


@pytest.fixture
def splits():
    rng = torch.Generator().manual_seed(0)
    tasks = {"digits": ["left", "right"], "tasks part at 1": [f"task_{k}" for k in (1, 2, 3, 4)]}
    errors, sizes = {}, {}
    for problem, names in tasks.items():
        lift = torch.tensor([0.4, 0.1, 0.2, 0.3], dtype=F64)[:, None, None]
        errors[problem] = lift + 0.1 * torch.rand(4, 6, len(names), generator=rng, dtype=F64)
        sizes[problem] = [
            Size(
                {"shared": 30 * s, **dict.fromkeys(names, 100 - 30 * s)},
                {"shared": 20.0 * s, **dict.fromkeys(names, 80 - 20.0 * s)},
                None,
            )
            for s in range(4)
        ]
    return errors, tasks, sizes, dict.fromkeys(tasks, "error")


def test_the_split_explorer_says_error_price_and_best_split(splits):
    errors, _, sizes, _ = splits
    draw = pictures.split_explorer(*splits)
    for problem, shared in itertools.product(errors, (0, 3)):
        picture = draw(problem, shared)
        assert not cut_off(picture.figure)
        here, full = sizes[problem][shared], sizes[problem][3]
        mean, _, _, parameters, work, lowest, *_ = numbers(picture.says)
        assert mean == pytest.approx(float(errors[problem][shared].mean()), abs=1e-3)
        ratio = here.total_parameters / full.total_parameters
        assert parameters == pytest.approx(ratio, abs=0.01)
        assert work == pytest.approx(here.total_multiply_adds / full.total_multiply_adds, abs=0.01)
        assert "Lowest mean at 1 shared" in picture.says
        assert lowest == pytest.approx(float(errors[problem][1].mean()), abs=1e-3)


def test_the_bars_of_a_split_add_up_to_its_price(splits):
    picture = pictures.split_explorer(*splits)("digits", 1)
    bars = picture.figure.axes[1].patches
    first = [bar.get_height() for bar in bars if abs(bar.get_x() + bar.get_width() / 2) < 0.1]
    assert first == pytest.approx([30 / 110, 70 / 110, 70 / 110])


def test_the_band_of_a_split_is_over_means_of_tasks(splits):
    errors = splits[0]["digits"]
    axes = pictures.split_explorer(*splits)("digits", 0).figure.axes[0]
    found = mean_interval(errors[0].mean(1))
    box = axes.collections[0].get_datalim(axes.transData)
    assert box.y1 >= found.high - 1e-9
    mean = next(line for line in axes.lines if line.get_label() == "mean")
    assert mean.get_ydata()[0] == pytest.approx(found.mean)


def test_overlap_is_one_for_the_same_gates_and_zero_for_disjoint_ones():
    gate = torch.rand(5, 3, dtype=F64).softmax(1)
    assert float(pictures.overlap(gate, gate)) == pytest.approx(1)
    one, other = torch.eye(2, dtype=F64)[[0, 0]], torch.eye(2, dtype=F64)[[1, 1]]
    assert float(pictures.overlap(one, other)) == 0
    assert float(pictures.overlap(torch.full((4, 2), 0.5), torch.eye(2)[[0, 0, 1, 1]])) == 0.5


def test_the_gates_explorer_shows_the_chosen_point():
    rng = torch.Generator().manual_seed(0)
    histories = {
        p: {
            "gates": torch.rand(4, 2, 3, generator=rng, dtype=F64).softmax(2),
            "overlap": torch.rand(4, generator=rng, dtype=F64),
            "loss": torch.rand(4, generator=rng, dtype=F64),
        }
        for p in (0.0, 0.5, 1.0)
    }
    draw = pictures.gates_explorer(histories, 20, ["task_1", "task_2"])
    for p, step in itertools.product((0.0, 1.0), (0, 60)):
        picture = draw(p, step)
        assert not cut_off(picture.figure)
        gates = histories[p]["gates"][step // 20]
        *_, common, loss = numbers(picture.says)
        assert common == pytest.approx(float(histories[p]["overlap"][step // 20]), abs=0.01)
        assert loss == pytest.approx(float(histories[p]["loss"][step // 20]), abs=0.01)
        bars = [bar.get_height() for bar in picture.figure.axes[0].patches]
        assert bars == pytest.approx(gates.flatten().tolist())


def test_the_stitches_explorer_says_the_share_of_the_other_task():
    history = torch.zeros(2, 3, 2, 2, 2, dtype=F64)
    history[:] = torch.tensor([[0.9, 0.1], [0.3, 0.9]])
    history[1, 2, 1] = torch.tensor([[0.5, -0.5], [0.0, 1.0]])
    draw = pictures.stitches_explorer(history, 20, ["left", "right"])
    for run, stage, step in itertools.product((1, 2), (1, 2), (0, 40)):
        picture = draw(run, stage, step)
        assert not cut_off(picture.figure)
        shares = [0.5, 0.0] if (run, stage, step) == (2, 2, 40) else [0.1, 0.25]
        assert numbers(picture.says)[-2:] == pytest.approx(shares, abs=0.01)


@pytest.fixture
def prices():
    ways = ["single-task", "hard sharing", "MMoE", "single-task, convolutions", "MTAN"]
    return [
        {
            "way": way,
            "delta_m": float(seed - 2 + k),
            "parameters": 100 * (k + 1),
            "work_ratio": 1.0 + k,
            "time_ratio": 0.5 + k,
        }
        for k, way in enumerate(ways)
        for seed in range(4)
    ]


def test_the_price_list_says_every_price(prices):
    trunks = {row["way"]: "hard sharing" for row in prices}
    picture = pictures.price_list(prices, trunks)
    assert not cut_off(picture.figure)
    assert "MMoE: 1.50 parameters, 3.00 multiply-adds, 2.50 time, delta-m 1.5" in picture.says
    left, right = picture.figure.axes
    widths = [bar.get_width() for bar in left.patches[3 * 2 : 3 * 3]]
    assert widths == [1.5, 3.0, 2.5]
    assert len(right.containers) == 3  # single-task stands at zero, without an interval


def test_lines_say_their_means():
    values = {"MMoE": torch.tensor([[1.0, 2.0], [3.0, 2.2]]), "PLE": torch.rand(3, 2)}
    picture = pictures.lines([0.0, 1.0], values, x_label="x", y_label="y", ticks=["a", "b"])
    assert picture.says.startswith("MMoE: 2.000, 2.100; PLE: ")
    assert not cut_off(picture.figure)


def test_panels_beside_each_other_say_their_means_and_share_an_axis():
    low, high = torch.tensor([[1.0, 2.0], [3.0, 2.2]]), torch.tensor([[7.0, 8.0], [9.0, 8.2]])
    panels = {"one layer": {"MMoE": low}, "two layers": {"MMoE": high, "PLE": high}}
    picture = pictures.lines_beside([0.0, 1.0], panels, x_label="x", y_label="y", styles={})
    assert picture.says.startswith("one layer: MMoE: 2.000, 2.100. two layers: MMoE: 8.000, 8.100;")
    assert not cut_off(picture.figure)
    left, right = picture.figure.axes
    assert left.get_ylim() == right.get_ylim()
    assert [axes.get_title(loc="left") or axes.get_title() for axes in (left, right)] == [*panels]
    drawn = [line.get_label() for line in right.lines if not line.get_label().startswith("_")]
    assert drawn == ["MMoE", "PLE"]
