"""Wrong answers of lesson 03, and a part of what each must be told."""

import runpy
from pathlib import Path

SPLIT = """
class Split(nn.Module):
    def __init__(self, widths, names, shared):
        super().__init__()
        self.shared = {shared}
        self.own = {own}

    def forward(self, x):
        z = self.shared(x)
        return {result}


def split_network(widths, names, shared):
    return Split(widths, names, shared)
"""
LATER = "nn.Sequential(*layers(widths)[{at}:], nn.Linear(widths[-1], {out}))"
OWN = "nn.ModuleDict({{name: {later} for name in names}})"
PARTS = {
    "shared": "layers(widths)[:shared]",
    "own": OWN.format(later=LATER.format(at="shared", out=1)),
    "result": "{name: own(z) for name, own in self.own.items()}",
}


def split(**changes):
    return SPLIT.format(**{**PARTS, **changes})


COUNT = """
def split_parameters(widths, outputs, shared):
    layers = [(a + {bias}) * b for a, b in zip(widths, widths[1:])]
    heads = [(widths[-1] + {bias}) * n for n in outputs]
    return {first} * sum(layers[:shared]) + {rest} * sum(layers[shared:]) + {heads}
"""
COUNTED = {"bias": 1, "first": 1, "rest": "len(outputs)", "heads": "sum(heads)"}


def count(**changes):
    return COUNT.format(**{**COUNTED, **changes})


STITCH = "def cross_stitch(features, stitch):\n    return "
MIX = """
def mixture(x, experts, gates):
    outputs = torch.stack([{run} for expert in experts])
    return {{
        name: torch.einsum("ne,enf->nf", {weights}, outputs)
        for name, gate in gates.items()
    }}
"""


def mix(run="expert(x)", weights="gate(x).softmax(1)"):
    return MIX.format(run=run, weights=weights)


VERDICT = """
from scipy import stats
from mtl_helpers.metrics import mean_interval, paired_interval

def verdict(trunk, rival, margin):
    interval = paired_interval({pair})
    if interval.low > {low}:
        return "not enough"
    return "enough" if {enough} else "open"
"""


def verdict(pair="trunk, rival", low="margin", enough="interval.high < margin"):
    return VERDICT.format(pair=pair, low=low, enough=enough)


FILM = """
def adapted(x, stages, adapters):
    first, features = stages[0]({x}), {{}}
    for name, pairs in adapters.items():
        gamma, beta = pairs[0]
        z = {first}
        for stage, (gamma, beta) in zip(stages[1:], pairs[1:]):
            z = {later}
        features[name] = z{end}
    return features
"""


def film(x="x", change="gamma * {} + beta", end=""):
    return FILM.format(x=x, first=change.format("first"), later=change.format("stage(z)"), end=end)


LOOPED = """
def adapted(x, stages, adapters):
    features = {}
    for name, pairs in adapters.items():
        z = x
        for stage, (gamma, beta) in zip(stages, pairs):
            z = gamma * stage(z) + beta
        features[name] = z
    return features
"""
NET = """
def make_net():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), {pool}
        nn.Flatten(), nn.Linear({size}, 10),
    )
"""
INSIDE = """
class Inside(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.last = nn.Linear(8192, 10)

    def forward(self, x):
        z = self.body(x)
        return nn.Linear(8192, 10)(z)

def make_net():
    return Inside()
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
    return f"kinds = { ({**HEAD_OF, **changes})!r}"


SLIPS = {
    "03.1": [
        (split(result="{name: own(self.shared(x)) for name, own in self.own.items()}"),
         "runs 3 times"),
        (split(shared="layers(widths)[:0]", own=OWN.format(later=LATER.format(at=0, out=1))),
         "Make the first layers once"),
        (split(own="nn.ModuleDict({name: nn.Linear(widths[-1], 1) for name in names})",
               shared="layers(widths)"), "a copy of its own"),
        (split(own=OWN.format(later=LATER.format(at="shared", out=2))), "the shape [9, 1]"),
        (split(result="torch.cat([own(z) for own in self.own.values()], 1)"), "a dictionary"),
        (split(own=PARTS["own"].replace("nn.ModuleDict(", "dict(")), "not in a plain list"),
        (split(result="{name: own(z.detach()) for name, own in self.own.items()}"),
         "no gradient reaches"),
        (split(result="{name: own(z - z.mean(0)) for name, own in self.own.items()}"),
         "other examples"),
        (split().replace("layers(widths)", "plain(widths)") + """
def plain(widths):
    return nn.Sequential(*(nn.Linear(a, b) for a, b in zip(widths, widths[1:])))
