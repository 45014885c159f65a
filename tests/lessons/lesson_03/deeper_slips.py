"""Wrong answers of the notebooks deeper than lesson 03, and a part of what each must be told."""

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

FOREIGN = "def foreign(stitch):\n    return "
COMMON = "def common_part(first, second):\n    return "
REACHES = {"a": "no", "b": "yes", "c": "yes", "d": "no", "e": "no"}


def reaches(**changes):
    return f"reaches = { ({**REACHES, **changes})!r}"


PROBE = """
def probe(z, y, z_test, y_test):
    one = lambda f: torch.cat([f, torch.ones(len(f), 1)], 1)
    weights = torch.linalg.lstsq({fit}, {to}[:, None]).solution
    return {result}
"""
RMSE = "((one(z_test) @ weights)[:, 0] - y_test).square().mean().sqrt()"
DEEPEST = (
    "def deepest_cut(sides, wanted):\n    fits = [n for n, s in sides.items() if s >= wanted]\n"
)
PREPARE = "def prepare(model):\n    model.train()\n"


def probe(fit="one(z)", to="y", result=RMSE):
    return PROBE.format(fit=fit, to=to, result=result)


PULL = "def pull(first, second, strength):\n    return "
LOOK = """
def look(features, weights, bias):
    scores = torch.einsum("dc,bchw->bdhw", weights, features) + bias[:, None, None]
    return """

