"""The nuclei network: tiles and crops, training that can be killed, several processes, export."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from mtl_helpers.case_study import batches as crops
from mtl_helpers.case_study import study, targets
from mtl_helpers.case_study.__main__ import main
from mtl_helpers.case_study.batches import Augmentation, make_batch, plain_batch, tiles
from mtl_helpers.case_study.evaluate import (
    calibration,
    choose_levels,
    evaluate,
    possible_ways,
    summarise,
)
from mtl_helpers.case_study.instances import GRID, LEVELS
from mtl_helpers.case_study.model import (
    NAMES,
    NucleiNet,
    as_input,
    predict,
    receptive_field,
    stretched,
)
from mtl_helpers.case_study.nuclei import Nuclei, draw_nuclei
from mtl_helpers.case_study.tasks import LOSSES, make_tasks
from mtl_helpers.case_study.train import Settings, train, validation_losses
from mtl_helpers.training import task_losses

SMALL = Settings(widths=(8, 16), crop=32, batch=4, steps=6, evaluate_every=3, ema=0.5)
SHAPES = {
    "foreground": (2, 1, 16, 24),
    "boundary": (2, 1, 16, 24),
    "distance": (2, 1, 16, 24),
    "count": (2,),
    "modality": (2, 3),
}


@pytest.fixture(scope="module")
def drawn():
    return draw_nuclei(9, 48, seed=2)


@pytest.fixture(scope="module")
def cut(drawn):
    return tiles(drawn, 48)


def network(names=NAMES, seed=0):
    torch.manual_seed(seed)
    return NucleiNet(names, (8, 16))


# ------------------------------------------------------------------------------- tiles and crops


def test_a_picture_is_covered_by_the_fewest_tiles():
    assert crops._starts(256, 256) == [0]
    assert crops._starts(300, 256) == [0, 44] and crops._starts(600, 256) == [0, 172, 344]
    data = draw_nuclei(2, 80, seed=1)
    found = tiles(data, 64)
    assert len(found) == 8 and found.images.shape == (8, 3, 64, 64)
    assert torch.equal(found.labels[3].int(), data.labels[0][16:, 16:])
    assert torch.equal(found.images[1], stretched(data.images[0])[:, :64, 16:])
    assert found.modality.tolist() == [1] * 4 + [0] * 4


def test_a_small_picture_is_mirrored(drawn):
    found = tiles(drawn.subset([0]), 64)
    assert torch.equal(found.labels[0, :48, :48].int(), drawn.labels[0])
    assert torch.equal(found.labels[0, 48:, :48].int(), drawn.labels[0][-17:-1].flip(0))
    with pytest.raises(ValueError, match=r"has 48x48 pixels, too few for tiles of 96; use.*95"):
        tiles(drawn.subset([0]), 96)
    with pytest.raises(ValueError, match="at least one picture; found none"):
        tiles(drawn.subset([]), 64)


def test_crops_as_they_are(cut, drawn):
    pictures, targets = plain_batch(cut)
    torch.testing.assert_close(pictures, as_input(cut.images), atol=1e-4, rtol=0)
    assert torch.equal(targets["foreground"][:, 0], (cut.labels > 0).float())
    assert targets["count"].tolist() == [float(label.max()) for label in drawn.labels]
    torch.testing.assert_close(targets["distance"], cut.distance / 255, atol=1e-4, rtol=0)
    assert pictures.min() >= -1 and pictures.max() <= 1


def test_a_crop_is_a_piece_of_its_tile(cut):
    generator = torch.Generator().manual_seed(5)
    pictures, targets = make_batch(cut, torch.arange(9), 20, generator)
    places = set()
    for picture, mask, tile in zip(pictures, targets["foreground"], cut.images, strict=True):
        windows = as_input(tile).unfold(1, 20, 1).unfold(2, 20, 1).permute(1, 2, 0, 3, 4)
        apart = (windows - picture).abs().amax((2, 3, 4))
        assert apart.min() < 1e-4
        places.add(int(apart.argmin()))
        assert mask.shape == (1, 20, 20)
    assert len(places) == 9  # each at a place of its own


@pytest.mark.parametrize("seed", range(4))
def test_labels_move_with_pixels(seed):
    """Where the picture shows the label itself, it must still do so after any change of place."""
    data = draw_nuclei(6, 64, seed=seed)
    picture = [(label > 0).to(torch.uint8).mul(255).expand(3, -1, -1) for label in data.labels]
    data = Nuclei(data.names, tuple(picture), data.labels, data.groups, data.modalities)
    source = tiles(data, 64)
    how = Augmentation(light=0, noise=0, angle=40, scale=1.5)
    generator = torch.Generator().manual_seed(seed)
    pictures, targets = make_batch(source, torch.arange(6), 48, generator, how)
    mask = (pictures[:, :1] > 0).float()
    assert (mask != targets["foreground"]).float().mean() < 0.03  # half a pixel at the edges
    assert not (targets["distance"] * (1 - targets["foreground"])).any()
    flips = Augmentation(light=0, noise=0, angle=0, scale=1)
    generator = torch.Generator().manual_seed(seed)
    pictures, targets = make_batch(source, torch.arange(6), 48, generator, flips)
    assert torch.equal((pictures[:, :1] > 0).float(), targets["foreground"])  # exact


def test_flips_and_quarter_turns_all_come_and_nothing_else(drawn):
    source = tiles(drawn.subset([1]), 48)
    how = Augmentation(light=0, noise=0, angle=0, scale=1)
    generator = torch.Generator().manual_seed(0)
    pictures, _ = make_batch(source, torch.zeros(80, dtype=torch.long), 48, generator, how)
    whole = as_input(source.images[0])
    eight = [torch.rot90(x, k, (1, 2)) for x in (whole, whole.flip(2)) for k in range(4)]
    found = set()
    for picture in pictures:
        near = [float((picture - one).abs().max()) < 1e-3 for one in eight]
        assert sum(near) == 1
        found.add(near.index(True))
    assert found == set(range(8))


def test_light_and_noise_change_the_picture_and_not_the_targets(cut):
    def batch(**more):
        how = Augmentation(flips=False, angle=0, scale=1, **more)
        return make_batch(cut, torch.arange(9), 48, torch.Generator().manual_seed(1), how)

    plain, targets = batch(light=0, noise=0)
    for more in ({"light": 0.3, "noise": 0}, {"light": 0, "noise": 0.2}):
        other, others = batch(**more)
        assert (plain - other).abs().mean() > 0.01
        assert all(torch.equal(targets[name], others[name]) for name in targets)
    bright, _ = batch(light=0.3, noise=0)
    assert torch.allclose(bright[0], plain[0] * (bright[0].std() / plain[0].std())
                          + bright[0].mean() - plain[0].mean() * (bright[0].std() / plain[0].std()),
                          atol=1e-4)  # fmt: skip


def test_changes_are_drawn_apart_and_grey_stays_grey(drawn, cut):
    grey = [i for i, kind in enumerate(drawn.modalities) if kind != "stained"]
    chosen = torch.tensor((grey * 60)[:300])
    how = Augmentation(light=0, noise=0.5)
    pictures, targets = make_batch(cut, chosen, 32, torch.Generator().manual_seed(0), how)
    assert torch.equal(pictures[:, 0], pictures[:, 1]) and torch.equal(
        pictures[:, 0], pictures[:, 2]
    )
    rough = (pictures[:, 0, 1:] - pictures[:, 0, :-1]).abs().median(1).values.mean(1)
    scale = (targets["foreground"].sum((1, 2, 3)) / targets["count"].clamp(min=1)).sqrt()
    assert abs(float(torch.corrcoef(torch.stack([rough, scale]))[0, 1])) < 0.3
    stained = torch.tensor([i for i, kind in enumerate(drawn.modalities) if kind == "stained"])
    pictures, _ = make_batch(cut, stained, 32, torch.Generator().manual_seed(0), how)
    assert not torch.equal(pictures[:, 0], pictures[:, 1])


def test_processes_make_the_batch_of_one(cut):
    def batch(rows):
        generator = torch.Generator().manual_seed(3)
        return make_batch(cut, torch.arange(8), 32, generator, Augmentation(), rows=rows)

    whole, targets = batch(slice(None))
    for rows in (slice(0, 4), slice(4, 8), slice(2, 3)):
        part, its = batch(rows)
        assert torch.equal(part, whole[rows])
        assert all(torch.equal(its[name], targets[name][rows]) for name in NAMES)


def test_crops_that_do_not_fit(cut):
    for crop in (50, 33):
        with pytest.raises(ValueError, match=f"found crops of {crop} and tiles of 48"):
            make_batch(cut, torch.arange(2), crop, torch.Generator())


# --------------------------------------------------------------------------------- the network


def test_outputs_and_whose_parameter_is_whose():
    model = network()
    outputs = model(torch.zeros(2, 3, 16, 24))
    assert {name: tuple(x.shape) for name, x in outputs.items()} == SHAPES
    shared = {id(p) for p in model.shared_parameters()}
    own = {id(p) for name in NAMES for p in model.task_parameters(name)}
    assert not shared & own and len(shared | own) == len(list(model.parameters()))
    losses = outputs["count"].sum()
    losses.backward()
    assert all(p.grad is None for p in model.task_parameters("distance"))
    assert list(network(("distance",))(torch.zeros(1, 3, 8, 8))) == ["distance"]


def test_what_the_network_refuses():
    with pytest.raises(ValueError, match=r"unknown task\(s\) \['depth'\]"):
        NucleiNet(["depth"])
    for widths in ((8,), (8, 12)):
        with pytest.raises(ValueError, match="multiples of 8"):
            NucleiNet(NAMES, widths)
    with pytest.raises(ValueError, match="multiples of 2; found 15x16"):
        network()(torch.zeros(1, 3, 15, 16))


def test_receptive_field_bounds_what_a_pixel_depends_on():
    """Without GroupNorm, which looks at the whole picture."""
    model = NucleiNet(("foreground",), (8, 16, 16)).double()
    for module in model.modules():
        for name, child in list(module.named_children()):
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, nn.Identity())
    x = torch.randn(1, 3, 96, 96, dtype=torch.float64, requires_grad=True)
    widest = 0
    for row, column in ((48, 48), (49, 50), (51, 51)):
        (g,) = torch.autograd.grad(model(x)["foreground"][0, 0, row, column], x)
        reached = g.abs().sum((0, 1)) > 0
        rows = reached.any(1).nonzero()
        widest = max(widest, int(rows.max() - rows.min()) + 1)
    assert widest <= receptive_field(3) <= widest + 8


def test_a_count_is_a_rate_times_an_area():
    model = network(("count",)).eval()
    x = torch.full((1, 3, 64, 64), 0.3)
    with torch.no_grad():
        model.heads["task_count"].weight.zero_()
        model.heads["task_count"].bias.fill_(1.5)
        assert model(x)["count"].exp().item() == pytest.approx(np.exp(1.5), rel=1e-5)
        wide = model(torch.cat([x, x], dim=3))["count"].exp().item()
    assert wide == pytest.approx(2 * np.exp(1.5), rel=1e-5)


def test_predict_takes_any_size(drawn):
    model = network().train()
    found = predict(model, drawn.images[0][:, :31, :45])
    assert model.training
    assert all(found[name].shape == (31, 45) for name in ("foreground", "boundary", "distance"))
    assert found["foreground"].min() >= 0 and found["foreground"].max() <= 1
    assert found["modality"].sum().item() == pytest.approx(1) and found["count"] > 0
    even = drawn.images[0][:, :32, :44]
    expected = model.eval()(as_input(stretched(even))[None])["foreground"][0, 0].sigmoid()
    torch.testing.assert_close(predict(model, even)["foreground"], expected)


def test_stretched():
    picture = torch.arange(100, 150, dtype=torch.uint8).repeat(3, 50, 2)
    found = stretched(picture, 0, 100)
    assert found.min() == 0 and found.max() == 255
    flat = torch.full((3, 8, 8), 7, dtype=torch.uint8)
    assert not stretched(flat).any()


# ----------------------------------------------------------------------------------- the losses


def test_losses_are_smallest_at_the_truth(cut):
    _, targets = plain_batch(cut)
    perfect = {
        "foreground": (targets["foreground"] * 2 - 1) * 50,
        "boundary": (targets["boundary"] * 2 - 1) * 50,
        "distance": targets["distance"],
        "count": targets["count"].log(),
        "modality": nn.functional.one_hot(targets["modality"], 3) * 50.0,
    }
    for task in make_tasks():
        best = task.mean_loss(perfect[task.name], targets[task.name])
        assert best.item() == pytest.approx(0, abs=1e-4)
        for change in (-0.3, 0.3):
            worse = task.mean_loss(perfect[task.name] * (1 + change) + change, targets[task.name])
            if task.name not in ("foreground", "boundary", "modality"):
                assert worse > best + 1e-4
        wrong = task.mean_loss(-perfect[task.name], targets[task.name])
        assert wrong > 0.1
        assert task.score(perfect[task.name], targets[task.name]) == pytest.approx(
            1.0 if task.higher_is_better else 0.0, abs=1e-5
        )
    with pytest.raises(ValueError, match=r"unknown task\(s\) \['depth'\]"):
        make_tasks(["depth"])


def test_losses_by_hand():
    logits, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 0], [0, 0]]]])
    ln2 = float(torch.log(torch.tensor(2.0)))
    dice = (2 * 0.5 + 1) / (2 + 1 + 1)
    assert LOSSES["foreground"](logits, target).item() == pytest.approx(ln2 + 1 - dice)
    assert LOSSES["boundary"](logits, target).item() == pytest.approx(ln2 * (3 + 1 + 1 + 1) / 4)
    # smooth L1, beta 0.1: 0.3 - 0.05 for one pixel; (0.05)² / 0.2 for another
    output = torch.tensor([[[[1.3, 0.05], [0, 0]]]])
    assert LOSSES["distance"](output, target).item() == pytest.approx(10 * (0.25 + 0.0125) / 4)
    rate, n = torch.tensor([1.0]), torch.tensor([2.0])
    expected = 0.1 * (np.e - 2 - (2 - 2 * np.log(2)))
    assert LOSSES["count"](rate, n).item() == pytest.approx(expected, rel=1e-5)
    assert LOSSES["count"](rate, n * 0).item() == pytest.approx(0.1 * np.e, rel=1e-4)


def test_a_loss_of_a_batch_is_the_mean_of_its_pictures(cut):
    """So that processes may share a batch out: a Dice over the whole batch would not do."""
    pictures, targets = plain_batch(cut.subset(torch.arange(4)))
    outputs = network()(pictures)
    whole = task_losses(outputs, targets, make_tasks())
    halves = [
        task_losses(
            {name: x[rows] for name, x in outputs.items()},
            {name: x[rows] for name, x in targets.items()},
            make_tasks(),
        )
        for rows in (slice(0, 2), slice(2, 4))
    ]
    torch.testing.assert_close(whole, (halves[0] + halves[1]) / 2)


# ------------------------------------------------------------------------------------- training


def same(one, other):
    return all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_it_learns(cut, drawn):
    settings = SMALL.but(steps=60, evaluate_every=20, lr=1e-2, ema=0.8)
    model, log = train(settings, cut, cut)
    assert log.steps == [20, 40, 60] and not model.training
    for name in ("foreground", "boundary", "distance"):
        assert log.valid[name][-1] < 0.9 * log.valid[name][0] or log.valid[name][-1] < 0.3
    assert sum(v[-1] for v in log.valid.values()) < 0.75 * sum(v[0] for v in log.valid.values())
    again, _ = train(settings, cut, cut)
    assert same(model, again)
    found = validation_losses(model, make_tasks(), cut)
    assert found == pytest.approx({name: v[-1] for name, v in log.valid.items()}, rel=1e-5)


def test_the_given_weights_are_the_average_of_the_way(cut):
    last, _ = train(SMALL.but(ema=0.0), cut)
    mean, _ = train(SMALL.but(ema=0.9), cut)
    assert not same(last, mean)


def test_early_stopping(cut):
    settings = SMALL.but(steps=40, evaluate_every=2, lr=0.2, max_norm=10.0, patience=2, ema=0.0)
    stopped, log = train(settings, cut, cut)
    assert log.stopped_early and log.steps[-1] < 40
    assert len(log.steps) - 1 - log.best == 2
    at_best = settings.but(patience=None, steps=40, evaluate_every=2)
    found = validation_losses(stopped, make_tasks(), cut)
    assert sum(found.values()) == pytest.approx(
        sum(series[log.best] for series in log.valid.values()), rel=1e-5
    )
    last, _ = train(at_best, cut, cut)
    assert not same(stopped, last)


@pytest.mark.parametrize("balance", ["uncertainty", "pcgrad", {"foreground": 2, "boundary": 1}])
def test_other_balances(cut, balance):
    names = ("foreground", "boundary")
    model, log = train(SMALL.but(tasks=names, balance=balance), cut, cut)
    plain, _ = train(SMALL.but(tasks=names), cut, cut)
    assert list(log.train) == list(names) and not same(model, plain)


def test_resumed_is_the_same_to_the_bit(cut, tmp_path):
    whole, log = train(SMALL.but(balance="uncertainty"), cut, cut)
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        killed = _Interrupted(cut, after=4)
        train(SMALL.but(balance="uncertainty"), killed, cut, folder=folder, save_every=2)
    model, resumed = train(SMALL.but(balance="uncertainty"), cut, cut, folder=folder)
    assert same(whole, model) and resumed.resumed_from in (2, 4)
    assert (resumed.steps, resumed.train, resumed.valid) == (log.steps, log.train, log.valid)
    assert list((folder / "tensorboard").iterdir())
    done, again = train(SMALL.but(balance="uncertainty"), cut, cut, folder=folder)
    assert same(done, whole) and again.resumed_from == 6


class _Interrupted(crops.Tiles):
    """Tiles that are taken away in the middle of training."""

    def __init__(self, source, after):
        super().__init__(source.images, source.labels, source.distance, source.modality)
        object.__setattr__(self, "left", [after])

    def to(self, device):
        return self

    def subset(self, chosen):
        self.left[0] -= 1
        if self.left[0] < 0:
            raise KeyboardInterrupt
        return super().subset(chosen)


PROGRAM = """
import sys
import torch
from mtl_helpers.case_study.batches import tiles
from mtl_helpers.case_study.train import Settings, train
from mtl_helpers.case_study.nuclei import draw_nuclei

