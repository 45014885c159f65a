"""Repeat an experiment over many seeds, and keep what long experiments found.

``many_seeds`` trains one model a seed, each on data of its own. Small networks are stacked and
trained in one loop by ``torch.func.vmap``; where that does not apply or does not pay, the same call
runs a plain loop or one-thread worker processes, and says so. ``record`` and ``load`` keep the rows
of a sweep that is too long to run live.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import itertools
import json
import operator
import os
import platform
import re
import subprocess
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from mtl_helpers.balancing import FixedWeights
from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.files import results_folder, write_json
from mtl_helpers.tasks import Task, by_name
from mtl_helpers.training import (
    OPTIMIZERS,
    OptimizerFactory,
    batches,
    check_data,
    evaluate,
    make_optimizer,
    seeded,
    task_losses,
)

METHODS = ("auto", "vmap", "loop", "processes")
LARGE_STEP = 1_000_000  # parameters x examples of one step, from which vmap gains nothing on a CPU
LARGE_DATA = 2 * 2**30  # bytes of stacked data, beyond which they are not stacked unasked
SHORT_WORK = 2_000  # steps over all seeds, below which starting worker processes does not pay

Measured = dict[str, dict[str, float]]  # {task: {"loss": ..., "score": ...}}, as evaluate gives it


# ------------------------------------------------------------------------------------ many seeds


@dataclass(frozen=True, eq=False)
class Curves:
    """What the validation data showed while S seeds trained, at P points.

    Attributes:
        steps: the steps after which it was measured, [P]; the first is 0, before training.
        losses: validation loss by task, [S, P].
        scores: validation metric by task, [S, P].
    """

    steps: Tensor
    losses: dict[str, Tensor]
    scores: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class SeedResults:
    """What many seeds gave. Row i of every tensor belongs to ``seeds[i]``; S seeds in all.

    Attributes:
        seeds: the seeds, in the order asked for.
        scores: test metric by task, [S].
        losses: test loss by task, [S].
        curves: validation losses and scores on the way; None unless ``record_every`` was given.
        method: ``"vmap"``, ``"loop"`` or ``"processes"``.
        reason: why that method, in words. It may differ between machines, so do not store it.
        parameters: every trained parameter and buffer by its name in the model, [S, ...].
    """

    seeds: tuple[int, ...]
    scores: dict[str, Tensor]
    losses: dict[str, Tensor]
    curves: Curves | None
    method: str
    reason: str
    parameters: dict[str, Tensor]

    def state(self, seed: int) -> dict[str, Tensor]:
        """Give the parameters and buffers of one seed, as ``load_state_dict`` wants them."""
        row = self.seeds.index(seed)
        return {name: values[row] for name, values in self.parameters.items()}


@dataclass(frozen=True)
class _Plan:
    """What every seed does; with a seed, all that a worker process must know."""

    make_model: Callable[[], nn.Module]
    tasks: tuple[Task, ...]
    make_data: Callable[[int], Splits]
    steps: int
    batch_size: int | None
    optimizer: str | OptimizerFactory
    lr: float
    weight_decay: float | None
    weights: dict[str, float]
    record_every: int | None

    @property
    def names(self) -> list[str]:
        """The names of the tasks, in their order."""
        return [task.name for task in self.tasks]

    def start(self, seed: int) -> tuple[nn.Module, Splits]:
        """Draw the data and the initial parameters of one seed, and check that they fit."""
        with seeded(seed, torch.device("cpu")):
            data = self.make_data(seed)
        if not isinstance(data, Splits):
            raise ValueError(f"make_data must return Splits; found {type(data).__name__}")
        with seeded(seed, data.train.inputs.device):
            model = self.make_model().train()
        for part, examples in data._asdict().items():
            if part != "valid" or self.record_every is not None:
                check_data(model, by_name(self.tasks), examples, part)
        return model, data

    def make_stepper(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        """Build the optimiser; ``weight_decay`` replaces its own default when given."""
        stepper = make_optimizer(self.optimizer, parameters, self.lr)
        if self.weight_decay is not None:
            for group in stepper.param_groups:
                group["weight_decay"] = self.weight_decay
        return stepper

    def is_recorded(self, step: int) -> bool:
        """Say whether the validation data are measured after this step."""
        every = self.record_every
        return every is not None and (step % every == 0 or step == self.steps)


@dataclass(frozen=True)
class _OneSeed:
    """What one seed gave."""

    test: Measured
    curve: dict[int, Measured]
    state: dict[str, Tensor]


def many_seeds(
    make_model: Callable[[], nn.Module],
    tasks: Sequence[Task],
    make_data: Callable[[int], Splits],
    *,
    seeds: Sequence[int],
    steps: int,
    batch_size: int | None,
    optimizer: str | OptimizerFactory = "adam",
    lr: float = 1e-3,
    weights: Mapping[str, float] | None = None,
    weight_decay: float | None = None,
    method: str = "auto",
    record_every: int | None = None,
) -> SeedResults:
    """Train one model for each seed and measure all of them on their test data.

    A seed redraws the data, the initial parameters and the order of the batches. It gives the same
    numbers by every method (in float64; float32 runs drift apart after some tens of steps), and the
    same as ``fit(..., seed=seed)`` on the same model and data. The loss of a step is
    sum_k w_k L_k, the mean being taken over the labelled examples of each task.

    ``method="auto"`` stacks all seeds (``"vmap"``) where that is possible and pays: small networks
    without convolutions. It does not for nn.LSTM, nn.GRU and nn.RNN (no batching rule), for code
    that branches on values, or for optimisers that mix the numbers of a tensor. Dropout works only
    by request (``method="vmap"``): its masks then depend on the other seeds, so that the numbers
    differ from a loop's. What is left goes to one-thread worker processes, or to a plain loop when
    there is little to do or one core.

    Args:
        make_model: gives a new model; called after the global generator was seeded. Its parameters
            need the device and type of the data.
        tasks: what to learn.
        make_data: from a seed to training, validation and test data.
        seeds: the seeds, S of them.
        steps: steps of the optimiser, the same for all seeds.
        batch_size: examples a step; None for all of them.
        optimizer: a name that ``fit`` knows, or a function from parameters to an optimiser.
        lr: learning rate, for an optimiser given by name.
        weights: the weight of each task; all 1 when left out.
        weight_decay: replaces the optimiser's own default.
        method: ``"auto"``, ``"vmap"``, ``"loop"`` or ``"processes"``.
        record_every: measure the validation data after every so many steps, and at both ends.

    Returns:
        Scores, losses, curves and parameters, one row a seed. A seed that diverged holds nan.

    Raises:
        ValueError: the request makes no sense, data, tasks and model do not fit each other, or
            ``method="vmap"`` is asked for where it does not apply.

    Source: Bradbury et al. 2018 (JAX) and the PyTorch tutorial on model ensembling with
    ``torch.func`` for the stacked loop.
    """
    tasks, seeds = tuple(tasks), tuple(seeds)
    weights = dict.fromkeys(by_name(tasks), 1.0) if weights is None else dict(weights)
    FixedWeights(weights, [task.name for task in tasks])  # refuses weights that make no sense
    _check_request(seeds, steps, batch_size, weight_decay, method, record_every)
    plan = _Plan(
        make_model,
        tuple(tasks),
        make_data,
        steps,
        batch_size,
        optimizer,
        lr,
        weight_decay,
        weights,
        record_every,
    )
    if method in ("auto", "vmap"):
        stack, obstacle = _try_stack(plan, seeds, asked_for=method == "vmap")
        if stack is not None:
            reason = "vmap, as asked" if method == "vmap" else "vmap: one loop for all seeds"
            with _one_thread():
                runs = stack.train()
            return _collect(plan, seeds, runs, "vmap", reason)
        if method == "vmap":
            raise ValueError(f"method='vmap' does not apply here: {obstacle}; use method='auto'")
        method, obstacle = _loop_or_processes(plan, seeds, obstacle)
        reason = f"{method}, because {obstacle}"
    else:
        reason = f"{method}, as asked"
    run = _in_processes if method == "processes" else _in_a_loop
    return _collect(plan, seeds, run(plan, seeds), method, reason)


def _in_a_loop(plan: _Plan, seeds: Sequence[int]) -> list[_OneSeed]:
    return [_train_one_seed(plan, seed) for seed in seeds]


def _in_processes(plan: _Plan, seeds: Sequence[int]) -> list[_OneSeed]:
    """Share the seeds out to worker processes with one thread each."""
    workers = min(len(seeds), joblib.cpu_count())
    with joblib.parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
        return joblib.Parallel()(joblib.delayed(_train_one_seed)(plan, seed) for seed in seeds)


def _train_one_seed(plan: _Plan, seed: int) -> _OneSeed:
    """Train and measure one seed: the plain loop that the other methods must agree with."""
    model, (train, valid, test) = plan.start(seed)
    balance = FixedWeights(plan.weights, plan.names)
    stepper = plan.make_stepper(model.parameters())
    curve = {0: evaluate(model, plan.tasks, valid)} if plan.record_every else {}
    with seeded(seed, train.inputs.device):  # for dropout
        for step, chosen in enumerate(_steps(plan, len(train), seed), start=1):
            targets = {name: train.targets[name][chosen] for name in plan.names}
            loss = balance(task_losses(model(train.inputs[chosen]), targets, plan.tasks))
            stepper.zero_grad()
            loss.backward()
            stepper.step()
            if plan.is_recorded(step):
                curve[step] = evaluate(model, plan.tasks, valid)
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    state = {name: value.detach() for name, value in state.items()}
    return _OneSeed(evaluate(model, plan.tasks, test), curve, state)


def _steps(plan: _Plan, examples: int, seed: int) -> Iterator[Tensor]:
    """Deal batches, epoch after epoch, until every step has its indices [B]."""
    order = torch.Generator().manual_seed(seed)
    epochs = (batches(examples, plan.batch_size, order) for _ in itertools.count())
    return itertools.islice(itertools.chain.from_iterable(epochs), plan.steps)


class _Stack:
    """S models, their data and their optimiser, stacked along a new first axis.

    The seeds do not touch each other: the gradient of the sum of their losses, with respect to the
    stacked parameters, holds in row s the gradient of the loss of seed s. An optimiser that treats
    each number alone then does for all seeds what it would do for each.
    """

    def __init__(self, plan: _Plan, seeds: Sequence[int]) -> None:
        models, splits = zip(*(plan.start(seed) for seed in seeds), strict=True)
        self.plan, self.seeds, self.model = plan, seeds, models[0]
        stacked, self.buffers = stack_module_state(list(models))
        trained = {name: value for name, value in stacked.items() if value.requires_grad}
        self.buffers.update((name, stacked[name]) for name in stacked.keys() - trained.keys())
        # The optimiser sees one long tensor; the named parameters and gradients are views of it.
        self.flat = torch.cat([value.detach().flatten() for value in trained.values()])
        self.flat.grad = torch.zeros_like(self.flat)
        sizes = [value.numel() for value in trained.values()]
        self.parameters = {}
        for (name, value), piece, gradient in zip(
            trained.items(), self.flat.split(sizes), self.flat.grad.split(sizes), strict=True
        ):
            self.parameters[name] = piece.view_as(value).requires_grad_()
            self.parameters[name].grad = gradient.view_as(value)
        self.train_data, self.valid_data, self.test_data = (
            _stack_data(part, plan.names) for part in zip(*splits, strict=True)
        )
        labels = self.train_data[1]
        self.complete = {  # tasks without a missing label: no need for a mask
            t.name for t in plan.tasks if t.is_labelled(labels[t.name].flatten(0, 1)).all()
        }
        self.forward = vmap(self._forward_of_one, randomness="different")

    def _forward_of_one(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor
    ) -> dict[str, Tensor]:
        outputs = functional_call(self.model, {**parameters, **buffers}, (inputs,))
        return {name: outputs[name] for name in self.plan.names}

    def losses(self, inputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Give the joint loss of every seed: inputs [S, B, ...] -> [S]."""
        outputs = self.forward(self.parameters, self.buffers, inputs)
        by_task = [self._mean_losses(t, outputs[t.name], targets[t.name]) for t in self.plan.tasks]
        weights = self.plan.weights
        return sum(weights[t.name] * loss for t, loss in zip(self.plan.tasks, by_task, strict=True))

    def _mean_losses(self, task: Task, output: Tensor, target: Tensor) -> Tensor:
        """Do what ``task.mean_loss`` does, for all seeds at once: [S, B, ...] -> [S].

        A loss is one number an example, so the examples of all seeds can stand in one row.
        """
        shape = target.shape[:2]
        output, target = output.flatten(0, 1), target.flatten(0, 1)
        target = task.fit_target(output, target)
        if task.name in self.complete:
            return task.loss_function(output, target).view(shape).mean(1)
        losses, labelled = task.example_losses(output, target)
        return losses.view(shape).sum(1) / labelled.view(shape).sum(1).clamp(min=1)

    def train(self) -> list[_OneSeed]:
        """Train and measure all seeds, the same steps as ``_train_one_seed`` takes."""
        stepper = self.plan.make_stepper([self.flat])
        curves = {0: self.measure(*self.valid_data)} if self.plan.record_every else {}
        with seeded(self.seeds[0], self.train_data[0].device):
            steps = itertools.islice(self.batches(), self.plan.steps)
            for step, (inputs, targets) in enumerate(steps, start=1):
                self.flat.grad.zero_()
                self.losses(inputs, targets).sum().backward()
                stepper.step()
                if self.plan.is_recorded(step):
                    curves[step] = self.measure(*self.valid_data)
        tests = self.measure(*self.test_data)
        state = {**self.parameters, **self.buffers}
        return [
            _OneSeed(
                tests[row],
                {step: measured[row] for step, measured in curves.items()},
                {name: values[row].detach() for name, values in state.items()},
            )
            for row in range(len(self.seeds))
        ]

    def batches(self) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Give inputs [S, B, ...] and targets by task, [S, B, ...], for every step."""
        inputs, targets = self.train_data
        examples = inputs.shape[1]
        orders = [torch.Generator().manual_seed(seed) for seed in self.seeds]
        first = torch.arange(len(self.seeds))[:, None] * examples  # row of each seed's first one
        while self.plan.batch_size is None:
            yield inputs, targets
        while True:
            # One batch of all examples is the drawn order: cut it for all seeds together.
            order = torch.stack([next(batches(examples, examples, order)) for order in orders])
            for rows in (order + first).to(inputs.device).split(self.plan.batch_size, dim=1):
                chosen = {name: _take(target, rows) for name, target in targets.items()}
                yield _take(inputs, rows), chosen

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> dict[str, Tensor]:
        """Give the outputs of every task in eval mode: [S, N, ...] -> {task: [S, N, ...]}."""
        self.model.eval()
        parts = [self.forward(self.parameters, self.buffers, x) for x in inputs.split(1024, dim=1)]
        self.model.train()
        return {name: torch.cat([part[name] for part in parts], dim=1) for name in self.plan.names}

    def measure(self, inputs: Tensor, targets: dict[str, Tensor]) -> list[Measured]:
        """Do what ``evaluate`` does, for all seeds at once."""
        outputs = self.predict(inputs)
        return [
            {
                task.name: {
                    "loss": float(task.mean_loss(outputs[task.name][row], targets[task.name][row])),
                    "score": task.score(outputs[task.name][row], targets[task.name][row]),
                }
                for task in self.plan.tasks
            }
            for row in range(len(self.seeds))
        ]


def _stack_data(
    data: Sequence[MultiTaskData], names: Sequence[str]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Stack the data of S seeds: inputs [S, N, ...] and targets by task, [S, N, ...]."""
    targets = {name: torch.stack([part.targets[name] for part in data]) for name in names}
    return torch.stack([part.inputs for part in data]), targets


