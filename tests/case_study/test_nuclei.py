"""Pictures of nuclei: the official layout with all its faults, the packed form, drawn ones."""

import io
import json
import warnings
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from mtl_helpers import files
from mtl_helpers.case_study import nuclei as source
from mtl_helpers.case_study.nuclei import (
    MODALITIES,
    Nuclei,
    draw_nuclei,
    modality,
    nuclei,
    read_official,
    read_packed,
    read_picture,
    slide_groups,
    summary,
    write_packed,
)


def png(array, mode=None):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(array, np.uint8), mode).save(buffer, "PNG")
    return buffer.getvalue()


def picture(seed=0, shape=(20, 24), value=30):
    rng = np.random.default_rng(seed)
    grey = rng.integers(value - 20, value + 20, shape)
    return np.repeat(grey[..., None], 3, axis=2)


def mask(*box, shape=(20, 24)):
    found = np.zeros(shape)
    top, left, bottom, right = box
    found[top:bottom, left:right] = 255
    return found


def members(prefix=""):
    """Two pictures of the official layout: two nuclei in the first, one in the second."""
    return {
        f"{prefix}aa/images/aa.png": png(np.dstack([picture(0), np.full((20, 24), 255)])),
        f"{prefix}aa/masks/m1.png": png(mask(2, 2, 6, 7)),
        f"{prefix}aa/masks/m2.png": png(mask(10, 3, 15, 9)),
        f"{prefix}bb/images/bb.png": png(picture(1)),
        f"{prefix}bb/masks/m1.png": png(mask(0, 0, 4, 4)),
    }


