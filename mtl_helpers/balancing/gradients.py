"""Gradient methods: from the gradients of K tasks, [K, P], to one direction, [P].

Row k of ``grads`` is the gradient of task k's loss at the P shared parameters. The optimiser then
*subtracts* the direction d, so g_k·d > 0 means that a small step makes task k better.

All but :func:`sum_` and :func:`graddrop` need nothing of the gradients but their inner products.
They are written on the *Gramian* G = grads @ grads.T, [K, K], as functions ``..._weights`` from G
to weights w [K]; the direction is w @ grads. That makes them cheap: one pass over the gradients
for G, one for the direction, and a small problem in between.

What holds for all of them:

* Scale: gradients 10^8 times larger or smaller give the same direction up to its length.
* One task: a positive multiple of its gradient, g itself where the docstring says nothing else.
* A task whose gradient is 0 does not turn d, but for MGDA, which gives 0 (the hull holds it), and
  CAGrad: as that task cannot gain, the best for the worst task is to harm nobody near the mean.
* All gradients 0 give 0.
* Opposite gradients, where no direction makes all tasks better: each docstring says what is given.

Each docstring also says where a function differs from its paper. What none of them does is to weigh
the heads: see :class:`~mtl_helpers.balancing.per_task.GradientBalance`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature

import numpy as np
import torch
from scipy.optimize import brentq, nnls
from torch import Tensor

from mtl_helpers.values import wide

TINY = 1e-10  # squared length, beside unit vectors, below which a convex hull is said to hold 0

Orders = Sequence[Sequence[int]] | np.ndarray


# ------------------------------------------------------------------------------- what all share


def gramian(grads: Tensor) -> np.ndarray:
    """Give the inner products of all gradients: [K, P] -> float64 array [K, K].

    Raises:
        ValueError: not a matrix with rows and columns, or a type without fractions.
        FloatingPointError: a gradient holds nan or infinity.
    """
    _check(grads)
    grads = wide(grads.detach())
    found = (grads @ grads.T).double().cpu().numpy()
    diagonal = np.diagonal(found)
    if not np.isfinite(found).all() or (diagonal < 1e-30).any():  # rare: look, and mend by scaling
        largest = grads.abs().amax(1)
        if not torch.isfinite(largest).all():
            row = int((~torch.isfinite(largest)).nonzero()[0, 0])
            raise FloatingPointError(
                f"the gradient of task number {row} (from 0) holds nan or infinity; "
                "lower the learning rate or look at this task's loss"
            )
        unit = torch.where(largest > 0, largest, torch.ones_like(largest))
        scaled, unit = grads / unit[:, None], unit.double().cpu().numpy()
        found = (scaled @ scaled.T).double().cpu().numpy() * unit[:, None] * unit
    return (found + found.T) / 2


def combine(weights: np.ndarray, gram: np.ndarray, grads: Tensor) -> Tensor:
    """Give the weighted sum of the gradients: [K], [K, K], [K, P] -> [P].

    A sum so short that it is nothing but rounding is given as 0: Adam would blow it up.
    """
    added = (np.abs(weights) * np.sqrt(np.clip(np.diagonal(gram), 0, None))).sum() ** 2
    if weights @ gram @ weights <= 8 * _rounding(grads) * added:
        return torch.zeros_like(grads[0])
    full = wide(grads.detach())
    return (torch.as_tensor(weights, dtype=full.dtype, device=full.device) @ full).to(grads.dtype)


def _rounding(grads: Tensor) -> float:
    """Give the relative rounding error of the products in the Gramian of these gradients."""
    return torch.finfo(torch.float64 if grads.dtype == torch.float64 else torch.float32).eps


def _check(grads: Tensor) -> None:
    if grads.dim() != 2 or 0 in grads.shape or not grads.is_floating_point():
        raise ValueError(
            "gradients must be a floating-point matrix [tasks, parameters] with at least one of "
            f"each; found shape {tuple(grads.shape)} of {grads.dtype}"
        )


def _lengths_and_cosines(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split a Gramian into lengths [K] and cosines [K, K] (1 on the diagonal, 0 beside a 0)."""
    lengths = np.sqrt(np.clip(np.diagonal(gram), 0, None))
    safe = np.where(lengths > 0, lengths, 1.0)
    cosines = np.clip(gram / safe[:, None] / safe, -1, 1)
    np.fill_diagonal(cosines, 1.0)
    return lengths, cosines