def _take(stacked: Tensor, rows: Tensor) -> Tensor:
    """Take examples out of [S, N, ...] by their rows in [S * N, ...]: [S, B] -> [S, B, ...]."""
    flat = stacked.flatten(0, 1)
    return flat.index_select(0, rows.flatten()).unflatten(0, rows.shape)


def _try_stack(plan: _Plan, seeds: Sequence[int], *, asked_for: bool) -> tuple[_Stack | None, str]:
    """Stack the seeds, or say what stands in the way (of gaining by it, unless asked for)."""
    model, data = plan.start(seeds[0])
    obstacle = _obstacle(plan, model)
    if not asked_for:
        obstacle = obstacle or _no_gain(plan, model, data, len(seeds))
    if obstacle:
        return None, obstacle
    try:
        stack = _Stack(plan, seeds)
        draws = _try_one_step(stack)
    except (RuntimeError, UserWarning) as error:
        return None, f"stacking failed ({str(error).strip().splitlines()[0]})"
    if draws and not asked_for:
        return None, "the model draws random numbers (dropout), which stacking draws differently"
    return stack, ""


def _obstacle(plan: _Plan, model: nn.Module) -> str:
    """Say why the seeds cannot be stacked, as far as the model and the optimiser show it."""
    recurrent = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    if recurrent:
        return f"nn.{type(recurrent[0]).__name__} has no batching rule"
    stepper = type(plan.make_stepper(model.parameters()))
    if stepper not in OPTIMIZERS.values():
        return f"{stepper.__name__} is not known to treat each number of a tensor alone"
    return ""


