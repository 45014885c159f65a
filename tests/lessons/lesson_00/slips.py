"""Wrong answers of lesson 00, and a part of what each must be told."""

STEP = """
def training_step(model, optimizer, images, left, right):
    outputs = model(images)
    loss_left = F.cross_entropy(outputs["left"], left)
    loss_right = F.cross_entropy(outputs["right"], right)
    loss = {loss}
    {zero}
    loss.backward()
    {step}
    return {result}
"""


def step(
    loss="loss_left + loss_right",
    zero="optimizer.zero_grad()",
    step="optimizer.step()",
    result="loss",
):
    return STEP.format(loss=loss, zero=zero, step=step, result=result)


ACCURACY = "def accuracy(logits, labels, batch_size):\n    return "

JOINT = "def joint_loss(left, right, weight):\n    return "
JOINT_BODY = """
def joint_loss(left, right, weight):
    loss = weight * left + (1 - weight) * right
    if isinstance(loss, torch.Tensor):
        {before}
    return loss
"""

BY_SEED = "def by_seed(shared, separate):\n    return "
ONE_STEP = "def one_step(x, y, w, lr):\n    return "

SLIPS = {
    "00.1": [
        (
            "def joint_loss(left, right, weight):\n    return (1 - weight) * left + weight * right",
            "gave the weight to the right task",
        ),
        (
            "def joint_loss(left, right, weight):\n    return weight * left + right",
            "left loss only",
        ),
        ("def joint_loss(left, right, weight):\n    return weight * (left + right)", "same weight"),
        ("def joint_loss(left, right, weight):\n    return (left + right) / 2", "does not appear"),
        (
            "def joint_loss(left, right, weight):\n"
            "    return weight * float(left) + (1 - weight) * float(right)",
            "leave out float()",
        ),
        (
            "def joint_loss(left, right, weight):\n"
            "    with torch.no_grad():\n        return weight * left + (1 - weight) * right",
            "under no_grad",
        ),
        (
            "def joint_loss(left, right, weight):\n"
            "    right = getattr(right, 'detach', lambda: right)()\n"
            "    return weight * left + (1 - weight) * right",
            "no gradient reaches `right`",
        ),
        (JOINT + "torch.tensor(weight * left + (1 - weight) * right)", "torch.tensor(...) made"),
        (
            JOINT + "weight * left.detach() + (1 - weight) * right.detach() if "
            "isinstance(left, torch.Tensor) else weight * left + (1 - weight) * right",
            "detach() cut it off",
        ),
        (JOINT + "weight * left + (1 - weight) * right if weight else left", "is off"),
        (JOINT + "weight * left + (1 - weight) * right if weight < 1 else right", "is off"),
        (
            JOINT_BODY.format(before="loss.backward(retain_graph=True)"),
            "its .grad is filled",
        ),
        (JOINT_BODY.format(before="left.data.zero_()"), "its numbers are overwritten"),
    ],
    "00.13": [
        ("def both_right(left, right):\n    left * right", "begin with 'return'"),
        ("def both_right(left, right):\n    return left + right", "a fraction cannot"),
        (
            "def both_right(left, right):\n    return 1 - (1 - left) - (1 - right)",
            "taken off twice",
        ),
        ("def both_right(left, right):\n    return min(left, right)", "the worse of the two"),
        ("def both_right(left, right):\n    return (left + right) / 2", "you averaged"),
        ("def both_right(left, right):\n    return left + right - left * right", "at least one"),
    ],
    "00.2": [
        (
            ACCURACY + "sum((a.argmax(1) == b).double().mean() for a, b in "
            "zip(logits.split(batch_size), labels.split(batch_size))) "
            "/ len(logits.split(batch_size))",
            "mean of the batches' means",
        ),
        (ACCURACY + "(logits.argmax(1) == labels).sum()", "do not divide"),
        (
            ACCURACY + "(logits.argmax(1) == labels).sum() / "
            "(len(logits.split(batch_size)) * batch_size)",
            "the last batch is shorter",
        ),
        (
            ACCURACY + "(logits.argmax(1) == labels)[:len(labels) // batch_size * batch_size]"
            ".double().mean()",
            "left out the last, short batch",
        ),
        (ACCURACY + "(logits.argmax(1) == labels).mean()", "could not infer output dtype"),
        (ACCURACY + "(logits.argmax(0) == labels).double().mean()", "your function raised"),
        (
            ACCURACY + "(logits.argmax(1) == labels)[:len(labels) - len(labels) % batch_size "
            "or None].double().mean() if len(labels) % batch_size else 0.0",
            "is off",
        ),
        (
            ACCURACY + "(logits.argmax(1) == labels).double().mean() "
            "if len(labels) > batch_size else 1.0",
            "is off",
        ),
        (
            ACCURACY + "(logits.mul_(2).argmax(1) == labels).double().mean()",
            "belongs to the caller",
        ),
    ],
    "00.12": [
        ("starving = {'left': 1.0, 'right': 1.0}", "more unequal"),
        ("starving = {'left': 1.0, 'right': 0.00001}", "starved the right task"),
        ("starving = {'left': 0.0, 'right': 1.0}", "zero is too easy"),
        ("starving = {'left': -1.0, 'right': 1.0}", "one finite number above 0"),
        ("starving = {'left': 1.0}", "one weight for 'left' and one for 'right'"),
    ],
    "00.14": [
        (
            "def parameters_shared(trunk, head, tasks):\n    return tasks * (trunk + head)",
            "separate",
        ),
        ("def parameters_shared(trunk, head, tasks):\n    return trunk + head", "one head only"),
        (
            "def parameters_shared(trunk, head, tasks):\n"
            "    return (torch.tensor(trunk + tasks * head) % 256).item()",
            "outgrown its type",
        ),
        (
            "def parameters_shared(trunk, head, tasks):\n    return tasks * trunk + head",
            "the other way round",
        ),
        (
            "def parameters_shared(trunk, head, tasks):\n"
            "    return trunk + tasks * head if tasks > 1 else trunk",
            "is off",
        ),
    ],
    "00.15": [
        (step(zero=""), "optimizer.zero_grad()"),
        (step(step=""), "nothing moves"),
        (step(loss="loss_left"), "only the left loss"),
        (step(loss="loss_right"), "only the right loss"),
        (step(loss="(loss_left + loss_right) / 2"), "you averaged"),
        (step(result="loss_left"), "return the sum"),
        (step(loss="loss_left + 3 * loss_right"), "3.00 times along the right one"),
        (step(step="optimizer.step(); optimizer.step()"), "2.00 times along the left"),
        (
            step(
                loss='F.cross_entropy(outputs["left"].softmax(1), left) '
                '+ F.cross_entropy(outputs["right"].softmax(1), right)'
            ),
            "no softmax",
        ),
        (
            step(loss="(loss_left + loss_right) ** 2"),
            "times along the left",
        ),
        (
            step(
                step="optimizer.step(); "
                "optimizer.param_groups[0]['lr'] = optimizer.param_groups[0]['lr'] / 2"
            ),
            "the first step is right",
        ),
        (step(zero="", step="optimizer.step(); optimizer.zero_grad()"), "you clear after"),
        (
            step(step="[p.data.sub_(0.5 * p.grad) for p in model.parameters()]"),
            "times along the left",
        ),
        (
            step(step="nn.utils.clip_grad_norm_(model.parameters(), 1.0); optimizer.step()"),
            "times along the left",
        ),
        (step(step="optimizer.step(); images.clamp_(0, 1)"), "changes the images"),
        (step(zero="optimizer.zero_grad(); model.eval()"), "training mode"),
        (
            step(step="optimizer.step(); [p.data.fill_(torch.nan) for p in model.parameters()]"),
            "nan or infinite",
        ),
        (
            step(
                step="[setattr(p, 'grad', None) for n, p in model.named_parameters() "
                "if 'bias' in n]; optimizer.step()"
            ),
            "did not move",
        ),
    ],
    "00.3": [
        (BY_SEED + "{s: separate[s] - shared[s] for s in shared if s in separate}", "other way"),
        (BY_SEED + "{s: shared[s] - separate[s] for s in shared}", "KeyError: 2"),
        (
            BY_SEED + "{s: a - b for (s, a), b in zip(shared.items(), separate.values())}",
            "paired by position",
        ),
        (
            BY_SEED + "{s: abs(shared[s] - separate[s]) for s in shared if s in separate}",
            "dropped the sign",
        ),
        (
            BY_SEED + "{s: shared[s] - sum(separate.values()) / len(separate) "
            "for s in shared if s in separate}",
            "the mean of all seeds",
        ),
        (BY_SEED + "[shared[s] - separate[s] for s in shared if s in separate]", "a dictionary"),
        (
            BY_SEED + "{s: shared.get(s, 0) - separate.get(s, 0) for s in shared}",
            "so the seeds of the result are 0 and 1",
        ),
        (
            BY_SEED + "{s: shared[s] - separate[s] if s in separate else None for s in shared}",
            "leave the seed out",
        ),
        (
            BY_SEED + "{s: v - separate[s] for s, v in shared.items() if v and separate.get(s)}",
            "is off",
        ),
        (
            BY_SEED + "{s: shared.pop(s) - separate[s] for s in list(shared) if s in separate}",
            "belongs to the caller",
        ),
    ],
    "00.11": [
        (ONE_STEP + "w + lr * 2 / len(y) * x.T @ (x @ w - y)", "up the slope"),
        (ONE_STEP + "w - lr * 2 * x.T @ (x @ w - y)", "you summed"),
        (ONE_STEP + "w - lr / len(y) * x.T @ (x @ w - y)", "factor 2"),
        (ONE_STEP + "-lr * 2 / len(y) * x.T @ (x @ w - y)", "the step alone; start from w"),
        (ONE_STEP + "lr * 2 / len(y) * x.T @ (x @ w - y)", "its sign is the other one"),
        (ONE_STEP + "2 / len(y) * x.T @ (x @ w - y)", "that is the gradient"),
        (ONE_STEP + "w - 2 / len(y) * x.T @ (x @ w - y)", "the learning rate is missing"),
        (ONE_STEP + "w", "have not moved"),
        (
            ONE_STEP + "w.sub_(lr * 2 / len(y) * x.T @ (x @ w - y))",
            "which belongs to the caller",
        ),
        (ONE_STEP + "w - 0.1 * 2 / len(y) * x.T @ (x @ w - y)", "your answer is off"),
        (
            "def one_step(x, y, w, lr):\n    w = w.clone().requires_grad_()\n"
            "    ((x @ w - y) ** 2).mean().backward()\n    return (w - lr * w.grad).detach()",
            "when w records gradients",
        ),
        (
            "def one_step(x, y, w, lr):\n    w.requires_grad_()\n"
            "    ((x @ w - y) ** 2).mean().backward()\n    return (w - lr * w.grad).detach()",
            "requires_grad is switched",
        ),
    ],
}