def run(folder):
    cut = tiles(draw_nuclei(9, 48, seed=2), 48)
    s = Settings(widths=(8, 16), crop=32, batch=4, steps=60, evaluate_every=30, ema=0.5)
    return train(s, cut, cut, folder=folder, save_every=5)

if __name__ == "__main__":
    torch.set_num_threads(1)
    model, log = run(sys.argv[1])
    torch.save([log.resumed_from, log.valid, model.state_dict()], sys.argv[2])
"""


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_killed_without_warning_it_ends_with_the_same_numbers(tmp_path, one_thread):
    """SIGKILL: no handler runs, whatever was being written is cut off."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(tmp_path / "end.pt")]
    process = subprocess.Popen(command)
    for _ in range(4800):  # until a checkpoint is there
        if (tmp_path / "checkpoint.pt").exists() or process.poll() is not None:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "end.pt").exists()
    subprocess.run(command, check=True)
    resumed_from, valid, state = torch.load(tmp_path / "end.pt")
    program = {"__name__": "here"}
    exec(PROGRAM, program)
    whole, log = program["run"](None)
    assert resumed_from >= 5 and valid == log.valid
    assert all(torch.equal(state[name], value) for name, value in whole.state_dict().items())


def test_a_checkpoint_of_another_run_is_refused(cut, tmp_path):
    train(SMALL, cut, folder=tmp_path)
    with pytest.raises(ValueError, match=r"with other settings: lr is 0.002 there, 0.01 here"):
        train(SMALL.but(lr=0.01), cut, folder=tmp_path)
    with pytest.raises(ValueError, match="with other data: its tiles are others"):
        train(SMALL, cut.subset(torch.arange(5)), folder=tmp_path)
    with pytest.raises(ValueError, match="with other data: its tiles are others"):
        train(SMALL, cut, cut, folder=tmp_path)
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        train(SMALL, cut, folder=tmp_path)
    buffer = io.BytesIO()
    torch.save({"something": 1}, buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="is no checkpoint of this study"):
        train(SMALL, cut, folder=tmp_path)