def _no_gain(plan: _Plan, model: nn.Module, data: Splits, seeds: int) -> str:
    """Say why stacking would not be faster, or would need too much memory."""
    values = sum(part.inputs.numel() for part in data)
    size = seeds * values * data.train.inputs.element_size()
    if size > LARGE_DATA:
        return f"the stacked data would take {size / 2**30:.1f} GiB"
    if data.train.inputs.device.type != "cpu":
        return ""
    if any(isinstance(module, nn.modules.conv._ConvNd) for module in model.modules()):
        return "stacked convolutions are not faster on a CPU"
    examples = min(plan.batch_size or len(data.train), len(data.train))
    if examples * sum(p.numel() for p in model.parameters()) > LARGE_STEP:
        return "stacked networks of this size are not faster on a CPU"
    return ""


def _try_one_step(stack: _Stack) -> bool:
    """Run one step that changes nothing; say whether it drew random numbers.

    Raises:
        RuntimeError: vmap has no rule for something in the model.
        UserWarning: it has only a slow one.
    """
    inputs, targets = next(stack.batches())
    buffers = {name: value.clone() for name, value in stack.buffers.items()}
    with warnings.catch_warnings(), seeded(0, inputs.device):
        warnings.simplefilter("error", UserWarning)
        before = _random_state(inputs.device)
        losses = stack.losses(inputs, targets)
        drew = not torch.equal(before, _random_state(inputs.device))
        losses.sum().backward()
        stack.predict(inputs)
    stack.buffers = buffers
    return drew


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread in the block: on small tensors several cost more than they give.

    Where other programs keep the cores busy, two threads made a stacked step ten times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _loop_or_processes(plan: _Plan, seeds: Sequence[int], obstacle: str) -> tuple[str, str]:
    """Choose between the two that always work, and complete the reason."""
    if plan.steps * len(seeds) < SHORT_WORK or len(seeds) == 1:
        return "loop", f"{obstacle}, and there is too little to do for worker processes"
    if joblib.cpu_count() == 1:
        return "loop", f"{obstacle}, and there is one core"
    return "processes", obstacle


