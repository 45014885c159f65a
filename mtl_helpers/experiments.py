"""Repeat an experiment over many seeds.

``many_seeds`` trains one model a seed, each on data of its own. Small networks are stacked and
trained in one loop by ``torch.func.vmap``; where that does not apply or does not pay, the same call
runs a plain loop or one-thread worker processes, and says so.
"""

from __future__ import annotations

import copy
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import joblib
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.optim import Optimizer

from mtl_helpers.balancing import Balance, FixedWeights, make_balance
from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.tasks import Task, by_name
from mtl_helpers.training import (
    OPTIMIZERS,
    OptimizerFactory,
    batches,
    check_data,
    check_optimizer,
    check_trainable,
    evaluate,
    make_optimizer,
    optimizer_groups,
    seeded,
    take_step,
)
from mtl_helpers.values import generator, whole_number, wide

METHODS = ("auto", "vmap", "loop", "processes")
LARGE_STEP = 1_000_000  # parameters x examples of one step, from which vmap gains nothing on a CPU
LARGE_DATA = 2 * 2**30  # bytes of stacked data, beyond which they are not stacked unasked
SHORT_WORK = 2_000  # steps over all seeds, below which starting worker processes does not pay

BALANCE = "balance."  # what the names of a balance's parameters begin with in the results

Measured = dict[str, dict[str, float]]  # {task: {"loss": ..., "score": ...}}, as evaluate gives it


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
        parameters: every trained parameter and buffer by its name in the model, [S, ...]; those of
            the balance by their name there, after "balance.".
    """

    seeds: tuple[int, ...]
    scores: dict[str, Tensor]
    losses: dict[str, Tensor]
    curves: Curves | None
    method: str
    reason: str
    parameters: dict[str, Tensor]

    def state(self, seed: int) -> dict[str, Tensor]:
        """Give the model's parameters and buffers of one seed, as its ``load_state_dict`` wants."""
        row, every = self.seeds.index(seed), self.parameters.items()
        return {name: values[row] for name, values in every if not name.startswith(BALANCE)}


