"""Wrong answers of lesson 04, and a part of what each must be told."""

HONEST = "def honest(valid, test):\n    rows = torch.arange(len(test))\n    return "
OPTIMIZER = """
def both_learn(model, log_sigma):
    copy = nn.Parameter(log_sigma.detach().clone())
    both = [*model.parameters(), log_sigma]
    return torch.optim.AdamW({}, lr=0.01, weight_decay=0.1)
"""
SURGERY = """
from mtl_helpers.balancing.gradients import pcgrad

def surgery(loss_functions, theta):
    theta.grad, rows = None, []
    own = [torch.autograd.grad(f(theta), theta)[0] for f in loss_functions]
    for f in loss_functions:
        f(theta).backward()
        rows.append(theta.grad.clone())
    return {}
"""
GROUPS = """
def both_learn(model, log_sigma):
    {}
    groups = [{{"params": model.parameters()}}, {{"params": [log_sigma], "weight_decay": 0.0{}}}]
    return torch.optim.{}(groups, lr=0.01, weight_decay=0.1)
"""
EXPECTED = "def expected(tasks):\n    return "
BLIND = """
def surgery(loss_functions, theta):
    g1, g2 = (torch.autograd.grad(f(theta), theta)[0] for f in loss_functions)
    return g1 - (g1 @ g2) / (g2 @ g2) * g2 + g2 - (g1 @ g2) / (g1 @ g1) * g1
"""
ALIASED = """
from mtl_helpers.balancing.gradients import pcgrad

def surgery(loss_functions, theta):
    rows = []
    for f in loss_functions:
        if theta.grad is not None:
            theta.grad.zero_()
        f(theta).backward()
        rows.append(theta.grad)
    return pcgrad(torch.stack(rows))
"""
ONE_SIDE = """
def surgery(loss_functions, theta):
    g1, g2 = (torch.autograd.grad(f(theta), theta)[0] for f in loss_functions)
    g1 = g1 - (g1 @ g2).clamp(max=0) / (g2 @ g2) * g2
    g2 = g2 - (g1 @ g2).clamp(max=0) / (g1 @ g1) * g1
    return g1 + g2
"""
STEPS = """
from mtl_helpers.balancing.gradients import pcgrad

def surgery(loss_functions, theta):
    rows = [torch.autograd.grad(f(theta), theta)[0] for f in loss_functions]
    direction = pcgrad(torch.stack(rows))
    with torch.no_grad():
        theta -= 0.1 * direction
    return direction
"""
BISECTOR = "def bisector(g1, g2):\n    a, b = g1.norm(), g2.norm()\n    return "
AVERAGES = """
def two_averages(gains):
    flat = [value for values in gains.values() for value in values]
    means = [sum(values) / len(values) for values in gains.values()]
    metric, task = sum(flat) / len(flat), sum(means) / len(means)
    return {}
"""
STAYS = {
    "equal": False, "geometric": True, "famo": True,
    "uncertainty": False, "imtl_l": False, "dwa": False,
}  # fmt: skip


def stays(**changes):
    return f"stays = { ({**STAYS, **changes})!r}"