def _collect(
    plan: _Plan, seeds: tuple[int, ...], runs: Sequence[_OneSeed], method: str, reason: str
) -> SeedResults:
    """Put the seeds' results into tensors, one row a seed."""

    def column(results: Sequence[Measured], kind: str) -> dict[str, Tensor]:
        return {
            name: torch.tensor([result[name][kind] for result in results], dtype=torch.float64)
            for name in plan.names
        }

    curves = None
    if plan.record_every is not None:
        steps = list(runs[0].curve)
        by_seed = [list(run.curve.values()) for run in runs]
        losses, scores = (
            {
                name: torch.stack([column(curve, kind)[name] for curve in by_seed])
                for name in plan.names
            }
            for kind in ("loss", "score")
        )
        curves = Curves(torch.tensor(steps), losses, scores)
    tests = [run.test for run in runs]
    parameters = {name: torch.stack([run.state[name] for run in runs]) for name in runs[0].state}
    return SeedResults(
        seeds, column(tests, "score"), column(tests, "loss"), curves, method, reason, parameters
    )


def _check_request(
    seeds: Sequence[int],
    steps: int,
    batch_size: int | None,
    weight_decay: float | None,
    method: str,
    record_every: int | None,
) -> None:
    if not all(isinstance(seed, int | np.integer) for seed in seeds):
        raise ValueError(f"seeds must be whole numbers; found {list(seeds)}")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be given and differ from each other; found {list(seeds)}")
    for what, value in (
        ("steps", steps),
        ("batch_size", batch_size),
        ("record_every", record_every),
    ):
        if value is not None and value < 1:
            raise ValueError(f"{what} must be at least 1; found {value}")
    if weight_decay is not None and not 0 <= weight_decay < float("inf"):
        raise ValueError(f"weight_decay must be a number of at least 0; found {weight_decay}")
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; use one of {', '.join(METHODS)}")


