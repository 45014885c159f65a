"""Wrong answers of lesson 02, and a part of what each must be told."""

import runpy
from pathlib import Path

HEAD = "def head_gradient(z, a, y, w):\n    return "
NEGATIVE = "def lowest_total(losses):\n    return "
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


SLIPS = {
    "02.1": [
        (HEAD + "(2 * (a * z - y) * z).mean()", "left out the task's weight"),
        (HEAD + "w * (2 * (a * z - y)).mean()", "inner derivative"),
        (HEAD + "w * (2 * (a * z - y) * a).mean()", "slope in z"),
        (HEAD + "w * (2 * (a * z - y) * z).sum()", "summed over the examples"),
        (HEAD + "w * ((a * z - y) * z).mean()", "factor 2"),
        (HEAD + "w * (2 * (y - a * z) * z).mean()", "wrong way"),
        (HEAD + "w * 2 * (a * z - y) * z", "take their mean"),
        (HEAD + "w * (2 * (a * z - y) * z * a).mean()", "one factor too many"),
    ],
    "02.2": [
        (masked(safe="target"), "0 times NaN is NaN"),
        (masked(value="losses.sum() / len(losses)"), "divide by the labelled ones"),
        (masked(value="losses.sum()"), "divide by their number"),
        (masked(value="losses.sum() / there.sum()"), "0 / 0"),
        (masked(value="(output - safe).square().mean()"), "filled the gaps with 0"),
        (masked(value="losses"), "give one number"),
        (
            MASKED_HEAD
            + "((output - target) ** 2 * ~target.isnan()).sum() / (~target.isnan()).sum()",
            "A factor cannot remove it",
        ),
        (MASKED_HEAD + "((output - target) ** 2).nanmean()", "nanmean gives"),
        (masked(value="losses.clamp(max=100).sum() / there.sum().clamp(min=1)"), "'value'"),
    ],
    "02.3": [
        (NEGATIVE + "losses.sqrt(), (0.5 + losses.log() / 2).sum().clamp(min=0)", "the total at"),
        (NEGATIVE + "losses.sqrt(), (0.5 + losses.log() / 2).clamp(min=0).sum()", "each task at"),
        (NEGATIVE + "losses, (0.5 + losses.log() / 2).sum()", "take the root"),
        (NEGATIVE + "losses.sqrt(), (0.5 + losses.log()).sum()", "log sigma squared"),
        (NEGATIVE + "losses.sqrt(), losses.log().sum() / 2", "left the first term out"),
        (NEGATIVE + "losses.sqrt(), (1 + losses.log() / 2).sum()", "forgot the 2"),
        (NEGATIVE + "losses.sqrt(), (0.5 + losses.log() / 2).mean()", "mean over tasks"),
        (NEGATIVE + "losses, (0.5 + losses.log()).sum()", "was computed with it"),
        (NEGATIVE + "(2 * losses).sqrt(), (0.25 + (2 * losses).log() / 2).sum()", "not 2 L"),
        (NEGATIVE + "(2 * losses).sqrt(), (0.5 + (2 * losses).log() / 2).sum()", "lowest place of"),
        (NEGATIVE + "losses.sqrt(), 0.5 + (losses.log() / 2).sum()", "you added it once"),
        (NEGATIVE + "losses.sqrt(), (0.5 + (2 * torch.pi * losses).log() / 2).sum()", "kept the"),
        (NEGATIVE + "losses.sqrt(), 0.5 + losses.log() / 2", "add up the tasks"),
        (NEGATIVE + "losses.sqrt(), losses.sum()", "'total'"),
    ],
    "02.4": [
        (noise(learned="other"), "not among the optimiser's"),
        (noise(clip=".clamp(min=0)"), "still clipped"),
        (noise(power="-1"), "not by sigma squared"),
        (noise(power="-1", clip=".clamp(min=0)"), "two faults are left"),
        (noise(half=""), "½ is gone"),
        (noise(power="-1", own=" * 0.5"), "keep log_sigma as the learned number"),
        ("def learn_noise(errors, steps, lr):\n    return errors.sqrt()", "keep the loop"),
    ],
    "02.8": [
        (rates(SGD=0.1), "with 0.1 the run is another one"),
        (rates(SGD=10.0), "larger still"),
        (rates(SGD_with_momentum=0.1), "momentum adds up"),
        (rates(Adam=0.001), "a common factor cancels"),
        (rates(AdamW=0.001), "weight decay"),
        ("rates = {'SGD': 0.001}", "one learning rate for each"),
    ],
}
SLIPS |= runpy.run_path(str(Path(__file__).with_name("deeper_slips.py")))["SLIPS"]
