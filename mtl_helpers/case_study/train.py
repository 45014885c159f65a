"""Train the nuclei network: the same loop on a laptop, on a GPU, and on several of them.

Lightning Fabric moves, casts and synchronises; what is learned and how stays in sight. A run that
is killed goes on from its last checkpoint and ends with the numbers of one that was not (bit for
bit on a processor).
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from mtl_helpers import files
from mtl_helpers.balancing import Balance, GradientBalance, make_balance
from mtl_helpers.case_study.batches import Augmentation, Tiles, make_batch, plain_batch
from mtl_helpers.case_study.model import NAMES, NucleiNet
from mtl_helpers.case_study.tasks import make_tasks
from mtl_helpers.training import (
    clipped,
    optimizer_groups,
    read_state,
    take_step,
    task_losses,
)
from mtl_helpers.values import plain

PRECISIONS = ("32-true", "bf16-mixed")
_FORMAT = 2


@dataclass(frozen=True)
class Settings:
    """All that decides the result of a run, beside the data.

    Attributes:
        tasks: what to learn.
        balance: what ``fit`` takes: ``"equal"``, ``{task: weight}``, the name of a method.
        widths: channels of the network at each depth.
        crop: height and width of a training crop, in pixels.
        batch: crops a step, over all processes together.
        steps: steps of the optimiser.
        lr: largest learning rate (AdamW); it rises over the first twentieth of the steps and then
            falls along a half cosine to a hundredth.
        weight_decay: of AdamW.
        max_norm: largest length of the gradient.
        ema: share of the old value in the running average of the weights that is evaluated.
        augmentation: how crops are changed.
        seed: of initial weights, crops and changes.
        precision: ``"32-true"`` or ``"bf16-mixed"``, in Fabric's words; what else Fabric knows
            would not be applied here, so it is refused. A fabric that is given to
            ``train`` must have the same.
        channels_last: memory layout of pictures (faster on most GPUs).
        compile: whether to compile the network (GPU only; the first steps then take a minute).
        evaluate_every: steps between two looks at the validation tiles.
        patience: stop after so many looks without a lower validation loss, and give the weights of
            the best look back, as ``fit`` does; None trains to the end and keeps the last.
    """

    tasks: tuple[str, ...] = NAMES
    balance: str | Mapping[str, float] = "equal"
    widths: tuple[int, ...] = (16, 32, 64, 128)
    crop: int = 128
    batch: int = 16
    steps: int = 400
    lr: float = 2e-3
    weight_decay: float = 1e-4
    max_norm: float = 1.0
    ema: float = 0.98
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    precision: str = "32-true"
    channels_last: bool = False
    compile: bool = False
    evaluate_every: int = 100
    patience: int | None = None

    def __post_init__(self) -> None:
        for name in ("crop", "batch", "steps", "evaluate_every"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be a whole number of at least 1; found {getattr(self, name)!r}"
                )
        if not 0 <= self.ema < 1 or self.lr <= 0 or self.max_norm <= 0:
            raise ValueError(
                "ema must lie in 0 <= ema < 1, lr and max_norm above 0; found "
                f"ema={self.ema}, lr={self.lr}, max_norm={self.max_norm}"
            )
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision must be one of {', '.join(PRECISIONS)}; found {self.precision!r}"
            )
        make_tasks(self.tasks)

    def but(self, **changes: Any) -> Settings:
        """Give the same settings with some changed."""
        return replace(self, **changes)


@dataclass
class Log:
    """What happened; lists have one entry a look at the validation tiles.

    Attributes:
        steps: after how many steps.
        train: mean training loss by task since the last look.
        valid: validation loss by task, with the averaged weights.
        stopped_early: whether patience ran out.
        resumed_from: steps read from a checkpoint instead of run.
        seconds: of training in this process, looks and saving left out.
        pictures: crops trained on in this process.
    """

    steps: list[int] = field(default_factory=list)
    train: dict[str, list[float]] = field(default_factory=dict)
    valid: dict[str, list[float]] = field(default_factory=dict)
    stopped_early: bool = False
    resumed_from: int = 0
    seconds: float = 0.0
    pictures: int = 0

    @property
    def best(self) -> int | None:
        """The number of the look with the lowest sum of validation losses."""
        sums = [sum(v[i] for v in self.valid.values()) for i in range(len(self.steps))]
        return sums.index(min(sums)) if sums else None


def train(
    settings: Settings,
    data: Tiles,
    valid: Tiles | None = None,
    *,
    folder: str | Path | None = None,
    save_every: int = 100,
    fabric: Fabric | None = None,
    progress: bool | None = None,
) -> tuple[NucleiNet, Log]:
    """Train one network and give it back with its averaged weights.

    Args:
        settings: see there.
        data: tiles to cut crops from; they are moved to the device once.
        valid: tiles to look at now and then.
        folder: where ``checkpoint.pt`` and TensorBoard's files go; a run that finds its own
            checkpoint there goes on from it.
        save_every: steps between two checkpoints.
        fabric: says on which devices, and how many; one process on the processor when left out.
        progress: show a bar with the time left; by default only where a person looks.

    Returns:
        The network, in evaluation mode and on the processor, and the log.

    Raises:
        ValueError: the checkpoint belongs to other settings or data, or cannot be read.
        FloatingPointError: a loss is no longer a finite number.
        OSError: the folder cannot be written to.
    """
    fabric = fabric or Fabric(accelerator="cpu", devices=1, precision=settings.precision)
    if settings.batch % fabric.world_size:
        raise ValueError(
            f"a batch of {settings.batch} crops cannot be shared out to {fabric.world_size} "
            "processes; choose a multiple"
        )
    given = fabric._precision.precision
    if given != settings.precision:
        raise ValueError(
            f"the fabric computes in {given!r}, the settings say {settings.precision!r}; make it "
            f"with Fabric(precision={settings.precision!r})"
        )
    if fabric.world_size > 1 and _takes_gradients_itself(settings):
        raise ValueError(
            f"balance={settings.balance!r} takes the tasks' gradients by itself, which several "
            "processes do not share; use a weighted sum, or one process"
        )
    run = _Run(settings, data, valid, fabric)
    folder = None if folder is None else Path(folder).expanduser()
    path = None if folder is None else folder / "checkpoint.pt"
    if path is not None and path.exists():
        run.load(path)
    writer = _writer(folder, run.step) if folder is not None and fabric.is_global_zero else None
    wanted = "JPY_SESSION_NAME" in os.environ or sys.stderr.isatty()
    bar = tqdm(
        total=settings.steps,
        initial=run.step,
        disable=not (wanted if progress is None else progress) or not fabric.is_global_zero,
        desc="step",
        leave=False,
    )
    while run.step < settings.steps and not run.log.stopped_early:
        losses = run.one_step()
        bar.update()
        if run.step % settings.evaluate_every == 0 or run.step == settings.steps:
            run.look(writer)
            bar.set_postfix(loss=f"{sum(losses.tolist()):.3f}")
        if path is not None and (run.step % save_every == 0 or run.step == settings.steps):
            run.save(path)
    bar.close()
    if writer is not None:
        writer.close()
    model = NucleiNet(settings.tasks, settings.widths)
    model.load_state_dict(run.best or run.average.module.state_dict())
    return model.eval(), run.log


class _Cast(nn.Module):
    """Run a network in the precision of a fabric; what it shares is still asked of the network."""

    def __init__(self, plain: NucleiNet, fabric: Fabric, compile: bool) -> None:
        super().__init__()
        self.plain, self.fabric = plain, fabric
        self.run = torch.compile(plain) if compile else plain
        self.shared_parameters, self.task_parameters = (
            plain.shared_parameters,
            plain.task_parameters,
        )

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        with self.fabric.autocast():
            return self.run(pictures)


class _Run:
    """Everything that changes while a network trains."""

    def __init__(
        self, settings: Settings, data: Tiles, valid: Tiles | None, fabric: Fabric
    ) -> None:
        self.settings, self.fabric = settings, fabric
        self.tasks = make_tasks(settings.tasks)
        self.generator = torch.Generator().manual_seed(settings.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = NucleiNet(settings.tasks, settings.widths)
        if settings.channels_last:
            network = network.to(memory_format=torch.channels_last)
        network = network.to(fabric.device)
        self.balance: Balance = make_balance(settings.balance, self.tasks).to(fabric.device)
        decay = settings.weight_decay
        optimizer = clipped("adamw", lr=settings.lr, max_norm=settings.max_norm)(
            optimizer_groups(network, self.balance)
        )
        optimizer.param_groups[0]["weight_decay"] = decay
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
        self.plain = network
        self.network: nn.Module = _Cast(network, fabric, settings.compile)
        self.optimizer = optimizer
        if fabric.world_size > 1:
            self.network = nn.parallel.DistributedDataParallel(self.network)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: _rate(step, settings.steps)
        )
        self.data = data.to(fabric.device)
        self.valid = None if valid is None else valid.to(fabric.device)
        self.step, self.log = 0, Log()
        self.sums = torch.zeros(len(self.tasks), dtype=torch.float64)
        self.since = 0
        self.fingerprint = [_fingerprint(part) for part in (data, valid) if part is not None]
        self.order: list[int] = []
        self.best: dict[str, Tensor] | None = None  # with patience, the weights of the best look

    def one_step(self) -> Tensor:
        """Cut a batch, take a step; give the task losses [K]."""
        begun = time.perf_counter()
        share = self.settings.batch // self.fabric.world_size
        first = self.fabric.global_rank * share
        pictures, targets = make_batch(
            self.data,
            self.deal(),
            self.settings.crop,
            self.generator,
            self.settings.augmentation,
            rows=slice(first, first + share),
        )
        if self.settings.channels_last:
            pictures = pictures.to(memory_format=torch.channels_last)
        self.network.train()
        losses = take_step(
            self.network, self.balance, self.optimizer, self.tasks, pictures, targets,
            {"step": self.step, "epoch": self.step, "steps_per_epoch": 1},
        )  # fmt: skip
        self.schedule.step()
        self.average.update_parameters(self.plain)
        self.step += 1
        self.sums += losses.detach().cpu().double()
        self.since += 1
        self.log.pictures += self.settings.batch
        self.log.seconds += time.perf_counter() - begun
        return losses

    def deal(self) -> Tensor:
        """Give the tiles of the next batch: every tile once before any comes again."""
        while len(self.order) < self.settings.batch:
            self.order += torch.randperm(len(self.data), generator=self.generator).tolist()
        chosen, self.order = (
            self.order[: self.settings.batch],
            self.order[self.settings.batch :],
        )
        return torch.tensor(chosen)

    def look(self, writer: Any) -> None:
        """Note the training losses since the last look, and measure the validation tiles."""
        names = [task.name for task in self.tasks]
        means = (self.sums / max(self.since, 1)).tolist()
        if not all(map(math.isfinite, means)):
            raise FloatingPointError(
                f"by step {self.step} the training losses of {names} are {means}; lower the "
                f"learning rate (now {self.settings.lr:g})"
            )
        self.sums.zero_()
        self.since = 0
        self.log.steps.append(self.step)
        for name, value in zip(names, means, strict=True):
            self.log.train.setdefault(name, []).append(value)
        if self.valid is not None:
            losses = validation_losses(self.average.module, self.tasks, self.valid)
            for name, value in losses.items():
                self.log.valid.setdefault(name, []).append(value)
            behind = len(self.log.steps) - 1 - (self.log.best or 0)
            patience = self.settings.patience
            if patience is not None and behind == 0:
                state = self.average.module.state_dict()
                self.best = {name: value.detach().cpu().clone() for name, value in state.items()}
            self.log.stopped_early = patience is not None and behind >= patience
        if writer is not None:
            for kind, values in (("train", self.log.train), ("valid", self.log.valid)):
                for name, series in values.items():
                    writer.add_scalar(f"{kind}/{name}", series[-1], self.step)
            writer.add_scalar("learning rate", self.schedule.get_last_lr()[0], self.step)
            writer.flush()

    def save(self, path: Path) -> None:
        """Write the whole state, or leave the old file as it was; only the first process does."""
        if not self.fabric.is_global_zero:
            return
        state = {
            "format": _FORMAT,
            "settings": _plain_settings(self.settings),
            "data": self.fingerprint,
            "step": self.step,
            "model": self.plain.state_dict(),
            "average": self.average.state_dict(),
            "balance": self.balance.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "random": torch.get_rng_state(),
            "order": self.order,
            "sums": self.sums,
            "since": self.since,
            "best": self.best,
            "log": asdict(self.log),
        }
        buffer = io.BytesIO()
        torch.save(plain(state), buffer)
        files.write_whole(path, buffer.getvalue())

    def load(self, path: Path) -> None:
        """Take over the state of a checkpoint of the same run."""
        try:
            state = read_state(path.read_bytes())
        except ValueError as error:
            raise ValueError(
                f"{path} cannot be read as a checkpoint ({error}); it is cut short, damaged or "
                "something else: to start afresh, give another folder"
            ) from error
        if not isinstance(state, dict) or state.get("format") != _FORMAT:
            raise ValueError(f"{path} is no checkpoint of this study; give another folder")
        mine = {"settings": _plain_settings(self.settings), "data": self.fingerprint}
        for key, value in mine.items():
            if state[key] != value:
                raise ValueError(
                    f"{path} belongs to a run with other {key}: {_differences(state[key], value)}. "
                    "Give this run another folder, or delete that one"
                )
        self.plain.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.balance.load_state_dict(state["balance"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["random"])
        self.step, self.order = state["step"], state["order"]
        self.sums, self.since, self.best = state["sums"], state["since"], state["best"]
        self.log = Log(**state["log"])
        self.log.resumed_from = self.step
        self.log.seconds, self.log.pictures = 0.0, 0


@torch.no_grad()
def validation_losses(model: nn.Module, tasks: Any, valid: Tiles, batch: int = 16) -> dict:
    """Give the mean loss of every task over tiles as they are: {task name: loss}."""
    was_training = model.training
    model.eval()
    sums = torch.zeros(len(tasks), dtype=torch.float64)
    for first in range(0, len(valid), batch):
        part = valid.subset(torch.arange(first, min(first + batch, len(valid))))
        pictures, targets = plain_batch(part)
        losses = task_losses(model(pictures), targets, tasks)
        sums += losses.detach().cpu().double() * len(part)
    model.train(was_training)
    return {t.name: float(v) / len(valid) for t, v in zip(tasks, sums, strict=True)}


def _fingerprint(part: Tiles) -> str:
    """Give a hash of tiles, so that a run is not resumed on others."""
    found = hashlib.sha256()
    for tensor in (part.images, part.labels, part.distance, part.modality):
        found.update(f"{tuple(tensor.shape)}".encode())
        found.update(tensor.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _takes_gradients_itself(settings: Settings) -> bool:
    return isinstance(make_balance(settings.balance, make_tasks(settings.tasks)), GradientBalance)


def _rate(step: int, steps: int) -> float:
    """Give the learning rate's share: up over a twentieth, down along a half cosine."""
    warm = max(steps // 20, 1)
    if step < warm:
        return (step + 1) / warm
    along = (step - warm) / max(steps - warm, 1)
    return 0.01 + 0.99 * (1 + math.cos(math.pi * min(along, 1.0))) / 2


def _plain_settings(settings: Settings) -> dict[str, Any]:
    """Give the settings as plain data, as a checkpoint keeps them."""
    found = plain(asdict(settings))
    found["balance"] = str(settings.balance)
    return {key: list(v) if isinstance(v, tuple) else v for key, v in found.items()}


def _differences(theirs: Any, mine: Any) -> str:
    if not isinstance(theirs, dict):
        return "its tiles are others"
    keys = [key for key in mine if theirs.get(key) != mine[key]]
    return ", ".join(f"{key} is {theirs.get(key)!r} there, {mine[key]!r} here" for key in keys)


def _writer(folder: str | Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(Path(folder) / "tensorboard"), purge_step=step or None)
