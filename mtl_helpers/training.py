"""Train a multi-task model: a loop short enough to read, and what it needs to be trusted.

``fit`` shuffles, adds up the task losses, steps, evaluates, stops early, and writes checkpoints
from which a killed run resumes to the numbers of an uninterrupted one.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import math
import os
import random
import sys
import tempfile
import warnings
import weakref
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from tqdm.auto import tqdm

from mtl_helpers.balancing import Balance, make_balance
from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.files import as_path, write_whole
from mtl_helpers.tasks import Task, by_name
from mtl_helpers.values import generator, identity, plain, whole_number

DEFAULT_LR = 1e-3
FEW = 2  # examples of each task that its loss and metric are tried on before training starts
OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}


@dataclass
class History:
    """What happened in a training run, one entry an epoch.

    Attributes:
        train_losses: mean training loss by task, each measured while the epoch went on.
        valid_losses: mean validation loss by task, after the epoch (empty without ``valid``).
        valid_scores: validation metric by task, after the epoch (empty without ``valid``).
        best_epoch: the epoch (from 1) that ``monitor`` liked best; None without ``valid``.
        stopped_early: whether ``patience`` ran out before the last epoch.
        resumed_from: epochs that were read from a checkpoint instead of run.
    """

    train_losses: dict[str, list[float]] = field(default_factory=dict)
    valid_losses: dict[str, list[float]] = field(default_factory=dict)
    valid_scores: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int | None = None
    stopped_early: bool = False
    resumed_from: int = 0

    @property
    def epochs(self) -> int:
        """Number of epochs run so far."""
        return max((len(values) for values in self.train_losses.values()), default=0)


def batches(
    examples: int, batch_size: int | None, generator: torch.Generator | None = None
) -> Iterator[Tensor]:
    """Deal all example indices into batches, in a drawn order; the last batch may be short.

    Args:
        examples: how many there are.
        batch_size: examples a batch; None puts all of them into one, in their own order.
        generator: where the order is drawn from; the global one when left out.

    Yields:
        Index tensors [B].

    Raises:
        ValueError: no examples, or a batch size below 1.
    """
    if examples < 1 or (batch_size is not None and batch_size < 1):
        raise ValueError(
            "batches needs at least one example and a batch size of at least 1; "
            f"found {examples} examples and batch size {batch_size}"
        )
    if batch_size is None:
        yield torch.arange(examples)
    else:
        yield from torch.randperm(examples, generator=generator).split(batch_size)


def make_optimizer(
    optimizer: str | OptimizerFactory, parameters: Iterable[nn.Parameter], lr: float | None = None
) -> Optimizer:
    """Build an optimiser from its name or class, or call the function given.

    Args:
        optimizer: ``"sgd"``, ``"adam"``, ``"adamw"``, ``"rmsprop"``, ``"adagrad"``, a class such as
            ``torch.optim.SGD`` (or a ``functools.partial`` of it), or a function from parameters to
            an optimiser, which sets its own learning rate.
        parameters: what it may change.
        lr: learning rate; 0.001 when left out.

    Raises:
        ValueError: an unknown name, a learning rate that is not a positive number, an optimiser
            that exists already, or a learning rate beside a function that would not use it.
    """
    if isinstance(optimizer, Optimizer):
        raise ValueError(
            f"optimizer is a {type(optimizer).__name__} that was made before; give its name or its "
            "class, or a function from parameters to an optimiser: the balance may add parameters"
        )
    kind = optimizer.func if isinstance(optimizer, functools.partial) else optimizer
    set_already = "lr" in getattr(optimizer, "keywords", {})
    takes_lr = isinstance(kind, type) and issubclass(kind, Optimizer) and not set_already
    if callable(optimizer) and not takes_lr:
        if lr is not None:
            raise ValueError(
                f"lr={lr} would not be used: the function given as optimizer sets its own learning "
                "rate; put it there, or give the optimizer by its name or class"
            )
        made = optimizer(parameters)
        if not isinstance(made, Optimizer):
            raise ValueError(
                f"the function given as optimizer returned a {type(made).__name__}; it must return "
                "an optimiser: lambda parameters: torch.optim.SGD(parameters, lr=0.1)"
            )
        return made
    if not callable(optimizer) and optimizer not in OPTIMIZERS:
        raise ValueError(
            f"unknown optimizer {optimizer!r}; use one of {', '.join(OPTIMIZERS)}, a class, or a "
            "function from parameters to an optimiser"
        )
    rate = plain(DEFAULT_LR if lr is None else lr)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise ValueError(f"the learning rate must be a positive number; found {lr!r}")
    return (optimizer if callable(optimizer) else OPTIMIZERS[optimizer])(parameters, lr=rate)


def check_optimizer(stepper: Optimizer, model: nn.Module, balance: nn.Module) -> None:
    """Refuse an optimiser that would leave something out without a word.

    Raises:
        ValueError: a parameter of the model or of the balance needs gradients and is not in it.
    """
    held = {id(p) for group in stepper.param_groups for p in group["params"]}
    for owner, module in (("model", model), ("balance", balance)):
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and id(parameter) not in held:
                raise ValueError(
                    f"the optimiser does not hold the {owner}'s parameter {name!r}, which would "
                    "never learn: a function given as optimizer must use all parameters that it is "
                    "given. To keep a part fixed, call part.requires_grad_(False)"
                )


def clipped(optimizer: str = "adam", *, lr: float, max_norm: float) -> OptimizerFactory:
    """Make an optimiser that shortens a gradient longer than ``max_norm`` before each step.

    For ``fit(optimizer=...)`` and ``many_seeds(optimizer=...)``. The direction stays; the length is
    that over all parameters of the model together (a balance's own parameters apart).

    Args:
        optimizer: a name that ``fit`` knows.
        lr: learning rate.
        max_norm: largest length of the gradient.

    Raises:
        ValueError: an unknown name, or a rate or length that is not a positive number.

    Source: Pascanu et al. 2013, arXiv:1211.5063, algorithm 1.
    """
    if not 0 < max_norm < float("inf"):
        raise ValueError(f"max_norm must be a positive number; found {max_norm}")
    kind = type(make_optimizer(optimizer, [nn.Parameter(torch.zeros(1))], lr))

    class Clipped(kind):
        """Clip, then step."""

        def step(self, closure: Callable[[], float] | None = None) -> float | None:
            for group in self.param_groups:
                nn.utils.clip_grad_norm_(group["params"], max_norm)
            return super().step(closure)

    Clipped.__name__ = f"{kind.__name__} clipped at {max_norm:g}"
    return lambda parameters: Clipped(parameters, lr=lr)


def task_losses(
    outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], tasks: Sequence[Task]
) -> Tensor:
    """Give the loss of each task, in the order of ``tasks``: [K]."""
    return torch.stack([task.mean_loss(outputs[task.name], targets[task.name]) for task in tasks])


def fit(
    model: nn.Module,
    tasks: Sequence[Task],
    train: MultiTaskData,
    valid: MultiTaskData | None = None,
    *,
    balance: str | Mapping[str, float] | Balance = "equal",
    optimizer: str | OptimizerFactory = "adam",
    lr: float | None = None,
    epochs: int,
    batch_size: int | None = 64,
    seed: int = 0,
    patience: int | None = None,
    monitor: str = "loss",
    checkpoint: str | Path | None = None,
    progress: bool | None = None,
) -> History:
    """Train a model on several tasks at once. The model is changed in place.

    Args:
        model: ``forward(x)`` returns ``{task name: output}``.
        tasks: what to learn; the balance sees their losses in this order.
        train: inputs [N, ...] and targets by task name; missing labels are allowed.
        valid: examples to watch after every epoch.
        balance: ``"equal"`` for the simple sum, ``{task: weight}``, the name of a loss or gradient
            method (see ``mtl_helpers.balancing.make_balance``), or a ``Balance``. One that learns
            belongs to one run.
        optimizer: a name, a class, or a function from parameters to an optimiser.
        lr: learning rate, 0.001 when left out. A function sets its own.
        epochs: passes over ``train``.
        batch_size: examples a step; None for all of them.
        seed: draws the order of the batches, every dropout mask, and what a model or loss draws
            from the global generators of PyTorch, NumPy and Python.
        patience: stop when ``monitor`` has not improved for this many epochs, and give the model
            its best parameters back. None trains to the end and keeps the last ones.
        monitor: ``"loss"`` (validation losses summed over tasks) or a task's name (its metric).
        checkpoint: a file written after every epoch; a run that finds it goes on from there and
            ends with the same numbers as if it had never stopped.
        progress: show a bar; by default only where a person looks (a notebook or a terminal).

    Returns:
        The losses and scores of every epoch.

    Raises:
        TypeError: the data are no ``MultiTaskData``.
        ValueError: data, tasks, model, weights, optimiser or checkpoint do not fit each other, or
            nothing can be trained.
        FloatingPointError: a loss or a parameter is no longer a finite number.
        OSError: the checkpoint cannot be read or written.
    """
    seed, epochs = whole_number("seed", seed), whole_number("epochs", epochs)
    batch_size = None if batch_size is None else whole_number("batch_size", batch_size)
    tasks = tuple(by_name(tasks).values())
    _check_request(model, tasks, train, valid, epochs, patience, monitor)
    check_trainable(model, train, batch_size)
    checkpoint = None if checkpoint is None else as_path(checkpoint)
    resuming = checkpoint is not None and checkpoint.exists()
    names = [task.name for task in tasks]
    device = train.inputs.device
    balance = make_balance(balance, tasks).to(device)
    _claim(balance, model, resuming)
    stepper = make_optimizer(optimizer, optimizer_groups(model, balance), lr)
    check_optimizer(stepper, model, balance)
    order = generator(seed)
    settings = {
        "tasks": {t.name: [identity(t.loss), identity(t.metric), t.outputs] for t in tasks},
        "balance": str(balance),
        "batch_size": batch_size,
        "seed": seed,
        "optimizer": type(stepper).__name__,
        "lr": stepper.param_groups[0]["lr"],
        "options": [{k: v for k, v in g.items() if k != "params"} for g in stepper.param_groups],
        "weights": {name: value.tolist() for name, value in balance.named_buffers()},
        "monitor": monitor,
        "patience": patience,
    }
    run = _Run(model, balance, stepper, order, settings)
    if checkpoint is not None:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=checkpoint.parent).close()  # fails now, not after an epoch
        run.settings["data"] = [data and _fingerprint(data) for data in (train, valid)]
    with seeded(seed, device):
        if resuming:
            run.load(checkpoint)
            if run.history.epochs > epochs:
                raise ValueError(
                    f"the checkpoint {checkpoint.name} has {run.history.epochs} epochs, and "
                    f"epochs={epochs} are asked for; ask for more, or give another file"
                )
        bar = _progress_bar(range(run.history.epochs, epochs), epochs, progress)
        for _ in bar:
            if patience is not None and run.epochs_without_gain >= patience:
                run.history.stopped_early = True
                break
            run.add_training_losses(_train_one_epoch(run, tasks, train, batch_size))
            if valid is not None:
                run.add_validation(evaluate(model, tasks, valid), tasks, monitor)
            if checkpoint is not None:
                run.save(checkpoint)
            bar.set_postfix({name: f"{run.history.train_losses[name][-1]:.3f}" for name in names})
        bar.close()
    if patience is not None and run.best_model is not None:
        model.load_state_dict(run.best_model)
    return run.history


def _train_one_epoch(
    run: _Run, tasks: Sequence[Task], train: MultiTaskData, batch_size: int | None
) -> dict[str, float]:
    """Take one step a batch; give each task's mean loss over the labelled examples."""
    run.model.train()
    total = torch.zeros(len(tasks), dtype=torch.float64)
    count = torch.zeros(len(tasks), dtype=torch.float64)
    epoch, steps = run.history.epochs, math.ceil(len(train) / (batch_size or len(train)))
    for step, chosen in enumerate(batches(len(train), batch_size, run.order)):
        targets = {task.name: train.targets[task.name][chosen] for task in tasks}
        when = {"epoch": epoch, "step": epoch * steps + step, "steps_per_epoch": steps}
        losses = take_step(
            run.model, run.balance, run.stepper, tasks, train.inputs[chosen], targets, when
        )
        labelled = torch.stack([t.is_labelled(targets[t.name]).sum() for t in tasks]).cpu()
        total += losses.cpu() * labelled
        count += labelled
    return {t.name: float(v) for t, v in zip(tasks, total / count.clamp(min=1), strict=True)}


def take_step(
    model: nn.Module,
    balance: Balance,
    stepper: torch.optim.Optimizer,
    tasks: Sequence[Task],
    inputs: Tensor,
    targets: Mapping[str, Tensor],
    when: Mapping[str, int] | None = None,
) -> Tensor:
    """Take one step of training on one batch.

    Args:
        model: ``forward(x)`` returns ``{task name: output}``. The gradient of ``model.penalty()``,
            where there is one, is added to that of the losses.
        balance: turns the task losses into gradients.
        stepper: the optimiser, over the model's and the balance's parameters.
        tasks: what to learn.
        inputs: [B, ...].
        targets: by task, [B, ...].
        when: ``"step"``, ``"epoch"`` and ``"steps_per_epoch"``, for the balance.

    Returns:
        The task losses before the step, without gradient, [K].

    Raises:
        ValueError: a balance that works at the features, and a model that has no such one place.
    """
    context = {"model": model, **(when or {})}
    context["labelled"] = torch.stack([t.is_labelled(targets[t.name]).any() for t in tasks])
    if balance.at_features:
        context.update(split_features(model, inputs, balance.task_names))
        outputs = model.from_features(context["task_features"])
    else:
        outputs = model(inputs)
    context["outputs"] = outputs
    losses = task_losses(outputs, targets, tasks)
    stepper.zero_grad()
    balance.backward(losses, context)
    if hasattr(model, "penalty"):
        model.penalty().backward()
    stepper.step()
    after = None
    if balance.needs_losses_after_step:
        with torch.no_grad(), _buffers_kept(model):
            after = task_losses(model(inputs), targets, tasks)
    balance.after_step(after, context)
    return losses.detach()


def split_features(model: nn.Module, inputs: Tensor, task_names: Sequence[str]) -> dict[str, Any]:
    """Run the trunk and cut the graph behind it, once for every task.

    Args:
        model: has ``features(x)`` and ``from_features(features)``.
        inputs: [B, ...].
        task_names: the tasks.

    Returns:
        What a balance at the features wants in its context: ``"features"`` [B, F], the end of the
        trunk's graph, and ``"task_features"``, a copy for each task, the start of its head's.

    Raises:
        ValueError: the model has no one place where all shared features pass.
    """
    if not hasattr(model, "from_features"):
        raise ValueError(
            f"at='features' needs a model with features(x) and from_features(features), such as "
            f"HardSharing; {type(model).__name__} has not. Use at='shared'"
        )
    features = model.features(inputs)
    if not isinstance(features, Tensor):
        raise ValueError(
            f"at='features' needs one shared tensor of features; {type(model).__name__} gives "
            f"{type(features).__name__}: it has several trunks. Use at='shared'"
        )
    copies = {name: features.detach().requires_grad_() for name in task_names}
    return {"features": features, "task_features": copies}


@contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """Put the buffers back afterwards: a look at a batch must not move running averages twice."""
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        yield
    finally:
        for name, buffer in model.named_buffers():
            buffer.copy_(kept[name])


def optimizer_groups(model: nn.Module, balance: Balance) -> list[Any]:
    """Give what the optimiser may change: the model, and what the balance learns.

    The balance's parameters get no weight decay, which would pull a learned weight to a fixed
    value, and ``balance.lr`` as their learning rate where that is a number.
    """
    learned = list(balance.parameters())
    if not learned:
        return list(model.parameters())
    own = {"params": learned, "weight_decay": 0.0}
    if balance.lr is not None:
        own["lr"] = balance.lr
    return [{"params": list(model.parameters())}, own]


@torch.no_grad()
def evaluate(
    model: nn.Module, tasks: Sequence[Task], data: MultiTaskData, *, batch_size: int = 1024
) -> dict[str, dict[str, float]]:
    """Measure every task over a whole data set, in eval mode.

    Args:
        model: ``forward(x)`` returns ``{task name: output}``; its train/eval mode is put back.
        tasks: what to measure.
        data: inputs [N, ...] and targets by task name.
        batch_size: examples run at once; it changes memory, not the result.

    Returns:
        ``{task name: {"loss": mean loss, "score": metric}}`` over the labelled examples.

    Raises:
        ValueError: data and model do not fit, a task has no label at all, or a batch size below 1.
    """
    tasks = tuple(tasks)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; found {batch_size}")
    check_data(model, by_name(tasks), data, "test")
    was_training = model.training
    model.eval()
    try:
        parts = [model(data.inputs[i]) for i in torch.arange(len(data)).split(batch_size)]
    finally:
        model.train(was_training)
    result = {}
    for task in tasks:
        output = torch.cat([part[task.name] for part in parts])
        target = data.targets[task.name]
        result[task.name] = {
            "loss": float(task.mean_loss(output, target)),
            "score": task.score(output, target),
        }
    return result


class _Run:
    """The state of a training run: everything that a checkpoint must hold."""

    FORMAT = 1

    def __init__(
        self,
        model: nn.Module,
        balance: Balance,
        stepper: torch.optim.Optimizer,
        order: torch.Generator,
        settings: dict[str, Any],
    ) -> None:
        self.model, self.balance, self.stepper, self.order = model, balance, stepper, order
        shapes = {
            name: [*value.shape, str(value.dtype)] for name, value in model.state_dict().items()
        }
        # As they come back from a file: without tensors, whose == gives no yes or no.
        self.settings = _comparable({**settings, "model": shapes})
        self.is_saved = False
        self.history = History()
        self.best_score = float("inf")
        self.best_model: dict[str, Tensor] | None = None

    @property
    def epochs_without_gain(self) -> int:
        """Epochs since the best one."""
        return self.history.epochs - (self.history.best_epoch or 0)

    def add_training_losses(self, losses: Mapping[str, float]) -> None:
        """Note an epoch's training losses; refuse numbers that are not finite."""
        epoch = self.history.epochs + 1
        for name, value in losses.items():
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"task {name!r}: the training loss became {value} in epoch {epoch}; lower "
                    f"the learning rate (now {self.settings['lr']}) or look at this task's targets"
                )
            self.history.train_losses.setdefault(name, []).append(value)
        if not all(torch.isfinite(p).all() for p in self.model.parameters()):
            raise FloatingPointError(
                f"a parameter of the model is no longer finite after epoch {epoch}; lower the "
                f"learning rate (now {self.settings['lr']})"
            )

    def add_validation(
        self, result: Mapping[str, Mapping[str, float]], tasks: Sequence[Task], monitor: str
    ) -> None:
        """Note an epoch's validation, and keep the model when it is the best so far."""
        for name, values in result.items():
            if not math.isfinite(values["loss"]) or not math.isfinite(values["score"]):
                raise FloatingPointError(
                    f"task {name!r}: in epoch {self.history.epochs} the validation loss is "
                    f"{values['loss']} and the score {values['score']}; look at this task's "
                    f"validation targets, or lower the learning rate (now {self.settings['lr']})"
                )
            self.history.valid_losses.setdefault(name, []).append(values["loss"])
            self.history.valid_scores.setdefault(name, []).append(values["score"])
        if monitor == "loss":
            score = sum(values["loss"] for values in result.values())
        else:
            up = by_name(tasks)[monitor].higher_is_better
            score = -result[monitor]["score"] if up else result[monitor]["score"]
        if score < self.best_score:
            self.best_score = score
            self.history.best_epoch = self.history.epochs
            self.best_model = copy.deepcopy(self.model.state_dict())

    def save(self, path: Path) -> None:
        """Write the whole state, or leave the old file as it was."""
        device = next(self.model.parameters()).device
        state = {
            "format": self.FORMAT,
            "settings": self.settings,
            "model": self.model.state_dict(),
            "balance": self.balance.state_dict(),
            "optimizer": self.stepper.state_dict(),
            "order": self.order.get_state(),
            "random": torch.get_rng_state(),
            "random_python": random.getstate(),
            "random_numpy": np.random.get_state(),
            "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            "history": asdict(self.history),
            "best_score": self.best_score,
            "best_model": self.best_model,
        }
        buffer = io.BytesIO()
        torch.save(plain(state), buffer)
        if not self.is_saved:  # once a run: what cannot be read back is no checkpoint
            try:
                read_state(buffer.getvalue())
            except ValueError as error:
                raise ValueError(
                    f"{path.name} was not written: the optimiser, the balance or the model holds "
                    f"something that is neither plain data nor a tensor ({error})"
                ) from error
            self.is_saved = True
        write_whole(path, buffer.getvalue())

    def load(self, path: Path) -> None:
        """Take over the state of a checkpoint made under the same settings."""
        state = load_checkpoint(path)
        for key, mine in self.settings.items():
            theirs = state["settings"].get(key)
            if theirs != mine:
                raise ValueError(
                    f"the checkpoint {path.name} belongs to another run: "
                    f"{_difference(key, theirs, mine)}. Give this run another checkpoint file, "
                    "or delete that one to start afresh"
                )
        device = next(self.model.parameters()).device
        self.model.load_state_dict(state["model"])
        self.balance.load_state_dict(state["balance"])
        self.stepper.load_state_dict(state["optimizer"])
        self.order.set_state(state["order"])
        torch.set_rng_state(state["random"])
        if "random_python" in state:  # not in a file of an older version
            random.setstate(state["random_python"])
            kind, words, *rest = state["random_numpy"]
            np.random.set_state((kind, words.numpy(), *rest))
        if device.type == "cuda" and state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], device)
        self.history = History(**state["history"])
        self.history.resumed_from = self.history.epochs
        self.history.stopped_early = False
        self.best_score, self.best_model = state["best_score"], state["best_model"]


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of ``fit``: plain data and tensors only, no code is run.

    Args:
        path: a file that ``fit(..., checkpoint=path)`` wrote.

    Returns:
        A dictionary; ``["model"]`` is the state dict of the last epoch, ``["best_model"]`` of the
        best one (None without validation).

    Raises:
        OSError: there is no such file, or it may not be read.
        ValueError: the file is cut short, or is no checkpoint of ``fit``.
    """
    path = as_path(path)
    try:
        state = read_state(path.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"{path.name} cannot be read as a checkpoint ({error}): the file is cut short, damaged "
            "or something else; to start afresh, give another file name"
        ) from error
    keys = {"settings", "model", "balance", "optimizer", "order", "random", "history"}
    if not isinstance(state, dict) or state.get("format") != _Run.FORMAT or keys - state.keys():
        raise ValueError(
            f"{path.name} is no checkpoint of mtl_helpers.training.fit (format {_Run.FORMAT}); "
            "give another file name"
        )
    return state


def read_state(content: bytes) -> Any:
    """Read what ``torch.save`` wrote.

    Raises:
        ValueError: the content is cut, damaged, or more than plain data and tensors.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            damaged = archive.testzip()  # torch itself does not look at the checksums
        if damaged is not None:
            raise ValueError(f"{damaged} inside it is damaged")
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a different class for each kind of damage
        first_line = str(error).strip().partition("\n")[0]
        raise ValueError(f"{type(error).__name__}: {first_line}") from error


