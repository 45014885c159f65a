"""Balances: they turn the losses of K tasks into the one number that is minimised.

All follow one small protocol (:class:`Balance`). Lessons 02 and 04 explain them.

A task without a label in the batch has loss 0 and is left out: it adds nothing to the total, and
what a method has learned about it stays as it is. (An optimiser with momentum may still carry a
learned weight on for a step or two, as it does with a head.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import debug_unwrap

from mtl_helpers.values import identity


class Balance(nn.Module):
    """What ``fit`` asks of a balance.

    Parameters of the module, if it has any, are given to the optimiser by ``fit`` (without weight
    decay, at the learning rate ``lr`` where that is a number); its state is saved in checkpoints.

    The context is a dictionary; each key may be absent when a balance is used by hand:
    ``"model"``, ``"outputs"``, ``"features"`` (where ``at_features``), ``"labelled"`` (bool [K]:
    whether the batch holds any label of the task), ``"step"`` and ``"epoch"`` (from 0).

    Args:
        task_names: the tasks, in the order of the losses.

    Attributes:
        lr: learning rate of the balance's own parameters; None for the optimiser's.
        needs_losses_after_step: whether ``after_step`` wants the losses again.
        at_features: whether ``backward`` wants the shared features in the context.
        stackable: whether ``forward`` depends on nothing but losses, parameters and buffers, and
            changes none of them, so that many seeds can run it at once.
    """

    lr: float | None = None
    needs_losses_after_step = False
    at_features = False
    stackable = False

    def __init__(self, task_names: Sequence[str]) -> None:
        super().__init__()
        self.task_names = tuple(task_names)
        if not self.task_names or len(set(self.task_names)) < len(self.task_names):
            raise ValueError(
                f"a balance needs tasks of different names; found {list(self.task_names)}"
            )

    def forward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> Tensor:
        """Give the total loss: task losses [K] -> scalar.

        Args:
            losses: one loss a task, in the order of ``task_names``; 0 where the batch has no label.
            context: what else a method may need (see above).
        """
        raise NotImplementedError

    def backward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> None:
        """Add to the ``.grad`` of every parameter; by default the gradient of the total loss."""
        self(losses, context).backward()

    def after_step(
        self, losses: Tensor | None = None, context: Mapping[str, Any] | None = None
    ) -> None:
        """Do what is due after a step of the optimiser; by default nothing.

        Args:
            losses: the losses [K] of the same batch after the step, without gradient; None unless
                ``needs_losses_after_step``.
            context: as in ``forward``.
        """

    def extra_repr(self) -> str:
        """Give the settings, so that a checkpoint of another balance is refused."""
        known = (str, int, float, tuple, list, dict)
        own = {k: v for k, v in vars(self).items() if k[0] != "_" and isinstance(v, known)}
        texts = {k: repr(v) for k, v in own.items() if k != "training"}
        # An object inside would write its address, which is another one in the next process.
        safe = {k: identity(own[k]) if " at 0x" in text else text for k, text in texts.items()}
        return ", ".join(f"{k}={text}" for k, text in safe.items())

    def labelled(self, losses: Tensor, context: Mapping[str, Any] | None) -> Tensor:
        """Say which tasks have a label in the batch: bool [K]; all when the context is silent.

        Raises:
            ValueError: there is not one loss a task.
        """
        if losses.shape != (len(self.task_names),):
            raise ValueError(
                f"expected one loss for each of the tasks {list(self.task_names)}, shape "
                f"({len(self.task_names)},); found shape {tuple(losses.shape)}"
            )
        given = (context or {}).get("labelled")
        return torch.ones_like(losses, dtype=torch.bool) if given is None else given


class FixedWeights(Balance):
    """The weighted sum L = sum_k w_k L_k.

    Args:
        weights: the weight of each task.
        task_names: the tasks; taken from ``weights`` when left out.

    Raises:
        ValueError: a task without a weight, a weight without a task, a weight that is negative or
            not a number, or weights that are all zero.
    """

    stackable = True

    def __init__(self, weights: Mapping[str, float], task_names: Sequence[str] | None = None):
        names = tuple(weights) if task_names is None else tuple(task_names)
        super().__init__(names)
        check_weights(weights, names)
        values = torch.tensor([float(weights[name]) for name in names], dtype=torch.float64)
        self.register_buffer("weights", values)

    def forward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> Tensor:
        """Give the weighted sum: [K] -> scalar."""
        labelled = self.labelled(losses, context)
        return torch.where(labelled, self.weights.to(losses) * losses, 0).sum()


class EqualWeights(FixedWeights):
    """The simple sum L = sum_k L_k: every weight is 1 (the *unitary* sum).

    Source: the baseline of Kurin et al. 2022, arXiv:2201.04122.
    """

    def __init__(self, task_names: Sequence[str]) -> None:
        super().__init__(dict.fromkeys(task_names, 1.0), task_names)


class UncertaintyWeights(Balance):
    """Weigh tasks by learned noise: sum_k L_k / (2 sigma_k^2) + log sigma_k.

    That is, up to a constant, minus the Gaussian log-likelihood of a regression whose L is a mean
    squared error. For classification (L is a cross-entropy) the first term is L_k / sigma_k^2, the
    approximation of the paper, which is no likelihood. A learned sigma_k^2 tends to L_k in the
    first case and to 2 L_k in the second. The total may be negative, and rightly: nothing is
    clipped. Where a network can fit its labels exactly, it has no lower bound: watch validation.

    Args:
        task_names: the tasks, in the order of the losses.
        classification: which of them take the second form.
        log_sigma: where every log sigma_k starts.
        lr: learning rate of log sigma; None for the optimiser's.

    Raises:
        ValueError: ``classification`` holds an unknown task, or a number makes no sense.

    Source: Kendall, Gal and Cipolla 2018, arXiv:1705.07115, equations 7 and 10.
    """

    stackable = True

    def __init__(
        self,
        task_names: Sequence[str],
        classification: Sequence[str] = (),
        *,
        log_sigma: float = 0.0,
        lr: float | None = None,
    ) -> None:
        super().__init__(task_names)
        unknown = [name for name in classification if name not in self.task_names]
        if unknown:
            raise ValueError(
                f"classification must hold names of tasks; tasks are {list(self.task_names)}, "
                f"not a task: {unknown}"
            )
        if not math.isfinite(log_sigma):
            raise ValueError(f"log_sigma must be a finite number; found {log_sigma}")
        self.lr = _learning_rate(lr)
        start = torch.full((len(self.task_names),), float(log_sigma), dtype=torch.float64)
        self.log_sigma = nn.Parameter(start)
        factors = [1.0 if name in classification else 0.5 for name in self.task_names]
        self.register_buffer("factors", torch.tensor(factors, dtype=torch.float64))

    @property
    def sigma(self) -> Tensor:
        """The learned noise of each task, [K], in the unit of its target (for a regression)."""
        return self.log_sigma.detach().exp()

    def forward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> Tensor:
        """Give the total: [K] -> scalar."""
        labelled = self.labelled(losses, context)
        log_sigma = self.log_sigma.to(losses)
        terms = self.factors.to(losses) * torch.exp(-2 * log_sigma) * losses + log_sigma
        return torch.where(labelled, terms, 0).sum()


class ImtlL(Balance):
    """Learn a scale for each loss: sum_k exp(s_k) L_k - s_k, least where exp(s_k) L_k = 1.

    With s_k = -2 log sigma_k this is twice the sum of ``UncertaintyWeights`` for regression.

    Args:
        task_names: the tasks, in the order of the losses; losses must be positive to be balanced.
        lr: learning rate of s; None for the optimiser's.

    Source: Liu et al. 2021, "Towards Impartial Multi-task Learning" (ICLR), there IMTL-L.
    """

    stackable = True

    def __init__(self, task_names: Sequence[str], *, lr: float | None = None) -> None:
        super().__init__(task_names)
        self.lr = _learning_rate(lr)
        self.scales = nn.Parameter(torch.zeros(len(self.task_names), dtype=torch.float64))

    def forward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> Tensor:
        """Give the total: [K] -> scalar."""
        labelled = self.labelled(losses, context)
        scales = self.scales.to(losses)
        return torch.where(labelled, scales.exp() * losses - scales, 0).sum()


class GeometricMean(Balance):
    """The geometric mean (L_1 L_2 ... L_K)^(1/K) of the losses of the labelled tasks.

    Its gradient is the mean of the gradients of log L_k, times the total: the direction does not
    change when a loss is measured in another unit. A loss of 0 makes the total 0; the gradient,
    which the formula makes infinite for that task and 0 for the others, is taken as 0 for all. (So
    is a loss below the smallest normal number of its type.)

    Source: Chennupati et al. 2019, arXiv:1904.08492, the geometric loss strategy.
    """

    stackable = True

    def forward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> Tensor:
        """Give the geometric mean: [K] -> scalar.

        Raises:
            ValueError: a loss is negative.
        """
        labelled = self.labelled(losses, context)
        _refuse_negative(losses, self.task_names, "a geometric mean")
        is_zero = losses < torch.finfo(losses.dtype).tiny
        logs = torch.where(labelled & ~is_zero, losses, 1).log()
        mean = torch.exp(logs.sum() / labelled.sum().clamp(min=1))
        return torch.where((labelled & is_zero).any() | ~labelled.any(), 0 * losses.sum(), mean)


class SmoothTchebycheff(Balance):
    """A smooth maximum of the losses: mu log sum_k exp(w_k (L_k - z_k) / mu).

    As mu goes to 0 it goes to max_k w_k (L_k - z_k), whose minimisers for all weights cover also
    the non-convex parts of a Pareto front, which no weighted sum reaches.

    Args:
        task_names: the tasks, in the order of the losses.
        mu: how smooth; above 0.
        weights: the weight w_k of each task; all 1 when left out. (The paper's sum to one: the same
            method with mu / K, at 1 / K of the learning rate.)
        reference: a loss z_k of each task that is as good as one hopes for; all 0 when left out.

    Raises:
        ValueError: mu, a weight or a reference makes no sense.

    Source: Lin et al. 2024, arXiv:2402.19078, the definition of STCH scalarization. For multi-task
    learning the authors' code does more: it puts in log(L_k / n_k), where n_k is the loss after a
    warm-up that trained on the sum of the logarithms. Here the losses go in as they are, so their
    units and mu decide how much it differs from the sum.
    """

    stackable = True

    def __init__(
        self,
        task_names: Sequence[str],
        mu: float = 1.0,
        weights: Mapping[str, float] | None = None,
        reference: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(task_names)
        self.mu = _positive("mu", mu)
        weights = dict.fromkeys(self.task_names, 1.0) if weights is None else weights
        reference = dict.fromkeys(self.task_names, 0.0) if reference is None else reference
        check_weights(weights, self.task_names)
        good = [name for name, value in reference.items() if math.isfinite(value)]
        if set(good) != set(self.task_names) or len(good) < len(reference):
            raise ValueError(
                f"reference must give a finite loss for each of the tasks "
                f"{list(self.task_names)}; found {dict(reference)}"
            )
        for name, values in (("weights", weights), ("reference", reference)):
            row = [float(values[task]) for task in self.task_names]
            self.register_buffer(name, torch.tensor(row, dtype=torch.float64))

    def forward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> Tensor:
        """Give the smooth maximum: [K] -> scalar."""
        labelled = self.labelled(losses, context)
        scaled = self.weights.to(losses) * (losses - self.reference.to(losses)) / self.mu
        scaled = torch.where(labelled, scaled, -torch.inf)
        return torch.where(labelled.any(), self.mu * scaled.logsumexp(0), 0 * losses.sum())


class RandomLossWeights(Balance):
    """Draw new weights at every step: K times the softmax of K standard normal numbers.

    The weights sum to K, so that this compares with the simple sum at one learning rate; those of
    the paper sum to one. They come from PyTorch's global generator, which ``fit`` seeds.

    Source: Lin et al. 2022, arXiv:2111.10603, random loss weighting.
    """

    def forward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> Tensor:
        """Give the weighted sum: [K] -> scalar."""
        labelled = self.labelled(losses, context)
        drawn = torch.randn(len(losses), dtype=torch.float64)  # on the CPU: the same on a GPU
        weights = len(losses) * drawn.softmax(0)
        return torch.where(labelled, weights.to(losses) * losses, 0).sum()


class DynamicWeightAverage(Balance):
    """Weigh a task more when its loss fell less over the last two epochs.

    w_k = K exp(r_k / T) / sum_i exp(r_i / T) with r_k = L_k(t-1) / L_k(t-2), where L_k(t) is the
    mean loss of epoch t over the steps that held a label of the task. As long as two epochs are not
    known (or where the ratio is no finite number) r_k is 1. Weights sum to K, as in the paper, so
    compare them with the sum of the losses and not with their mean.

    Without an epoch in the context every call counts as an epoch.

    Args:
        task_names: the tasks, in the order of the losses.
        temperature: T; the larger, the more even the weights.

    Raises:
        ValueError: the temperature is not a positive number.

    Source: Liu, Johns and Davison 2019, arXiv:1803.10704, dynamic weight average.
    """

    def __init__(self, task_names: Sequence[str], temperature: float = 2.0) -> None:
        super().__init__(task_names)
        self.temperature = _positive("temperature", temperature)
        for name in ("older", "newer", "total", "count"):  # two epochs' means; this epoch's so far
            zeros = torch.zeros(len(self.task_names), dtype=torch.float64)
            self.register_buffer(name, zeros)
        self.register_buffer("epoch", torch.tensor(-1))

    @property
    def weights(self) -> Tensor:
        """The weights of this epoch, [K]; they sum to K."""
        ratio = self.newer / self.older
        ratio = torch.where(ratio.isfinite(), ratio, 1)
        return len(ratio) * (ratio / self.temperature).softmax(0)

    def forward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> Tensor:
        """Give the weighted sum, and remember the losses: [K] -> scalar."""
        labelled = self.labelled(losses, context)
        epoch = (context or {}).get("epoch", int(self.epoch) + 1)
        if epoch != self.epoch:
            self._start_epoch(epoch)
        self.total += torch.where(labelled, losses.detach(), 0)
        self.count += labelled
        return torch.where(labelled, self.weights.to(losses) * losses, 0).sum()

    def _start_epoch(self, epoch: int) -> None:
        """Turn this epoch's losses into means; a task that had no label keeps its old ones."""
        seen = self.count > 0
        self.older.copy_(torch.where(seen, self.newer, self.older))
        self.newer.copy_(torch.where(seen, self.total / self.count.clamp(min=1), self.newer))
        self.total.zero_()
        self.count.zero_()
        self.epoch.fill_(epoch)


