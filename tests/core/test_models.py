"""Hard sharing and the small trunks."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mtl_helpers.models import HardSharing, feature_count, mlp, small_cnn
from mtl_helpers.tasks import classification, regression

TASKS = [classification("left", 10), regression("area", 2)]


def count(parameters):
    return sum(p.numel() for p in parameters)


@given(st.integers(1, 6), st.lists(st.integers(1, 7), min_size=1, max_size=3))
def test_mlp_has_the_layers_asked_for(inputs, hidden):
    trunk = mlp(inputs, hidden)
    widths = [inputs, *hidden]
    formula = sum((a + 1) * b for a, b in pairwise(widths))
    assert count(trunk.parameters()) == formula
    out = trunk(torch.randn(3, inputs, dtype=torch.float64))
    assert out.shape == (3, hidden[-1])
    assert (out >= 0).all()
    assert feature_count(trunk) == hidden[-1]


def test_mlp_flattens_images():
    assert mlp(12, [5])(torch.zeros(2, 1, 3, 4, dtype=torch.float64)).shape == (2, 5)


@pytest.mark.parametrize("image", [(1, 10, 12), (3, 9, 5)])
def test_small_cnn_fits_the_image_it_was_made_for(image):
    trunk = small_cnn(image, (4, 6), 7)
    height, width = image[1] // 4, image[2] // 4
    formula = (9 * image[0] + 1) * 4 + (9 * 4 + 1) * 6 + (6 * height * width + 1) * 7
    assert count(trunk.parameters()) == formula
    assert trunk(torch.zeros(2, *image, dtype=torch.float64)).shape == (2, 7)
    assert small_cnn(image, dtype=torch.float32)[0].weight.dtype == torch.float32


def test_every_task_gets_its_own_head():
    model = HardSharing.linear(mlp(4, [6]), TASKS)
    outputs = model(torch.zeros(3, 4, dtype=torch.float64))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "left": (3, 10),
        "area": (3, 2),
    }
    assert list(outputs) == ["left", "area"]


def test_parameters_are_split_without_rest_or_overlap():
    model = HardSharing.linear(mlp(4, [6]), TASKS)
    parts = [
        model.shared_parameters(),
        model.task_parameters("left"),
        model.task_parameters("area"),
    ]
    together = [id(p) for part in parts for p in part]
    assert sorted(together) == sorted(id(p) for p in model.parameters())
    assert [count(part) for part in parts] == [30, 70, 14]


def test_a_loss_reaches_the_trunk_and_its_own_head_only():
    model = HardSharing.linear(mlp(4, [6]), TASKS)
    model(torch.ones(3, 4, dtype=torch.float64))["left"].sum().backward()
    assert all(p.grad is not None for p in model.shared_parameters())
    assert all(p.grad is not None for p in model.task_parameters("left"))
    assert all(p.grad is None for p in model.task_parameters("area"))


def test_the_trunk_runs_once_for_all_tasks():
    calls = []
    trunk = mlp(4, [6])
    trunk.register_forward_hook(lambda *_: calls.append(1))
    HardSharing.linear(trunk, TASKS)(torch.zeros(1, 4, dtype=torch.float64))
    assert len(calls) == 1


def test_a_task_may_be_called_like_a_method():
    model = HardSharing(mlp(4, [6]), {"keys": nn.Linear(6, 1), "type": nn.Linear(6, 1)})
    assert model.task_names == ("keys", "type")


def test_state_dict_carries_the_whole_model():
    one, two = (HardSharing.linear(mlp(4, [6]), TASKS) for _ in range(2))
    two.load_state_dict(one.state_dict())
    x = torch.randn(3, 4, dtype=torch.float64)
    assert torch.equal(one(x)["area"], two(x)["area"])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mlp(4, []), ValueError, r"found \[4\]"),
        (lambda: mlp(4, [0]), ValueError, r"found \[4, 0\]"),
        (lambda: small_cnn((1, 3, 8)), ValueError, "at least 4x4 pixels; found 3x8"),
        (lambda: small_cnn((1, 8, 3)), ValueError, "at least 4x4 pixels; found 8x3"),
        (lambda: small_cnn((8, 8)), ValueError, r"\(channels, height, width\); found \(8, 8\)"),
        (lambda: HardSharing(mlp(4, [2]), {}), ValueError, "at least one head"),
        (lambda: HardSharing(mlp(4, [2]), {"a.b": nn.Identity()}), ValueError, "found 'a.b'"),
        (
            lambda: HardSharing(mlp(4, [2]), {"a": len}),
            TypeError,
            "'a' must be an nn.Module; found",
        ),
        (lambda: HardSharing.linear(nn.Flatten(), TASKS), ValueError, "pass features="),
        (
            lambda: HardSharing.linear(mlp(4, [2]), TASKS).task_parameters("right"),
            KeyError,
            "no head for task 'right'; this model has left, area",
        ),
    ],
)
def test_wrong_use_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_features_may_be_told():
    model = HardSharing.linear(nn.Flatten(), TASKS, features=4, dtype=torch.float32)
    assert model(torch.zeros(2, 4))["left"].shape == (2, 10)


def test_small_cnn_takes_the_largest_of_each_square_and_gives_no_negative_feature():
    trunk = small_cnn((1, 8, 8), (4, 6), 7)
    assert [type(m).__name__ for m in trunk] == [
        *["Conv2d", "ReLU", "MaxPool2d"] * 2,
        "Flatten",
        "Linear",
        "ReLU",
    ]
    assert (trunk(torch.randn(5, 1, 8, 8, dtype=torch.float64)) >= 0).all()


def test_the_narrowest_networks_are_allowed():
    one = mlp(1, (1, 1))
    assert feature_count(one) == 1 and one(torch.zeros(2, 1, dtype=torch.float64)).shape == (2, 1)
