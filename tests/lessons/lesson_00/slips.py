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
    ],
    "00.2": [
        ("def both_right(left, right):\n    left * right", "begin with 'return'"),
        ("def both_right(left, right):\n    return left + right", "a share cannot"),
        (
            "def both_right(left, right):\n    return 1 - (1 - left) - (1 - right)",
            "taken off twice",
        ),
        ("def both_right(left, right):\n    return min(left, right)", "the worse of the two"),
        ("def both_right(left, right):\n    return (left + right) / 2", "you averaged"),
        ("def both_right(left, right):\n    return left + right - left * right", "at least one"),
    ],
    "00.3": [
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
    ],
    "00.4": [
        ("starving = {'left': 1.0, 'right': 1.0}", "more unequal"),
        ("starving = {'left': 1.0, 'right': 0.00001}", "starved the right task"),
        ("starving = {'left': 0.0, 'right': 1.0}", "zero is too easy"),
        ("starving = {'left': -1.0, 'right': 1.0}", "training refused these weights"),
        ("starving = {'left': 1.0}", "one weight for 'left' and one for 'right'"),
    ],
    "00.5": [
        (
            "def parameters_shared(trunk, head, tasks):\n    return tasks * (trunk + head)",
            "separate",
        ),
        ("def parameters_shared(trunk, head, tasks):\n    return trunk + head", "one head only"),
        (
            "def parameters_shared(trunk, head, tasks):\n    return tasks * trunk + head",
            "the other way round",
        ),
    ],
    "00.6": [
        (step(zero=""), "optimizer.zero_grad()"),
        (step(step=""), "nothing moves"),
        (step(loss="loss_left"), "only the left loss"),
        (step(loss="loss_right"), "only the right loss"),
        (step(loss="(loss_left + loss_right) / 2"), "you averaged"),
        (step(result="loss_left"), "return the sum"),
        (step(loss="loss_left + 3 * loss_right"), "after three steps"),
    ],
}