# ------------------------------------------------------------------------------ recorded results


@dataclass(frozen=True)
class Recorded:
    """What a long experiment found, and where it was found.

    Attributes:
        name: the experiment; also the name of its file.
        question: what it answers.
        configuration: the settings of the sweep.
        seeds: the seeds of every setting.
        rows: one dictionary a setting (and seed), all values plain; empty when not measured.
        revision: the commit it ran on (the parent of the one that holds the file), or "unknown".
        dirty: whether the package had changes that no commit held.
        code: the modules and functions that made the rows, as "module" or "module:function".
        code_hash: a hash of their source; comments, docstrings and layout do not count.
        machine: processor, cores, and GPU (None without one).
        versions: of Python, PyTorch and NumPy.
        date: the day it ended, in UTC.
    """

    name: str
    question: str
    configuration: dict[str, Any]
    seeds: list[int]
    rows: list[dict[str, Any]]
    revision: str
    dirty: bool
    code: list[str]
    code_hash: str
    machine: dict[str, Any]
    versions: dict[str, str]
    date: str

    @property
    def measured(self) -> bool:
        """Whether there are rows: a result that nobody has measured has none."""
        return bool(self.rows)

    @property
    def changed(self) -> bool:
        """Whether the code that made the rows is another one now, or is gone."""
        try:
            return (
                self.measured and code_hash([_find(name) for name in self.code]) != self.code_hash
            )
        except (ImportError, AttributeError):
            return True