def test_settings_that_make_no_sense():
    for bad in ({"steps": 0}, {"batch": 1.5}, {"crop": -1}, {"evaluate_every": 0}):
        with pytest.raises(ValueError, match="must be a whole number of at least 1"):
            Settings(**bad)
    for bad in ({"ema": 1.0}, {"lr": 0.0}, {"max_norm": 0}):
        with pytest.raises(ValueError, match="must lie in|above 0"):
            Settings(**bad)
    with pytest.raises(ValueError, match="unknown task"):
        Settings(tasks=("depth",))


def test_a_run_that_explodes_says_so(cut):
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        train(SMALL.but(lr=1e30, max_norm=1e30, steps=30), cut)


# ----------------------------------------------------------------------------- several processes

GRADIENTS = """
import sys
import torch
from lightning_fabric import Fabric
from mtl_helpers.case_study.batches import Augmentation, make_batch, tiles
from mtl_helpers.case_study.model import NAMES, NucleiNet
from mtl_helpers.case_study.tasks import make_tasks
from mtl_helpers.case_study.nuclei import draw_nuclei
from mtl_helpers.training import task_losses

def gradients(fabric, norm):
    torch.manual_seed(0)
    plain = NucleiNet(NAMES, (8, 16))
    for module in list(plain.modules()) if norm == "batch" else ():
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.GroupNorm):
                setattr(module, name, torch.nn.BatchNorm2d(child.num_channels))
    plain = plain.double()
    model = plain if fabric is None else torch.nn.parallel.DistributedDataParallel(plain)
    rows = slice(0, 8)
    if fabric is not None:
        share = 8 // fabric.world_size
        rows = slice(fabric.global_rank * share, (fabric.global_rank + 1) * share)
    cut = tiles(draw_nuclei(9, 48, seed=2), 48)
    generator = torch.Generator().manual_seed(3)
    x, targets = make_batch(cut, torch.arange(8), 32, generator, Augmentation(), rows=rows)
    outputs = {name: value.double() for name, value in model(x.double()).items()}
    task_losses(outputs, targets, make_tasks()).sum().backward()
    return [p.grad for p in plain.parameters()]

if __name__ == "__main__":
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    found = {norm: gradients(fabric, norm) for norm in ("group", "batch")}
    if fabric.is_global_zero:
        torch.save(found, sys.argv[1])
"""


