"""Wrong answers of lesson 03, and a part of what each must be told."""

import runpy
from pathlib import Path

COUNT = """
def split_parameters(widths, outputs, shared):
    layers = [(a + {bias}) * b for a, b in zip(widths, widths[1:])]
    heads = [(widths[-1] + {bias}) * n for n in outputs]
    return {first} * sum(layers[:shared]) + {rest} * sum(layers[shared:]) + {heads}
"""
COUNTED = {"bias": 1, "first": 1, "rest": "len(outputs)", "heads": "sum(heads)"}


def count(**changes):
    return COUNT.format(**{**COUNTED, **changes})


ALL = "def outputs_of_all(trunk, heads, x):\n"
BEST = """
answers = {{}}
for d in range(4):
    best = min(range(4), key=lambda s: table[d, s].mean())
    sure = best != 3 and paired_interval(table[d, best], table[d, 3]).high < 0
    answers[d] = ({split}, {sure})
"""
STITCHES = {"separate": [[1, 0], [0, 1]], "same": [[0.5, 0.5], [0.5, 0.5]],
            "swapped": [[0, 1], [1, 0]]}  # fmt: skip


def stitches(**changes):
    return f"stitches = { ({**STITCHES, **changes})!r}"


MIX = "def mix(scores, experts):\n    return "
FILM = "def film(x, gamma, beta):\n    return "
NET = """
def make_net():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), {pool}
        nn.Flatten(), nn.Linear({size}, 10),
    )
"""
COLUMN = "def column_loss(outputs, target, task):\n    return "
HEADS = """
class Net(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.trunk = nn.Linear(6, 8)
        self.heads = {heads}

    def forward(self, x):
        z = self.trunk(x).relu()
        return {{name: head(z) for name, head in self.heads.items()}}


def make_model(outputs):
    return Net(outputs)
"""
REGISTERED = "nn.ModuleDict({name: nn.Linear(8, n) for name, n in outputs.items()})"
HEAD_OF = {"a": "classification", "b": "segmentation", "c": "detection", "d": "keypoints",
           "e": "classification", "f": "detection"}  # fmt: skip


def heads(**changes):
    return f"heads = { ({**HEAD_OF, **changes})!r}"