Code = ModuleType | Callable[..., Any]


def record(
    name: str,
    *,
    question: str = "",
    configuration: Mapping[str, Any],
    seeds: Sequence[int],
    rows: Sequence[Mapping[str, Any]],
    code: Sequence[Code],
    origin: Mapping[str, Any] | None = None,
) -> Path:
    """Write what an experiment found to ``data/results/<name>.json``, whole or not at all.

    Args:
        name: lower-case letters, digits and underscores.
        question: what the experiment answers.
        configuration: the settings of the sweep.
        seeds: the seeds of every setting.
        rows: one dictionary a setting (and seed). Tensors and arrays become lists. Leave out what
            was not measured; nan and infinity are refused.
        code: the modules and functions that made the rows.
        origin: what ``origin_of(code)`` gave before a long run, in which files may be edited.

    Returns:
        The path of the file.

    Raises:
        ValueError: a name that is no file name, no rows, no code, or a number that is not finite.
        OSError: the file cannot be written; the old one is untouched.
    """
    if not rows or not code:
        raise ValueError(f"result {name!r} needs rows and the code that made them")
    found = Recorded(
        name=name,
        question=question,
        configuration=_plain(configuration),
        seeds=_plain(seeds),
        rows=_plain(rows),
        **(origin or origin_of(code)),
        machine=_machine(),
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        date=datetime.now(UTC).date().isoformat(),
    )
    return write_json(_path(name), asdict(found))