def archive(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as made:
        for name, value in content.items():
            made.writestr(name, value)
    return path


def same(one, other):
    return (
        one.names == other.names
        and one.groups == other.groups
        and one.modalities == other.modalities
        and all(torch.equal(a, b) for a, b in zip(one.images, other.images, strict=True))
        and all(torch.equal(a, b) for a, b in zip(one.labels, other.labels, strict=True))
    )


# ------------------------------------------------------------------------- the official layout


@pytest.mark.parametrize("prefix", ["", "stage1_train/"])
def test_the_official_layout(tmp_path, prefix):
    content = {**members(prefix), f"{prefix}aa/": b"", "__MACOSX/aa/images/._aa.png": b"x"}
    said = []
    found = read_official(archive(tmp_path / "a.zip", content), lambda *at: said.append(at))
    assert found.names == ("aa", "bb") and said == [(1, 2), (2, 2)] and found.notes == ()
    assert found.images[0].shape == (3, 20, 24) and found.images[0].dtype == torch.uint8
    assert np.array_equal(found.images[0].permute(1, 2, 0).numpy(), picture(0))  # alpha left out
    expected = np.zeros((20, 24))
    expected[2:6, 2:7], expected[10:15, 3:9] = 1, 2
    assert np.array_equal(found.labels[0].numpy(), expected)
    assert found.labels[0].dtype == torch.int32 and int(found.labels[1].sum()) == 16
    assert found.modalities == ("fluorescence",) * 2 and found.groups == (0, 1)
    assert repr(found) == "Nuclei(2 pictures, 3 nuclei, 2 groups)" and len(found) == 2


def test_an_unpacked_folder_is_read_as_well(tmp_path):
    for name, value in members().items():
        (tmp_path / "f" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "f" / name).write_bytes(value)
    assert same(
        read_official(tmp_path / "f"), read_official(archive(tmp_path / "a.zip", members()))
    )


def test_empty_and_overlapping_masks_are_repaired_and_said(tmp_path):
    content = members()
    content["aa/masks/m0.png"] = png(mask(0, 0, 0, 0))
    content["aa/masks/m3.png"] = png(mask(13, 3, 17, 9))  # 12 pixels belong to m2
    content["bb/masks/m2.png"] = png(mask(1, 1, 3, 3))  # nothing of its own
    found = read_official(archive(tmp_path / "a.zip", content))
    assert found.notes == (
        "aa: 1 empty masks left out",
        "aa: 12 pixels in two masks, kept by the first",
        "bb: 1 empty masks left out",
        "bb: 4 pixels in two masks, kept by the first",
    )
    assert int(found.labels[0].max()) == 3 and int((found.labels[0] == 2).sum()) == 30
    assert int(found.labels[1].max()) == 1


def test_masks_of_several_channels(tmp_path):
    content = members()
    content["bb/masks/m1.png"] = coloured = png(
        np.dstack([mask(0, 0, 2, 2), mask(0, 0, 1, 1), mask(0, 0, 1, 1), np.full((20, 24), 255)])
    )
    content["bb/masks/m2.png"] = png(mask(9, 9, 10, 10))
    assert int((read_official(archive(tmp_path / "a.zip", content)).labels[1] == 1).sum()) == 4
    content = {**members(), "bb/masks/m1.png": coloured}  # all nuclei in one file, by colours?
    with pytest.raises(ValueError, match="bb/masks/m1.png has colours.*label map as a grey"):
        read_official(archive(tmp_path / "a.zip", content))


def folder_of(path, content):
    for name, value in content.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(value)
    return path


def test_one_mask_for_all_nuclei(tmp_path):
    both = mask(2, 2, 6, 7) + mask(10, 3, 15, 9)
    numbers = mask(2, 2, 6, 7) / 255 * 7 + mask(6, 2, 9, 7) / 255 * 200  # they touch
    content = {"aa/images/a.png": png(picture(0)), "bb/images/b.png": png(picture(1))}
    content |= {"aa/masks/all.png": png(both), "bb/masks/all.png": png(numbers)}
    found = read_official(archive(tmp_path / "a.zip", content))
    assert found.notes == ("aa: one mask holds all 2 nuclei", "bb: one mask holds all 2 nuclei")
    assert [label.unique().tolist() for label in found.labels] == [[0, 1, 2]] * 2
    assert int((found.labels[0] == 2).sum()) == 30 and int((found.labels[1] == 1).sum()) == 20
    content["bb/masks/all.png"] = png(mask(0, 0, 0, 0))
    found = read_official(archive(tmp_path / "b.zip", content))
    assert found.notes[1] == "bb: 1 empty masks left out"


def test_linked_folders_and_what_macos_leaves_behind(tmp_path):
    store = folder_of(tmp_path / "store", members())
    top = tmp_path / "set"
    (top / "cc" / "images").mkdir(parents=True)
    (top / "bb").symlink_to(store / "bb")
    (top / "aa").mkdir()
    (top / "aa" / "images").symlink_to(store / "aa" / "images")
    (top / "aa" / "masks").mkdir()
    for name in ("m1.png", "m2.png"):
        (top / "aa" / "masks" / name).symlink_to(store / "aa" / "masks" / name)
    for place in ("aa/images/._aa.png", "aa/masks/._m1.png", "bb/._images", "._aa"):
        (top / place).write_bytes(b"\0\5\26\7")
    (top / "bb" / "images" / ".DS_Store").write_bytes(b"x")
    (top / "bb" / "back").symlink_to(top)  # a circle
    assert same(read_official(top), read_official(archive(tmp_path / "a.zip", members())))
    hidden = {**members(), "aa/images/._aa.png": b"x", "aa/masks/._m1.png": b"x"}
    assert same(read_official(top), read_official(archive(tmp_path / "b.zip", hidden)))
    (top / "dd").symlink_to(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=r"set/dd is a link to .*gone, which is not there"):
        read_official(top)
    (top / "dd").unlink()
    (top / "aa" / "masks" / "m3.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(FileNotFoundError, match=r"no picture .*aa/masks/m3.png"):
        read_official(top)


def test_home_and_missing_archives(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    archive(tmp_path / "a.zip", members())
    found = read_official("~/a.zip")
    assert same(read_packed(write_packed("~/p.zip", found))[0], found)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "p.zip"]
    for read in (read_official, read_packed):
        with pytest.raises(FileNotFoundError, match=r"there is no .*b.zip.*did you mean [ap].zip"):
            read("~/b.zip")


def test_the_official_layout_with_other_kinds_of_files(tmp_path):
    """Palette, 1-bit and 16-bit pictures, TIFF and JPEG, as read_picture reads them."""
    import tifffile

    deep = np.linspace(0, 4000, 480).reshape(20, 24).astype(np.uint16)
    store = folder_of(tmp_path / "f", members())
    (store / "aa/images/aa.png").unlink()
    (store / "bb/images/bb.png").unlink()
    tifffile.imwrite(store / "aa/images/aa.TIF", np.dstack([deep] * 3), photometric="rgb")
    for mode in ("P", "1"):
        Image.fromarray(picture(1).astype(np.uint8)).convert(mode).save(store / "bb/images/b.png")
        found = read_official(store)
        for i, name in enumerate(("aa/images/aa.TIF", "bb/images/b.png")):
            assert torch.equal(found.images[i], read_picture(store / name))
    Image.fromarray(mask(0, 0, 4, 4).astype(np.uint8)).save(store / "bb/masks/m1.jpg")
    with pytest.raises(ValueError, match="bb/masks/m1.jpg is a JPEG, which changes numbers"):
        read_official(store)


FAULTS = [
    ({"aa/masks/m1.png": None, "aa/masks/m2.png": None}, "picture aa .* 1 images and 0 masks"),
    ({"aa/images/aa.png": None}, "picture aa in a.zip has 0 images and 2 masks"),
    ({"aa/masks/m1.png": png(mask(0, 0, 1, 1, shape=(5, 5)))}, "mask aa/masks/m1.png has 5x5"),
    ({"aa/images/aa.png": b"no picture"}, "aa.png is not a readable picture"),
    ({"aa/masks/m1.png": png(mask(0, 0, 3, 3))[:40]}, "m1.png is not a readable picture"),
    ({"../../evil.png": b"x"}, "refused: its member '../../evil.png' points outside"),
    ({"/etc/evil.png": b"x"}, "points outside"),
    ({"C:/evil.png": b"x"}, "points outside"),
]


@pytest.mark.parametrize(("change", "message"), FAULTS)
def test_faults_are_named(tmp_path, change, message):
    content = {k: v for k, v in {**members(), **change}.items() if v is not None}
    with pytest.raises(ValueError, match=message):
        read_official(archive(tmp_path / "a.zip", content))


def test_broken_archives(tmp_path):
    path = archive(tmp_path / "a.zip", members())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"not a whole .zip archive .*fetch it again"):
        read_official(path)
    place = whole.index(b"IDAT") + 8
    path.write_bytes(whole[:place] + b"\0\0\0\0\0" + whole[place + 5 :])
    with pytest.raises(ValueError, match=r"aa/images/aa.png in a.zip is damaged"):
        read_official(path)
    with pytest.raises(ValueError, match="holds no pictures of the layout"):
        read_official(archive(tmp_path / "b.zip", {"readme.txt": "hello"}))


# ------------------------------------------------------------------------- from the data folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MTL_DATA", str(tmp_path))
    return tmp_path / "BBBC038"


def test_what_was_read_is_packed_and_read_from_there(folder, monkeypatch):
    archive(folder / "stage1_train.zip", members())
    first = nuclei("bbbc038")
    assert (folder / "nuclei.packed.zip").exists()
    monkeypatch.setattr(source, "read_official", None)  # it would fail
    assert same(first, nuclei("bbbc038"))
    (folder / "stage1_train.zip").unlink()  # the packed file travels alone
    assert same(first, nuclei("bbbc038"))


def test_another_archive_is_packed_again(folder):
    archive(folder / "stage1_train.zip", members())
    nuclei("bbbc038")
    content = {k: v for k, v in members().items() if k.startswith("aa")}
    archive(folder / "stage1_train.zip", content)
    assert nuclei("bbbc038").names == ("aa",) == nuclei("bbbc038").names


def test_a_folder_in_place_of_the_archive(folder):
    for name, value in members().items():
        (folder / "stage1_train" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "stage1_train" / name).write_bytes(value)
    first = nuclei("bbbc038")
    assert same(first, nuclei("bbbc038")) and len(first) == 2


def test_nothing_there(folder):
    with pytest.raises(FileNotFoundError, match=r"stage1_train.zip is missing. Pass download=True"):
        nuclei("bbbc038")
    with pytest.raises(ValueError, match="unknown source 'dsb'; use 'synthetic' or 'bbbc038'"):
        nuclei("dsb")


def test_download_is_asked_of_the_official_address(folder, monkeypatch):
    asked = []

    def download(url, path, **more):
        asked.append((url, path))
        return archive(path, members())

    monkeypatch.setattr(files, "download", download)
    assert len(nuclei("bbbc038", download=True)) == 2
    assert asked == [(source.URL, folder / "stage1_train.zip")]
    nuclei("bbbc038", download=True)  # there now, packed
    assert len(asked) == 1


def test_no_network(folder, monkeypatch):
    def refuse(*args, **more):
        raise ConnectionError("no way")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr(files.download, "__kwdefaults__", {
        **files.download.__kwdefaults__, "opener": refuse})  # fmt: skip
    with pytest.raises(ConnectionError, match=r"works without any download"):
        nuclei("bbbc038", download=True)
    assert not folder.exists() or not list(folder.iterdir())


def test_a_folder_that_may_not_be_written_to(folder, monkeypatch):
    archive(folder / "stage1_train.zip", members())

    def full(path):
        raise OSError(28, "nuclei.packed.zip was not written: the disk is full")

    monkeypatch.setattr(files, "open_whole", full)
    with pytest.warns(UserWarning, match="next start will be as slow as this one.*disk is full"):
        assert len(nuclei("bbbc038")) == 2
    assert sorted(p.name for p in folder.iterdir()) == ["stage1_train.zip"]


def test_a_broken_packed_file(folder):
    archive(folder / "stage1_train.zip", members())
    nuclei("bbbc038")
    path = folder / "nuclei.packed.zip"
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    with pytest.raises(ValueError, match=r"is not a packed set of nuclei .*; delete it"):
        nuclei("bbbc038")
    archive(path, {"index.json": json.dumps({"format": 99})})
    with pytest.raises(ValueError, match="format 99, expected 1"):
        nuclei("bbbc038")


# -------------------------------------------------------------------------------- packed, split


def test_packed_without_loss(tmp_path):
    drawn = draw_nuclei(7, 40, seed=4)
    parts = (drawn.names, drawn.images, drawn.labels, (0, 0, 1, 1, 2, 3, 4), drawn.modalities)
    drawn = Nuclei(*parts, ("a",))
    path = write_packed(tmp_path / "p.zip", drawn, origin="here")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back, origin = read_packed(path)
    assert same(drawn, back) and back.notes == ("a",) and origin == "here"
    image, label = torch.zeros(3, 270, 270, dtype=torch.uint8), torch.arange(270**2).view(270, 270)
    huge = Nuclei(("x",), (image,), (label,), (0,), ("stained",))
    with pytest.raises(ValueError, match="picture x has more than 65,535 nuclei.*leave it out"):
        write_packed(tmp_path / "q.zip", huge)
    assert not (tmp_path / "q.zip").exists()


def test_label_maps_are_numbered_from_one(tmp_path):
    drawn = draw_nuclei(1, 64)
    true, most = drawn.labels[0], int(drawn.labels[0].max())
    for step, kind in ((3, torch.int32), (40_000, torch.int64), (10**12, torch.int64)):
        other = Nuclei(drawn.names, drawn.images, (true.to(kind) * step,), (0,), drawn.modalities)
        assert torch.equal(other.labels[0], true) and other.labels[0].dtype == torch.int32
        assert repr(other) == repr(drawn) == f"Nuclei(1 pictures, {most} nuclei, 1 groups)"
        assert summary(other) == summary(drawn)
        assert same(read_packed(write_packed(tmp_path / "p.zip", other))[0], drawn)
    other = Nuclei(drawn.names, drawn.images, (true.numpy().astype(np.uint16) * 9,), (0,),
                   drawn.modalities)  # fmt: skip
    assert torch.equal(other.labels[0], true)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": lambda n: (n.labels[0].float(),)}, "label map of picture drawn-0-0000 must be"),
        ({"labels": lambda n: (n.labels[0] - 1,)}, "whole numbers from 0 up.*smallest -1"),
        ({"labels": lambda n: (n.labels[0] > 0,)}, "found shape .*bool"),
        ({"labels": lambda n: (n.labels[0][:9],)}, "drawn-0-0000 has 64x64 pixels and its .* 9x64"),
        ({"labels": lambda n: ()}, "must be of one length; found 1, 1, 0, 1, 1"),
        (
            {"images": lambda n: (n.images[0] / 255,)},
            "must be a uint8 tensor .*found torch.float32",
        ),
        ({"images": lambda n: (n.images[0][0],)}, r"found torch.uint8 \[64, 64\]"),
        ({"images": lambda n: (n.images[0].numpy(),)}, r"found uint8 \[3, 64, 64\]"),
        ({"modalities": lambda n: ("x-ray",)}, r"unknown modality \['x-ray'\]; use fluorescence"),
    ],
)
def test_nuclei_refuses_what_does_not_fit(change, words):
    drawn = draw_nuclei(1, 64)
    names = ("names", "images", "labels", "groups", "modalities")
    parts = {name: getattr(drawn, name) for name in names}
    with pytest.raises(ValueError, match=words):
        Nuclei(**{**parts, **{name: make(drawn) for name, make in change.items()}})


