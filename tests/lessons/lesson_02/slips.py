"""Wrong answers of lesson 02, and a part of what each must be told."""

import runpy
from pathlib import Path

MASKED_HEAD = "def masked_mse(output, target):\n    return "

MASKED = """
def masked_mse(output, target):
    there = ~target.isnan()
    safe = {safe}
    losses = torch.where(there, (output - safe) ** 2, 0.0)
    return {value}
"""
SAFE = "torch.where(there, target, 0.0)"
MEAN = "losses.sum() / there.sum().clamp(min=1)"


def masked(safe=SAFE, value=MEAN):
    return MASKED.format(safe=safe, value=value)


CONSTANT = " + 0.5 * math.log(2 * math.pi)"
NLL = """
def joint_nll(y, guess, sigma):
    each = {half} * (y - guess) ** 2 / sigma{power}{log}{constant}
    return {value}
"""
NOISE_LINE = "def noise_weighted(losses, log_sigma):\n    return "


def nll(half="0.5", power="**2", log=" + sigma.log()", constant=CONSTANT, value="each.sum()"):
    return NLL.format(half=half, power=power, log=log, constant=constant, value=value)


SLOPES = """
def weighted_gradients(x, y, theta, a, w):
    z = x @ theta
    errors = {errors}
    in_theta = {theta}
    in_a = {heads}
    return in_theta, in_a
"""
IN_THETA = "x.T @ (errors * a * w).sum(1) / len(x)"
IN_A = "w * (errors * z[:, None]).mean(0)"


def slopes(errors="2 * (a * z[:, None] - y)", theta=IN_THETA, heads=IN_A):
    return SLOPES.format(errors=errors, theta=theta, heads=heads)


RATES = {"SGD": 0.001, "SGD with momentum": 0.001, "Adam": 0.1, "AdamW": 0.1,
         "SGD on the sum of logs": 0.1}  # fmt: skip


def rates(**changes):
    renamed = {name.replace("_", " "): rate for name, rate in changes.items()}
    return f"rates = { ({**RATES, **renamed})!r}"


NOISE = """
def learn_noise(errors, steps, lr):
    log_sigma = torch.zeros_like(errors, requires_grad=True)
    other = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([{learned}], lr=lr)
    for _ in range(steps):
        total = (errors * torch.exp({power} * log_sigma){half} + log_sigma{own}).sum(){clip}
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return (log_sigma.detach(){own}).exp()
"""


def noise(learned="log_sigma", power="-2", half=" / 2", clip="", own=""):
    return NOISE.format(learned=learned, power=power, half=half, clip=clip, own=own)


SUMS = {"log of 12": 2.5, "sum of squares": 14, "product": 24, "slope": 12, "gradient": [8, 3],
        "norm": 5, "density": 4}  # fmt: skip


def sums(**changes):
    return f"sums = { ({**SUMS, **changes})!r}"