def origin_of(code: Sequence[Code]) -> dict[str, Any]:
    """Say which code is about to run: revision, dirty, code and code_hash of ``Recorded``."""
    revision, dirty = _revision()
    names = [_name_of(item) for item in code]
    return {"revision": revision, "dirty": dirty, "code": names, "code_hash": code_hash(code)}


def load(name: str, *, missing_ok: bool = False) -> Recorded:
    """Read a recorded result.

    Args:
        name: the experiment.
        missing_ok: give a result without rows (``.measured`` is False) when there is no file.

    Raises:
        FileNotFoundError: nobody has measured it.
        ValueError: the file is cut off, from elsewhere, or edited.
    """
    path = _path(name)
    if not path.exists():
        if missing_ok:
            return Recorded(name, "", {}, [], [], "unknown", False, [], "", {}, {}, "")
        raise FileNotFoundError(
            f"{name!r} is not measured: there is no {path.name} in data/results. "
            f"Run make results, or: python -m mtl_helpers.studies {name}"
        )
    kinds = {field.name: _KINDS[str(field.type).split("[")[0]] for field in fields(Recorded)}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        wrong = [key for key, kind in kinds.items() if not isinstance(found.get(key), kind)]
        wrong += [key for key in found if key not in kinds]
        if not wrong and (found["name"] != name or not found["rows"]):
            wrong = ["name or rows"]
        if not wrong and not all(isinstance(row, dict) for row in found["rows"]):
            wrong = ["rows"]
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path.name} is not a recorded result ({error}); {_MEND}") from error
    if wrong:
        raise ValueError(
            f"{path.name} is not a recorded result: missing, unknown or of the wrong kind: "
            f"{', '.join(wrong)}; {_MEND}"
        )
    return Recorded(**found)


_KINDS = {"str": str, "dict": dict, "list": list, "bool": bool}
_MEND = "restore it from version control or run make results"


def code_hash(code: Sequence[Code]) -> str:
    """Give a SHA-256 of source code that comments, docstrings and layout do not change."""
    trees = (ast.parse(textwrap.dedent(inspect.getsource(item))) for item in code)
    return hashlib.sha256("\n".join(map(_essence, trees)).encode()).hexdigest()


def _essence(node: Any) -> str:
    """Write a syntax tree as text without docstrings, the same in all versions of Python."""
    if isinstance(node, list):
        return f"[{', '.join(map(_essence, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = dict(ast.iter_fields(node))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
        parts["body"] = parts["body"][1:]
    kept = (f"{key}={_essence(value)}" for key, value in parts.items() if value not in (None, []))
    return f"{type(node).__name__}({', '.join(kept)})"


def _name_of(item: Code) -> str:
    if isinstance(item, ModuleType):
        return item.__name__
    return f"{item.__module__}:{item.__qualname__}"


def _find(name: str) -> Code:
    module, _, path = name.partition(":")
    found = importlib.import_module(module)
    return operator.attrgetter(path)(found) if path else found


def _path(name: str) -> Path:
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(
            f"a result is named with lower-case letters, digits and underscores; found {name!r}"
        )
    return results_folder() / f"{name}.json"


def _plain(value: Any) -> Any:
    """Turn tensors, arrays and tuples into what JSON knows; leave the rest as it is."""
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(item) for item in value]
    return value


def _revision() -> tuple[str, bool]:
    """Give the commit the package stands at, and whether its files differ from that commit."""
    package = Path(__file__).parent

    def git(*words: str) -> str:
        command = ["git", "-C", str(package), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # a checkout of this very project
        return git("rev-parse", "--verify", "HEAD"), bool(git("status", "--porcelain", "--", "."))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True


def _machine() -> dict[str, Any]:
    """Describe the machine by what makes numbers and times differ; never by its name."""
    try:
        models = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        models = []
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