def grouped(count=60, size=3):
    image, label = torch.zeros(3, 4, 4, dtype=torch.uint8), torch.ones(4, 4, dtype=torch.int32)
    kinds = tuple("stained" if i % 5 == 0 else "fluorescence" for i in range(count // size))
    return Nuclei(
        tuple(f"p{i:03d}" for i in range(count)),
        (image,) * count,
        (label,) * count,
        tuple(i // size for i in range(count)),
        tuple(kinds[i // size] for i in range(count)),
    )


def test_no_slide_is_on_two_sides_and_every_picture_on_one():
    data = grouped()
    sides = data.split()
    groups = [set(side.groups) for side in sides]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert sorted(sum((side.names for side in sides), ())) == sorted(data.names)
    assert [len(side) for side in sides] == [36, 12, 12]
    for side in sides:  # each modality is shared out
        assert set(side.modalities) == {"stained", "fluorescence"}


def test_the_split_does_not_move():
    data = grouped()
    assert data.split()[0].names == data.split()[0].names
    assert data.split()[2].names[:4] == ("p012", "p013", "p014", "p024")
    fewer = data.subset(i for i in range(len(data)) if i // 3 != 7)
    moved = set(data.split()[2].names) ^ set(fewer.split()[2].names)
    assert len(moved) <= 6
    wide = data.split(0.8, 0.1)
    assert [len(side) for side in wide] == [48, 6, 6]
    for bad in ((0, 0.5), (0.8, 0.2), (0.5, -0.1)):
        with pytest.raises(ValueError, match="leave some for testing"):
            data.split(*bad)


def test_crops_of_one_slide_are_found():
    rng = np.random.default_rng(0)
    from scipy.ndimage import gaussian_filter

    slide = gaussian_filter(rng.normal(size=(80, 120)), 3)
    slide = ((slide - slide.min()) / np.ptp(slide) * 255).astype(np.uint8)
    other = np.roll(slide, 17, axis=1)[::-1]
    crops = [
        whole[r : r + 40, c : c + 60] for whole in (slide, other) for r in (0, 40) for c in (0, 60)
    ]
    images = [np.repeat(crop[..., None], 3, axis=2) for crop in crops]
    dark = [np.zeros((40, 60, 3), np.uint8)] * 2  # nothing to see: not one slide
    small = images[0][:20, :30]
    found = slide_groups([*images, *dark, small])
    assert len(set(found[:4])) == 1 and len(set(found[4:8])) == 1 and found[0] != found[4]
    assert len(set(found[8:])) == 3 and not set(found[8:]) & set(found[:8])
    order = [5, 0, 9, 3, 7, 1, 4, 8, 6, 2]
    again = slide_groups([[*images, *dark][i] for i in order])
    pairs = {(i, j) for i in order for j in order if found[i] == found[j]}
    assert pairs == {
        (i, j) for a, i in enumerate(order) for b, j in enumerate(order) if again[a] == again[b]
    }


def test_modality_by_its_rule():
    grey = torch.full((3, 5, 5), 99, dtype=torch.uint8)
    assert modality(grey) == "fluorescence" and modality(grey + 1) == "brightfield"
    pink = grey.clone()
    pink[1] -= 5
    assert modality(pink) == "stained"
    pink[1] += 1
    assert modality(pink) == "fluorescence"


def test_of_and_summary():
    data = grouped()
    assert len(data.of("stained")) == 12 and len(data.of(*MODALITIES)) == 60
    assert summary(data)["stained"] == {
        "pictures": 12, "groups": 4, "nuclei": 12, "sizes": [(4, 4)],
    }  # fmt: skip
    assert "brightfield" not in summary(data)
    with pytest.raises(ValueError, match=r"unknown modality \['x-ray'\]"):
        data.of("x-ray")


# ------------------------------------------------------------------------------- drawn pictures


def test_drawn_pictures():
    data = nuclei(images=9, size=64, seed=5)
    again, more = draw_nuclei(9, 64, seed=5), draw_nuclei(12, 64, seed=5)
    assert same(data, again) and same(data, more.subset(range(9)))
    assert not torch.equal(data.images[0], draw_nuclei(1, 64, seed=6).images[0])
    assert data.modalities == tuple(modality(image) for image in data.images)
    assert set(data.modalities) == set(MODALITIES) and len(set(data.groups)) == 9
    for image, label in zip(data.images, data.labels, strict=True):
        assert image.shape == (3, 64, 64) and image.dtype == torch.uint8
        numbers = label.unique().tolist()
        assert numbers == list(range(len(numbers))) and len(numbers) >= 2
        assert min((label == k).sum() for k in numbers) >= 12
        inside = image.float().mean(0)[label > 0].mean()
        outside = image.float().mean(0)[label == 0].mean()
        assert (inside > outside) == (modality(image) == "fluorescence")


def test_more_touching_when_asked_for():
    def touching(share):
        found = 0
        for label in draw_nuclei(8, 96, seed=1, touching=share).labels:
            right = (label[:, 1:] != label[:, :-1]) & (label[:, 1:] > 0) & (label[:, :-1] > 0)
            found += int(right.sum())
        return found

    assert touching(0.9) > 1.5 * touching(0.0)


def test_drawings_that_make_no_sense():
    for bad in ({"images": 0}, {"images": 1, "size": 16}, {"images": 1, "touching": 2}):
        with pytest.raises(ValueError, match="draw_nuclei needs images >= 1, size >= 32"):
            draw_nuclei(**bad)


# ------------------------------------------------------------------------- a picture of one's own


@pytest.mark.parametrize("kind", ["png", "tiff", "jpg"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_of_ones_own(tmp_path, kind, mode):
    pixels = picture(3) if mode == "RGB" else picture(3)[..., 0]
    path = tmp_path / f"mine.{kind}"
    Image.fromarray(pixels.astype(np.uint8)).save(path, quality=100)
    found = read_picture(path)
    assert found.shape == (3, 20, 24) and found.dtype == torch.uint8
    apart = (found.permute(1, 2, 0).float().numpy() - picture(3)).__abs__()
    assert apart.max() == 0 if kind != "jpg" else apart.mean() < 4


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_are_stretched(tmp_path, kind):
    pixels = np.linspace(1000, 5000, 480).reshape(20, 24).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / f"mine.{kind}")
    found = read_picture(tmp_path / f"mine.{kind}")
    assert (found.min(), found.max(), found[0, 10, 0]) == (0, 255, 128)
    wide = np.linspace(1000, 5000, 40_000).reshape(200, 200).astype(np.uint16)
    wide[0, 0] = 65_535  # a hot pixel
    Image.fromarray(wide).save(tmp_path / f"hot.{kind}")
    hot = read_picture(tmp_path / f"hot.{kind}")
    assert len(hot.unique()) > 250 and abs(int(hot[0, 100, 0]) - 128) < 2


def test_other_modes(tmp_path):
    Image.fromarray(picture(3).astype(np.uint8)).convert("P").save(tmp_path / "p.png")
    Image.fromarray(mask(0, 0, 5, 5) > 0).save(tmp_path / "one.png")
    Image.fromarray(picture(3).astype(np.uint8)).convert("LA").save(tmp_path / "la.png")
    assert read_picture(tmp_path / "p.png").shape == (3, 20, 24)
    assert read_picture(tmp_path / "one.png")[0, :5, :5].min() == 255
    assert read_picture(tmp_path / "la.png").shape == (3, 20, 24)


def test_what_is_no_picture_of_nuclei(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ValueError, match=r"text.png is not a readable picture .*give a PNG, TIFF"):
        read_picture(tmp_path / "text.png")
    frames = [Image.fromarray(picture(i).astype(np.uint8)) for i in range(3)]
    frames[0].save(tmp_path / "stack.tiff", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"stack.tiff holds 3 pages.*or save that page by itself"):
        read_picture(tmp_path / "stack.tiff")
    whole = png(picture(3))
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut.png is not a readable picture"):
        read_picture(tmp_path / "cut.png")
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "none.png")


@pytest.mark.real_data
def test_the_real_pictures(real_data_folder):
    path = real_data_folder / "BBBC038" / "stage1_train.zip"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there")
    names, read = source._members(path)
    keys = sorted({name.split("/")[-3] for name in names if "/images/" in name})
    assert len(keys) >= 500
    for key in keys[:3]:
        (image,) = (name for name in names if f"{key}/images/" in name and name.endswith(".png"))
        pixels = source.grey_levels(source.decode(read(image), key), key)
        masks = [name for name in names if f"{key}/masks/" in name and name.endswith(".png")]
        each = ((name, source.decode(read(name), name, raw=True)) for name in masks)
        label, _ = source._label_map(key, pixels.shape[:2], each, single=len(masks) == 1)
        assert min(pixels.shape[:2]) >= 256 and label.max() == len(masks)
