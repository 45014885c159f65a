"""The questions of the study, in order of priority, and the runs that answer them.

Each run is one arm with one seed. Results are added to ``runs.jsonl`` as each run ends, so that a
study that is stopped has kept what it had, and goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from mtl_helpers import files
from mtl_helpers.case_study import batches, instances, model, scores, targets, tasks
from mtl_helpers.case_study import evaluate as evaluate_module
from mtl_helpers.case_study import nuclei as nuclei_module
from mtl_helpers.case_study import train as train_module
from mtl_helpers.case_study.batches import Tiles, tiles
from mtl_helpers.case_study.evaluate import choose_levels, evaluate, summarise
from mtl_helpers.case_study.instances import otsu_mask
from mtl_helpers.case_study.model import NAMES, NucleiNet
from mtl_helpers.case_study.nuclei import MODALITIES, Nuclei, nuclei
from mtl_helpers.case_study.train import Settings, train
from mtl_helpers.teaching.recorded import code_hash

QUESTIONS = ("sets", "which", "budget", "labels", "weighting")


@dataclass(frozen=True)
class Profile:
    """How large a study is.

    Attributes:
        source: of ``datasets.nuclei``.
        images: pictures drawn, for the synthetic source.
        size: of a drawn picture, in pixels.
        tile: size of a tile, in pixels.
        settings: of every run, but for what an arm changes.
        seeds: how many.
        most_tests: at most so many test pictures are measured; None for all.
        most_valid: at most so many validation tiles are looked at while training, and at most so
            many validation pictures when the levels of the markers are chosen; None for all.
    """

    source: str
    settings: Settings
    tile: int
    seeds: int
    images: int = 60
    size: int = 128
    most_tests: int | None = None
    most_valid: int | None = None


PROFILES = {
    "quick": Profile(
        "synthetic",
        Settings(widths=(8, 16, 32), crop=64, batch=8, steps=60, lr=4e-3, ema=0.9),
        tile=96,
        seeds=1,
        images=30,
        size=96,
    ),
    "reduced": Profile(
        "bbbc038",
        Settings(
            widths=(8, 16, 32, 64),
            crop=96,
            batch=4,
            steps=500,
            lr=1.2e-2,
            ema=0.98,
            evaluate_every=500,
        ),
        tile=256,
        seeds=5,
        most_tests=60,
        most_valid=24,
    ),
    "full": Profile(
        "bbbc038",
        Settings(
            widths=(32, 64, 128, 256),
            crop=256,
            batch=32,
            steps=3000,
            ema=0.995,
            precision="bf16-mixed",
            channels_last=True,
            evaluate_every=500,
        ),
        tile=384,
        seeds=5,
    ),
}


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: what it is called.
        networks: the tasks of each network; several where each task has its own; none for the
            thresholds and floods of ``instances.classical``.
        changes: settings that differ from the profile's.
        labels: share of the training slides that is used.
    """

    name: str
    networks: tuple[tuple[str, ...], ...]
    changes: dict[str, Any] = field(default_factory=dict)
    labels: float = 1.0


def arms(question: str, settings: Settings) -> list[Arm]:
    """Give the arms that answer a question.

    Raises:
        ValueError: an unknown question.
    """
    mask, every = ("foreground",), NAMES
    others = NAMES[1:]
    whole = Arm("all five tasks", (every,))
    alone = Arm("mask alone", (mask,))
    single = Arm("single-task networks", tuple((name,) for name in NAMES))
    if question == "sets":
        return [Arm("without learning", ()), whole, alone, single]
    if question == "which":
        left_out = [
            Arm(f"without {name}", (tuple(n for n in NAMES if n != name),)) for name in others
        ]
        subsets = [
            Arm(" + ".join(("foreground", *some)), ((*mask, *some),))
            for count in range(1, len(others) - 1)
            for some in combinations(others, count)
        ]
        return [whole, alone, *left_out, *subsets]
    if question == "budget":
        # a network with one head takes a step in about 4/5 of the time of one with five
        share = max(1, settings.steps // 4)
        # the average of the weights must forget the start within fewer steps, too
        hurried = {"steps": share, "ema": settings.ema**4}
        thin = thinner(settings.widths)
        return [
            whole,
            single,
            Arm("single-task networks, equal time", single.networks, hurried),
            Arm("single-task networks, equal parameters", single.networks, {"widths": thin}),
        ]
    if question == "labels":
        return [
            Arm(f"{arm.name}, {share:.0%} of the slides", arm.networks, labels=share)
            for share in (0.05, 0.1, 0.25, 1.0)
            for arm in (whole, alone)
        ]
    if question == "weighting":
        by_hand = {  # before any result was seen
            "foreground": 1.0, "boundary": 0.5, "distance": 2.0, "count": 0.5, "modality": 0.5,
        }  # fmt: skip
        tuned = {  # the best of seven settings on the validation pictures, profile "reduced"
            "foreground": 1.0, "boundary": 3.0, "distance": 0.3, "count": 0.3, "modality": 1.0,
        }  # fmt: skip
        return [
            whole,
            Arm("weights by hand", (every,), {"balance": by_hand}),
            Arm("weights tuned", (every,), {"balance": tuned}),
            Arm("uncertainty", (every,), {"balance": "uncertainty"}),
            Arm("aligned_mtl", (every,), {"balance": "aligned_mtl"}),
        ]
    raise ValueError(f"unknown question {question!r}; use one of {', '.join(QUESTIONS)}")


def thinner(widths: Sequence[int]) -> tuple[int, ...]:
    """Give widths with which single-task networks have about as many parameters as one for all.

    Each width is divided by the square root of the number of tasks; the deepest, which has most of
    the parameters, is then the multiple of 8 that comes nearest.
    """
    flat = tuple(max(8, round(w / len(NAMES) ** 0.5 / 8) * 8) for w in widths[:-1])
    wanted = _parameters(NAMES, widths)

    def missed_by(deepest: int) -> int:
        return abs(sum(_parameters((name,), (*flat, deepest)) for name in NAMES) - wanted)

    return (*flat, min(range(8, widths[-1] + 1, 8), key=missed_by))


def _parameters(names: Sequence[str], widths: Sequence[int]) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in NucleiNet(names, widths).parameters())