@dataclass(frozen=True)
class _Plan:
    """What every seed does; with a seed, all that a worker process must know."""

    make_model: Callable[[], nn.Module]
    tasks: tuple[Task, ...]
    make_data: Callable[[int], Splits]
    steps: int
    batch_size: int | None
    optimizer: str | OptimizerFactory
    lr: float | None
    weight_decay: float | None
    balance: Balance
    record_every: int | None

    @property
    def names(self) -> list[str]:
        """The names of the tasks, in their order."""
        return [task.name for task in self.tasks]

    def start(self, seed: int) -> tuple[nn.Module, Balance, Splits]:
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
        check_trainable(model, data.train, self.batch_size)
        return model, copy.deepcopy(self.balance).to(data.train.inputs.device), data

    def make_stepper(self, groups: Iterable[Any], learned: Sequence[Tensor]) -> Optimizer:
        """Build the optimiser; ``weight_decay`` replaces its default, but for what is learned.

        Args:
            groups: what the optimiser may change.
            learned: what of it belongs to the balance.
        """
        stepper = make_optimizer(self.optimizer, groups, self.lr)
        for group in stepper.param_groups:
            of_balance = any(p is value for p in group["params"] for value in learned)
            if self.weight_decay is not None and not of_balance:
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
    lr: float | None = None,
    weights: Mapping[str, float] | None = None,
    balance: str | Mapping[str, float] | Balance | None = None,
    weight_decay: float | None = None,
    method: str = "auto",
    record_every: int | None = None,
) -> SeedResults:
    """Train one model for each seed and measure all of them on their test data.

    A seed redraws the data, the initial parameters and the order of the batches. It gives the same
    numbers by every method (in float64; float32 runs drift apart after some tens of steps), and the
    same as ``fit(..., seed=seed)`` on the same model and data.

    ``method="auto"`` stacks all seeds (``"vmap"``) where that is possible and pays: small networks
    without convolutions. It does not for nn.LSTM, nn.GRU and nn.RNN (no batching rule), for code
    that branches on values, for optimisers that mix the numbers of a tensor, or for balances that
    are not ``stackable``: those that remember, draw, or ask for gradients. Dropout works only
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
        optimizer: a name that ``fit`` knows, a class, or a function from parameters to one.
        lr: learning rate, 0.001 when left out. A function sets its own.
        weights: the weight of each task; all 1 when left out.
        balance: what ``fit`` takes, in place of ``weights``. Every seed gets a copy of its own.
        weight_decay: replaces the optimiser's own default; a balance's parameters never decay.
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
    tasks = tuple(by_name(tasks).values())  # refuses names that come twice
    seeds = tuple(whole_number("a seed", seed) for seed in seeds)
    if batch_size is not None:
        batch_size = whole_number("batch_size", batch_size)
    if weights is not None and balance is not None:
        raise ValueError("give weights or balance, not both: fixed weights are a balance")
    chosen = weights if balance is None else balance
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
        make_balance("equal" if chosen is None else chosen, tasks),
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
    model, balance, (train, valid, test) = plan.start(seed)
    stepper = plan.make_stepper(optimizer_groups(model, balance), list(balance.parameters()))
    check_optimizer(stepper, model, balance)
    in_epoch = math.ceil(len(train) / (plan.batch_size or len(train)))
    curve = {0: evaluate(model, plan.tasks, valid)} if plan.record_every else {}
    with seeded(seed, train.inputs.device):  # for dropout
        for step, chosen in enumerate(_steps(plan, len(train), seed)):
            targets = {name: train.targets[name][chosen] for name in plan.names}
            when = {"step": step, "epoch": step // in_epoch, "steps_per_epoch": in_epoch}
            take_step(model, balance, stepper, plan.tasks, train.inputs[chosen], targets, when)
            if plan.is_recorded(step + 1):
                curve[step + 1] = evaluate(model, plan.tasks, valid)
    state = {}
    for prefix, module in (("", model), (BALANCE, balance)):
        for name, value in itertools.chain(module.named_parameters(), module.named_buffers()):
            state[prefix + name] = value.detach()
    return _OneSeed(evaluate(model, plan.tasks, test), curve, state)


def _steps(plan: _Plan, examples: int, seed: int) -> Iterator[Tensor]:
    """Deal batches, epoch after epoch, until every step has its indices [B]."""
    order = generator(seed)
    epochs = (batches(examples, plan.batch_size, order) for _ in itertools.count())
    return itertools.islice(itertools.chain.from_iterable(epochs), plan.steps)


class _Stack:
    """S models, their data and their optimiser, stacked along a new first axis.

    The seeds do not touch each other: the gradient of the sum of their losses, with respect to the
    stacked parameters, holds in row s the gradient of the loss of seed s. An optimiser that treats
    each number alone then does for all seeds what it would do for each.
    """

    def __init__(self, plan: _Plan, seeds: Sequence[int]) -> None:
        models, balances, splits = zip(*(plan.start(seed) for seed in seeds), strict=True)
        self.plan, self.seeds, self.model, self.balance = plan, seeds, models[0], balances[0]
        self.learned, self.fixed = stack_module_state(list(balances))
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
        self.total = vmap(self._total_of_one)

    def _forward_of_one(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor
    ) -> dict[str, Tensor]:
        outputs = functional_call(self.model, {**parameters, **buffers}, (inputs,))
        return {name: outputs[name] for name in self.plan.names}

    def _total_of_one(self, state: dict[str, Tensor], losses: Tensor, labelled: Tensor) -> Tensor:
        return functional_call(self.balance, state, (losses, {"labelled": labelled}))

    def losses(self, inputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Give the joint loss of every seed: inputs [S, B, ...] -> [S]."""
        outputs = self.forward(self.parameters, self.buffers, inputs)
        pairs = [self._mean_losses(t, outputs[t.name], targets[t.name]) for t in self.plan.tasks]
        losses, labelled = (torch.stack(column, dim=1) for column in zip(*pairs, strict=True))
        if isinstance(
            self.balance, FixedWeights
        ):  # the same without vmap, a tenth of a step faster
            return (self.fixed["weights"].to(losses) * losses).sum(1)
        return self.total({**self.learned, **self.fixed}, losses, labelled)

    def _mean_losses(self, task: Task, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Do what ``task.mean_loss`` does, for all seeds at once: [S, B, ...] -> [S].

        A loss is one number an example, so the examples of all seeds can stand in one row. Beside
        it stands whether a seed's batch holds any label, bool [S].
        """
        shape = target.shape[:2]
        output, target = wide(output.flatten(0, 1)), wide(target.flatten(0, 1))
        target = task.fit_target(output, target)
        if task.name in self.complete:
            losses = task.loss_function(output, target).view(shape).mean(1)
            return losses, torch.ones_like(losses, dtype=torch.bool)
        losses, labelled = task.example_losses(output, target)
        count = labelled.view(shape).sum(1)
        return losses.view(shape).sum(1) / count.clamp(min=1), count > 0

    def train(self) -> list[_OneSeed]:
        """Train and measure all seeds, the same steps as ``_train_one_seed`` takes."""
        learned = list(self.learned.values())
        own = {"params": learned, "weight_decay": 0.0}
        if self.balance.lr is not None:
            own["lr"] = self.balance.lr
        groups = [{"params": [self.flat]}, own] if learned else [self.flat]
        stepper = self.plan.make_stepper(groups, learned)
        curves = {0: self.measure(*self.valid_data)} if self.plan.record_every else {}
        with seeded(self.seeds[0], self.train_data[0].device):
            steps = itertools.islice(self.batches(), self.plan.steps)
            for step, (inputs, targets) in enumerate(steps, start=1):
                stepper.zero_grad(set_to_none=False)  # the named gradients are views of flat.grad
                self.losses(inputs, targets).sum().backward()
                stepper.step()
                if self.plan.is_recorded(step):
                    curves[step] = self.measure(*self.valid_data)
        tests = self.measure(*self.test_data)
        state = {**self.parameters, **self.buffers}
        state.update((BALANCE + name, value) for name, value in self.learned.items())
        state.update((BALANCE + name, value) for name, value in self.fixed.items())
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
        orders = [generator(seed) for seed in self.seeds]
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
    model, _, data = plan.start(seeds[0])
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
    if hasattr(model, "penalty"):
        return f"{type(model).__name__} adds a penalty at each step"
    if not plan.balance.stackable:
        return f"{type(plan.balance).__name__} remembers, draws or asks for gradients at each step"
    stepper = type(plan.make_stepper(model.parameters(), []))
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
