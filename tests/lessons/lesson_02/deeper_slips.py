"""Wrong answers of the notebooks deeper than lesson 02, and a part of what each must be told."""

BROKEN = {"slope": 0.0, "not negative": [0, 0, 0], "adds up to one": [0, 0, 1],
          "any sign": [100, -100, 0]}  # fmt: skip


def broken(**changes):
    renamed = {name.replace("_", " "): value for name, value in changes.items()}
    return f"answers = { ({**BROKEN, **renamed})!r}"


HONEST = {"a": "fine", "b": "cheating", "c": "cheating", "d": "fine", "e": "cheating", "f": "fine"}


def honest(**changes):
    return f"verdict = { ({**HONEST, **changes})!r}"


ADAM = """
def adam_step(m, v, g, t):
    m = 0.9 * m + {new} * g
    v = {v}
    m_hat, v_hat = m / {free_m}, v / {free_v}
    return m, v, 0.01 * m_hat / {size}
"""
PARTS = {
    "new": "0.1", "v": "0.999 * v + 0.001 * g**2", "free_m": "(1 - 0.9**t)",
    "free_v": "(1 - 0.999**t)", "size": "(v_hat.sqrt() + 1e-8)",
}  # fmt: skip


def adam(**changes):
    return ADAM.format(**{**PARTS, **changes})


HOT = """
def multi_hot(labels, classes):
    rows = torch.zeros(len(labels), classes{kind})
    for row, present in zip(rows, labels, strict=True):
        row[{present}] = {one}
    return {rows}
"""


def hot(kind="", present="present", one="1", rows="rows"):
    return HOT.format(kind=kind, present=present, one=one, rows=rows)


FRONT = """
def on_front(losses):
    mine, rival = losses[:, None], losses[None]
    beaten = {beaten}
    return {result}
"""


def front(beaten="(rival <= mine).all(-1) & (rival < mine).any(-1)", result="~beaten.any(1)"):
    return FRONT.format(beaten=beaten, result=result)


MIX = "def shortest_mix(g1, g2):\n    return "
BEST = "((g2 - g1) * g2).sum() / ((g1 - g2) ** 2).sum()"
SMOOTH = "def smooth_max(losses, weights, ideal, mu):\n    return "

ADAMW = """
def adamw_step(p, m, v, g, t, lr, decay):
    {first}
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    m_hat, v_hat = m / (1 - 0.9 ** {t}), v / (1 - 0.999 ** {t})
    {step}
    return p, m, v
"""


def adamw(
    first="p = p * (1 - lr * decay)", t="t", step="p = p - lr * m_hat / (v_hat.sqrt() + 1e-8)"
):
    return ADAMW.format(first=first, t=t, step=step)


AVERAGE = """
def moving_average(history, beta):
    average = {start}
    for now in history[{begin}:]:
        average = {keep} * average + {new} * now
    return {result}
"""


def average(start="history[0]", begin="1", keep="beta", new="(1 - beta)", result="average"):
    return AVERAGE.format(start=start, begin=begin, keep=keep, new=new, result=result)


MARGIN = "def worst_margin(x, y, w, b, eps):\n    return "
TIE = """
def tie(theta, related, strength):
    total = 0.0
    for i in range(len(theta)):
        for j in range({pairs}):
            total = total + {part}
    return {result}
"""


def tie(pairs="i", part="related[i, j] * ((theta[i] - theta[j]) ** 2).sum()",
        result="strength * total"):  # fmt: skip
    return TIE.format(pairs=pairs, part=part, result=result)


SHRINK = """
def shrink(theta, amount):
    u, s, v = torch.linalg.svd(theta, full_matrices=False)
    return {result}
"""


def shrink(values="(s - amount).clamp(min=0)", result="u * ({values}) @ v"):
    return SHRINK.format(result=result.format(values=values))


WHICH = {"a": "list", "b": "one", "c": "several", "d": "list", "e": "one", "f": "several"}


def which(**changes):
    return f"loss = { ({**WHICH, **changes})!r}"


SCALED = """
def scaled(train, test):
    mean, spread = {known}.mean({axis}), {known}.std({axis}, correction={correction})
    spread = {safe}
    return {result}
"""


def scaled(known="train", axis="0", correction="0", safe="torch.where(spread > 0, spread, 1.0)",
           result="(train - mean) / spread, (test - mean) / spread"):  # fmt: skip
    return SCALED.format(known=known, axis=axis, correction=correction, safe=safe, result=result)


ROUND = "def round_loss(means, labelled):\n    return "
PAIRED = "def paired(short, long):\n    return "