class GradNorm(Balance):
    """Learn weights that bring the tasks' gradient norms to one level, slow learners above it.

    With G_k the norm of the gradient of w_k L_k at one layer, the weights follow the gradient of
    sum_k |G_k - G r_k^alpha|, where G is the mean of the G_k, r_k is L_k / L_k(0) over its mean,
    and G r_k^alpha counts as a constant. The total's value is sum_k w_k L_k; its gradient at the
    model takes w as constant. After each step the weights are made positive (at least 0.001, which
    the paper does not say) and scaled to sum to K.

    Args:
        task_names: the tasks, in the order of the losses.
        alpha: how strongly slow learners are favoured; 0 asks for equal norms.
        layer: the parameter at which gradients are measured, or its name in the model. The paper
            says the last shared layer, published codes take others, and the weights depend on it.
            By default the last of the model's shared parameters with two or more axes.
        lr: learning rate of the weights; None for the optimiser's.

    Raises:
        ValueError: alpha is negative, or lr is not a positive number.

    Source: Chen et al. 2018, arXiv:1711.02257, equations 1 and 2, algorithm 1.
    """

    SMALLEST = 1e-3  # of a weight, before all are scaled to sum to K

    def __init__(
        self,
        task_names: Sequence[str],
        alpha: float = 1.5,
        *,
        layer: nn.Parameter | str | None = None,
        lr: float | None = 0.025,
    ) -> None:
        super().__init__(task_names)
        if not (math.isfinite(alpha) and alpha >= 0):
            raise ValueError(f"alpha must be a number of at least 0; found {alpha}")
        self.alpha, self.lr = alpha, _learning_rate(lr)
        self.layer_name = layer if isinstance(layer, str) else ""
        self._layer = (layer,)  # in a tuple, so that it does not become a parameter of the balance
        tasks = len(self.task_names)
        self.weights = nn.Parameter(torch.ones(tasks, dtype=torch.float64))
        self.register_buffer("first_losses", torch.zeros(tasks, dtype=torch.float64))

    def forward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> Tensor:
        """Give the weighted sum, with GradNorm's own gradient at the weights: [K] -> scalar.

        Raises:
            ValueError: there is no layer to measure at, or a loss does not reach it.
        """
        labelled = self.labelled(losses, context)
        layer, weights = self.find_layer(context), self.weights.to(losses)
        norms = self._gradient_norms(losses, layer, labelled)
        new = labelled & (self.first_losses == 0)
        self.first_losses.copy_(torch.where(new, losses.detach(), self.first_losses))
        used = labelled & (self.first_losses > 0)
        total = torch.where(labelled, weights.detach() * losses, 0).sum()
        if not used.any():
            return total
        speed = losses.detach()[used] / self.first_losses.to(losses)[used]
        level = weights[used] * norms[used]
        target = level.mean() * (speed / speed.mean().clamp(min=1e-30)) ** self.alpha
        apart = (level - target.detach()).abs().sum()
        return total + (apart - apart.detach())  # the value of the total, both gradients

    def find_layer(self, context: Mapping[str, Any] | None = None) -> nn.Parameter:
        """Give the parameter at which gradients are measured.

        Raises:
            ValueError: no layer was given, and the context holds no model with shared parameters.
        """
        (layer,), model = self._layer, (context or {}).get("model")
        if isinstance(layer, nn.Parameter):
            return layer
        if model is None:
            raise ValueError(
                "GradNorm measures gradients at a layer: pass context={'model': model}, as fit "
                "does, or GradNorm(..., layer=a parameter)"
            )
        if layer is not None:
            found = [value for name, value in model.named_parameters() if name == layer]
        elif hasattr(model, "shared_parameters"):
            found = [value for value in model.shared_parameters() if value.dim() >= 2]
        else:
            found = []
        if not found:
            wanted = "shared parameter with two axes" if layer is None else f"parameter {layer!r}"
            raise ValueError(
                f"GradNorm found no {wanted} in this {type(model).__name__}; pass layer=..., one "
                "of its parameters or the name of one"
            )
        return found[-1]

    def _gradient_norms(self, losses: Tensor, layer: Tensor, labelled: Tensor) -> Tensor:
        """Measure the gradient of each labelled loss at the layer: [K], 0 where unlabelled."""
        norms = torch.zeros_like(losses).detach()
        for task in labelled.nonzero().flatten().tolist():
            gradient = None
            if losses.requires_grad and layer.requires_grad:
                (gradient,) = torch.autograd.grad(
                    losses[task], layer, retain_graph=True, allow_unused=True
                )
            if gradient is None:
                raise ValueError(
                    f"task {self.task_names[task]!r}: its loss does not reach the layer (shape "
                    f"{tuple(layer.shape)}) at which GradNorm measures gradients; pass layer=..., "
                    "a parameter of this very model (by its name, if the model is copied)"
                )
            norms[task] = gradient.norm()
        for task in (labelled & (self.first_losses == 0) & (losses > 0) & (norms == 0)).nonzero():
            if norms.any():
                raise ValueError(
                    f"task {self.task_names[task]!r}: its loss has no gradient at the layer (shape "
                    f"{tuple(layer.shape)}) at which GradNorm compares tasks; choose a layer that "
                    "all tasks share with layer=..."
                )
        return norms

    @torch.no_grad()
    def after_step(
        self, losses: Tensor | None = None, context: Mapping[str, Any] | None = None
    ) -> None:
        """Make the weights of the labelled tasks positive, and all of them sum to K."""
        labelled = self.labelled(self.weights, context)
        positive = torch.where(labelled, self.weights.clamp(min=self.SMALLEST), 0)
        wanted = len(labelled) - torch.where(labelled, 0, self.weights).sum()
        scaled = positive * wanted / positive.sum()
        self.weights.copy_(torch.where(labelled, scaled, self.weights))


