"""What the learner builds is what the package has: solutions of the lesson against its models."""

import json
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mtl_helpers.models import CrossStitch, FiLM, HardSharing, MMoE, size_report
from mtl_helpers.tasks import regression

NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "03_shared_vs_task_specific_layers.ipynb"
NAMES = ["a", "b"]
TASKS = [regression(name) for name in NAMES]


@pytest.fixture(autouse=True)
def _float64():
    """What the setup cell of the lesson chooses."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def built():
    """All solutions of the core lesson, run."""
    names = {"torch": torch, "nn": nn, "F": F}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        tags, text = cell["metadata"].get("tags", []), "".join(cell["source"])
        if "basis" in tags:
            text = text.split("widths = ")[0]
            exec("from itertools import pairwise\n" + text, names)
        if "solution" in tags:
            exec(re.search(r"```python\n(.*?)```", text, re.S).group(1), names)
    return names


def same(found, model, x):
    for name, output in model(x).items():
        torch.testing.assert_close(found[name], output)


@pytest.mark.parametrize("shared", [0, 1, 2, 3])
def test_the_split(built, shared):
    widths, x = [4, 6, 5, 3], torch.randn(7, 4)
    model = HardSharing.split(lambda: built["layers"](widths), TASKS, shared, features=3)
    ours = built["split_network"](widths, NAMES, shared)
    ours.load_state_dict(dict(zip(ours.state_dict(), model.state_dict().values(), strict=True)))
    same(ours(x), model, x)
    count = size_report(model, x).total_parameters
    assert built["split_parameters"](widths, [1, 1], shared) == count


def test_the_cross_stitch(built):
    model, x = CrossStitch(lambda: built["layers"]([4, 6, 5]), TASKS, features=5), torch.randn(7, 4)
    with torch.no_grad():
        model.stitches.copy_(torch.randn(2, 2, 2))
    z = torch.stack([x, x])
    for stage, stitch in enumerate(model.stitches):
        columns = list(model.columns.values())
        z = torch.stack([column[stage](part) for column, part in zip(columns, z, strict=True)])
        z = built["cross_stitch"](z, stitch)
    same({n: model.heads[f"task_{n}"](part) for n, part in zip(NAMES, z, strict=True)}, model, x)


def test_the_mixture(built):
    model, x = MMoE(4, TASKS, experts=3, hidden=(5,), tower=()), torch.randn(7, 4)
    weight, bias = model.experts.weights[0], model.experts.biases[0]
    experts = [lambda x, e=e: (x @ weight[e] + bias[e]).relu() for e in range(3)]
    gates = {name: model.gating[f"task_{name}"] for name in NAMES}
    z = built["mixture"](x, experts, gates)
    same({name: model.towers[f"task_{name}"](z[name]) for name in NAMES}, model, x)


def test_the_adapters(built):
    model, x = FiLM(built["layers"]([4, 6, 5]), [6, 5], TASKS), torch.randn(7, 4)
    with torch.no_grad():
        for parameter in model.adapters.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    pairs = {n: [(a.gamma, a.beta) for a in model.adapters[f"task_{n}"]] for n in NAMES}
    z = built["adapted"](x, list(model.stages), pairs)
    same({name: model.heads[f"task_{name}"](z[name]) for name in NAMES}, model, x)