def _points(gram: np.ndarray) -> np.ndarray:
    """Give K points (columns, [K, K]) with this Gramian, the longest of length 1 (or all 0)."""
    lengths, cosines = _lengths_and_cosines(gram)
    values, vectors = np.linalg.eigh(cosines)
    longest = lengths.max() if lengths.max() > 0 else 1.0
    return np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T * (lengths / longest)


def _nonnegative_least_squares(matrix: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Minimise |matrix @ x - target| over x >= 0 (Lawson & Hanson's active sets, by SciPy)."""
    return nnls(matrix, target, maxiter=100 * (matrix.shape[1] + 1))[0]


def _closest_to_zero(points: np.ndarray) -> np.ndarray:
    """Give the weights [K] of the point of the convex hull of columns [D, K] that is closest to 0.

    With a row of ones below, least squares over x >= 0 minimises t²|p|² + (t - 1)², where x = t·w
    and p = points @ w. For the best t that is |p|² / (1 + |p|²): the smaller |p|, the better.
    """
    size = np.abs(points).max() or 1.0
    below = np.ones((1, points.shape[1]))
    target = np.append(np.zeros(len(points)), 1.0)
    weights = _nonnegative_least_squares(np.vstack([points / size, below]), target)
    return weights / weights.sum()


# ------------------------------------------------------------------------------------- the sum


def sum_(grads: Tensor) -> Tensor:
    """Add the gradients up: what plain training on the sum of the losses does. [K, P] -> [P]."""
    _check(grads)
    return wide(grads.detach()).sum(0).to(grads.dtype)


# ------------------------------------------------------------ least squares over weights >= 0


def mgda_weights(gram: np.ndarray) -> np.ndarray:
    """Give the weights of the shortest vector in the convex hull of the gradients.

    They minimise w'Gw over w >= 0 with sum w = 1; at the minimum g_k·d >= d·d for every task.
    A task whose gradient is 0 gets all the weight, and d = 0: that task can only lose.
    Opposite gradients: d = 0. Gradients are taken as they are: the code of Sener & Koltun can first
    divide each by its length, its loss, or both, which changes the direction.

    Source: Désidéri 2012, doi:10.1016/j.crma.2012.03.014; Sener & Koltun 2018, arXiv:1810.04650,
    equation 3.
    """
    if (np.diagonal(gram) == 0).any():
        return np.eye(len(gram))[np.diagonal(gram).argmin()]
    return _closest_to_zero(_points(gram))


def upgrad_weights(gram: np.ndarray) -> np.ndarray:
    """Project each gradient onto the directions that make no task worse, and average.

    Row k's projection is v @ grads, where v minimises v'Gv over v >= e_k. All K are averaged, so
    no task is made worse: g_k·d >= 0. Opposite gradients: d = 0.

    Source: Quinton & Rey 2024, arXiv:2406.16232, section 3.
    """
    points = _points(gram)
    weights = np.eye(len(gram))
    for k, row in enumerate(weights):  # v = e_k + x with x >= 0
        row += _nonnegative_least_squares(points, -points[:, k])
    return weights.mean(0)


def cagrad_weights(gram: np.ndarray, c: float = 0.4, rounding: float = 2.3e-16) -> np.ndarray:
    """Find the best worst task near the mean gradient: max_d min_k g_k·d, |d - g0| <= c |g0|.

    Its dual is min_w g_w·g0 + c |g0| |g_w| over the simplex, with g_w = w @ grads, g0 the mean
    gradient; then d = g0 + c |g0| g_w / |g_w|. As |v| is the least of (|v|²/s + s)/2 over s > 0,
    the dual is one number s to search for, and for each s a closest point, as in MGDA.

    One task: (1 + c) g. Where the best g_w is 0 (a task without a gradient, or gradients that
    cancel) the formula divides by 0: no direction makes all tasks better, and some in the ball harm
    nobody. Then d is the one of these nearest to g0: g0 itself, as in the authors' code, unless it
    harms a task. (torchjd gives 0, which for c < 1 lies outside the ball.) Opposite gradients of
    one length: d = 0; of two lengths, d is shorter than g0. The authors' code divides d by 1 + c²;
    this function does not.

    Args:
        gram: inner products [K, K].
        c: radius over |g0|, at least 0; 0 gives the mean gradient.
        rounding: relative error of the inner products: how short a g_w counts as 0.

    Raises:
        ValueError: ``c`` is negative or not a number.

    Source: Liu et al. 2021, arXiv:2110.14048, algorithm 1.
    """
    if not 0 <= c < np.inf:
        raise ValueError(f"CAGrad's c must be a number of at least 0; found {c}")
    points, mean = _points(gram), np.full(len(gram), 1 / len(gram))
    center = points @ mean
    radius = c * np.linalg.norm(center)
    if radius < 1e-12:
        return mean

    def weights_at(s: float) -> np.ndarray:
        return _closest_to_zero(points + (s / radius * center)[:, None])

    def excess(s: float) -> float:
        return s - np.linalg.norm(points @ weights_at(s))

    low, high = 1e-9, 1.0
    found = excess(low) < 0
    if found:
        s = brentq(excess, low, high, xtol=1e-15) if excess(high) > 0 else high
        weights = weights_at(s)
        added = np.linalg.norm(points, axis=0) @ weights
        found = s**2 > 8 * len(gram) * rounding * added**2
    if not found:  # g_w = 0: go from g0 to the nearest d with g_k·d >= 0 for all k
        return mean + _nonnegative_least_squares(points, -center)
    return mean + radius / s * weights


# ------------------------------------------------------------------- a sum with a barrier at 0


def fairgrad_weights(gram: np.ndarray, alpha: float = 2.0) -> np.ndarray:
    """Solve G w = w^(-1/alpha) for w > 0: the fairer, the larger alpha.

    The solution minimises w'Gw/2 - sum_k phi(w_k), with phi' = w^(-1/alpha), which is convex, by
    Newton's method. One task of length n: n^(-2 alpha / (alpha + 1)) g. A task whose gradient is 0
    is left out. Where the hull of the gradients holds 0 (opposite gradients) there is no solution,
    and nothing that would make all tasks better: d = 0. The authors' code goes down the gradient of
    sum_k w_k L_k with all parameters, so its heads are weighted, too; here they are not.

    Args:
        gram: inner products [K, K].
        alpha: 1 gives :func:`nash_mtl`; towards infinity the worst gain alone counts.

    Raises:
        ValueError: ``alpha`` is not a positive number.

    Source: Ban & Ji 2024, arXiv:2402.15638, equation 4.
    """
    if not 0 < alpha < np.inf:
        raise ValueError(f"FairGrad's alpha must be a positive number; found {alpha}")
    lengths, cosines = _lengths_and_cosines(gram)
    weights, power, some = np.zeros(len(gram)), 1 / alpha, lengths > 0
    if not some.any():
        return weights
    lengths, cosines = lengths[some], cosines[np.ix_(some, some)]
    nearest = _closest_to_zero(_points(cosines))
    if nearest @ cosines @ nearest < TINY:
        return weights
    # With w = x / length: (cosines @ x) = right * x^(-power). Newton solves it for mean right 1.
    right = lengths ** (power - 1)
    size = right.mean()
    x = _newton(cosines, right / size, power) * size ** (1 / (1 + power))
    weights[some] = x / lengths
    return weights


def _newton(cosines: np.ndarray, right: np.ndarray, power: float) -> np.ndarray:
    """Solve cosines @ x = right * x^(-power) for x > 0 by damped steps of Newton's method."""

    def height(x: np.ndarray) -> float:
        rise = np.log(x) if power == 1 else x ** (1 - power) / (1 - power)
        return x @ cosines @ x / 2 - right @ rise

    x = right ** (1 / (1 + power))  # the solution for gradients at right angles
    for _ in range(500):
        slope = cosines @ x - right * x**-power
        step = -np.linalg.solve(cosines + np.diag(power * right * x ** (-power - 1)), slope)
        if np.abs(step / x).max() < 1e-8:  # so near that the next whole step is as good as exact
            return x + step
        shrink = min(1.0, 0.95 / max(np.max(-step / x), 0.95))  # stay inside x > 0
        now, gain = height(x), slope @ step
        rounding = 1e-13 * (1 + abs(now))  # of the heights: below it they cannot judge a step
        while height(x + shrink * step) > now + 0.1 * shrink * gain + rounding and shrink > 1e-6:
            shrink /= 2
        x = x + shrink * step
    return x


def nash_mtl_weights(gram: np.ndarray) -> np.ndarray:
    """Bargain for the direction: the largest sum of logarithms of the gains g_k·d; G w = 1/w.

    FairGrad with alpha = 1, and the same where there is no solution: d = 0. The direction always
    has length sqrt(K), however long the gradients are (one task: g / |g|); the authors' code
    shortens it to 1. It is not the authors' solver, which may stop at weights that solve nothing.
    And their code goes down the gradient of sum_k w_k L_k with all parameters, so its heads are
    weighted, too; here they are not.

    Source: Navon et al. 2022, arXiv:2202.01017, claim 3.1.
    """
    return fairgrad_weights(gram, alpha=1.0)


# -------------------------------------------------------------------------------- closed forms


def imtl_g_weights(gram: np.ndarray, rounding: float = 2.3e-16) -> np.ndarray:
    """Give the direction that makes the same angle with all gradients; the weights sum to 1.

    Weights may be negative, and large where gradients nearly oppose each other. From three tasks
    on, unequal lengths can even turn d uphill for all tasks at once: the angle is still the same.
    A task whose gradient is 0 gets weight 0. Where no weights sum to 1 (opposite gradients): d = 0.
    ``rounding`` is the relative error of the inner products. The formula is the paper's; some
    accounts of the method take the gradients at the shared features (``at="features"`` of
    ``GradientBalance``), which gives other weights.

    Source: Liu et al. 2021, "Towards Impartial Multi-task Learning", ICLR, equation 4.
    """
    lengths, cosines = _lengths_and_cosines(gram)
    weights, some = np.zeros(len(gram)), lengths > 0
    if not some.any():
        return weights
    inverse = np.linalg.pinv(
        cosines[np.ix_(some, some)], hermitian=True, rcond=len(gram) * rounding
    )
    found = inverse.sum(1) / (lengths[some] / lengths.max())
    if abs(found.sum()) > 1e-9 * max(np.abs(found).sum(), 1.0):
        weights[some] = found / found.sum()
    return weights


def aligned_mtl_weights(gram: np.ndarray, rounding: float = 2.3e-16) -> np.ndarray:
    """Make the principal components of the gradients equally long, then average.

    With G = V L V', the weights are sqrt(l) V L^(-1/2) V' (1/K), where l is the smallest eigenvalue
    above ``rounding`` (the scale of torchjd, too). Components below it are left out, so opposite
    gradients of one length give d = 0.

    Source: Senushkin et al. 2023, arXiv:2305.19000, algorithm 1.
    """
    values, vectors = np.linalg.eigh(gram)
    kept = values > max(values.max() * len(gram) * rounding, 0)
    if not kept.any():
        return np.zeros(len(gram))
    values, vectors = values[kept], vectors[:, kept]
    return vectors * np.sqrt(values.min() / values) @ vectors.mean(0)


# ------------------------------------------------------------------------ one pair at a time


def pcgrad_weights(gram: np.ndarray, orders: Orders) -> np.ndarray:
    """Take from each gradient what it has against each of the others, in the order given; add up.

    Opposite gradients: d = 0.

    Args:
        gram: inner products [K, K].
        orders: row k holds task numbers in the order in which task k meets them; itself is skipped.

    Source: Yu et al. 2020, arXiv:2001.06782, algorithm 1.
    """
    total = np.zeros(len(gram))
    for k, order in enumerate(orders):
        own = np.eye(len(gram))[k]
        for j in order:
            product = own @ gram[:, j]
            if j != k and product < 0 < gram[j, j]:
                own[j] -= product / gram[j, j]
        total += own
    return total


def gradvac_weights(
    gram: np.ndarray, orders: Orders, targets: np.ndarray, beta: float = 0.5
) -> np.ndarray:
    """Turn each gradient until its cosine with each other one is what it usually is; add up.

    Args:
        gram: inner products [K, K].
        orders: as for :func:`pcgrad_weights`.
        targets: the usual cosines [K, K], a moving average; **changed in place**. Start with 0.
        beta: how fast the average moves, 0 to 1 (the default is that of LibMTL and torchjd, not the
            paper's).

    One target per pair, for all parameters together; the paper also keeps one per layer.

    Source: Wang et al. 2021, arXiv:2010.05874, equation 2 and algorithm 1.
    """
    lengths, _ = _lengths_and_cosines(gram)
    total = np.zeros(len(gram))
    for k, order in enumerate(orders):
        own = np.eye(len(gram))[k]
        for j in order:
            length = np.sqrt(max(own @ gram @ own, 0.0))
            if j == k or lengths[j] == 0 or length <= 1e-12 * lengths[k]:
                continue
            cosine = np.clip(own @ gram[:, j] / (length * lengths[j]), -1, 1)
            target = targets[k, j]
            if cosine < target:
                turn = target * np.sqrt(1 - cosine**2) / np.sqrt(max(1 - target**2, 1e-12)) - cosine
                own[j] += length / lengths[j] * turn
            targets[k, j] = (1 - beta) * target + beta * cosine
        total += own
    return total


# ---------------------------------------------------------- gradients in, direction out


def _of_gradients(weights_of: Callable[..., np.ndarray]) -> Callable[..., Tensor]:
    """Make ``f(grads [K, P], ...) -> [P]`` from a function of the Gramian."""

    @wraps(weights_of)
    def direction(grads: Tensor, **options: float) -> Tensor:
        gram = gramian(grads)
        if "rounding" in signature(weights_of).parameters:
            options["rounding"] = _rounding(grads)
        return combine(weights_of(gram, **options), gram, grads)

    direction.__name__ = direction.__qualname__ = weights_of.__name__.removesuffix("_weights")
    direction.__doc__ = (
        f"{(weights_of.__doc__ or '').replace('gram: inner products [K, K]', 'grads: [K, P]')}\n"
        "    Gives the direction [P] for gradients [K, P]."
    )
    return direction


mgda = _of_gradients(mgda_weights)
upgrad = _of_gradients(upgrad_weights)
cagrad = _of_gradients(cagrad_weights)
fairgrad = _of_gradients(fairgrad_weights)
nash_mtl = _of_gradients(nash_mtl_weights)
imtl_g = _of_gradients(imtl_g_weights)
aligned_mtl = _of_gradients(aligned_mtl_weights)


def pcgrad(
    grads: Tensor, *, orders: Orders | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Project conflicting gradients onto each other's normal plane, and sum: [K, P] -> [P].

    From three tasks on, the result depends on the order in which a task meets the others, and it
    may still make a task worse.

    Args:
        grads: [K, P].
        orders: row k holds all task numbers in the order in which task k meets them; drawn at
            random, a new order for each task, when left out.
        generator: where orders are drawn from; the global one when left out.

    Source: Yu et al. 2020, arXiv:2001.06782, algorithm 1.
    """
    gram = gramian(grads)
    return combine(pcgrad_weights(gram, _orders(orders, len(gram), generator)), gram, grads)


def gradvac(
    grads: Tensor,
    *,
    targets: Tensor | None = None,
    beta: float = 0.5,
    orders: Orders | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Align gradients up to their usual cosine, and sum: [K, P] -> [P]. It keeps state.

    With targets 0 it is PCGrad. Opposite gradients: with targets 0, d = 0. A pair has one target
    for all parameters together; the paper also keeps one per layer.

    Args:
        grads: [K, P].
        targets: the usual cosines, float64 [K, K] on the CPU, **changed in place**: keep the tensor
            from call to call. 0 for all pairs when left out.
        beta: how fast the targets move, 0 to 1; the default is that of LibMTL and torchjd, not the
            paper's.
        orders: as for :func:`pcgrad`.
        generator: as for :func:`pcgrad`.

    Raises:
        ValueError: ``beta`` outside 0..1, or targets of another shape or type.

    Source: Wang et al. 2021, arXiv:2010.05874, equation 2.
    """
    gram = gramian(grads)
    if not 0 <= beta <= 1:
        raise ValueError(f"GradVac's beta must lie between 0 and 1; found {beta}")
    usual = torch.zeros(gram.shape, dtype=torch.float64) if targets is None else targets
    if usual.shape != gram.shape or usual.dtype != torch.float64 or usual.device.type != "cpu":
        raise ValueError(
            f"GradVac's targets must be a float64 tensor of shape {gram.shape} on the CPU; "
            f"found {tuple(usual.shape)} of {usual.dtype} on {usual.device}"
        )
    orders = _orders(orders, len(gram), generator)
    return combine(gradvac_weights(gram, orders, usual.numpy(), beta), gram, grads)


def graddrop(
    grads: Tensor,
    *,
    leak: float = 0.0,
    draws: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Pick a sign for each parameter by chance, and add up the gradients of that sign.

    The chance of "positive" is the share of positive gradient, (1 + sum g / sum |g|) / 2. The
    expectation is not the sum. This is not the paper's layer, which stands at activations x and
    looks at the sign of x times the gradient, added up over the batch. With ``at="features"`` the
    function sees each example's gradient alone, without the sign of x: that is not the paper's
    layer either. Opposite gradients: one of the two at each parameter.

    Args:
        grads: [K, P].
        leak: share of the plain sum that is let through, 0 to 1.
        draws: numbers in 0..1, [P], in place of random ones.
        generator: where they are drawn from; the global one when left out.

    Raises:
        ValueError: ``leak`` outside 0..1, or draws of another shape.

    Source: Chen et al. 2020, arXiv:2010.06808, algorithm 1.
    """
    _check(grads)
    if not 0 <= leak <= 1:
        raise ValueError(f"GradDrop's leak must lie between 0 and 1; found {leak}")
    dtype, grads = grads.dtype, wide(grads.detach())
    total, size, buffer = grads.sum(0), grads[0].abs(), torch.empty_like(grads[0])
    for row in grads[1:]:  # twice as fast as grads.abs().sum(0), and without a copy of grads
        size += torch.abs(row, out=buffer)
    if draws is None:
        draws = torch.rand(size.shape, generator=generator, dtype=grads.dtype, device=grads.device)
    elif draws.shape != size.shape:
        raise ValueError(
            f"GradDrop needs one draw a parameter, {tuple(size.shape)}; found {tuple(draws.shape)}"
        )
    side = total - (2 * draws - 1) * size  # positive where draws < (1 + total / size) / 2
    picked = torch.copysign(size, side).add_(total).div_(2)
    return (leak * total + (1 - leak) * picked if leak else picked).to(dtype)


def _orders(orders: Orders | None, tasks: int, generator: torch.Generator | None) -> Orders:
    """Check the orders in which each task meets the others, or draw them."""
    if orders is None:
        drawn = (torch.randperm(tasks, generator=generator) for _ in range(tasks))
        return [order.tolist() for order in drawn]
    found = [list(map(int, order)) for order in orders]
    if len(found) != tasks or any(
        sorted({k, *order}) != list(range(tasks)) for k, order in enumerate(found)
    ):
        raise ValueError(
            f"orders needs {tasks} rows, each with the task numbers 0 to {tasks - 1} in some "
            f"order; found {found}"
        )
    return found


METHODS: dict[str, Callable[..., Tensor]] = {
    "sum": sum_,
    "mgda": mgda,
    "pcgrad": pcgrad,
    "cagrad": cagrad,
    "imtl_g": imtl_g,
    "nash_mtl": nash_mtl,
    "aligned_mtl": aligned_mtl,
    "upgrad": upgrad,
    "graddrop": graddrop,
    "gradvac": gradvac,
    "fairgrad": fairgrad,
}
