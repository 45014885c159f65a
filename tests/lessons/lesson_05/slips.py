"""Wrong answers of lesson 05, and a part of what each must be told."""

NORMALISATION = """
class Normalisation(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(features))
        self.beta = nn.Parameter(torch.zeros(features))

    def forward(self, x):
        mean, var, eps = x.mean(0), x.var(0, correction=0), 1e-5
        return {}
"""
COLLEAGUE = """
class Normalisation(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(features))
        self.sigma = nn.Parameter(torch.ones(features))

    def forward(self, x):
        return {}
"""
BARE = """
class Normalisation(nn.Module):
    def __init__(self, features):
        super().__init__()
        {}

    def forward(self, x):
        return {}(x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()
"""
AVERAGES = "def moved_averages(mean, var, x, momentum):\n    keep = 1 - momentum\n    return "
SAVED = "def saved(model):\n    return "
PASS = """
def one_pass(trunk, heads, inputs):
    x1, x2 = inputs.values()
    both = torch.cat([x1, x2])
    {}
"""
PRESENT = """
def present_only(x, present):
    there, out = x[present], present[:, None]
    mean, var = there.mean(0), there.var(0, correction=0)
    return {}
"""

SLIPS = {
    "05.1": [
        (COLLEAGUE.format("(x - self.mu) / self.sigma"), "nothing is normalised"),
        (
            COLLEAGUE.format("(x - x.mean(0)) / x.var(0, correction=0) * self.sigma + self.mu"),
            "divide by its root",
        ),
        (NORMALISATION.format("self.gamma * (x - mean) / (x.var(0) + eps).sqrt()"), "correction=0"),
        (
            NORMALISATION.format("(x - x.mean(1, True)) / x.std(1, correction=0, keepdim=True)"),
            "over the examples",
        ),
        (
            NORMALISATION.format("(x - x.mean()) / (x.var(correction=0) + eps).sqrt()"),
            "each feature has its own",
        ),
        (NORMALISATION.format("x - mean"), "did not divide"),
        (NORMALISATION.format("(x - mean) / (var.sqrt() + eps)"), "inside the root"),
        (NORMALISATION.format("(x - mean) / var.sqrt()"), "epsilon is missing"),
        (NORMALISATION.format("(x - mean) / (var + 1e-8).sqrt()"), "epsilon is 1e-08"),
        (NORMALISATION.format("(x - mean) / (var + 1e-3).sqrt()"), "epsilon is 0.001"),
        (BARE.format("pass", ""), "it learns nothing"),
        (BARE.format("self.gamma = nn.Parameter(torch.ones(1))", "self.gamma * "), "6 learned"),
        (
            NORMALISATION.format("(x - mean) / (var + eps).sqrt() + 0 * (self.gamma + self.beta)"),
            "gamma and beta set to other numbers",
        ),
        (
            NORMALISATION.format(
                "self.gamma * (x - mean.detach()) / (var.detach() + eps).sqrt() + self.beta"
            ),
            "flow through them",
        ),
        (
            BARE.format(
                "self.both = nn.Parameter(torch.tensor([[1.0], [0.0]]).repeat(1, features))",
                "self.both[0] * ",
            ).rstrip()
            + " + self.both[1]",
            "in two parameters",
        ),
        (
            NORMALISATION.format("F.batch_norm(x, None, None, self.gamma, self.beta, True)"),
            "batch_norm is PyTorch's own function",
        ),
        (
            NORMALISATION.format("torch.layer_norm(x.T, x.T.shape[1:]).T * self.gamma + self.beta"),
            "layer_norm is PyTorch's own function",
        ),
        (
            "class Normalisation(nn.BatchNorm1d):\n    pass",
            "PyTorch's own layer",
        ),
        ("def Normalisation(features):\n    return nn.BatchNorm1d(features)", "the class itself"),
        (
            NORMALISATION.replace("(nn.Module)", "")
            .replace("super().__init__()", "pass")
            .format("self.gamma * (x - mean) / (var + eps).sqrt() + self.beta"),
            "is no nn.Module",
        ),
        (
            NORMALISATION.format(
                "self.gamma * (x - self.__dict__.setdefault('m', mean.detach()))"
                " / (self.__dict__.setdefault('v', var.detach()) + eps).sqrt() + self.beta"
            ),
            "something of the first batch is kept",
        ),
        (
            NORMALISATION.format(
                "nn.Parameter(torch.ones(3)) * (x - mean) / (var + eps).sqrt() "
                "+ nn.Parameter(torch.zeros(3))"
            ),
            "makes a new layer in every call",
        ),
        (
            NORMALISATION.format(
                "self.gamma * x.detach().sub_(mean) / (var + eps).sqrt() + self.beta"
            ),
            "changes `x`",
        ),
        (
            NORMALISATION.format(
                "self.gamma * ((x - mean) / (var + eps).sqrt()).detach() + self.beta"
            ),
            "no gradient reaches the inputs",
        ),
    ],
    "05.2": [
        (
            AVERAGES + "momentum * mean + keep * x.mean(0), momentum * var + keep * x.var(0)",
            "share of the NEW value in PyTorch",
        ),
        (
            AVERAGES + "keep * mean + momentum * x.mean(0), "
            "keep * var + momentum * x.var(0, correction=0)",
            "has n - 1 below",
        ),
        (
            AVERAGES + "momentum * mean + keep * x.mean(0), "
            "momentum * var + keep * x.var(0, correction=0)",
            "two things",
        ),
        (
            AVERAGES + "keep * mean + momentum * x.mean(0), keep * var + momentum * x.std(0)",
            "not the running standard deviation",
        ),
        (AVERAGES + "x.mean(0), x.var(0)", "in the place of the averages"),
        (AVERAGES + "keep * mean + momentum * x.mean(0), var", "moves in the same way"),
        (
            AVERAGES + "keep * var + momentum * x.var(0), keep * mean + momentum * x.mean(0)",
            "the mean first",
        ),
        (
            AVERAGES + "keep * mean + momentum * x.mean(), keep * var + momentum * x.var()",
            "over the rows only",
        ),
    ],
    "05.3": [
        ("batch = [1.0, 2.0, 3.0, 4.0]", "finite in both versions"),
        ("batch = [1.0, 1.0, 1.0, float('nan')]", "give finite numbers"),
        ("batch = [1e200, -1e200, 1e200, 0.0]", "tamer ones"),
        ("batch = [3.0, 3.0]", "four numbers"),
    ],
    "05.4": [
        (SAVED + "dict(model.named_parameters())", "averages are no parameters"),
        (SAVED + "model.state_dict()", "went on learning"),
        (
            SAVED + "{n: v.clone() for n, v in model.eval().state_dict().items()}",
            "left the model in eval mode",
        ),
        (SAVED + "{n: p.detach().clone() for n, p in model.named_buffers()}", "0.weight"),
        (SAVED + "[v.clone() for v in model.state_dict().values()]", "found a list"),
        (
            SAVED + "{'model.' + n: v.clone() for n, v in model.state_dict().items()} "
            "| {n: v.clone() for n, v in model.state_dict().items()}",
            "has no place for",
        ),
        (
            SAVED + "{n: torch.zeros_like(v) for n, v in model.state_dict().items()}",
            "does not hold what the model holds",
        ),
        (
            SAVED + "{n: v.clone().float() if v.is_floating_point() else v.clone() "
            "for n, v in model.state_dict().items()}",
            "another number type",
        ),
        (
            SAVED + "{n.split('.')[-1]: v.clone() for n, v in model.state_dict().items()}",
            "the names are cut short",
        ),
        (
            SAVED + "{n: v.clone() if v.is_floating_point() else v "
            "for n, v in model.state_dict().items()}",
            "with the model (1.num_batches_tracked)",
        ),
    ],
    "05.5": [
        (
            PASS.format("return {n: heads[n](trunk(x)) for n, x in inputs.items()}"),
            "moved 2 times in one step",
        ),
        (
            PASS.format(
                "trunk.eval()\n    return {n: heads[n](trunk(x)) for n, x in inputs.items()}"
            ),
            "in eval mode afterwards",
        ),
        (
            PASS.format(
                "trunk.eval()\n    z = trunk(both)\n    trunk.train()\n"
                "    return {'plain': heads['plain'](z[:6]), 'shifted': heads['shifted'](z[6:])}"
            ),
            "did not move at all",
        ),
        (
            PASS.format("z = trunk(both)\n    return {n: head(z) for n, head in heads.items()}"),
            "where the first task's rows end",
        ),
        (
            PASS.format("z = trunk(x1)\n    return {n: head(z) for n, head in heads.items()}"),
            "does every row of both go",
        ),
        (
            PASS.format(
                "z = trunk(both)\n"
                "    return {'plain': heads['shifted'](z[:6]), 'shifted': heads['plain'](z[6:])}"
            ),
            "the other task's head",
        ),
        (
            PASS.format(
                "z = trunk(torch.cat([x2, x1]))\n"
                "    return {'plain': heads['plain'](z[:6]), 'shifted': heads['shifted'](z[6:])}"
            ),
            "an output is not",
        ),
        (PASS.format("return trunk(both)"), "one output a task"),
        (
            PASS.format(
                "parts = trunk(both).chunk(len(inputs))\n"
                "    return {n: heads[n](z) for n, z in zip(inputs, parts)}"
            ),
            "where the first task's rows end",
        ),
        (
            PASS.format(
                "parts = trunk(both).detach().split([len(x1), len(x2)])\n"
                "    return {n: heads[n](z) for n, z in zip(inputs, parts)}"
            ),
            "no gradient reaches the trunk",
        ),
        (
            "def one_pass(trunk, heads, inputs):\n"
            "    x1, x2 = inputs.values()\n"
            "    with torch.no_grad():\n"
            "        parts = trunk(torch.cat([x1, x2])).split([len(x1), len(x2)])\n"
            "        return {n: heads[n](z) for n, z in zip(inputs, parts)}",
            "no gradient comes back",
        ),
        (
            PASS.format(
                "z = trunk(both)\n"
                "    return {'plain': heads['plain'](z[:6]), 'shifted': heads['shifted'](z[6:])}"
            ),
            "with 4 of shifted and 5 of plain",
        ),
        (
            PASS.format(
                "(one, x1), (two, x2) = inputs.items()\n    z = trunk(both)\n"
                "    return {one: heads[one](z[:len(x1)]), two: heads[two](z[len(x1):])}"
            ),
            "too many values to unpack",
        ),
        (
            "def one_pass(trunk, heads, inputs):\n"
            "    z = trunk(torch.cat(list(inputs.values())))\n"
            "    parts = dict(zip(inputs, z.split([len(x) for x in inputs.values()])))\n"
            "    return {n: heads[n](parts[n]) for n in ('plain', 'shifted')}",
            "KeyError: 'plain'",
        ),
    ],
    "05.6": [
        (
            "def present_only(x, present):\n    x = torch.where(present[:, None], x, 0.0)\n"
            "    normal = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()\n"
            "    return torch.where(present[:, None], normal, 0.0)",
            "off",
        ),
        (PRESENT.format("(x - mean) / (var + 1e-5).sqrt()"), "must come out as 0"),
        (
            PRESENT.format(
                "torch.where(out, (x - mean) / (x.var(0, correction=0) + 1e-5).sqrt(), 0.0)"
            ),
            "the variance still counts",
        ),
        (PRESENT.format("(there - mean) / (var + 1e-5).sqrt()"), "keep the shape"),
        (
            PRESENT.format("torch.where(out, (x - mean) / (there.var(0) + 1e-5).sqrt(), 0.0)"),
            "not by n - 1",
        ),
        (
            "def present_only(x, present):\n    out = present[:, None]\n"
            "    mean = torch.where(out, x, 0.0).mean(0)\n"
            "    away = torch.where(out, x - mean, 0.0)\n"
            "    return away / (away.square().mean(0) + 1e-5).sqrt()",
            "the number of all rows",
        ),
        (
            "def present_only(x, present):\n    here = present[:, None].double()\n"
            "    mean = (x * here).sum(0) / here.sum()\n"
            "    var = ((x - mean) ** 2 * here).sum(0) / here.sum()\n"
            "    return (x - mean) / (var + 1e-5).sqrt() * here",
            "0 times nan",
        ),
        (
            PRESENT.format(
                "torch.where(out, (x - mean.detach()) / (var.detach() + 1e-5).sqrt(), 0.0)"
            ),
            "must flow through the mean and the variance",
        ),
        (
            PRESENT.format("torch.where(out, (x - mean) / (var + 1e-5).sqrt(), 0.0).detach()"),
            "has no gradient: detach() cut it off",
        ),
        (
            PRESENT.format("torch.where(out, (x - mean) / (var + 1e-5).sqrt(), 0.0)"),
            "the gradient of the rows that are there is nan",
        ),
        (
            PRESENT.format("torch.where(out, (x - mean) / (var + 1e-5).sqrt(), 0.0).numpy()"),
            "NumPy keeps no gradient",
        ),
        (
            "def present_only(x, present):\n    x[~present] = 0.0\n"
            "    there, out = x[present], present[:, None]\n"
            "    mean, var = there.mean(0), there.var(0, correction=0)\n"
            "    return torch.where(out, (x - mean) / (var + 1e-5).sqrt(), 0.0)",
            "changes `x`",
        ),
    ],
}