def test_two_processes_have_the_gradients_of_one_and_with_batch_norm_have_not(tmp_path):
    """GroupNorm and losses that are means over pictures make it so."""
    program, out = tmp_path / "gradients.py", tmp_path / "two.pt"
    program.write_text(GRADIENTS)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(program), str(out)]
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=600)
    two, here = torch.load(out), {"__name__": "here"}
    exec(GRADIENTS, here)
    for a, b in zip(here["gradients"](None, "group"), two["group"], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)  # the losses are in float32
    pairs = zip(here["gradients"](None, "batch"), two["batch"], strict=True)
    assert max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs) > 0.05


TWO_DEVICES = """
import sys
from mtl_helpers.case_study import study
from mtl_helpers.case_study.__main__ import main
from mtl_helpers.case_study.train import Settings

settings = Settings(widths=(8, 16), crop=32, batch=4, steps=4, evaluate_every=4, ema=0.5)
study.PROFILES["quick"] = study.Profile("synthetic", settings, tile=48, seeds=1, images=9, size=48)
if __name__ == "__main__":
    sys.exit(main(["--question", "sets", "--device", "cpu", *sys.argv[1:]]))
"""


def test_the_command_on_two_devices(tmp_path):
    program = tmp_path / "two.py"
    program.write_text(TWO_DEVICES)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for devices in ("1", "2"):
        command = [sys.executable, str(program), "--devices", devices, "--out"]
        subprocess.run(
            [*command, str(tmp_path / devices)],
            check=True, env=environment, capture_output=True, timeout=600,
        )  # fmt: skip
    one, two = (study.read_runs(tmp_path / n / "quick" / "runs.jsonl") for n in ("1", "2"))
    assert [row["arm"] for row in one] == [row["arm"] for row in two] and len(two) == 4
    for a, b in zip(one, two, strict=True):
        assert a["all"]["foreground"] == pytest.approx(b["all"]["foreground"], rel=1e-3)


