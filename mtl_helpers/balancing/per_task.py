"""Train with a gradient method: get every task's gradient, combine them, give heads their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtl_helpers.balancing.gradients import METHODS
from mtl_helpers.balancing.losses import Balance
from mtl_helpers.values import identity


class GradientBalance(Balance):
    """A gradient method as a balance for ``fit``.

    The shared parameters get the method's direction as their gradient; each head gets the plain
    gradient of its own task. (The authors' codes of Nash-MTL and FairGrad weigh the heads as well.)
    A task without a label in the batch is left out of the method, and its head gets a gradient of
    0.

    Args:
        method: a name from ``gradients.METHODS``, or a function from gradients [K, P] to [P].
        task_names: the tasks, in the order of the losses.
        at: ``"shared"``, the gradients at all shared parameters; or ``"features"``, those at the
            shared features [B, F], much cheaper: the direction found there goes back through the
            trunk once (Sener & Koltun 2018, arXiv:1810.04650, section 3.3). No conflict at the
            features does not mean that there is none at the parameters.
        **options: passed on to the method.

    Raises:
        ValueError: an unknown method or place.
    """

    def __init__(
        self,
        method: str | Callable[..., Tensor],
        task_names: Sequence[str],
        *,
        at: str = "shared",
        **options: Any,
    ) -> None:
        super().__init__(task_names)
        if not callable(method) and method not in METHODS:
            raise ValueError(f"unknown gradient method {method!r}; use one of {', '.join(METHODS)}")
        if at not in ("shared", "features"):
            raise ValueError(f"at must be 'shared' or 'features'; found {at!r}")
        self.direction = method if callable(method) else METHODS[method]
        self.method = method
        if callable(method):
            self.method = getattr(method, "__name__", "") or identity(method)
        self.at, self.at_features, self.options = at, at == "features", options
        if method == "gradvac":
            self.register_buffer("targets", torch.zeros(2 * (len(self.task_names),)).double())
        self._matrix = torch.empty(0)

    def forward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> Tensor:
        """Give the plain sum, for reports; training goes by ``backward``."""
        return losses.sum()

    def backward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> None:
        """Add the direction to the shared parameters' ``.grad``, and to the heads' their own.

        Raises:
            ValueError: no model in the context, a model without shared parameters, one whose shared
                and own parameters overlap or leave some out, or losses that reach nothing shared.
        """
        model, labelled = self._look(losses, context or {})
        if self.at_features:
            places, copies = [context["features"]], context["task_features"].values()
            losses.sum().backward()  # each head's own gradient, and one at each task's copy
            found = ([copy.grad] for copy in copies)
        else:
            places = [p for p in model.shared_parameters() if p.requires_grad]
            found = (self._task(model, k, losses, places) for k in range(len(losses)))
        rows, reached = self._rows(len(losses), places), False
        for row, grads in zip(rows, found, strict=True):
            _write(row, grads, places)
            reached |= any(grad is not None for grad in grads)
        if not reached:
            raise ValueError(
                "no task's loss reaches anything shared, so there is nothing to balance; was the "
                "output of the trunk detached?"
            )
        pieces = self._combine(rows, labelled).split([place.numel() for place in places])
        pieces = [piece.view_as(place) for piece, place in zip(pieces, places, strict=True)]
        if self.at_features:
            torch.autograd.backward(places, pieces)
        else:
            _add(places, pieces)

    def _task(
        self, model: nn.Module, k: int, losses: Tensor, shared: Sequence[nn.Parameter]
    ) -> Sequence[Tensor | None]:
        """Give task k's gradients at the shared parameters; add its head's own to ``.grad``."""
        own = [p for p in model.task_parameters(self.task_names[k]) if p.requires_grad]
        found = torch.autograd.grad(
            losses[k], [*shared, *own], retain_graph=True, allow_unused=True
        )
        _add(own, found[len(shared) :])
        return found[: len(shared)]

    def _look(self, losses: Tensor, context: Mapping[str, Any]) -> tuple[nn.Module, Tensor]:
        """Give the model and which tasks are labelled, once both are known to fit."""
        wanted = ["model", *(["features", "task_features"] if self.at_features else [])]
        if any(key not in context for key in wanted):
            raise ValueError(
                f"{self.method} needs {wanted} in the context, found {list(context)}; fit gives "
                "them, and by hand training.take_step does"
            )
        model = context["model"]
        check_partition(model, self.task_names)
        if self.at_features and getattr(model, "tied_parameters", list)():
            raise ValueError(
                f"at='features' needs heads that share no layer with the trunk or each other; in "
                f"this {type(model).__name__} they do. Use at='shared'"
            )
        labelled = context.get("labelled")
        if labelled is None:
            labelled = torch.ones(len(losses), dtype=torch.bool)
        return model, labelled.cpu()

    def _rows(self, tasks: int, places: Sequence[Tensor]) -> Tensor:
        """Give the K x P matrix; its memory is taken once and used again."""
        size, like = sum(place.numel() for place in places), places[0]
        old = self._matrix
        if (old.shape, old.dtype, old.device) != ((tasks, size), like.dtype, like.device):
            self._matrix = torch.empty(tasks, size, dtype=like.dtype, device=like.device)
        return self._matrix

    def _combine(self, rows: Tensor, labelled: Tensor) -> Tensor:
        """Call the method on the gradients of the labelled tasks: [K, P] -> [P]."""
        if not labelled.any():
            return torch.zeros_like(rows[0])
        if labelled.all():
            return self._call(rows, getattr(self, "targets", None))
        if not hasattr(self, "targets"):
            return self._call(rows[labelled.to(rows.device)], None)
        some = labelled.nonzero()[:, 0]
        targets = self.targets[some[:, None], some].contiguous()
        direction = self._call(rows[some.to(rows.device)], targets)
        self.targets[some[:, None], some] = targets
        return direction

    def _call(self, rows: Tensor, targets: Tensor | None) -> Tensor:
        state = {} if targets is None else {"targets": targets}
        return self.direction(rows, **state, **self.options)

    def _apply(self, change: Callable[[Tensor], Tensor], recurse: bool = True) -> GradientBalance:
        """Move with the model, but keep GradVac's few targets where the solver reads them."""
        moved = super()._apply(change, recurse)
        if hasattr(self, "targets"):
            self.targets = self.targets.double().cpu()
        return moved


def check_partition(model: nn.Module, task_names: Sequence[str]) -> None:
    """Refuse a model whose parameters are not either shared or one task's own.

    Raises:
        ValueError: nothing is shared, or a parameter is on two sides or on none.
    """
    if not hasattr(model, "shared_parameters") or not hasattr(model, "task_parameters"):
        raise ValueError(
            f"a gradient method needs a model with shared_parameters() and task_parameters(name), "
            f"such as HardSharing; {type(model).__name__} has not"
        )
    sides: dict[int, str] = {}
    for side, parameters in _sides(model, task_names):
        for parameter in parameters:
            if sides.setdefault(id(parameter), side) != side:
                raise ValueError(
                    f"a parameter of shape {tuple(parameter.shape)} counts as "
                    f"{sides[id(parameter)]} and as {side}; a head's own parameters must not be "
                    "among the shared ones"
                )
    if "shared" not in sides.values():
        raise ValueError(
            f"{type(model).__name__} has no shared parameters to train, so there is nothing to "
            "balance; use balance='equal'"
        )
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in sides:
            raise ValueError(
                f"the parameter {name!r} is neither shared nor one of the tasks' own, so it would "
                "never train; add it to shared_parameters() or to task_parameters(name)"
            )


def _sides(
    model: nn.Module, task_names: Sequence[str]
) -> Iterator[tuple[str, Sequence[nn.Parameter]]]:
    yield "shared", [p for p in model.shared_parameters() if p.requires_grad]
    for name in task_names:
        yield f"task {name!r}'s own", model.task_parameters(name)


def _write(row: Tensor, grads: Sequence[Tensor | None], places: Sequence[Tensor]) -> None:
    """Lay the gradients at all places side by side into a row [P]; what is not reached gets 0."""
    pieces = row.split([place.numel() for place in places])
    for piece, grad in zip(pieces, grads, strict=True):
        piece.zero_() if grad is None else piece.copy_(grad.flatten())


def _add(parameters: Sequence[nn.Parameter], grads: Sequence[Tensor | None]) -> None:
    """Add to ``.grad``, as ``backward`` does; None counts as 0."""
    for parameter, grad in zip(parameters, grads, strict=True):
        grad = torch.zeros_like(parameter) if grad is None else grad
        parameter.grad = grad if parameter.grad is None else parameter.grad + grad
