"""Wrong answers of lesson 03, and a part of what each must be told."""

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


MAP = """
def make_net():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
            self.head = {head}

        def forward(self, x):
            z = self.body(x)
            return {result}

    return Net()
"""
TWO = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.kind, self.size = nn.Linear(16, 4), nn.Linear({size}, 1)

    def forward(self, z):
        kind = self.kind(z)
        return {{"kind": kind, "size": {result}}}


def make_model():
    return Net()
"""
ANY = """
def make_net():
    return nn.Sequential(
        {first}nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        {pool}nn.Flatten(), {head},
    )
"""
CUT = """
class Cut(nn.Module):
    def forward(self, x):
        {rows}
        return x[:, :, {part}, {part}]

"""


def cut(part, rows=""):
    first = CUT.format(part=part, rows=rows)
    return first + ANY.format(first="Cut(), ", pool="", head="nn.Linear(8 * 14 * 14, 5)")


AGE = "def age_loss(output, ages):\n    return "
SCORE = "def age_score(output, ages):\n    return "
HITS = """
def accuracy_over(batches):
    hits = [(scores.argmax(1) == labels).double() for scores, labels in batches]
    return {value}
"""
MEAN = "def mean_over(batches):\n    return "
DEVICE = "def on_device(model, x, y, device):\n    return "

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
    "03.11": [
        (MAP.format(head="nn.Linear(4, 5)", result="self.head(z)"), "must give [2, 5]"),
        (MAP.format(head="nn.Linear(4, 5)", result="self.head(z)[:, 0, 0]"), "never reach"),
        (MAP.format(head="nn.Linear(4, 5)", result="self.head(z).mean((1, 2))"), "rows of four"),
        (MAP.format(head="nn.Linear(8, 5)", result="self.head(z.flatten(1))"), "now it crashes"),
        (MAP.format(head="nn.Linear(16, 5)", result="self.head(z.flatten(2)).mean(1)"),
         "the channels in another order"),
        (MAP.format(head="nn.Linear(16, 5)", result="self.head(z[:, :1].flatten(1))"),
         "7 of 8 channels never reach"),
        ("def make_net():\n    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), "
         "nn.Linear(48, 5))", "the convolution is gone"),
    ],
    "03.12": [
        (TWO.format(size=4, result="self.size(kind)"), "one head reads what the other wrote"),
        (TWO.format(size=4, result="self.size(kind.detach())"), "still moves with"),
        (TWO.format(size=16, result="self.size(kind)"), "does not run"),
        (TWO.format(size=16, result="torch.ones(6, 1)"), "nothing learns from the loss of 'size'"),
        (TWO.format(size=16, result="self.kind(z)[:, :1]"), "a step on one task's loss moves both"),
        (TWO.format(size=16, result="wide[:, 4:]")
         .replace("nn.Linear(16, 4)", "nn.Linear(16, 5)")
         .replace("kind = self.kind(z)", "wide = self.kind(z)\n        kind = wide[:, :4]"),
         "one layer holds both heads"),
        (TWO.format(size=16, result="self.size(torch.zeros_like(z))"), "reads 0 of the 16"),
        (TWO.format(size=4, result="self.size(z[:, :4])"), "reads 4 of the 16"),
        (TWO.format(size=16, result="self.size(z)[:, 0]"), "shape [6, 1]"),
    ],
    "03.13": [
        (ANY.format(first="", pool="", head="nn.Linear(8 * 16 * 16, 5)"), "It fits [32] only"),
        (ANY.format(first="", pool="", head="nn.Linear(8 * 14 * 14, 5)"), "It fits [28] only"),
        (cut(":28"), "the edge at the bottom, right"),
        (cut("-28:"), "the edge at the top, left"),
        (cut("a:a + 28", "a = (x.shape[-1] - 28) // 2"), "the top, bottom, left, right"),
        ("class Near(nn.Module):\n    def forward(self, x):\n"
         "        return F.interpolate(x, size=28)\n\n"
         + ANY.format(first="Near(), ", pool="", head="nn.Linear(8 * 14 * 14, 5)"),
         "of the pixels"),
        (ANY.format(first="", pool="nn.AdaptiveAvgPool2d(7), ", head="nn.Linear(8 * 49, 4)"),
         "must give [2, 5]"),
    ],
    "03.14": [
        (AGE + "F.mse_loss(output[:, 0], ages.long().double())", "whole years"),
        (AGE + "F.mse_loss(output[:, 0], ages.round())", "you round"),
        (AGE + "((output - ages) ** 2).mean()", "every output meets every age"),
        (AGE + "F.mse_loss(output[:, 0].long().double(), ages)", "stops the gradient"),
        (AGE + "F.mse_loss(output[:, 0].long().double(), ages.long().double())",
         "nothing is mended yet"),
        (AGE + "F.mse_loss(output[:, 0].detach(), ages)", "no gradient flows"),
    ],
    "03.15": [
        (SCORE + "(output.argmax(1) == ages).double().mean()", "accuracy by argmax"),
        (SCORE + "(output - ages).abs().mean()", "[B, B]"),
        (SCORE + "((output[:, 0] - ages) ** 2).mean()", "mean squared error"),
        (SCORE + "(output[:, 0].round() == ages.round()).double().mean()", "classes of ages"),
    ],
    "03.16": [
        (HITS.format(value="sum(h.mean() for h in hits) / len(hits)"), "batches' accuracies"),
        (HITS.format(value="sum(h.sum() for h in hits)"), "the number of hits"),
        (HITS.format(value="sum(h.sum() for h in hits) / len(hits)"), "number of batches"),
        (HITS.format(value="sum(hits) / len(hits)"), "your function raised"),
    ],
    "03.17": [
        (MEAN + "sum(b.mean() for b in batches) / len(batches)", "the mean of the batches' means"),
        (MEAN + "torch.cat(batches[:-1]).mean()", "dropped the short batch"),
        (MEAN + "torch.cat(batches).sum()", "that is the sum"),
        (MEAN + "torch.cat(batches).sum() / (len(batches) * len(batches[0]))", "the first"),
    ],
    "03.18": [
        (DEVICE + "model, x.to(device), y.to(device)", "the model is left off"),
        ("def on_device(model, x, y, device):\n    model.to(device)\n    x.to(device)\n"
         "    y.to(device)\n    return model, x, y", "x is where it was"),
        (DEVICE + "model.to(device), x.to(device), y", "y is where it was"),
        ("def on_device(model, x, y, device):\n    model[0].to(device)\n"
         "    return model, x.to(device), y.to(device)", "only a part"),
        (DEVICE + "model.to(device), x.to(device), x.to(device)", "mixed up"),
        (DEVICE + "nn.Sequential(*model[:1]).to(device), x.to(device), y.to(device)",
         "another model"),
    ],
}  # fmt: skip