def _fingerprint(data: MultiTaskData) -> str:
    """Give a hash of inputs and targets, so that a run is not resumed on other data."""
    found = hashlib.sha256()
    for tensor in (data.inputs, *data.targets.values()):
        found.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _comparable(value: Any) -> Any:
    """Give settings as plain data: numbers and text as they are, everything else by identity."""
    value = plain(value)
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_comparable(item) for item in value]
    return (
        value if value is None or isinstance(value, bool | int | float | str) else identity(value)
    )


def _difference(key: str, theirs: Any, mine: Any) -> str:
    """Say in a few words how two settings differ."""
    if key == "data":
        return "it was trained or validated on other data"
    if key != "model" or not isinstance(theirs, dict):
        return f"its {key} is {theirs!r}, here it is {mine!r}"
    for name in [*mine, *theirs]:
        if theirs.get(name) != mine.get(name):
            return (
                f"its parameter {name!r} has shape {theirs.get(name, 'none')}, "
                f"here {mine.get(name, 'none')}"
            )
    return "its parameters come in another order"


def _check_request(
    model: nn.Module,
    tasks: Sequence[Task],
    train: MultiTaskData,
    valid: MultiTaskData | None,
    epochs: int,
    patience: int | None,
    monitor: str,
) -> None:
    """Refuse a request that would fail late, or worse, not fail."""
    named = by_name(tasks)
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1; found {epochs}")
    if patience is not None and (valid is None or patience < 1):
        raise ValueError(
            f"patience={patience} needs a validation set and a value of at least 1; "
            "pass valid=... or leave patience out"
        )
    if monitor != "loss" and monitor not in named:
        raise ValueError(f"monitor must be 'loss' or one of {list(named)}; found {monitor!r}")
    for part, data in (("train", train), ("valid", valid)):
        if data is not None or part == "train":
            check_data(model, named, data, part)


