"""Run the nuclei study without a notebook: ``python -m mtl_helpers.case_study --help``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from lightning_fabric import Fabric

from mtl_helpers.case_study import (
    batches,
    evaluate,
    instances,
    model,
    scores,
    speed,
    study,
    targets,
    tasks,
    train,
)  # fmt: skip
from mtl_helpers.case_study import nuclei as nuclei_module
from mtl_helpers.case_study.study import PROFILES, QUESTIONS, read_runs, run_questions
from mtl_helpers.teaching.recorded import origin_of, record

CODE = [nuclei_module, batches, evaluate, instances, model, scores, study, targets, tasks, train]
SPEED_CODE = [nuclei_module, batches, model, speed, targets, tasks, train]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mtl_helpers.case_study", description=__doc__)
    parser.add_argument(
        "--profile", choices=PROFILES, default="quick", help="how large (default: quick)"
    )
    parser.add_argument(
        "--question",
        choices=QUESTIONS,
        action="append",
        help="what to answer; may come several times (default: all, by priority)",
    )
    parser.add_argument("--seeds", type=_seeds, help="0-4 or 0,3,7 (default: the profile's)")
    parser.add_argument(
        "--out",
        type=lambda text: Path(text).expanduser(),
        default=Path("runs/nuclei"),
        help="folder of the runs (%(default)s)",
    )
    parser.add_argument("--minutes", type=float, help="start no run after so many minutes")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to train"
    )
    parser.add_argument(
        "--devices", type=int, default=1, help="GPUs, or processes, that share each batch"
    )
    parser.add_argument(
        "--speed", action="store_true", help="measure how fast training is, and answer nothing"
    )
    parser.add_argument("--download", action="store_true", help="fetch the real pictures")
    parser.add_argument(
        "--record", metavar="NAME", help="write what was found to data/results/NAME.json at the end"
    )
    options = parser.parse_args(arguments)
    profile = PROFILES[options.profile]
    if options.devices < 1:
        parser.error(f"--devices must be at least 1; found {options.devices}")
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.speed:
        for name in ("question", "seeds", "minutes", "out", "devices"):
            if getattr(options, name) != parser.get_default(name):
                parser.error(f"--speed measures one process and runs no study; leave out --{name}")
        return _speed(options, profile)
    fabric = Fabric(
        accelerator=options.device,
        devices=options.devices,
        strategy="ddp" if options.devices > 1 else "auto",
        precision=profile.settings.precision,
    )
    fabric.launch()
    questions = options.question or QUESTIONS
    until = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    origin = origin_of(CODE)
    try:
        path = run_questions(
            questions,
            profile,
            options.out / options.profile,
            fabric=fabric,
            seeds=options.seeds,
            until=until,
            download=options.download,
        )
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not fabric.is_global_zero:
        return 0
    rows = [row for row in read_runs(path) if row["question"] in questions]
    print(f"{len(rows)} runs in {path}")
    if options.record and rows:
        written = record(
            options.record,
            question="What do auxiliary tasks bring to finding and separating nuclei?",
            configuration={"profile": options.profile, **asdict(profile)},
            seeds=sorted({row["seed"] for row in rows}),
            rows=rows,
            code=CODE,
            origin=origin,
        )
        print(f"recorded in {written}")
    return 0


def _speed(options: argparse.Namespace, profile: study.Profile) -> int:
    """Measure the speed of training; give the exit status."""
    if options.device == "cuda" and not torch.cuda.is_available():
        print("error: --device cuda: PyTorch finds no GPU here", file=sys.stderr)
        return 1
    count, settings = speed.Count.usual(options.device), profile.settings
    origin = origin_of(SPEED_CODE)
    try:
        data = study.prepare(profile, download=options.download)
        rows = speed.measure_speed(
            settings,
            data.training_tiles(1.0, settings.seed),
            options.device,
            count=count,
            compiled=options.device == "cuda" or options.profile == "quick",
        )
        if options.record:
            written = record(
                options.record,
                question="What makes training faster, and by how much?",
                configuration={
                    "profile": options.profile,
                    "warm_up_steps": count.warm_up,
                    "timed_steps": count.steps,
                    "workers": count.workers,
                    "threads": torch.get_num_threads(),
                    "peaks": speed.PEAKS,
                    **asdict(profile),
                },
                seeds=[settings.seed],
                rows=rows,
                code=SPEED_CODE,
                origin=origin,
            )
            print(f"recorded in {written}")
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _seeds(text: str) -> list[int]:
    """Read 0-4 or 0,3,7."""
    try:
        if "-" in text:
            first, last = map(int, text.split("-"))
            found = list(range(first, last + 1))
        else:
            found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 0:
        raise argparse.ArgumentTypeError(f"seeds look like 0-4 or 0,3,7; found {text!r}")
    return found


if __name__ == "__main__":
    sys.exit(main())