class Famo(Balance):
    """Let all losses fall at one rate, judged by the losses alone: sum_k c z_k log L_k.

    z is the softmax of K logits, and c = 1 / sum_k (z_k / L_k) makes the gradient a mean of the
    tasks' gradients with weights that sum to one. After the step, the logits move by an Adam of
    their own so that tasks whose log L_k fell least gain weight.

    Args:
        task_names: the tasks, in the order of the losses; losses must not be negative.
        lr: learning rate of the logits.
        gamma: how strongly the logits decay to 0.

    Raises:
        ValueError: lr is not positive, or gamma is negative.

    Source: Liu et al. 2023, arXiv:2306.03792, algorithm 1; the step by Adam and the 1e-8 that is
    added to every loss are those of the authors' code.
    """

    needs_losses_after_step = True
    SMALL = 1e-8

    def __init__(
        self, task_names: Sequence[str], *, lr: float = 0.025, gamma: float = 0.001
    ) -> None:
        super().__init__(task_names)
        self.lr = _positive("lr", lr)
        if not (math.isfinite(gamma) and gamma >= 0):
            raise ValueError(f"gamma must be a number of at least 0; found {gamma}")
        self.gamma = gamma
        for name in ("logits", "mean", "square", "steps"):  # the last three are Adam's
            zeros = torch.zeros(len(self.task_names), dtype=torch.float64)
            self.register_buffer(name, zeros)
        self._before: Tensor | None = None

    def forward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> Tensor:
        """Give the total, and remember the losses: [K] -> scalar.

        Raises:
            ValueError: a loss is negative.
        """
        labelled = self.labelled(losses, context)
        _refuse_negative(losses, self.task_names, "FAMO's logarithm")
        self._before = losses.detach().to(self.logits)
        safe = losses + self.SMALL
        shares = torch.where(labelled, self.logits.softmax(0).to(losses), 0)
        scale = (shares / safe).sum().detach()
        total = (shares * safe.log()).sum() / torch.where(labelled.any(), scale, 1)
        return torch.where(labelled.any(), total, 0 * losses.sum())

    @torch.no_grad()
    def after_step(
        self, losses: Tensor | None = None, context: Mapping[str, Any] | None = None
    ) -> None:
        """Take a step of Adam on the logits of the labelled tasks.

        Raises:
            ValueError: the losses of before or after the step are missing, or negative.
        """
        if losses is None or self._before is None:
            raise ValueError(
                "Famo compares the losses of a batch before and after the step: call the balance "
                "on the former, then after_step on the latter"
            )
        on = self.labelled(losses, context)
        _refuse_negative(losses, self.task_names, "FAMO's logarithm")
        fall = (self._before + self.SMALL).log() - (losses.to(self.logits) + self.SMALL).log()
        self._before, fall = None, fall[on]
        shares = self.logits[on].softmax(0)
        gradient = shares * (fall - (shares * fall).sum()) + self.gamma * self.logits[on]
        self.steps[on] += 1
        self.mean[on] = 0.9 * self.mean[on] + 0.1 * gradient
        self.square[on] = 0.999 * self.square[on] + 0.001 * gradient**2
        mean = self.mean[on] / (1 - 0.9 ** self.steps[on])
        square = self.square[on] / (1 - 0.999 ** self.steps[on])
        self.logits[on] -= self.lr * mean / (square.sqrt() + 1e-8)


