"""The stacked networks of the street corners do what the package's models do."""

import pytest
import torch

from mtl_helpers.lessons.lesson_03 import corners

WAYS = ["split 0", "split 1", "split 2", "split 3", "wide trunk", "FiLM", "MMoE", "CGC"]
NAMES = ("a", "b", "c")


def _copy(networks, model):
    """Give a model of the package the numbers of the first stacked network."""
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    own = [
        (weight[0, k].T, bias[0, k, 0])
        for k in range(len(NAMES))
        for weight, bias in [*[v for v in networks.layers if v[0].shape[1] > 1], networks.head]
    ]
    shared = [(w[0, 0].T, b[0, 0, 0]) for w, b in networks.layers if w.shape[1] == 1]
    for layer, (weight, bias) in zip(linear, [*shared, *own], strict=True):
        layer.weight.data.copy_(weight)
        layer.bias.data.copy_(bias)


@pytest.mark.parametrize("way", WAYS[:5])
def test_splits_are_those_of_the_package(way):
    networks, model = corners.Networks(way, 2, 3), corners.model_of(way, NAMES)
    _copy(networks, model)
    x = torch.randn(7, corners.INPUTS, dtype=torch.float64)
    found = networks(x.expand(2, 3, 7, -1))[0]
    torch.testing.assert_close(found, torch.stack([v[:, 0] for v in model(x).values()]))


@pytest.mark.parametrize("way", [*WAYS, "cross-stitch"])
def test_all_ways_are_of_the_size_of_the_package(way):
    networks, model = corners.Networks(way, 2, 3), corners.model_of(way, NAMES)
    assert networks.size == sum(p.numel() for p in model.parameters())
    x = torch.randn(2, 3, 7, corners.INPUTS, dtype=torch.float64)
    assert networks(x).shape == (2, 3, 7)


def test_mixtures_are_those_of_the_package():
    networks, model = corners.Networks("MMoE", 1, 3), corners.model_of("MMoE", NAMES)
    for layer, (weight, bias) in enumerate(networks.layers):
        model.experts.weights[layer].data.copy_(weight[0])
        model.experts.biases[layer].data.copy_(bias[0])
    for k, name in enumerate(NAMES):
        model.gating[f"task_{name}"].weight.data.copy_(networks.gate[0][0, k].T)
        model.towers[f"task_{name}"][0].weight.data.copy_(networks.head[0][0, k].T)
        model.towers[f"task_{name}"][0].bias.data.copy_(networks.head[1][0, k, 0])
    x = torch.randn(7, corners.INPUTS, dtype=torch.float64)
    found = networks(x.expand(1, 3, 7, -1))[0]
    torch.testing.assert_close(found, torch.stack([v[:, 0] for v in model(x).values()]))


def test_stitches_are_those_of_the_package():
    networks, model = corners.Networks("cross-stitch", 1, 3), corners.model_of("stitch", NAMES)
    for i, (weight, bias) in enumerate(networks.layers):
        for k, name in enumerate(NAMES):
            layer = model.columns[f"task_{name}"][i][0]
            layer.weight.data.copy_(weight[0, k].T)
            layer.bias.data.copy_(bias[0, k, 0])
    for k, name in enumerate(NAMES):
        model.heads[f"task_{name}"].weight.data.copy_(networks.head[0][0, k].T)
        model.heads[f"task_{name}"].bias.data.copy_(networks.head[1][0, k, 0])
    model.stitches.data.copy_(torch.cat(networks.stitches))
    x = torch.randn(7, corners.INPUTS, dtype=torch.float64)
    found = networks(x.expand(1, 3, 7, -1))[0]
    torch.testing.assert_close(found, torch.stack([v[:, 0] for v in model(x).values()]))


def test_identity_stitches_leave_trained_columns_as_they_are():
    alone = corners.Networks("split 0", 1, len(corners.COUNTERS))
    stitched = corners._begin("stitched columns", 1, alone)
    for stitch in stitched.stitches:
        stitch.data.copy_(torch.eye(len(corners.COUNTERS), dtype=torch.float64)[None])
    x = torch.randn(1, len(corners.COUNTERS), 4, corners.INPUTS, dtype=torch.float64)
    torch.testing.assert_close(stitched(x), alone(x))


def test_labels_are_standardised_and_the_test_hours_are_others():
    data = corners.city((0,), 25)
    assert data.train.targets.mean(-1).abs().max() < 1e-9
    assert data.truth.isnan().sum(-1).min() >= 25 + corners.VALID
    assert float(corners.linear_errors(data, 3.0).mean()) > 0.5