@dataclass(frozen=True)
class Prepared:
    """The pictures of a study, split.

    Attributes:
        train: pictures to train on.
        valid: tiles to look at while training.
        chosen_on: validation pictures, for the levels of the markers.
        test: pictures to measure.
        tile: size of the training tiles, in pixels.
    """

    train: Nuclei
    valid: Tiles
    chosen_on: Nuclei
    test: Nuclei
    tile: int

    def training_tiles(self, share: float, seed: int) -> Tiles:
        """Cut the pictures of a drawn share of the training slides; a larger share holds a smaller.

        Args:
            share: of the groups of pictures, above 0 up to 1; at least one group is kept.
            seed: of the draw.
        """
        groups = sorted(set(self.train.groups))
        order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed)).tolist()
        kept = {groups[i] for i in order[: max(1, round(share * len(groups)))]}
        rows = [i for i, group in enumerate(self.train.groups) if group in kept]
        return tiles(self.train.subset(rows), self.tile)


def prepare(profile: Profile, *, download: bool = False) -> Prepared:
    """Read or draw the pictures of a profile, split them by slide, and cut tiles.

    Raises:
        FileNotFoundError: the real pictures are not there, and others as ``nuclei`` raises.
    """
    data = nuclei(profile.source, images=profile.images, size=profile.size, download=download)
    one, two, three = data.split()
    looked_at = tiles(two, profile.tile)
    if profile.most_valid is not None:
        step = max(len(looked_at) // profile.most_valid, 1)
        looked_at = looked_at.subset(torch.arange(0, len(looked_at), step)[: profile.most_valid])
    chosen_on, test = _spread(two, profile.most_valid), _spread(three, profile.most_tests)
    return Prepared(one, looked_at, chosen_on, test, profile.tile)


def _spread(data: Nuclei, most: int | None) -> Nuclei:
    """Give at most so many pictures, spread evenly over all."""
    if most is None or len(data) <= most:
        return data
    return data.subset(int(i * len(data) / most) for i in range(most))


def run_arm(
    arm: Arm,
    seed: int,
    settings: Settings,
    data: Prepared,
    *,
    fabric: Fabric | None = None,
    trained: dict[Any, Any] | None = None,
) -> tuple[dict[str, Any], list[NucleiNet]]:
    """Train and measure one arm with one seed.

    Args:
        arm: what to train.
        seed: of the initial weights, the crops, and the share of slides.
        settings: of the profile.
        data: the pictures.
        fabric: where to train.
        trained: networks by what decides them; one that is there is not trained again (the network
            for the mask is the same in "mask alone" and among the single-task networks).

    Returns:
        A row of plain numbers: ``"arm"``, ``"seed"``, ``"parameters"``, ``"steps"`` (over all its
        networks), ``"seconds"`` of training, ``"levels"`` of the markers, and ``"all"`` and each
        modality as ``evaluate.summarise`` gives them; and the networks.
    """
    networks, seconds, steps = [], 0.0, 0
    if not arm.networks:
        return _measured(arm, seed, _without_learning, data, steps, seconds), networks
    pieces = data.training_tiles(arm.labels, seed)
    kept = {} if trained is None else trained
    for names in arm.networks:
        mine = settings.but(**{**arm.changes, "tasks": names, "seed": seed})
        key = (str(mine), arm.labels)
        if key not in kept:
            kept[key] = train(mine, pieces, data.valid, fabric=fabric)
        network, log = kept[key]
        networks.append(network)
        seconds += log.seconds
        steps += mine.steps
    device = "cpu" if fabric is None else fabric.device
    there = [network.to(device) for network in networks]
    return _measured(arm, seed, there, data, steps, seconds), networks


def _without_learning(picture: Tensor) -> dict[str, Tensor]:
    return {"foreground": torch.from_numpy(otsu_mask(picture)).float()}


def _measured(
    arm: Arm, seed: int, models: Any, data: Prepared, steps: int, seconds: float
) -> dict[str, Any]:
    """Choose the markers' levels on validation pictures, measure the test pictures."""
    levels = choose_levels(models, data.chosen_on)
    rows = evaluate(models, data.test, levels=levels)
    networks = [] if callable(models) else models
    there = [kind for kind in MODALITIES if any(row["modality"] == kind for row in rows)]
    return {
        "arm": arm.name,
        "seed": seed,
        "parameters": sum(p.numel() for network in networks for p in network.parameters()),
        "steps": steps,
        "seconds": round(seconds, 2),
        "levels": levels,
        "all": summarise(rows),
        **{kind: summarise(rows, kind) for kind in there},
    }


def run_questions(
    questions: Sequence[str],
    profile: Profile,
    out: Path,
    *,
    fabric: Fabric | None = None,
    seeds: Sequence[int] | None = None,
    until: float | None = None,
    download: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Answer questions, in the order given; go on where an earlier run stopped.

    All seeds of a question's arms come in turn (seed 0 of every arm, then seed 1 ...), so that a
    study that is stopped has compared like with like as far as it came.

    Args:
        questions: some of ``QUESTIONS``.
        profile: how large.
        out: folder for ``runs.jsonl``.
        fabric: where to train.
        seeds: instead of the profile's 0 to ``profile.seeds`` - 1.
        until: start no further run after this time (``time.monotonic()``).
        download: fetch the real pictures when they are missing.
        say: gets a line a run.

    Returns:
        The path of ``runs.jsonl``: a line a run, with its question.
    """
    path, made = out / "runs.jsonl", _fingerprint(profile)
    strangers = [row["arm"] for row in read_runs(path) if row.get("made") != made]
    if strangers:
        raise ValueError(
            f"{path} holds {len(strangers)} runs of another profile or other code (the first: "
            f"{strangers[0]}); give another folder, or delete that file"
        )
    done = {(row["question"], row["arm"], row["seed"]): row for row in read_runs(path)}
    same = {(arm, seed): row for (_, arm, seed), row in done.items()}
    data, trained, last_seed = prepare(profile, download=download), {}, None
    for question, arm, seed in _in_order(questions, profile, seeds):
        if (question, arm.name, seed) in done:
            continue
        if (arm.name, seed) in same:  # the same arm answers two questions: it is not run twice
            row = {**same[arm.name, seed], "question": question}
        else:
            if until is not None and time.monotonic() > until:
                say("the time is up; the same command goes on from here")
                break
            if seed != last_seed:
                trained.clear()  # other seeds do not need them; they would fill the memory
                last_seed = seed
            row, _ = run_arm(arm, seed, profile.settings, data, fabric=fabric, trained=trained)
            row.update(question=question, made=made)
            same[arm.name, seed] = row
        done[question, arm.name, seed] = row
        if fabric is None or fabric.is_global_zero:
            files.write_whole(path, "".join(json.dumps(r) + "\n" for r in done.values()))
            say(f"{question}: {arm.name}, seed {seed}: {_headline(row)}")
    return path


def _fingerprint(profile: Profile) -> str:
    """Give a hash of what decides the runs: the profile and the code of the study."""
    parts = (batches, evaluate_module, instances, model, scores, targets, tasks, train_module)
    text = repr(profile) + code_hash([nuclei_module, *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _in_order(
    questions: Sequence[str], profile: Profile, seeds: Sequence[int] | None
) -> Iterator[tuple[str, Arm, int]]:
    for question in questions:
        every = arms(question, profile.settings)
        for seed in range(profile.seeds) if seeds is None else seeds:
            for arm in every:
                yield question, arm, seed


def read_runs(path: Path) -> list[dict[str, Any]]:
    """Read what ``run_questions`` wrote; no file is no runs.

    Raises:
        ValueError: a line is no result; the message names it.
    """
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            rows.append(json.loads(line))
            rows[-1]["question"], rows[-1]["arm"], rows[-1]["seed"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"line {number} of {path} is no result of this study ({error}); delete that line"
            ) from error
    return rows


def _headline(row: dict[str, Any]) -> str:
    best = {way: values[0] for way, values in row["all"]["ap"].items()}
    scores = ", ".join(f"{way} {value:.3f}" for way, value in best.items())
    return f"AP at IoU 0.5: {scores or 'no mask'} ({row['seconds']:.0f} s)"