@torch.no_grad()
def check_data(model: nn.Module, named: Mapping[str, Task], data: MultiTaskData, part: str) -> None:
    """Refuse data, tasks and a model that do not fit each other.

    Args:
        model: ``forward(x)`` returns ``{task name: output}``.
        named: the tasks by name.
        data: inputs [N, ...] and targets by task name.
        part: what the data are called in an error: "train", "valid" or "test".

    Raises:
        ValueError: no examples; inputs that are not finite or of a wrong shape; a task missing
            from targets or outputs; a label out of range; another device or floating type; or, in
            data that are not for training, a task without any label.
    """
    refuse_other_data(data, part)
    if len(data) == 0:
        raise ValueError(f"the {part} data hold no examples; give at least one")
    if not torch.isfinite(data.inputs).all():
        raise ValueError(f"the {part} inputs hold NaN or infinite values; remove those examples")
    for name, task in named.items():
        if name not in data.targets:
            raise ValueError(
                f"task {name!r} is missing from the {part} targets, which hold "
                f"{list(data.targets)}; add its targets (nan or -100 where unknown)"
            )
        if data.targets[name].device != data.inputs.device:
            raise ValueError(
                f"task {name!r}: its {part} targets are on {data.targets[name].device}, the inputs "
                f"on {data.inputs.device}; call data.to(device=...)"
            )
        task.check_targets(data.targets[name])
        if not task.is_labelled(data.targets[name]).any():
            raise ValueError(
                f"task {name!r} has no label at all in the {part} data; leave the task out, or "
                "give it labels"
            )
    if next(model.parameters(), None) is None:
        raise ValueError("the model has no parameters, so there is nothing to train")
    whole = not data.inputs.is_floating_point()  # token ids, say: the model knows what they are
    for parameter_name, parameter in model.named_parameters():
        for what, mine, theirs in (
            ("device", parameter.device, data.inputs.device),
            ("dtype", parameter.dtype, parameter.dtype if whole else data.inputs.dtype),
        ):
            if mine != theirs:
                raise ValueError(
                    f"the model's {what} is {mine} (parameter {parameter_name!r}), that of the "
                    f"{part} inputs is {theirs}; call data.to({what}=...) or model.to(...)"
                )
    labelled = [task.is_labelled(data.targets[name]) for name, task in named.items()]
    tried = torch.cat([rows.nonzero()[:FEW, 0] for rows in labelled]).unique()
    was_training = model.training
    model.eval()  # a few examples through the model; in eval mode no running statistic moves
    try:
        outputs = model(data.inputs[tried])
    except (RuntimeError, ValueError) as error:
        shape = ", ".join(map(str, data.inputs.shape[1:]))
        advice = (
            f". These inputs are whole numbers ({data.inputs.dtype}); a layer that multiplies "
            "needs fractions: MultiTaskData(inputs.double(), targets), pictures divided by 255"
        )
        raise ValueError(
            f"the model cannot take {part} inputs of shape (N, {shape}): "
            f"{error}{advice if whole else ''}"
        ) from error
    finally:
        model.train(was_training)
    missing = [name for name in named if not isinstance(outputs, Mapping) or name not in outputs]
    if missing:
        found = list(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
        raise ValueError(
            f"the model must return a dictionary with an output for every task; "
            f"missing {missing}, found {found}"
        )
    for name, task in named.items():
        target = data.targets[name][tried]
        task.mean_loss(outputs[name], target)
        if part != "train":
            with warnings.catch_warnings():  # a metric may warn of few examples
                warnings.simplefilter("ignore")
                task.score(outputs[name], target)


def refuse_other_data(data: object, part: str) -> None:
    """Say how to make a ``MultiTaskData`` of what was given instead.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(data, MultiTaskData):
        return
    if isinstance(data, Splits):
        advice = f"give one of its parts, such as splits.{part}"
    elif isinstance(data, torch.utils.data.DataLoader):
        advice = (
            "give all examples, MultiTaskData(inputs, {'task': targets}); batch_size=... deals "
            "them into batches"
        )
    else:
        advice = "give MultiTaskData(inputs, {'task': targets})"
    raise TypeError(f"the {part} data must be MultiTaskData; found {type(data).__name__}: {advice}")


def check_trainable(model: nn.Module, train: MultiTaskData, batch_size: int | None) -> None:
    """Refuse a model that nothing can be trained in, and a last batch that a norm cannot take.

    Raises:
        ValueError: all parameters are frozen, or the last batch has one example and the model
            normalises over the batch.
    """
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            "every parameter of the model is frozen, so there is nothing to train; call "
            "model.requires_grad_(True), or on the part that shall learn"
        )
    rows = len(train)
    alone = rows % (batch_size or rows) == 1 or rows == 1 or batch_size == 1
    if not alone or not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return
    trial = copy.deepcopy(model).train()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            trial(train.inputs[:1])
    except ValueError as error:
        sizes = range(max(batch_size or rows, 2), rows + 1)
        other = next((size for size in sizes if rows % size != 1), None)
        advice = f"use batch_size={other}" if other else "give more examples"
        raise ValueError(
            f"the last batch of {rows} examples holds one alone (batch_size={batch_size}), and "
            f"batch normalisation needs at least two ({error}); {advice}"
        ) from error


_CLAIMED: weakref.WeakKeyDictionary[Balance, Any] = weakref.WeakKeyDictionary()


def _claim(balance: Balance, model: nn.Module, resuming: bool) -> None:
    """Refuse a balance that has learned with another model: it would start from that.

    Raises:
        ValueError: it did.
    """
    owner, start = _CLAIMED.get(balance, (lambda: model, None))
    state = {name: value.clone() for name, value in balance.state_dict().items()}
    changed = start is not None and any(not torch.equal(state[k], start[k]) for k in state)
    if changed and owner() is not model and not resuming:
        raise ValueError(
            f"this {type(balance).__name__} has learned in another run, and would start from "
            "there; make a new one for each run"
        )
    if start is None or owner() is not model:
        _CLAIMED[balance] = (weakref.ref(model), state if start is None else start)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators of PyTorch, NumPy and Python inside the block; put them back."""
    devices = [device] if device.type == "cuda" else []
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices):
        # torch.manual_seed seeds every kind of device there is, which takes a millisecond.
        (torch.manual_seed if devices else torch.default_generator.manual_seed)(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


def _progress_bar(epochs: Iterable[int], total: int, wanted: bool | None) -> tqdm:
    """Show a bar only where a person looks: a stored notebook must not hold one."""
    if wanted is None:
        wanted = "JPY_SESSION_NAME" in os.environ or sys.stderr.isatty()
    epochs = list(epochs)
    return tqdm(
        epochs,
        total=total,
        initial=total - len(epochs),
        disable=not wanted,
        desc="epoch",
        leave=False,
    )