def test_a_batch_that_cannot_be_shared_out(cut):
    class Two(Fabric):
        world_size = 2

    with pytest.raises(ValueError, match="a batch of 5 crops cannot be shared out to 2 processes"):
        train(SMALL.but(batch=5), cut, fabric=Two(accelerator="cpu", devices=1))
    with pytest.raises(ValueError, match=r"balance='pcgrad' takes the tasks' gradients by itself"):
        train(SMALL.but(balance="pcgrad"), cut, fabric=Two(accelerator="cpu", devices=1))


def test_a_fabric_of_another_precision(cut):
    with pytest.raises(ValueError, match=r"computes in '32-true', the settings say 'bf16-mixed'"):
        train(SMALL.but(precision="bf16-mixed"), cut, fabric=Fabric(accelerator="cpu", devices=1))
    _, log = train(SMALL.but(precision="bf16-mixed"), cut)
    assert log.steps == [3, 6]


# ------------------------------------------------------------------------------ export, measures


def test_exported_it_gives_the_same(drawn, tmp_path):
    model = network().eval()
    side = torch.export.Dim("side", min=2, max=64)
    program = torch.export.export(
        model,
        (torch.zeros(2, 3, 32, 48),),
        dynamic_shapes=({2: 2 * side, 3: 2 * torch.export.Dim("other", min=2, max=64)},),
    )
    torch.export.save(program, tmp_path / "net.pt2")
    back = torch.export.load(tmp_path / "net.pt2").module()
    for shape in ((2, 3, 32, 48), (2, 3, 20, 64)):
        x = torch.randn(shape)
        for name, value in model(x).items():
            torch.testing.assert_close(back(x)[name], value)
    alone = torch.export.export(model, (torch.zeros(1, 3, 48, 48),)).module()
    mine, theirs = predict(model, drawn.images[0]), predict(alone, drawn.images[0], step=2)
    for name, value in mine.items():
        torch.testing.assert_close(theirs[name], value)