SLIPS = {
    "04.1": [
        (HONEST + "test.min(1).values", "that is the leak"),
        (HONEST + "valid.min(1).values", "chosen for being low"),
        (HONEST + "test[rows, valid.argmax(1)]", "better when lower"),
        (HONEST + "test[:, valid.mean(0).argmin()]", "one weight for all seeds"),
        (HONEST + "valid[rows, test.argmin(1)]", "the wrong way round"),
        (HONEST + "test[:, valid.argmin(1)]", "pair rows and columns up"),
        (HONEST + "valid.min(1)", "two things, values and places"),
    ],
    "04.3": [
        (OPTIMIZER.format("model.parameters()"), "still not among"),
        (OPTIMIZER.format("[*model.parameters(), copy]"), "a copy of log_sigma"),
        (OPTIMIZER.format("both"), "log_sigma decays too"),
        (OPTIMIZER.format("[log_sigma]"), "the model's own parameters are left out"),
        (
            OPTIMIZER.format("[{'params': both, 'weight_decay': 0.0}]"),
            "lost its weight decay",
        ),
        (GROUPS.format("", ", 'lr': 0.0", "AdamW"), "moves log_sigma by 0;"),
        (GROUPS.format("", ", 'lr': 5.0", "AdamW"), "moves log_sigma by 5;"),
        (GROUPS.format("log_sigma.requires_grad_(False)", "", "AdamW"), "it cannot learn"),
        (GROUPS.format("", "", "Adam"), "keep AdamW; found Adam"),
        (GROUPS.format("", "", "SGD"), "keep AdamW; found SGD"),
        ("def both_learn(model, log_sigma):\n    return [log_sigma]", "give back an optimiser"),
    ],
    "04.2": [
        ("gradients = [[float('nan'), 1.0], [1.0, 0.0]]", "finite numbers"),
        ("gradients = [[1.0, 0.0], [-1.0, 0.2]]", "at most 100 are allowed"),
        ("gradients = [[10.0, 0.0], [0.1, 1.0]]", "there is no conflict"),
        ("gradients = [[1.0, 0.0], [-0.17, 0.98]]", "no task gets worse"),
        ("gradients = [[1.0, 0.0], [0.0, 0.0]]", "has no angle"),
        ("gradients = [[1.0], [2.0]]", "at least two numbers each"),
        ("gradients = [[1.0, 0.0], [-2.0, 0.0, 1.0]]", "equally many numbers"),
    ],
    "04.4": [
        (EXPECTED + "tasks", "one serves all tasks"),
        (EXPECTED + "1 + 2 * tasks", "divide by the 3"),
        (EXPECTED + "(1 + tasks) / 2", "twice as long"),
        (EXPECTED + "2 * tasks / 3", "forgot the forward pass"),
        (EXPECTED + "3 * tasks", "one forward pass for each task"),
        (EXPECTED + "2 * tasks", "backward passes alone"),
        (EXPECTED + "3 / (1 + 2 * tasks)", "turned it round"),
    ],
    "04.5": [
        (SURGERY.format("pcgrad(torch.stack([theta.grad] * len(own)))"), "gradient of the *sum*"),
        (SURGERY.format("pcgrad(torch.stack(rows))"), "adds up from call to call"),
        (BLIND, "First ask whether"),
        (SURGERY.format("sum(own)"), "PCGrad was not called"),
        (SURGERY.format("pcgrad(torch.stack(own)) / 2"), "you averaged"),
        (ALIASED, "append a `.clone()`"),
        (ONE_SIDE, "only task 1's gradient was projected"),
        (STEPS, "changes `theta`"),
    ],
    "04.6": [
        (BISECTOR + "(g1 + g2) / 2", "that is the mean"),
        (
            BISECTOR + "((g2 - g1) @ g2 * g1 + (g1 - g2) @ g1 * g2) / (g1 - g2).square().sum()",
            "equal *products*",
        ),
        (BISECTOR + "g1 / a + g2 / b", "must sum to 1"),
        (BISECTOR + "(a * g1 + b * g2) / (a + b)", "the wrong way round"),
        (BISECTOR + "(g1 / a + g2 / b) / 2", "you halved"),
        (BISECTOR + "g1.div_(a).add_(g2 / b) / (1 / a + 1 / b)", "changes `g1`"),
    ],
    "04.7": [
        (stays(equal=True), "its weight is still 1"),
        (stays(geometric=False), "geometric: the direction stays"),
        (stays(uncertainty=True), "sigma starts at 1"),
        (stays(dwa=True), "ratios of old losses"),
        (stays(famo="maybe"), "answer True or False; found 'maybe'"),
        ("stays = {'equal': True}", "for each of"),
    ],
    "04.8": [
        (AVERAGES.format("task, metric"), "wrong order"),
        (AVERAGES.format("metric, task * len(means)"), "added the tasks' means up"),
        (AVERAGES.format("metric, metric"), "within a task first"),
        (AVERAGES.format("task, task"), "every metric counts the same"),
        (AVERAGES.format("-metric, -task"), "the sign is turned"),
    ],
    "04.9": [
        ("triple = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]", "no two of them conflict"),
        ("triple = [[1.0, 0.0], [-0.5, 0.5], [0.0, 1.0]]", "leave a wedge"),
        ("triple = [[1.0, 0.0], [-0.5, 0.866], [-0.5, -0.866]]", "in 6 of the 8 orders"),
        ("triple = [[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]]", "none of the 8 orders"),
        ("triple = [[1.0, 0.0], [0.0, float('nan')], [1.0, 1.0]]", "finite numbers"),
        ("triple = [[1.0, 0.0], [0.0, 1.0]]", "shape [3, 2]"),
        ("triple = [[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]]", "has no wishes"),
    ],
}