""", "the network is linear"),
        ("def split_network(widths, names, shared):\n    return names", "an nn.Module"),
    ],
    "03.2": [
        (count(bias=0), "left out the biases"),
        (count(heads="0"), "left out the heads"),
        (count(rest="1"), "every task has its own copy"),
        (count(first="len(outputs)"), "count once"),
        (count(first="len(outputs)", rest="1"), "the own ones"),
    ],
    "03.3": [
        (STITCH + 'torch.einsum("jk,jnf->knf", stitch, features)', "rows and columns"),
        (STITCH + 'torch.einsum("kj,jnf->knf", stitch.softmax(1), features)', "a softmax"),
        (STITCH + 'torch.einsum("kj,jnf->knf", stitch / stitch.sum(1, keepdim=True), features)',
         "need not add up to 1"),
        (STITCH + "stitch.diagonal()[:, None, None] * features", "only the diagonal"),
        (STITCH + "features.sum(0, keepdim=True).expand_as(features)", "weighs them"),
        (STITCH + 'torch.einsum("kj,jnf->knf", stitch, features).detach()', "detach"),
        (STITCH + 'torch.einsum("kj,jnf->knf", stitch.detach(), features)', "`stitch`"),
    ],
    "03.4": [
        (mix(weights="gate(x).softmax(0)"), "over the examples (axis 0)"),
        (mix(weights="gate(x)"), "the softmax is missing"),
        (mix(weights="gate(x).softmax(1).mean(0).expand(len(x), -1)"), "mean weights of the batch"),
        (mix(weights="gate(x).softmax(1) / len(experts)"), "averaged over the experts"),
        (mix(weights="torch.full((len(x), len(experts)), 1 / len(experts))"), "not used"),
        (mix(weights="F.one_hot(gate(x).argmax(1), len(experts)).double()"), "the largest weight"),
        (mix(weights="list(gates.values())[0](x).softmax(1)"), "a gate of its own"),
        (mix(run="expert(x).detach()"), "reaches the experts"),
        (mix(weights="gate(x).softmax(1).detach()"), "reaches its gate"),
        ("def mixture(x, experts, gates):\n    return {n: sum(g(x).softmax(1)[:, [e]] * f(x) "
         "for e, f in enumerate(experts)) for n, g in gates.items()}", "run the experts once"),
        ("def mixture(x, experts, gates):\n    return experts[0](x)", "a dictionary"),
    ],
    "03.5": [
        (verdict(low="0", enough="True"), "does not show that one trunk is enough"),
        (verdict(pair="rival, trunk"), "the sign is turned"),
        (verdict(low="0"), "must lie beyond the margin"),
        (verdict(low="0", enough="interval.high < 0"), "zero is the border"),
        ("def verdict(trunk, rival, margin):\n"
         "    return 'not enough' if (trunk - rival).mean() > margin else 'enough'",
         "the mean only"),
        ("import numpy as np\nfrom types import SimpleNamespace\n" + verdict().replace(
            "paired_interval(trunk, rival)", "unpaired(trunk, rival)") + """
def unpaired(trunk, rival):
    a, b = mean_interval(trunk), mean_interval(rival)
    half = np.hypot(a.high - a.mean, b.high - b.mean)
    return SimpleNamespace(low=a.mean - b.mean - half, high=a.mean - b.mean + half)
""", "paired differences"),
        ("def verdict(trunk, rival, margin):\n    return 'enough'", "your answer is off"),
    ],
    "03.6": [
        (LOOPED, "run it once"),
        (film(change="gamma * {}"), "beta is missing"),
        (film(change="gamma * ({} + beta)"), "shifted first"),
        (film(change="(1 + gamma) * {} + beta"), "1 + gamma"),
        (film(change="{}"), "the plain trunk"),
        (film(end=".detach()"), "no gradient"),
        (film(x="x.detach()", change="gamma.detach() * {} + beta"), "is detached"),
        ("def adapted(x, stages, adapters):\n    for stage in stages:\n        x = stage(x)\n"
         "    return {n: p[-1][0] * x + p[-1][1] for n, p in adapters.items()}",
         "only the last adapter"),
    ],
    "03.7": [
        (NET.format(pool="nn.MaxPool2d(2),", size="32 * 32 * 32"), "still does not take"),
        (NET.format(pool="", size="32 * 32 * 32"), "the pooling is gone"),
        (NET.format(pool="nn.MaxPool2d(2),", size="32 * 16 * 16").replace("10)", "1)"), "[4, 10]"),
        ("def make_net():\n    class Cut(nn.Module):\n        def forward(self, x):\n"
         "            return x[:, :, :8, :8]\n\n    return nn.Sequential(Cut(), "
         "nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 9, 10))",
         "no longer reaches"),
        ("def make_net():\n    return nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), "
         "nn.Linear(3 * 16 * 16, 10))", "the convolution is gone"),
        (INSIDE, "in every call"),
        (INSIDE.replace("nn.Linear(8192, 10)(z)", "self.last(z - z.mean(0))"), "other examples"),
        (INSIDE.replace("nn.Linear(8192, 10)(z)", "self.last(z.detach())"), "no gradient reaches"),
    ],
    "03.8": [
        (COLUMN + "F.mse_loss(outputs, target[:, None].expand_as(outputs))", "into a column"),
        (COLUMN + "((outputs[:, [task]] - target) ** 2).mean()", "[B, 1]"),
        (COLUMN + "((outputs[:, 0] - target) ** 2).mean()", "always the first column"),
        (COLUMN + "((outputs[:, task] - target) ** 2).sum()", "the sum over the examples"),
        (COLUMN + "F.mse_loss(outputs, target)", "nothing is corrected yet"),
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
        (HEADS.format(heads=REGISTERED).replace("head(z) for", "nn.Linear(8, head.out_features)(z) "
         "for"), "in every call"),
        (HEADS.format(heads=REGISTERED) + "\nmake_it = make_model\n\ndef make_model(outputs):\n"
         "    net = make_it(outputs)\n    net.heads.requires_grad_(False)\n    return net\n",
         "requires_grad is off"),
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
        (heads(d="segmentation"), "one map per joint"),
        (heads(b="pixels"), "b: choose one"),
    ],
}  # fmt: skip
SLIPS |= runpy.run_path(str(Path(__file__).with_name("deeper_slips.py")))["SLIPS"]