def test_levels_are_chosen_by_the_score(drawn):
    """Maps that are right only at one level: the mask's peaks, and the heads turned inside out."""
    by_picture = {image.numpy().tobytes(): label for image, label in zip(
        drawn.images, drawn.labels, strict=True)}  # fmt: skip

    def weak(picture):  # the true maps, but both heads say everything too timidly
        label = by_picture[picture.numpy().tobytes()]
        return {
            "foreground": targets.foreground(label[None])[0, 0],
            "boundary": 0.4 * targets.boundary(label[None])[0, 0],
            "distance": 0.5 * torch.from_numpy(targets.distance(label)),
        }

    chosen = choose_levels(weak, drawn)
    assert set(chosen) == set(LEVELS) and chosen["boundary"] in (0.2, 0.35)
    assert chosen["distance"] < 0.5
    for way in LEVELS:

        def score(level, way=way):
            rows = evaluate(weak, drawn, [way], {way: level})
            return summarise(rows)["ap"][way][0]

        assert score(chosen[way]) == max(score(level) for level in GRID[way])
    assert choose_levels(lambda picture: {"foreground": torch.zeros(48, 48)}, drawn) == {"mask": 6}
    with pytest.raises(ValueError, match="at least one validation picture"):
        choose_levels(weak, drawn.subset([]))