def _positive(name: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number; found {value}")
    return value


def _learning_rate(lr: float | None) -> float | None:
    return None if lr is None else _positive("lr", lr)


def _refuse_negative(losses: Tensor, task_names: Sequence[str], what: str) -> None:
    """Name the task of a negative loss; inside vmap, look at the losses of all seeds at once."""
    values = debug_unwrap(losses.detach()).reshape(-1, len(task_names))
    for name, value in zip(task_names, values.amin(0).tolist(), strict=True):
        if value < 0:
            raise ValueError(
                f"task {name!r}: {what} needs losses of at least 0, found {value:.4g}; add a "
                "constant to this loss or choose another balance"
            )


def check_weights(weights: Mapping[str, float], task_names: Sequence[str]) -> None:
    """Refuse task weights that do not fit the tasks or cannot be minimised.

    Raises:
        ValueError: see :class:`FixedWeights`.
    """
    missing = [name for name in task_names if name not in weights]
    unknown = [name for name in weights if name not in task_names]
    if missing or unknown:
        raise ValueError(
            f"weights must name every task once; tasks are {list(task_names)}, "
            f"without a weight: {missing}, not a task: {unknown}"
        )
    for name, weight in weights.items():
        if not math.isfinite(weight) or weight < 0:
            raise ValueError(
                f"task {name!r}: a weight must be a number of at least 0, found {weight}; "
                "a negative weight would make the task worse on purpose"
            )
    if not any(weights.values()):
        raise ValueError("all task weights are zero, so there is nothing to learn; raise one")
