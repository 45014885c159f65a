"""Large pictures go through the network in tiles, and come out as if they had gone at once."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from mtl_helpers.case_study import model as networks
from mtl_helpers.case_study import targets, tiling
from mtl_helpers.case_study.batches import make_batch, plain_batch, tiles
from mtl_helpers.case_study.evaluate import measure
from mtl_helpers.case_study.model import NAMES, NucleiNet, predict, receptive_field, stretched
from mtl_helpers.case_study.nuclei import Nuclei, draw_nuclei
from mtl_helpers.case_study.train import Settings, train

TOLERANCE = 1e-4  # as predict states; of the count, 1e-3 of it


def network(widths=(8, 16), seed=0, names=NAMES):
    torch.manual_seed(seed)
    model = NucleiNet(names, widths)
    with torch.no_grad():
        for parameter in model.parameters():  # norms that do something, outputs that differ
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def uneven(height, width):
    """A picture whose parts differ, so that a tile's statistics are not the picture's."""
    picture = draw_nuclei(3, 80, seed=4).images[1].repeat(1, 9, 9)[:, :height, :width].clone()
    picture[:, : height // 2] //= 3
    picture[:, :, : width // 3] = 5
    return picture


def agree(one, other):
    for name in one:
        if name == "count":
            torch.testing.assert_close(other[name], one[name], rtol=1e-3, atol=0)
        else:
            assert (other[name] - one[name]).abs().max() < TOLERANCE, name


@pytest.mark.parametrize(
    ("widths", "at_once"), [((8, 16), 9 * 48**2), ((8, 8, 16), 1), ((8, 16), 1)]
)
@pytest.mark.parametrize("size", [(151, 98), (40, 133)])
def test_tiles_give_what_the_whole_picture_gives(widths, at_once, size):
    picture, model = uneven(*size), network(widths)
    at_once = min(at_once, size[0] * size[1] - 1)
    whole = predict(model, picture, at_once=10**9)
    seen = []
    model.down[0].first.register_forward_hook(lambda m, x, y: seen.append(x[0].shape[2:].numel()))
    model.train()
    tiled = predict(model, picture, at_once=at_once)
    assert model.training and max(seen) < size[0] * size[1]
    assert all(tiled[n].shape == size for n in ("foreground", "boundary", "distance"))
    agree(whole, tiled)
    own = predict(model, picture[:, :, -64:].contiguous(), at_once=10**9)  # by its own statistics
    assert (own["foreground"] - whole["foreground"][:, -64:]).abs().max() > 100 * TOLERANCE


def test_the_default_widths():
    picture, model = uneven(130, 100), network((16, 32, 64, 128))
    agree(predict(model, picture), predict(model, picture, at_once=1))


def test_an_exported_network_in_tiles():
    picture, model = uneven(150, 132), network()
    side = torch.export.Dim("side", min=2, max=400)
    alone = torch.export.export(
        model.eval(),
        (torch.zeros(1, 3, 48, 64),),
        dynamic_shapes=({2: 2 * side, 3: 2 * torch.export.Dim("other", min=2, max=400)},),
    ).module()
    agree(predict(model, picture), predict(alone, picture, step=2, at_once=9 * 40**2))


def test_one_task_and_a_flat_picture():
    flat = torch.full((3, 130, 150), 7, dtype=torch.uint8)
    flat[:, :70] = 9
    for names in (("foreground",), ("count",)):
        model = network(names=names)
        agree(predict(model, flat), predict(model, flat, at_once=9 * 40**2))


def test_what_is_blank_is_computed_once(monkeypatch):
    ran = []
    run = tiling._WholePicture.run
    monkeypatch.setattr(
        tiling._WholePicture, "run", lambda self, *args: ran.append(1) or run(self, *args)
    )
    model, blank = network(), torch.zeros(3, 400, 400, dtype=torch.uint8)
    found = predict(model, blank, at_once=9 * 48**2)
    passes = 3 * 2 + 1  # three blocks of two norms each, and the last pass
    corners_edges_middle = 16  # the last but one is cut short by the margin, the last by the edge
    assert len(ran) == corners_edges_middle * passes + 1  # and the last tile again
    assert len(tiling._places((400, 400), 12, 24)) > 250
    monkeypatch.undo()
    agree(predict(model, blank), found)


def test_tiles_overlap_by_the_receptive_field(monkeypatch):
    asked = {}

    def spy(model, inputs, sides, **how):
        asked.update(how)
        return {}, 1

    monkeypatch.setattr(networks, "in_tiles", spy)
    for widths in ((8, 8), (8, 8, 8), (8, 8, 8, 8)):
        predict(network(widths), torch.zeros(3, 90, 90, dtype=torch.uint8), at_once=8000)
        step = 2 ** (len(widths) - 1)
        assert 2 * asked["around"] >= receptive_field(len(widths)) and asked["step"] == step
        assert asked["around"] % step == 0 == asked["inner"] % step and asked["inner"] >= step


def test_places_cover_every_pixel_once():
    hits = torch.zeros(100, 70)
    for own, run, kept in tiling._places((100, 70), 8, 32):
        hits[own] += 1
        whole = torch.arange(7000).view(100, 70)
        assert torch.equal(whole[run][kept], whole[own])
    assert (hits == 1).all()


def test_no_norm_at_all():
    net = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1))

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.step = net, 2

        def forward(self, x):
            return {"distance": self.net(x)}

    picture = uneven(80, 90)
    agree(predict(Named(), picture), predict(Named(), picture, at_once=6000))


MEMORY = """
import resource, torch
from mtl_helpers.case_study.model import NucleiNet, predict
torch.set_num_threads(1)
predict(NucleiNet(("foreground",), (8, 16)), torch.zeros(3, 64, 64, dtype=torch.uint8))
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
picture = torch.randint(0, 255, (3, 160, 160), dtype=torch.uint8).repeat(1, 8, 15)
predict(NucleiNet(("foreground",), (8, 16)), picture, at_once=300_000)
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_picture():
    """3 megapixels at once would need 0.9 GB even in this narrow network."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 400


def test_sides_are_filled_up_with_the_last_row_and_column():
    picture, model = uneven(31, 45), network().eval()
    x = networks.as_input(stretched(picture))[None]
    with torch.no_grad():
        whole = model(nn.functional.pad(x, (0, 1, 0, 1), mode="replicate"))
    found = predict(model, picture)
    assert torch.equal(found["distance"], whole["distance"][0, 0, :31, :45])


def test_what_predict_refuses():
    model = network()
    for wrong, words in (
        (torch.rand(3, 20, 20), "found torch.float32"),
        (torch.zeros(20, 20, 3, dtype=torch.uint8), r"found torch.uint8 \[20, 20, 3\]"),
        (torch.zeros(1, 3, 20, 20, dtype=torch.uint8), r"\[1, 3, 20, 20\]"),
        ("cells.png", "found str"),
    ):
        with pytest.raises(ValueError, match=f"must be a uint8 tensor .*as read_picture.*{words}"):
            predict(model, wrong)


def test_stretching_in_blocks_is_stretching_the_whole():
    picture = uneven(700, 60)
    values = picture.flatten().long().bincount(minlength=256).cumsum(0).double()
    dark = int((values > 0.01 * values[-1]).nonzero()[0])
    bright = int((values >= 0.998 * values[-1]).nonzero()[0])
    expected = ((picture.float() - dark) * (255 / (bright - dark))).clamp(0, 255).round()
    assert torch.equal(stretched(picture), expected.to(torch.uint8))


# ------------------------------------------------------------------ label maps, from here to there


def test_gaps_and_large_numbers_change_no_target_and_no_measure():
    one = draw_nuclei(2, 64)
    apart = tuple(label.long() * 70_001 for label in one.labels)
    other = Nuclei(one.names, one.images, apart, one.groups, one.modalities)
    for (x, wanted), (y, got) in zip(
        [plain_batch(tiles(one, 64))], [plain_batch(tiles(other, 64))], strict=True
    ):
        assert torch.equal(x, y) and all(torch.equal(wanted[n], got[n]) for n in wanted)
    plain = torch.stack([label.long() for label in one.labels])
    for step in (3, 70_001, 10**10):
        far = plain * step
        assert torch.equal(targets.count(far), targets.count(plain))
        assert torch.equal(targets.boundary(far), targets.boundary(plain))
        for a, b in zip(far, plain, strict=True):
            assert (targets.distance(a) == targets.distance(b)).all()
        maps = {"foreground": (plain[0] > 0).float(), "count": torch.tensor(3.0)}
        row = measure(maps, far[0], "stained")
        assert row == measure(maps, plain[0], "stained") and row["nuclei"] == int(plain[0].max())
    unsigned = plain.to(torch.uint16)
    assert torch.equal(targets.boundary(unsigned), targets.boundary(plain))


def test_more_nuclei_than_sixteen_bits_count():
    label = torch.arange(200 * 200, dtype=torch.int32).view(200, 200)
    image = torch.zeros(3, 200, 200, dtype=torch.uint8)
    data = Nuclei(("x",), (image,), (label,), (0,), ("stained",))
    cut = tiles(data, 200)
    assert cut.labels.dtype == torch.int32 and torch.equal(cut.labels[0], label)
    _, wanted = make_batch(cut, torch.arange(1), 200, torch.Generator())
    assert wanted["count"].item() == 39_999


def test_a_run_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    settings = Settings(tasks=("foreground",), widths=(8, 8), crop=32, batch=2, steps=1)
    train(settings, tiles(draw_nuclei(2, 32), 32), folder="~/run")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["checkpoint.pt", "tensorboard"]


def test_what_targets_refuse():
    for make in (targets.boundary, targets.count):
        for wrong in (torch.zeros(4, 4, dtype=torch.int32), torch.zeros(1, 4, 4)):
            with pytest.raises(ValueError, match=r"label maps \[B, H, W\] of whole numbers; found"):
                make(wrong)
        make(torch.zeros(4, 4, dtype=torch.int32)[None])  # as advised
    for wrong in (torch.zeros(4, 4), torch.full((4, 4), -1)):
        with pytest.raises(ValueError, match="whole numbers from 0 up"):
            targets.distance(wrong)
