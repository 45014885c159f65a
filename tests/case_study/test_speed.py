"""How fast the nuclei network trains: the naive crops, the rows, the share of the peak."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from mtl_helpers.case_study import speed, study, targets
from mtl_helpers.case_study.__main__ import main
from mtl_helpers.case_study.batches import Augmentation, make_batch, tiles
from mtl_helpers.case_study.model import NAMES, NucleiNet
from mtl_helpers.case_study.nuclei import draw_nuclei
from mtl_helpers.case_study.speed import Count, OneByOne, measure_speed, share_of_peak
from mtl_helpers.case_study.train import Settings

TINY = Settings(widths=(8, 16), crop=16, batch=2, augmentation=Augmentation(noise=0))
FEW = Count(warm_up=1, steps=2, workers=0)
FIELDS = {
    "step", "device", "pictures_per_second", "seconds", "times_the_first", "peak_memory_mib",
    "flops_per_picture", "share_of_peak", "note",
}  # fmt: skip


@pytest.fixture(scope="module")
def cut():
    return tiles(draw_nuclei(9, 48, seed=2), 48)


@pytest.fixture
def no_compiler(monkeypatch):
    def refuse(network):
        raise RuntimeError("no compiler found\nand more")

    monkeypatch.setattr(torch, "compile", refuse)


def batch_of_one(cut, naive, k):
    generator = torch.Generator().manual_seed(naive.settings.seed + k)
    chosen = torch.tensor([naive.order[k % len(cut)]])
    settings = naive.settings
    return make_batch(cut, chosen, settings.crop, generator, settings.augmentation)


@pytest.mark.parametrize("crop", [16, 32, 48])
def test_naive_crops_are_those_of_a_batch(cut, crop):
    """The same places, turns and colours; only the distance is measured again after moving."""
    naive = OneByOne(cut, TINY.but(crop=crop, seed=3), 12)
    assert len(naive) == 12 and sorted(naive.order) == list(range(9))
    for k in range(12):
        picture, its = naive[k]
        pictures, theirs = batch_of_one(cut, naive, k)
        assert picture.dtype == pictures.dtype and picture.shape == pictures.shape[1:]
        assert list(its) == list(theirs) == list(NAMES)
        for name in NAMES:
            assert its[name].dtype == theirs[name].dtype, name
            assert its[name].shape == theirs[name].shape[1:], name
        # where a place lies between two pixels, they may round it differently
        assert (picture - pictures[0]).abs().mean() < 1e-3
        for name in ("foreground", "boundary"):
            assert (its[name] != theirs[name][0]).float().mean() < 0.01
        assert abs(its["count"] - theirs["count"][0]) <= 1
        assert its["modality"] == theirs["modality"][0]
        assert (its["distance"] - theirs["distance"][0]).abs().mean() < 0.2


def test_naive_crops_come_in_batches_and_again(cut):
    naive = OneByOne(cut, TINY.but(augmentation=Augmentation(noise=0.3)), 4)
    pictures, its = next(iter(torch.utils.data.DataLoader(naive, 4)))
    _, theirs = make_batch(cut, torch.arange(4), 16, torch.Generator())
    assert {name: (x.shape, x.dtype) for name, x in its.items()} == {
        name: (x.shape, x.dtype) for name, x in theirs.items()
    }
    assert torch.equal(naive[3][0], pictures[3])
    still = OneByOne(cut, TINY, 4)
    assert not torch.equal(still[3][0], pictures[3])
    assert torch.equal(still[3][1]["boundary"], its["boundary"][3])
    grey = [k for k in range(4) if cut.modality[naive.order[k]] != 1]
    assert all(torch.equal(pictures[k, 0], pictures[k, 2]) for k in grey) and grey


def test_borders_are_those_of_the_targets():
    rng = np.random.default_rng(0)
    for high in range(1, 9):
        number = rng.integers(0, 4, (high, 7)) * rng.integers(0, 2, (high, 7))
        expected = targets.boundary(torch.from_numpy(number)[None])[0, 0].bool().numpy()
        np.testing.assert_array_equal(speed._boundary(number), expected)


def test_operations_by_hand():
    settings = Settings(widths=(8, 16), crop=16)
    network, total = NucleiNet(NAMES, settings.widths), 0

    def add(module, inputs, output):
        nonlocal total
        count = 2 * module.weight.numel() * (output[0, 0].numel() if output.dim() == 4 else 1)
        # backward: as much for the weights, and as much for the inputs unless they are the picture
        total += count * (2 if inputs[0].shape[1] == 3 else 3)

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    network(torch.zeros(1, 3, 16, 16))
    assert speed.flops_per_picture(settings) == total


def test_share_of_the_peak(monkeypatch):
    monkeypatch.setattr(speed, "PEAKS", {"X1 fast": {"bf16": 50.0}, "X1": {"bf16": 20.0}})
    assert share_of_peak(5e12, "Maker X1", "bf16") == 0.25
    assert share_of_peak(5e12, "Maker X1 fast", "bf16") == 0.1
    for part in ("Maker X1 MIG 1g.18gb", "Maker X1 NVL", "Maker Y", "cpu"):
        assert share_of_peak(5e12, part, "bf16") is None


def test_every_stated_peak_knows_every_kind():
    kinds = {speed._kind(TINY), speed._kind(TINY.but(precision="bf16-mixed"))}
    assert kinds <= {"bf16", "tf32", "fp32"} and "bf16" in kinds
    for peak in speed.PEAKS.values():
        assert peak["bf16"] > peak["tf32"] > peak["fp32"]
    assert share_of_peak(494.7e12, "NVIDIA H200", "bf16") == pytest.approx(0.5)


def test_rows_are_complete(cut, monkeypatch):
    compiled, lines = [], []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)
    rows = measure_speed(TINY, cut, "cpu", count=FEW, say=lines.append)
    assert [row["step"] for row in rows] == [step for step, _ in speed.STEPS]
    assert len(compiled) == 1 and "naive" in lines[0] and len(lines) == 5
    for row in rows:
        assert set(row) == FIELDS and row["device"] == "cpu" and row["note"] == ""
        assert row["seconds"] > 0 and row["pictures_per_second"] > 0
        assert row["flops_per_picture"] == speed.flops_per_picture(TINY)
        assert row["peak_memory_mib"] is None and row["share_of_peak"] is None
        expected = row["pictures_per_second"] / rows[0]["pictures_per_second"]
        assert row["times_the_first"] == pytest.approx(expected)
    json.dumps(rows, allow_nan=False)


def test_each_step_keeps_the_changes_before_it(cut, monkeypatch):
    asked = []

    def time(settings, data, device, count, *, naive):
        asked.append((naive, settings.channels_last, settings.precision, settings.compile))
        return [0.5, 0.1, 0.3], None

    monkeypatch.setattr(speed, "_time", time)
    start = TINY.but(channels_last=True, precision="bf16-mixed", compile=True)
    rows = measure_speed(start, cut, "cpu", count=FEW, say=lambda line: None)
    assert asked == [
        (True, False, "32-true", False),
        (False, False, "32-true", False),
        (False, True, "32-true", False),
        (False, True, "bf16-mixed", False),
        (False, True, "bf16-mixed", True),
    ]
    assert rows[0]["seconds"] == 0.3 and rows[0]["pictures_per_second"] == pytest.approx(6 / 0.9)


def test_what_is_not_measured_says_so(cut, no_compiler):
    for compiled, note in ((False, "compiling pays on a GPU"), (True, "RuntimeError: no compiler")):
        *others, row = measure_speed(TINY, cut, "cpu", count=FEW, compiled=compiled, say=str)
        assert note in row["note"] and "\n" not in row["note"] and set(row) == FIELDS
        assert row["seconds"] is None is row["times_the_first"]
        assert all(other["note"] == "" for other in others)


def test_other_errors_are_no_missing_measurement(cut, monkeypatch):
    def broken(*ways, **more):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(speed, "_time", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        measure_speed(TINY, cut, "cpu", count=FEW)


def test_a_gpu_is_measured_longer():
    few, many = Count.usual("cpu"), Count.usual("cuda")
    assert many.steps > few.steps and 1 <= few.workers == many.workers <= 16
    assert few.warm_up > 2 * few.workers  # what the workers made before the clock started is gone


def test_the_command(tmp_path, monkeypatch, capsys, no_compiler):
    tiny = study.Profile("synthetic", TINY, tile=48, seeds=2, images=9, size=48)
    monkeypatch.setitem(study.PROFILES, "quick", tiny)
    monkeypatch.setattr(speed.Count, "usual", lambda device: FEW)
    monkeypatch.setattr("mtl_helpers.teaching.recorded.results_folder", lambda: tmp_path)
    assert main(["--speed", "--device", "cpu", "--record", "10_speed"]) == 0
    said = capsys.readouterr().out
    assert "1.00 times the first" in said and "recorded in" in said
    written = json.loads((tmp_path / "10_speed.json").read_text())
    assert len(written["rows"]) == 5 and written["code"][3] == "mtl_helpers.case_study.speed"
    assert written["configuration"]["timed_steps"] == 2
    assert written["configuration"]["warm_up_steps"] == 1
    assert main(["--speed", "--device", "cpu", "--record", "No name"]) == 1
    assert "error: a result is named with lower-case" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more",
    [["--question", "sets"], ["--seeds", "0"], ["--minutes", "1"], ["--devices", "2"],
     ["--out", "x"]],
)  # fmt: skip
def test_options_that_speed_has_no_use_for(more, capsys):
    with pytest.raises(SystemExit):
        main(["--speed", "--device", "cpu", *more])
    assert f"leave out {more[0]}" in capsys.readouterr().err


def test_speed_without_what_it_needs(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MTL_DATA", str(tmp_path))
    assert main(["--speed", "--profile", "full", "--device", "cpu"]) == 1
    assert "error:" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--speed", "--device", "cuda"]) == 1
    assert "finds no GPU here" in capsys.readouterr().err