def test_evaluate_measures_every_picture(drawn):
    rows = evaluate(network(), drawn)
    assert [row["name"] for row in rows] == list(drawn.names)
    assert rows[0]["nuclei"] == int(drawn.labels[0].max())
    assert list(rows[0]["ap"]) == ["components", "mask", "boundary", "distance", "both"]
    assert len(rows[0]["ap"]["mask"]) == 10
    several = evaluate([network(("foreground",)), network(("distance",))], drawn)
    assert list(several[0]["f1"]) == ["components", "mask", "distance"]
    assert "count" not in several[0] and "distance" in several[0]
    whole, part = summarise(rows), summarise(rows, "stained")
    assert whole["pictures"] == 9 and part["pictures"] == 2
    assert whole["foreground"] == pytest.approx(np.mean([row["foreground"] for row in rows]))
    assert whole["ap"]["mask"][0] == pytest.approx(np.mean([row["ap"]["mask"][0] for row in rows]))
    with pytest.raises(ValueError, match="no picture of modality 'x-ray'"):
        summarise(rows, "x-ray")
    assert possible_ways(["distance"]) == []
    json.dumps(rows)


def test_measures_of_the_truth_are_perfect(drawn):
    from mtl_helpers.case_study.evaluate import measure

    label = drawn.labels[1]
    maps = {
        "foreground": (label > 0).float(),
        "boundary": targets.boundary(label[None])[0, 0],
        "distance": torch.tensor(targets.distance(label)),
        "count": torch.tensor(float(label.max())),
        "modality": torch.tensor([1.0, 0, 0]),
    }
    row = measure(maps, label, "fluorescence")
    assert row["foreground"] == 1 == row["boundary"] and row["distance"] == 0 == row["count"]
    assert row["modality_right"] is True
    assert row["ap"]["boundary"][0] == 1
    assert measure(maps, label, "stained")["modality_right"] is False


def test_calibration_by_hand():
    p = torch.tensor([0.05, 0.05, 0.95, 0.95, 1.0])
    found = calibration(p, torch.tensor([False, True, True, True, False]))
    assert found["pixels"] == [2] + [0] * 8 + [3]
    assert found["said"][0] == pytest.approx(0.05) and found["true"][0] == 0.5
    assert found["said"][5] is None
    gap = (abs(0.1 - 1) + abs(2.9 - 2)) / 5
    assert found["error"] == pytest.approx(gap)


# ------------------------------------------------------------------------------------ the study


TINY = study.Profile(
    "synthetic", SMALL.but(steps=2, evaluate_every=2), tile=48, seeds=2, images=9, size=48
)


def test_arms_of_every_question():
    found = {q: study.arms(q, Settings()) for q in study.QUESTIONS}
    names = {q: [arm.name for arm in every] for q, every in found.items()}
    assert names["sets"] == [
        "without learning", "all five tasks", "mask alone", "single-task networks"
    ]  # fmt: skip
    trained = [set(arm.networks[0]) for arm in found["which"]]
    assert len({frozenset(some) for some in trained}) == 16 == len(trained)  # all subsets, once
    assert all("foreground" in some for some in trained)
    equal = found["budget"][2:]
    assert equal[0].changes == {"steps": 100, "ema": Settings().ema ** 4}
    assert {arm.labels for arm in found["labels"]} == {0.05, 0.1, 0.25, 1.0}
    for every in found.values():
        for arm in every:
            Settings().but(**arm.changes)
    with pytest.raises(ValueError, match="unknown question 'why'"):
        study.arms("why", Settings())


@pytest.mark.parametrize("profile", ["quick", "reduced", "full"])
def test_thinner_networks_together_have_about_the_parameters_of_one(profile):
    widths = study.PROFILES[profile].settings.widths
    thin = study.thinner(widths)
    arm = study.arms("budget", study.PROFILES[profile].settings)[3]
    assert arm.changes == {"widths": thin}
    single = sum(p.numel() for name in NAMES for p in NucleiNet((name,), thin).parameters())
    whole = sum(p.numel() for p in NucleiNet(NAMES, widths).parameters())
    assert abs(single / whole - 1) < 0.13