SLIPS = {
    "02.1": [
        (nll(value="each.sum(1).mean()"), "mean over the examples"),
        (nll(value="each.mean()"), "mean over all numbers"),
        (nll(log=""), "left out log sigma"),
        (nll(constant=""), "left out the constant"),
        (nll(log="", constant=""), "a larger sigma is always better. You left out the constant"),
        (nll(constant="", value=f"each.sum(){CONSTANT}"), "you added it once in all"),
        (nll(constant="", value=f"each.sum() + len(sigma) * ({CONSTANT})"), "one for each task"),
        (nll(constant="", value=f"(each.sum(1){CONSTANT}).sum()"), "one for each example"),
        (
            nll(log="", constant="", value=f"each.sum() + (sigma.log(){CONSTANT}).sum()"),
            "you added it once for each task. Each of the N·K densities",
        ),
        (nll(constant=" + math.log(2 * math.pi)"), "*half* of log 2π"),
        (nll(constant=" - 0.5 * math.log(2 * math.pi)"), "it is added"),
        (nll(power=""), "sigma *squared*"),
        (nll(half="1"), "forgot the 2"),
        (nll(value="-each.sum()"), "log-likelihood"),
        (nll(value="each.sum(0)"), "one number per task"),
        (nll(log="", value="each.sum() + sigma.log().sum()"), "added it once"),
        (nll(value="each.sum().detach()"), "no gradient"),
    ],
    "02.2": [
        (
            slopes(
                theta="x.T @ (errors * a).sum(1) / len(x)", heads="(errors * z[:, None]).mean(0)"
            ),
            "left out the weights w everywhere",
        ),
        (slopes(theta="x.T @ (errors * a).sum(1) / len(x)"), "in theta each task"),
        (slopes(heads="(errors * z[:, None]).mean(0)"), "its own loss w_k times"),
        (slopes(heads="w.sum() * (errors * z[:, None]).mean(0)"), "only its own weight"),
        (slopes(theta="x.T @ (errors * w).sum(1) / len(x)"), "passes its head"),
        (slopes(heads="w * errors.mean(0)"), "multiply by z in the heads"),
        (slopes(errors="a * z[:, None] - y"), "the square gives a factor 2"),
        (slopes(errors="2 * (a * z[:, None] - y) / y.shape[1]"), "the mean over the tasks as well"),
        (
            slopes(theta=IN_THETA.replace("sum(1)", "mean(1)"), heads=f"{IN_A} / 2"),
            "or you took the mean of the tasks",
        ),
        (slopes(theta=IN_THETA.replace("sum(1)", "mean(1)")), "you took their mean"),
        (slopes(heads="w * (errors * z[:, None]).sum(0) / y.numel()"), "by the number of tasks"),
        (slopes(errors="2 * (y - a * z[:, None])"), "wrong way"),
        (
            slopes(theta="x.T @ (errors * a * w).sum(1)", heads="w * (errors * z[:, None]).sum(0)"),
            "summed over the examples",
        ),
        (slopes(heads="a.mul_(1.5)"), "belongs to the caller"),
    ],
    "02.3": [
        (masked(safe="target"), "0 times NaN is NaN"),
        (masked(value="losses.sum() / len(losses)"), "divide by the labelled ones"),
        (masked(value="losses.sum()"), "divide by their number"),
        (masked(value="losses.sum() / there.sum()"), "a mean over nothing"),
        (
            masked(value="torch.where(there, losses, torch.nan).nanmean()"),
            "nanmean divides by the number of labels, too",
        ),
        (
            masked(safe="target", value=f"{MEAN} if there.any() else 0 * output.sum()"),
            "the gradient of a batch with labels is NaN",
        ),
        (masked(value="(output - safe).square().mean()"), "filled the gaps with 0"),
        (masked(value="losses"), "give one number"),
        (masked(safe="target.nan_to_num_()"), "belongs to the caller"),
        (masked(value=f"{MEAN} if there.any() else 0.0"), "no gradient at all"),
        (
            MASKED_HEAD
            + "((output - target) ** 2 * ~target.isnan()).sum() / (~target.isnan()).sum()",
            "A factor cannot remove it",
        ),
        (MASKED_HEAD + "((output - target) ** 2).nanmean()", "two faults"),
        (masked(value="losses.clamp(max=100).sum() / there.sum().clamp(min=1)"), "'value'"),
    ],
    "02.4": [
        (rates(SGD=0.1), "with 0.1 the run is another one"),
        (rates(SGD=10.0), "would be larger, never the same"),
        (rates(SGD=0.01), "is not enough"),
        (rates(SGD_with_momentum=1e-5), "100 times too small"),
        (rates(SGD_with_momentum=0.1), "momentum adds up"),
        (rates(Adam=0.001), "a common factor cancels"),
        (rates(AdamW=0.001), "it divides as Adam does"),
        ("rates = {'SGD': 0.001}", "one learning rate for each"),
    ],
    "02.5": [
        (NOISE_LINE + "(losses / (2 * torch.exp(log_sigma)) + log_sigma).sum()", "sigma *squared*"),
        (NOISE_LINE + "(losses * torch.exp(2 * log_sigma) / 2 + log_sigma).sum()", "divides by it"),
        (NOISE_LINE + "(losses * torch.exp(-2 * log_sigma) + log_sigma).sum()", "forgot the 2"),
        (NOISE_LINE + "(losses * torch.exp(-2 * log_sigma) / 2).sum()", "left out + log sigma"),
        (NOISE_LINE + "(losses * torch.exp(-2 * log_sigma) / 2 + 2 * log_sigma).sum()", "twice"),
        (NOISE_LINE + "(losses / (2 * log_sigma**2) + log_sigma.log()).sum()", "but its logarithm"),
        (NOISE_LINE + "(losses / (2 * log_sigma**2) + log_sigma).sum()", "log_sigma squared"),
        (
            NOISE_LINE + "(losses / (2 * torch.exp(2 * log_sigma)) + log_sigma.log()).sum()",
            "do not take its log again",
        ),
        (
            NOISE_LINE + "(losses / (2 * torch.exp(2 * log_sigma)) + log_sigma.exp()).sum()",
            "no exp there",
        ),
        (
            NOISE_LINE + "(losses / (2 * torch.exp(log_sigma)) + log_sigma / 2).sum()",
            "the form for s = log sigma²",
        ),
        (
            NOISE_LINE + "(losses / torch.exp(log_sigma) + log_sigma).sum()",
            "And all of it twice",
        ),
        (
            NOISE_LINE + "(losses * torch.exp(-2 * log_sigma) / 2 + log_sigma).sum().clamp(min=0)",
            "Below zero",
        ),
        (NOISE_LINE + "(losses * torch.exp(-2 * log_sigma) / 2 + log_sigma).mean()", "their mean"),
        (
            NOISE_LINE + "(losses * torch.exp(-2 * log_sigma).detach() / 2 + log_sigma).sum()",
            "a part of the calculation is detached",
        ),
    ],
    "02.6": [
        (noise(learned="other"), "not among the optimiser's"),
        (noise(clip=".clamp(min=0)"), "still clipped"),
        (noise(power="-1"), "not by sigma squared"),
        (noise(power="-1", clip=".clamp(min=0)"), "two faults are left"),
        (noise(half=""), "½ is gone"),
        ("def learn_noise(errors, steps, lr):\n    return errors.sqrt()", "Keep the loop"),
    ],
    "02.11": [
        (sums(**{"log of 12": 2.4}), "the log of a product"),
        (sums(product=9), "Π multiplies"),
        (sums(slope=4), "the inner one is 3"),
        (sums(gradient=[2, 3]), "b held still"),
        (sums(norm=7), "the root of"),
        (sums(density=2), "each of the two halvings"),
    ],
}
SLIPS |= runpy.run_path(str(Path(__file__).with_name("deeper_slips.py")))["SLIPS"]