DROPPED = "def dropped(x, mask, p, training):\n    return "
PENALTY = "def penalty(inputs, weights, p):\n    size = inputs.square().mean(0)\n    return "
STEADY = """
def forward(self, inputs):
    features = torch.relu(self.first(inputs))
    {}
"""
JOINT = """
def joint_draws(trunk, heads, inputs, draws):
    {}
    return {{name: torch.stack([{} for k in range(draws)]) for name in heads}}
"""
BEYOND = "def beyond_sum(none, sharing, other, both):\n    return "

MEASURED = """
def accuracy(model, inputs, targets):
    was = model.training
    {}
    with torch.no_grad():
        found = (model(inputs).argmax(1) == targets).double().mean()
    {}
    return found
"""
SLIPS |= {
    "05.7": [
        (DROPPED + "x * mask if training else x", "still come out at their own size"),
        (DROPPED + "x * mask if training else x * (1 - p)", "the first form of dropout"),
        (DROPPED + "x * mask / p if training else x", "you divided by p"),
        (DROPPED + "x * mask * (1 - p) if training else x", "shrinks twice"),
        (DROPPED + "x * mask / mask.mean() if training else x", "this mask happens to keep"),
        (DROPPED + "x * mask / (1 - p)", "the mask is used in eval mode"),
        (DROPPED + "x * mask / (1 - p) if training else x / (1 - p)", "eval mode is scaled"),
        (DROPPED + "x.detach() * mask / (1 - p) if training else x", "detach() cut it off"),
        (DROPPED + "x.mul_(mask).div_(1 - p) if training else x", "changes `x`"),
    ],
    "05.8": [
        (PENALTY + "p / (1 - p) * weights.square().sum()", "plain weight decay"),
        (PENALTY + "(weights.square() * size).sum()", "the factor is missing"),
        (PENALTY + "p * (1 - p) * (weights.square() * size).sum()", "without its 1/(1 - p)"),
        (
            PENALTY + "p / (1 - p) * (weights.square() * inputs.square()).sum()",
            "summed over the examples",
        ),
        (
            PENALTY + "p / (1 - p) * (weights.square() * inputs.mean(0).square()).sum()",
            "the mean of each input",
        ),
        (PENALTY + "p / (1 - p) * (inputs @ weights).square().mean()", "the whole prediction"),
        (
            PENALTY + "p / (1 - p) * (weights.square() * inputs.var(0, correction=0)).sum()",
            "pulls to 0, not to the mean",
        ),
        (PENALTY + "p / (1 - p) * (weights.abs() * size).sum()", "the weights enter squared"),
        (PENALTY + "(1 - p) / p * (weights.square() * size).sum()", "turned the factor round"),
    ],
    "05.9": [
        (STEADY.format("return self.head(F.dropout(features, self.p))"), "still differ"),
        (STEADY.format("return self.head(features)"), "lost its dropout"),
        (
            STEADY.format("return self.head(F.dropout(self.first(inputs), self.p, self.training))"),
            "the ReLU is missing",
        ),
        (
            STEADY.format(
                "features = F.dropout(self.first(inputs), self.p, self.training)\n"
                "    return torch.relu(self.head(features))"
            ),
            "the ReLU stands behind the head",
        ),
        (STEADY.format("return F.dropout(features, self.p, self.training)"), "head is missing"),
        (
            STEADY.format("return F.dropout(self.head(features), self.p, self.training)"),
            "you dropped outputs of the head",
        ),
        (
            STEADY.format(
                "inputs = F.dropout(inputs, self.p, self.training)\n"
                "    return self.head(torch.relu(self.first(inputs)))"
            ),
            "the inputs are not what to drop",
        ),
        (
            STEADY.format("return self.head(F.alpha_dropout(features, self.p, self.training))"),
            "come out below 0",
        ),
        (
            STEADY.format(
                "features = features.detach()\n"
                "    return self.head(F.dropout(features, self.p, self.training))"
            ),
            "no gradient reaches the first layer",
        ),
        (
            STEADY.format("return self.head(F.dropout(features, 0.5, self.training))"),
            "the model's rate self.p is 0.25",
        ),
        (
            STEADY.format(
                "mask = (torch.rand_like(features) > self.p) if self.training else 1.0\n"
                "    return self.head(features * mask)"
            ),
            "not divided by 1 - p",
        ),
        (
            STEADY.format(
                "out = self.head(F.dropout(features, self.p, self.training))\n"
                "    self.eval()\n    return out"
            ),
            "changed the model's mode",
        ),
        (
            STEADY.format(
                "torch.manual_seed(0)\n"
                "    return self.head(F.dropout(features, self.p, self.training))"
            ),
            "leave the random seed alone",
        ),
        (
            STEADY.format(
                "column = F.dropout(torch.ones(400), self.p, self.training)\n"
                "    return self.head(features * column)"
            ),
            "each needs its own draw",
        ),
    ],
    "05.10": [
        (JOINT.format("pass", "heads[name](trunk(inputs))"), "once a task and a draw"),
        (JOINT.format("z = trunk(inputs)", "heads[name](z)"), "ran 1 time(s) for 5 draws"),
        (
            JOINT.format(
                "trunk.eval()\n    runs = [trunk(inputs) for k in range(draws)]",
                "heads[name](runs[k])",
            ),
            "every draw has the same masks",
        ),
        (
            JOINT.format(
                "runs = [trunk(inputs) for k in range(draws)]", "heads[name](runs[-1 - k])"
            ),
            "in order",
        ),
        (
            JOINT.format(
                "runs = [trunk(inputs) for k in range(draws + 1)]", "heads[name](runs[k])"
            ),
            "the trunk ran 6 times",
        ),
        (
            JOINT.format(
                "z = trunk(inputs.repeat(draws, 1)).reshape(len(inputs), draws, -1)",
                "heads[name](z[:, k])",
            ),
            "in order",
        ),
        (
            "def joint_draws(trunk, heads, inputs, draws):\n"
            "    runs = torch.stack([trunk(inputs) for k in range(draws)], 1)\n"
            "    return {name: head(runs) for name, head in heads.items()}",
            "expected draws x examples x outputs",
        ),
    ],
    "05.11": [
        (BEYOND + "both - none", "what both gain together"),
        (BEYOND + "both - sharing", "beyond sharing alone"),
        (BEYOND + "both - other", "beyond the other one alone"),
        (BEYOND + "both - sharing - other", "subtract *gains*"),
        (BEYOND + "sharing + other - both - none", "the wrong way round"),
        (BEYOND + "both - torch.maximum(sharing, other)", "the better of the two"),
        (BEYOND + "(both - sharing - other + none).mean()", "one number a seed"),
    ],
    "05.12": [
        ("gradients = [[1.0, 0.0], [-2.0, 0.0]]", "before anything is clipped"),
        ("gradients = [[0.5, 0.0], [0.0, 0.5]]", "nothing is clipped"),
        ("gradients = [[3.0, 0.0], [0.0, 3.0]]", "no task is harmed"),
        ("gradients = [[1.0, -1.02], [9.0, 4.0]]", "make it clearer"),
        ("gradients = [[1.0], [2.0]]", "two numbers each"),
        ("gradients = [[float('nan'), 1.0], [1.0, 0.0]]", "above a million"),
        ("gradients = [[0.0, 0.0], [2.0, 3.0]]", "a product is 0"),
    ],
    "05.13": [
        (MEASURED.format("pass", "pass"), "measures in training mode"),
        (MEASURED.format("model.eval()", "pass"), "you left it in eval mode"),
        (MEASURED.format("model.eval()", "model.train()"), "you left it in training mode"),
        (
            MEASURED.format("model.eval()", "model.train(was)").replace("mean()", "sum()"),
            "the accuracy in eval mode is off",
        ),
        (
            "def accuracy(model, inputs, targets):\n    return 0.7",
            "the accuracy in eval mode is off",
        ),
    ],
}