def test_a_study_goes_on_where_it_was(tmp_path):
    lines = []
    past = time.monotonic() - 1
    path = study.run_questions(["sets"], TINY, tmp_path, until=past, say=lines.append)
    assert study.read_runs(path) == [] and "time is up" in lines[0]
    study.run_questions(["sets"], TINY, tmp_path, seeds=[0], say=lines.append)
    first = study.read_runs(path)
    names = ("without learning", "all five tasks", "mask alone", "single-task networks")
    assert [(r["question"], r["arm"], r["seed"]) for r in first] == [
        ("sets", arm, 0) for arm in names
    ]
    assert first[3]["steps"] == 10 and first[1]["parameters"] < first[3]["parameters"]
    assert (first[0]["steps"], first[0]["parameters"]) == (0, 0)
    assert list(first[0]["all"]["ap"]) == ["components", "mask"]
    kinds = [set(row["levels"]) for row in first]
    assert kinds == [{"mask"}, set(LEVELS), {"mask"}, set(LEVELS)]
    assert list(first[1]["all"]["ap"]) == ["components", "mask", "boundary", "distance", "both"]
    study.run_questions(["sets", "budget"], TINY, tmp_path, seeds=[0], say=lines.append)
    rows = study.read_runs(path)
    assert rows[:4] == first and len(rows) == 8
    assert rows[4] == {**first[1], "question": "budget"}  # not run twice
    other = study.Profile(**{**vars(TINY), "tile": 46})
    with pytest.raises(ValueError, match="holds 8 runs of another profile or other code"):
        study.run_questions(["sets"], other, tmp_path)


def test_a_larger_share_of_labels_holds_a_smaller():
    data = study.prepare(TINY)
    few, many, every = (data.training_tiles(share, 1) for share in (0.2, 0.6, 1.0))
    assert 1 == len(few) < len(many) < len(every) == len(data.train)
    rows = [{x.numpy().tobytes() for x in part.images} for part in (few, many, every)]
    assert rows[0] < rows[1] < rows[2]
    fewer = study.prepare(study.Profile(**{**vars(TINY), "most_tests": 1, "most_valid": 1}))
    assert len(fewer.test) == len(fewer.chosen_on) == len(fewer.valid) == 1
    assert not {*data.chosen_on.names} & {*data.test.names, *data.train.names}


def test_some_pictures_are_spread_over_all(drawn):
    assert study._spread(drawn, None) is drawn and study._spread(drawn, len(drawn)) is drawn
    n = len(drawn)
    assert study._spread(drawn, 2).names == (drawn.names[0], drawn.names[n // 2])


def test_damaged_runs(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"question": "sets", "arm": "x", "seed": 0}\n{"question": "se')
    with pytest.raises(ValueError, match="line 2 of .* is no result of this study"):
        study.read_runs(path)


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(study.PROFILES, "quick", TINY)
    arguments = ["--question", "sets", "--seeds", "0", "--out", str(tmp_path), "--device", "cpu"]
    assert main(arguments) == 0
    assert "sets: mask alone, seed 0: AP at IoU 0.5" in (said := capsys.readouterr().out)
    assert "4 runs in" in said
    monkeypatch.setattr(
        "mtl_helpers.teaching.recorded.results_folder", lambda: tmp_path / "results"
    )
    assert main([*arguments, "--record", "10_try"]) == 0
    written = json.loads((tmp_path / "results" / "10_try.json").read_text())
    assert len(written["rows"]) == 4 and written["seeds"] == [0]
    (tmp_path / "quick" / "runs.jsonl").write_text("broken")
    assert main(arguments) == 1 and "error: line 1" in capsys.readouterr().err
    assert (
        main([*arguments[:4], "--seeds", "1", "--out", str(tmp_path / "b"), "--minutes", "0"]) == 0
    )
    for bad in ("x", "3-", "-1", ""):
        with pytest.raises(SystemExit):
            main(["--seeds", bad])


def test_without_the_pictures_the_command_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MTL_DATA", str(tmp_path))
    assert main(["--profile", "reduced", "--question", "sets", "--out", str(tmp_path)]) == 1
    assert "Pass download=True" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["bf16-true", "64-true", "16-mixed", "32", None])
def test_a_precision_that_would_not_be_applied_is_refused(precision):
    with pytest.raises(ValueError, match=r"precision must be one of 32-true, bf16-mixed; found"):
        SMALL.but(precision=precision)


def test_bfloat_that_is_accepted_is_applied(cut):
    exact, _ = train(SMALL, cut)
    short, _ = train(SMALL.but(precision="bf16-mixed"), cut)
    pairs = zip(exact.parameters(), short.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_a_checkpoint_cut_at_any_length_is_named(cut, tmp_path):
    train(SMALL, cut, folder=tmp_path)
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    for length in (0, 3, 500, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"checkpoint\.pt cannot be read .*another folder"):
            train(SMALL, cut, folder=tmp_path)