SLIPS = {
    "02.12": [
        (front("(rival < mine).all(-1)"), "better in every loss"),
        (front("(rival <= mine).all(-1)"), "knock itself out"),
        (front(result="beaten.any(1)"), "turned round"),
        (front("(rival < mine).any(-1)"), "is a trade"),
        (front(result="losses.sum(1) == losses.sum(1).min()"), "smallest sum"),
        (front(result="(losses == losses.min(0).values).any(1)"), "ends of the front"),
        (front(result="(~beaten.any(1)).nonzero()[:, 0]"), "shape"),
    ],
    "02.13": [
        (MIX + BEST, "between 0 and 1"),
        (MIX + f"1 - ({BEST}).clamp(0, 1)", "weight of the second"),
        (MIX + "g2.norm() / (g1.norm() + g2.norm())", "equally long"),
        (MIX + "0.5", "simple mean"),
        (MIX + "(((g2 - g1) * g2).sum() / (g1 - g2).norm()).clamp(0, 1)", "squared length of"),
        (
            f"def shortest_mix(g1, g2):\n    a = ({BEST}).clamp(0, 1)\n"
            "    return (a * g1 + (1 - a) * g2).norm()",
            "give the weight",
        ),
    ],
    "02.14": [
        (SMOOTH + "mu * torch.logsumexp(weights * losses / mu, 0)", "ideal point out"),
        (SMOOTH + "mu * torch.logsumexp((weights * losses - ideal) / mu, 0)", "*before*"),
        (SMOOTH + "torch.logsumexp(weights * (losses - ideal) / mu, 0)", "multiply by mu at the"),
        (SMOOTH + "mu * torch.logsumexp(weights * (losses - ideal), 0)", "what counts as"),
        (SMOOTH + "(weights * (losses - ideal)).max()", "hard maximum"),
        (SMOOTH + "mu * torch.logsumexp((losses - ideal) / mu, 0)", "left the weights out"),
        (SMOOTH + "mu * torch.exp(weights * (losses - ideal) / mu).sum().log()", "overflows"),
        (SMOOTH + "(weights * (losses - ideal)).sum()", "weighted sum"),
        (SMOOTH + "mu * torch.logsumexp(weights * (losses - ideal) * mu, 0)", "where you multiply"),
        (SMOOTH + "float(mu * torch.logsumexp(weights * (losses - ideal) / mu, 0))", "no gradient"),
    ],
    "02.15": [
        (adam(free_m="1", free_v="1"), "too small at first"),
        (adam(free_m="(1 - 0.9**(t + 1))", free_v="(1 - 0.999**(t + 1))"), "one step late"),
        (adam(v="0.999 * v + 0.001 * g.abs()"), "*squared*"),
        (adam(v="v + g**2"), "AdaGrad"),
        (adam(new="1"), "counts one tenth"),
        (adam(size="(v_hat + 1e-8).sqrt()"), "after the root"),
        (adam(size="(v_hat + 1e-8)"), "keeps a unit"),
        (adam().replace("0.01 * m_hat", "m_hat"), "forgot the learning rate"),
        (adam().replace("0.01 * m_hat", "0.01 * g"), "along the corrected m"),
        (adam().replace("return m, v,", "return m_hat, v_hat,"), "plain averages"),
    ],
    "02.16": [
        (adamw(first="g = g + decay * p", t="(t - 1)"), "both faults"),
        (adamw(first="g = g + decay * p"), "still Adam with L2"),
        (adamw(t="(t - 1)"), "one step early"),
        (adamw(first="p = p * (1 - decay)"), "left the rate out"),
        (adamw(first=""), "nothing decays"),
        (adamw(first="p = p * (1 + lr * decay)"), "grows"),
        (
            adamw("", step="p = (p - lr * m_hat / (v_hat.sqrt() + 1e-8)) * (1 - lr * decay)"),
            "before the step",
        ),
        (adamw(first="p.mul_(1 - lr * decay)"), "belongs to the caller"),
    ],
    "02.18": [
        (average(start="torch.zeros_like(history[0])", begin="0"), "remembers it"),
        (average(keep="(1 - beta)", new="beta"), "the *old* average"),
        (average(result="history.mean(0)"), "plain mean"),
        (average(result="history[-1]"), "last parameters"),
        (
            average(
                start="torch.zeros_like(history[0])",
                begin="0",
                result="average / (1 - beta ** len(history))",
            ),
            "as Adam does",
        ),
    ],
    "02.17": [
        (honest(a="cheating"), "K models in use"),
        (honest(b="fine"), "no single model"),
        (honest(c="fine"), "chose the round"),
        (honest(e="fine"), "a choice that the other"),
        (honest(f="cheating"), "however odd"),
        (honest(d="maybe"), "none of"),
    ],
    "02.19": [
        (MARGIN + "y * (x @ w + b)", "clean inputs"),
        (MARGIN + "y * (x @ w + b) + eps * w.abs().sum()", "subtract"),
        (MARGIN + "y * (x @ w + b) - eps * w.sum()", "absolute values"),
        (MARGIN + "y * (x @ w + b) - eps * w.norm()", "*length* of the change"),
        (MARGIN + "y * (x @ w + b) - eps * w.abs().max()", "largest weight"),
        (MARGIN + "y * (x @ w + b - eps * w.abs().sum())", "inside the bracket"),
        (MARGIN + "x @ w + b - y * eps * w.abs().sum()", "y in front"),
        (MARGIN + "(y * (x @ w + b) - eps * w.abs().sum()).detach()", "no gradient"),
    ],
    "02.20": [
        (tie(pairs="len(theta)"), "counted it as"),
        (tie(part="related[i, j] * (theta[i] - theta[j]).norm()"), "distance is squared"),
        (tie(part="((theta[i] - theta[j]) ** 2).sum()"), "relations A out"),
        (tie(result="total"), "strength out"),
        (tie(result="strength * ((theta - theta.mean(0)) ** 2).sum()"), "mean of all"),
        (tie(part="related[i, j] * (theta[i] * theta[j]).sum()"), "no distance"),
        (tie(result="float(strength * total)"), "no gradient"),
    ],
    "02.21": [
        (broken(slope=1.0), "no parameter of the model"),
        (broken(not_negative=[0, 0, 1]), "there is something lower"),
        (broken(not_negative=[-1, 0, 0]), "below zero"),
        (broken(adds_up_to_one=[1, 0, 0]), "not on that task"),
        (broken(adds_up_to_one=[1 / 3, 1 / 3, 1 / 3]), "as *large* as it can be"),
        (broken(adds_up_to_one=[0, 0, 0]), "a sum of 1"),
        (broken(any_sign=[1, -1, 0]), "must be below -1000"),
        (broken(any_sign=[9, 9, 9]), "far below zero"),
    ],
    "02.22": [
        (shrink("s - amount"), "not negative"),
        (shrink(result="theta.sign() * (theta.abs() - amount).clamp(min=0)"), "each number"),
        (shrink("torch.where(s > amount, s, 0.0)"), "small ones only"),
        (shrink("s / (1 + amount)"), "as ridge does"),
        (shrink("s.clamp(max=amount)"), "take the amount *off*"),
        (shrink(result="(s - amount).clamp(min=0)"), "put them back"),
    ],
    "02.23": [
        (hot(rows="1 - rows"), "*absent*"),
        (hot(present="[label - 1 for label in present]"), "begin at 0"),
        (hot(rows="rows / rows.sum(1, keepdim=True).clamp(min=1)"), "is a distribution"),
        (hot(present="present[:1]"), "only the first label"),
        (hot(rows="[[int(x) for x in row] for row in rows]"), "floating-point numbers"),
        (hot(rows="(rows > 0).numpy()"), "floating-point numbers"),
        (hot(present="[label - 1 for label in present if label > 0]"), "left label 0 out"),
        (hot(present="torch.tensor(present)"), "stops at the empty row"),
    ],
    "02.24": [
        (which(a="one"), "funny and sad"),
        (which(b="list"), "answers compete"),
        (which(c="one"), "added up"),
        (which(d="one"), "equal weights"),
        (which(f="list"), "two softmaxes"),
        (which(e="softmax"), "none of"),
    ],
    "02.25": [
        (scaled(known="torch.cat([train, test])"), "have leaked"),
        (
            scaled(
                result="(train - mean) / spread, (test - test.mean(0)) / torch.where("
                "test.std(0, correction=0) > 0, test.std(0, correction=0), 1.0)"
            ),
            "scaled by themselves",
        ),
        (scaled(safe="spread"), "spread 0"),
        (scaled(result="train / spread, test / spread"), "left the mean in"),
        (scaled(axis="dim=None"), "whole table"),
        (scaled(correction="1"), "N - 1"),
        (scaled(known="test"), "from the test rows"),
        (scaled(result="train.sub_(mean).div_(spread), (test - mean) / spread"), "belongs to"),
    ],
    "02.26": [
        (ROUND + "means.mean()", "mean of the batch means"),
        (ROUND + "(means * labelled).sum()", "that is a sum"),
        (ROUND + "(means * labelled).sum() / len(means)", "number of batches"),
        (ROUND + "(means * labelled).sum() / labelled.sum()", "0 by 0"),
        (
            ROUND + "(means * labelled)[:-1].sum() / labelled[:-1].sum().clamp(min=1)",
            "left out the last",
        ),
        (ROUND + "means[labelled > 0].mean()", "Large batches"),
    ],
    "02.27": [
        (PAIRED + "list(zip(short, long))", "zip stops"),
        (
            PAIRED + "[(short[min(k, len(short) - 1)], batch) for k, batch in enumerate(long)]",
            "its first batch",
        ),
        (
            PAIRED + "[(batch, short[k % len(short)]) for k, batch in enumerate(long)]",
            "comes first",
        ),
        (
            PAIRED + "[(short[k * len(short) // len(long)], b) for k, b in enumerate(long)]",
            "in turns",
        ),
        (PAIRED + "[(a, b) for b in long for a in short]", "many times"),
        (PAIRED + "[short[k % len(short)] for k in range(len(long))]", "list of pairs"),
    ],
}