SLIPS = {
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
        (MAP.format(head="nn.Identity()", result="nn.Linear(128, 5)(z.flatten(1))"),
         "forward makes a new layer"),
        (MAP.format(head="nn.Linear(128, 5)",
                    result="self.head(z.flatten(1)).mean(0, keepdim=True).expand(len(x), 5)"),
         "every example gets the same result"),
        (MAP.format(head="nn.Linear(128, 5)", result="self.head(z.flatten(1).detach())"),
         "no gradient reaches `body"),
    ],
    "03.12": [
        (TWO.format(size=4, result="self.size(kind)"), "one head reads what the other wrote"),
        (TWO.format(size=4, result="self.size(kind.detach())"), "still moves with"),
        (TWO.format(size=16, result="self.size(kind)"), "does not run"),
        (TWO.format(size=16, result="self.size(z).detach()"), "detach() cut it off"),
        (TWO.format(size=16, result="self.size(z.detach() * 0 + 1) * 0 + z[:, :1]"), "reads 1 of"),
        (TWO.format(size=16, result="nn.Linear(16, 1)(z)"), "forward makes a new layer"),
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
        (ANY.format(first="", pool="nn.AdaptiveAvgPool2d(7), ", head="nn.Linear(8 * 49, 5)")
         .replace("return nn", "net = nn") + "    return net.requires_grad_(False)",
         "it cannot learn"),
    ],
    "03.14": [
        (AGE + "F.mse_loss(output[:, 0], ages.long().double())", "whole years"),
        (AGE + "F.mse_loss(output[:, 0], ages.round())", "you round"),
        (AGE + "((output - ages) ** 2).mean()", "every output meets every age"),
        (AGE + "F.mse_loss(output[:, 0].long().double(), ages)", "stops the gradient"),
        (AGE + "F.mse_loss(output[:, 0].long().double(), ages.long().double())",
         "nothing is corrected yet"),
        (AGE + "F.mse_loss(output[:, 0].detach(), ages)", "detach() cut it off"),
        (AGE + "F.l1_loss(output[:, 0], ages)", "the mean absolute error"),
    ],
    "03.15": [
        (SCORE + "(output.argmax(1) == ages).double().mean()", "accuracy by argmax"),
        (SCORE + "(output - ages).abs().mean()", "[B, B]"),
        (SCORE + "((output[:, 0] - ages) ** 2).mean()", "mean squared error"),
        (SCORE + "(output[:, 0].round() == ages.round()).double().mean()", "classes of ages"),
        (SCORE + "(output[:, 0] - ages).mean().abs()", "opposite signs cancel"),
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
        (DEVICE + "model.to(device), x.to(device), y.to(device).float()", "do not cast it"),
        (DEVICE + "model.to(device), torch.zeros(4, 3, device=device), y.to(device)",
         "x has other numbers"),
        (DEVICE + "nn.Sequential(*model[:1]).to(device), x.to(device), y.to(device)",
         "another model"),
    ],
    "03.19": [
        (FOREIGN + "1 - stitch.diagonal() / stitch.sum(1)", "a negative weight"),
        (FOREIGN + "stitch.abs().diagonal() / stitch.abs().sum(1)", "the task's own fraction"),
        (FOREIGN + "1 - stitch.abs().diagonal() / stitch.abs().sum(0)", "you added up columns"),
        (FOREIGN + "stitch.abs().sum(1) - stitch.abs().diagonal()", "divide by the sum of the row"),
        (FOREIGN + "stitch.abs().sum(1) / stitch.abs().diagonal() - 1", "own weight"),
        (FOREIGN + "1 - stitch.abs_().diagonal() / stitch.sum(1)", "belongs to the caller"),
    ],
    "03.20": [
        (COMMON + "torch.minimum(first.mean(0), second.mean(0)).sum()", "example by example"),
        (COMMON + "torch.minimum(first, second).mean()", "add up over the experts"),
        (COMMON + "torch.minimum(first, second).sum()", "the sum over the examples"),
        (COMMON + "torch.minimum(first, second).sum(1)", "one number per example"),
        (COMMON + "torch.maximum(first, second).sum(1).mean()", "the smaller one"),
        (COMMON + "(first * second).sum(1).mean()", "you multiplied"),
    ],
    "03.21": [
        (reaches(a="yes"), "CGC has one level"),
        (reaches(b="no"), "b is yes"),
        (reaches(c="no"), "mixes *all* experts"),
        (reaches(d="yes"), "no shared gate"),
        (reaches(e="maybe"), "'maybe'"),
    ],
    "03.22": [
        (probe(fit="z", result=RMSE.replace("one(z_test)", "z_test")), "the intercept is missing"),
        (probe(result="((one(z) @ weights)[:, 0] - y).square().mean().sqrt()"),
         "you measured on the training examples"),
        (probe(fit="one(z_test)", to="y_test"), "you fitted on the test examples"),
        (probe(result=RMSE.replace(".sqrt()", "")), "take its root"),
        (probe(result="((one(z_test) @ weights) - y_test).square().mean().sqrt()"), "[M, M]"),
    ],
    "03.23": [
        ('compare_with = {"a": "input", "b": "both", "c": "random"}', "mix the input, too"),
        ('compare_with = {"a": "random", "b": "input", "c": "both"}', "what is possible"),
        ('compare_with = {"a": "random", "b": "both", "c": "random"}', "without any network"),
        ('compare_with = {"a": "noise", "b": "both", "c": "input"}', "'noise' is none of"),
    ],
    "03.24": [
        (PULL + "strength * sum((a - b).square().sum() for a, b in zip(first, second)) ** 0.5",
         "takes its square"),
        (PULL + "strength * sum((a - b).square().mean() for a, b in zip(first, second))", "means"),
        (PULL + "sum((a - b).square().sum() for a, b in zip(first, second))",
         "the strength is missing"),
        (PULL + "strength * (first[-1] - second[-1]).square().sum()", "the last pair"),
        (PULL + "strength * sum((a - b).sum() for a, b in zip(first, second)) ** 2",
         "opposite signs cancel"),
        (PULL + "strength * sum((a - b).detach().square().sum() for a, b in zip(first, second))",
         "detach() cut it off"),
    ],
    "03.25": [
        (LOOK + "scores.sigmoid()", "that is the mask itself"),
        (LOOK + "scores * features", "no mask yet"),
        (LOOK + "scores.softmax(1) * features", "the channels compete"),
        (LOOK.replace(" + bias[:, None, None]", "") + "scores.sigmoid() * features",
         "the bias is missing"),
        (LOOK.replace('"dc,', '"cd,') + "scores.sigmoid() * features", "the weights are turned"),
        (LOOK + "scores.sigmoid().detach() * features", "a part of the calculation is detached"),
    ],
    "03.26": [
        (DEEPEST + "    return fits[0]", "that is the first one"),
        (DEEPEST + "    return [*sides][min(len(fits), len(sides) - 1)]", "one stage too deep"),
        (DEEPEST + "    return [n for n in fits if sides[n] > wanted][-1]", "exactly the wanted"),
        (DEEPEST + "    return min(fits, key=lambda name: sides[name])", "take the last of them"),
        (DEEPEST + "    return sides[fits[-1]]", "asked for is the name"),
    ],
    "03.27": [
        (PREPARE + "    model.trunk.requires_grad_(False)\n    return model", "running averages"),
        (PREPARE + "    model.trunk.eval()\n    return model", "switch off its requires_grad"),
        (PREPARE + "    model.eval()\n    model.trunk.requires_grad_(False)\n    return model",
         "the head is in eval()"),
        (PREPARE + "    model.trunk.eval()\n    model.requires_grad_(False)\n    return model",
         "nothing can learn"),
        (PREPARE + "    model.trunk.eval()\n    model.trunk.requires_grad_(False)\n"
         "    model.head[2].requires_grad_(False)\n    return model", "the head does not learn"),
    ],
}  # fmt: skip