SLIPS = {
    "03.1": [
        (ALL + "    return {name: head(trunk(x)) for name, head in heads.items()}", "still runs 3"),
        (ALL + "    z = trunk(x).detach()\n    return {n: h(z) for n, h in heads.items()}",
         "reaches the trunk"),
        (ALL + "    z = trunk.eval()(x)\n    return {n: h(z) for n, h in heads.items()}",
         "switched dropout off"),
        (ALL + "    trunk.eval()\n    z = trunk(x)\n    trunk.train()\n"
         "    return {n: h(z) for n, h in heads.items()}", "ran without dropout"),
        (ALL + "    z = trunk(x)\n    trunk.eval()\n    return {n: h(z) for n, h in heads.items()}",
         "left it in eval()"),
        (ALL + "    z = trunk(x)\n    return [h(z) for h in heads.values()]", "a dictionary"),
        (ALL + "    z = trunk(x)\n    return {n: h(z * 0) for n, h in heads.items()}",
         "is not its head"),
    ],
    "03.2": [
        (count(bias=0), "you left out the biases"),
        (count(heads=0), "you left out the heads"),
        (count(rest=1), "every task has its own copy"),
        (count(first="len(outputs)"), "sharing is that they count once"),
        (count(first="len(outputs)", rest=1), "the own ones"),
    ],
    "03.3": [
        (BEST.format(split="3", sure="'no'"), "another split has"),
        (BEST.format(split="d if d < 3 else best", sure="'yes'"), "below 0"),
        (BEST.format(split="best + 1 if best < 3 else 0", sure="'yes'"), "at split 1 is"),
        (BEST.format(split="best", sure="not sure"), "the paired difference"),
        (BEST.format(split="best", sure="'surely'"), "'yes' or 'no'"),
    ],
    "03.4": [
        (stitches(separate=[[1, 1], [1, 1]]), "something off the diagonal"),
        (stitches(same=[[1, 1], [1, 1]]), "on something else than the mean"),
        (stitches(same=[[0.9, 0.1], [0.1, 0.9]]), "different numbers"),
        (stitches(swapped=[[1, 0], [0, 1]]), "'separate' again"),
        (stitches(swapped=[[7 / 3, 0], [0, 3 / 7]]), "and the reverse"),
    ],
    "03.5": [
        (MIX + 'torch.einsum("be,ebf->bf", scores.softmax(0), experts)', "over the examples"),
        (MIX + 'torch.einsum("be,ebf->bf", scores, experts)', "forgot the softmax"),
        (MIX + 'torch.einsum("be,ebf->bf", scores.softmax(1), experts) / scores.shape[1]',
         "averaged over the experts"),
        (MIX + "(scores.softmax(1).mean(0)[:, None, None] * experts).sum(0)", "mean gate"),
    ],
    "03.6": [
        (FILM + "gamma * x + beta", "the last axis, the width"),
        (FILM + "gamma[:, None, None] * x", "beta is missing"),
        (FILM + "gamma[:, None, None] * (x + beta[:, None, None])", "shifted first"),
        (FILM + "(1 + gamma[:, None, None]) * x + beta[:, None, None]", "1 + gamma"),
    ],
    "03.7": [
        (NET.format(pool="nn.MaxPool2d(2),", size="32 * 32 * 32"), "still does not take"),
        (NET.format(pool="", size="32 * 32 * 32"), "without the pooling"),
        (NET.format(pool="nn.MaxPool2d(2),", size="32 * 16 * 16").replace("10)", "1)"), "[2, 10]"),
        ("def make_net():\n    class Cut(nn.Module):\n        def forward(self, x):\n"
         "            return x[:, :, :8, :8]\n\n    return nn.Sequential(Cut(), "
         "nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 9, 10))",
         "no longer reaches"),
        (NET.format(pool="", size="32 * 16 * 16").replace("padding=1", "padding=1, stride=2"),
         "the pooling is gone"),
        ("def make_net():\n    return nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), "
         "nn.Linear(3 * 16 * 16, 10))", "the convolution is gone"),
    ],
    "03.8": [
        (COLUMN + "F.mse_loss(outputs, target[:, None].expand_as(outputs))", "into a column"),
        (COLUMN + "((outputs[:, [task]] - target) ** 2).mean()", "[B, 1]"),
        (COLUMN + "((outputs[:, 0] - target) ** 2).mean()", "always the first column"),
        (COLUMN + "((outputs[:, task] - target) ** 2).sum()", "the sum over the examples"),
        (COLUMN + "F.mse_loss(outputs, target)", "nothing is mended yet"),
        (COLUMN + "F.mse_loss(outputs[task], target)", "your function raised"),
        (COLUMN + "F.mse_loss(outputs[:, task].detach(), target)", "no gradient flows"),
    ],
    "03.9": [
        (HEADS.format(heads="{name: nn.Linear(8, n) for name, n in outputs.items()}"),
         "3 of 3 heads"),
        (HEADS.format(heads="nn.ModuleDict({n: nn.Linear(8, 1) for n in outputs})"), "[3, 4]"),
        ("def make_model(outputs):\n    return nn.Linear(6, 8)", "give a dictionary"),
        (HEADS.format(heads=REGISTERED).replace(".relu()", ".relu().detach()"),
         "the trunk does not learn"),
        (HEADS.format(heads=REGISTERED.replace("8", "6")).replace("self.trunk(x).relu()", "x")
         .replace("self.trunk = nn.Linear(6, 8)", "pass"),
         "no parameter serves all"),
        (HEADS.format(heads="nn.Linear(8, 7); self.outputs = outputs").replace(
            "{name: head(z) for name, head in self.heads.items()}",
            "dict(zip(self.outputs, self.heads(z).split(list(self.outputs.values()), 1)))"),
         "without a layer of its own: kind, size, age"),
        (HEADS.format(heads=REGISTERED).replace(
            "return {name: head(z) for name, head in self.heads.items()}",
            "found = {name: head(z) for name, head in self.heads.items()}\n"
            "        return {**found, 'age': found['kind'][:, :2]}"),
         "without a layer of its own: kind, age"),
    ],
    "03.10": [
        (heads(a="detection"), "a is not detection"),
        (heads(e="detection"), "whatever the variable is called"),
        (heads(d="segmentation"), "a map a joint"),
        (heads(b="pixels"), "b: choose one"),
    ],
}  # fmt: skip
SLIPS |= runpy.run_path(str(Path(__file__).with_name("deeper_slips.py")))["SLIPS"]
