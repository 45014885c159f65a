"""Multi-task data, missing labels, and the pairs of overlapping pictures."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from mtl_helpers import files
from mtl_helpers.datasets import (
    SOURCES,
    MultiTaskData,
    Splits,
    class_names,
    overlapping_digits,
    overlay,
    with_missing,
)
from mtl_helpers.tasks import MISSING_CLASS

SMALL = {"train": 40, "valid": 20, "test": 20}
SIDES = ("train", "valid", "test")


def make_data(n=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return MultiTaskData(
        torch.rand(n, 2, 3, generator=generator, dtype=dtype),
        {
            "kind": torch.arange(n) % 3,
            "size": torch.rand(n, generator=generator, dtype=dtype),
            "box": torch.rand(n, 4, generator=generator, dtype=dtype),
        },
    )


def same(a: MultiTaskData, b: MultiTaskData) -> bool:
    return torch.equal(a.inputs, b.inputs) and all(
        torch.equal(a.targets[name], b.targets[name]) for name in a.targets | b.targets
    )


# --- MultiTaskData ---------------------------------------------------------------------------


def test_data_has_a_length_and_a_short_description():
    data = make_data()
    assert len(data) == 6
    assert repr(data) == (
        "MultiTaskData(inputs [6, 2, 3] float64, kind [6] int64, size [6] float64, "
        "box [6, 4] float64)"
    )


def test_missing_labels_are_allowed():
    targets = {"a": torch.tensor([0, MISSING_CLASS]), "b": torch.tensor([float("nan"), 1.0])}
    assert len(MultiTaskData(torch.zeros(2, 3), targets)) == 2


@pytest.mark.parametrize(
    ("inputs", "targets", "error", "words"),
    [
        (torch.zeros(2, 3), {}, ValueError, "targets is empty"),
        (torch.zeros(2, 3), {"a": torch.zeros(3)}, ValueError, "'a': 3 targets.*2 inputs"),
        (torch.zeros(2, 3), {"a": [0, 1]}, TypeError, "a: expected a tensor.*found list"),
        (torch.zeros(2, 3), {"a": torch.tensor(1)}, TypeError, "one row per example"),
        (np.zeros((2, 3)), {"a": torch.zeros(2)}, TypeError, "inputs.*found ndarray"),
        (
            torch.tensor([[0.0], [float("nan")], [float("inf")]]),
            {"a": torch.zeros(3)},
            ValueError,
            "inputs hold 2 NaN or infinite value.*first in example 1",
        ),
        (
            torch.zeros(3, 1),
            {"a": torch.tensor([0.0, float("nan"), float("-inf")])},
            ValueError,
            "task 'a' hold 1 infinite value.*first in example 2",
        ),
    ],
)
def test_bad_data_is_refused(inputs, targets, error, words):
    with pytest.raises(error, match=words):
        MultiTaskData(inputs, targets)


def test_subset_takes_the_same_rows_everywhere():
    data = make_data()
    for indices in ([4, 0, 4], torch.tensor([4, 0, 4])):
        part = data.subset(indices)
        assert torch.equal(part.inputs, data.inputs[[4, 0, 4]])
        assert all(torch.equal(part.targets[k], t[[4, 0, 4]]) for k, t in data.targets.items())
    mask = torch.tensor([True, False, False, True, False, False])
    assert same(data.subset(mask), data.subset([0, 3]))
    assert len(data.subset([])) == 0
    with pytest.raises(IndexError):
        data.subset([6])


def test_to_changes_floating_tensors_only():
    data = with_missing(make_data(), "size", 0.5, seed=0)
    small = data.to(dtype=torch.float32)
    assert small.inputs.dtype == small.targets["box"].dtype == torch.float32
    assert small.targets["size"].isnan().sum() == 3
    assert small.targets["kind"].dtype == torch.int64
    assert torch.equal(small.inputs, data.inputs.float())
    assert data.inputs.dtype == torch.float64
    assert same(data.to("cpu"), data.to()) is False  # nan differs from itself
    splits = Splits(data, data, data).to(dtype=torch.float32)
    assert [part.inputs.dtype for part in splits] == [torch.float32] * 3
    with pytest.raises(TypeError, match=r"floating-point type.*torch\.int64"):
        data.to(dtype=torch.int64)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
def test_devices():
    on_gpu = overlapping_digits(**SMALL, device="cuda")
    assert {t.device.type for d in on_gpu for t in (d.inputs, *d.targets.values())} == {"cuda"}
    on_cpu = overlapping_digits(**SMALL)
    assert all(same(a, b) for a, b in zip(on_gpu.to("cpu"), on_cpu, strict=True))
    missing = with_missing(on_gpu.train, "left", 0.5, seed=3).to("cpu")
    assert same(missing, with_missing(on_cpu.train, "left", 0.5, seed=3))
    assert len(on_gpu.train.subset([1, 2])) == 2


# --- missing labels --------------------------------------------------------------------------


@example(n=10, fraction=0.29, seed=0, name="size")  # 2.9 labels are 3
@given(
    n=st.integers(0, 40),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 2**31),
    name=st.sampled_from(["kind", "size", "box"]),
)
def test_with_missing_takes_exactly_that_many_labels(n, fraction, seed, name):
    data = make_data(n)
    before = {k: t.clone() for k, t in data.targets.items()}
    after = with_missing(data, name, fraction, seed=seed)
    target = after.targets[name]
    gone = target == MISSING_CLASS if name == "kind" else target.isnan()
    gone_rows = gone.reshape(n, -1).any(1) if n else gone.reshape(0)
    assert int(gone_rows.sum()) == round(fraction * n)
    assert torch.equal(gone.reshape(n, -1).all(1) if n else gone_rows, gone_rows)  # whole rows
    assert torch.equal(target[~gone_rows], before[name][~gone_rows])
    for other in before:
        assert torch.equal(data.targets[other], before[other])  # the original is left alone
        if other != name:
            assert torch.equal(after.targets[other], before[other])
    assert torch.equal(after.inputs, data.inputs)
    assert list(after.targets) == list(data.targets)


def test_with_missing_is_drawn_by_seed_and_grows():
    data = make_data(50)

    def gone(fraction, seed):
        target = with_missing(data, "kind", fraction, seed=seed).targets["kind"]
        return set((target == MISSING_CLASS).nonzero()[:, 0].tolist())

    assert gone(0.4, 1) == gone(0.4, 1)
    assert gone(0.4, 1) != gone(0.4, 2)
    assert gone(0.4, 1) < gone(0.6, 1)
    assert gone(0.4, 1) != set(range(20))


@pytest.mark.parametrize(
    ("name", "fraction", "error", "words"),
    [
        ("colour", 0.5, KeyError, "no task 'colour'.*kind, size, box"),
        ("kind", 1.01, ValueError, "'kind': fraction must lie in 0..1, found 1.01"),
        ("kind", -0.1, ValueError, "found -0.1"),
        ("kind", float("nan"), ValueError, "found nan"),
    ],
)
def test_with_missing_refuses(name, fraction, error, words):
    with pytest.raises(error, match=words):
        with_missing(make_data(), name, fraction, seed=0)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8])
def test_with_missing_refuses_types_without_a_mark(dtype):
    data = MultiTaskData(torch.zeros(4, 1), {"a": torch.zeros(4, dtype=dtype)})
    with pytest.raises(TypeError, match="'a'.*cannot mark a missing label"):
        with_missing(data, "a", 0.5, seed=0)


# --- overlay ---------------------------------------------------------------------------------


def test_overlay_by_hand():
    left, right = torch.tensor([[1, 2], [3, 4]]), torch.tensor([[9, 8], [1, 6]])
    expected = torch.tensor([[1, 2, 0], [3, 9, 8], [0, 1, 6]])
    assert torch.equal(overlay(left, right, (1, 1)), expected)
    assert torch.equal(overlay(left, right, (0, 0)), torch.tensor([[9, 8], [3, 6]]))
    assert torch.equal(overlay(left, right, (0, 2)), torch.tensor([[1, 2, 9, 8], [3, 4, 1, 6]]))
    expected = torch.tensor([[1, 2, 0, 0], [9, 8, 0, 0], [1, 6, 0, 0]])
    assert torch.equal(overlay(left, right, (1, 0), canvas=(3, 4)), expected)
    many = overlay(left.expand(5, 1, 2, 2), right.expand(5, 1, 2, 2), (1, 1))
    assert many.shape == (5, 1, 3, 3)
    assert overlay(torch.zeros(8, 8), torch.zeros(8, 8)).shape == (10, 12)


@pytest.mark.parametrize("offset", [(-1, 0), (0, -1), (3, 0), (0, 3)])
def test_overlay_refuses_offsets_that_part_the_pictures(offset):
    with pytest.raises(ValueError, match=r"pushes the right picture out.*2x2.*\(2, 2\)"):
        overlay(torch.zeros(2, 2), torch.zeros(2, 2), offset)


@pytest.mark.parametrize("offset", [(-1, 0), (0, -1), (2, 0), (0, 4)])
def test_overlay_refuses_offsets_out_of_the_canvas(offset):
    overlay(torch.zeros(2, 2), torch.zeros(2, 2), (1, 3), canvas=(3, 5))
    with pytest.raises(ValueError, match=r"pushes the right picture out.*\(1, 3\)"):
        overlay(torch.zeros(2, 2), torch.zeros(2, 2), offset, canvas=(3, 5))


def test_overlay_refuses_two_shapes():
    with pytest.raises(ValueError, match=r"\[2, 2\], \[2, 3\]"):
        overlay(torch.zeros(2, 2), torch.zeros(2, 3))


# --- the handwritten digits ------------------------------------------------------------------


@pytest.fixture(scope="module")
def identities():
    """Give the number of each digit picture by its bytes, and its class."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    numbers = {image.astype(np.uint8).tobytes(): i for i, image in enumerate(digits.images)}
    assert len(numbers) == 1797  # no two pictures are the same, so bytes do identify them
    return numbers, digits.target


def pictures_of(data: MultiTaskData, numbers):
    """Take pairs laid side by side, offset (0, 8), apart again; give the picture numbers."""
    grey = (data.inputs * 16).round().to(torch.uint8)[:, 0].numpy()
    return tuple(
        np.array([numbers[np.ascontiguousarray(image).tobytes()] for image in half])
        for half in (grey[:, :, :8], grey[:, :, 8:])
    )


def test_shapes_types_and_range():
    splits = overlapping_digits()
    assert [len(data) for data in splits] == [2000, 500, 1000]
    for data in splits:
        assert data.inputs.shape[1:] == (1, 10, 12)
        assert data.inputs.dtype == torch.float64
        assert list(data.targets) == ["left", "right"]
        assert all(t.dtype == torch.int64 and t.dim() == 1 for t in data.targets.values())
        assert all(set(t.unique().tolist()) == set(range(10)) for t in data.targets.values())
        assert data.inputs.min() == 0
        assert data.inputs.max() == 1
    assert overlapping_digits(**SMALL, dtype=torch.float32).test.inputs.dtype == torch.float32
    assert overlapping_digits(**SMALL, offset=(0, 0)).test.inputs.shape == (20, 1, 8, 8)
    assert [len(d) for d in overlapping_digits(train=1, valid=0, test=0)] == [1, 0, 0]


def test_the_default_offset_is_two_down_four_across():
    given, default = overlapping_digits(**SMALL, offset=(2, 4)), overlapping_digits(**SMALL)
    assert same(given.train, default.train)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**40))
def test_no_picture_is_on_two_sides(identities, seed):
    numbers, classes = identities
    splits = overlapping_digits(train=1200, valid=400, test=400, seed=seed, offset=(0, 8))
    seen = []
    for data in splits:
        left, right = pictures_of(data, numbers)
        assert np.array_equal(classes[left], data.targets["left"].numpy())
        assert np.array_equal(classes[right], data.targets["right"].numpy())
        assert set(left) == set(right)  # more pairs than pictures: all of the side are used
        counts = Counter(left.tolist()).values()
        assert max(counts) - min(counts) <= 1  # and equally often
        seen.append(set(left.tolist()))
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    assert len(set.union(*seen)) == 1797
    for k in range(10):  # by class: three fifths, one fifth, one fifth
        total = int((classes == k).sum())
        share = [sum(classes[i] == k for i in side) for side in seen]
        assert share == pytest.approx([0.6 * total, 0.2 * total, 0.2 * total], abs=1)


def test_same_seed_same_data_other_seed_other_split_and_pairs(identities):
    numbers, _ = identities
    sizes = {"train": 1200, "valid": 400, "test": 400, "offset": (0, 8)}
    first, again, other = (overlapping_digits(**sizes, seed=s) for s in (5, 5, 6))
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    for a, b in zip(first, other, strict=True):
        pictures_a, pictures_b = pictures_of(a, numbers), pictures_of(b, numbers)
        assert set(pictures_a[0]) != set(pictures_b[0])  # the split
        pairs_a, pairs_b = (set(zip(*p, strict=True)) for p in (pictures_a, pictures_b))
        assert len(pairs_a & pairs_b) < 20  # the pairs


def test_pairs_are_drawn_independently(identities):
    splits = overlapping_digits(train=1000, valid=300, test=300, offset=(0, 8))
    for data in splits:
        left, right = pictures_of(data, identities[0])
        assert (left == right).mean() < 0.02
        assert 0.03 < (data.targets["left"] == data.targets["right"]).double().mean() < 0.2


def test_a_larger_train_begins_with_the_smaller_and_leaves_the_others():
    small = overlapping_digits(train=700, valid=50, test=60, seed=3)
    large = overlapping_digits(train=2500, valid=50, test=60, seed=3)
    assert same(large.train.subset(range(700)), small.train)
    assert same(large.valid, small.valid)
    assert same(large.test, small.test)


def test_drawing_leaves_the_global_generator_and_the_pictures_alone():
    state = torch.random.get_rng_state()
    first = overlapping_digits(**SMALL)
    assert torch.equal(torch.random.get_rng_state(), state)
    kept = first.train.inputs.clone()
    first.train.inputs.zero_()
    first.train.targets["left"].zero_()
    again = overlapping_digits(**SMALL).train
    assert torch.equal(again.inputs, kept)
    assert again.targets["left"].any()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (
            {"source": "svhn"},
            ValueError,
            "unknown source 'svhn'; use one of digits, mnist, fashion, fashion_and_mnist",
        ),
        ({"train": -1}, ValueError, "train must be a whole number.*found -1"),
        ({"valid": 2.5}, ValueError, "valid must be a whole number.*found 2.5"),
        ({"test": 10**6}, ValueError, "test=1000000 is too large: 359 pictures.*only 128881 "),
        ({"offset": (9, 0)}, ValueError, r"offset \(9, 0\).*8x8.*\(8, 8\)"),
        ({"offset": (0, -1)}, ValueError, r"offset \(0, -1\)"),
        ({"dtype": torch.int64}, TypeError, r"floating-point type.*torch\.int64"),
        ({"dtype": "float32"}, TypeError, "found float32"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        overlapping_digits(**arguments)


# --- MNIST and Fashion-MNIST, in their layout but small and made up --------------------------


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    return gzip.compress(head + array.tobytes(), mtime=0)


def make_official(monkeypatch, folder: Path, name: str, seed: int):
    """Write the four files of a made-up set, and let torchvision expect their checksums."""
    import torchvision

    draw = np.random.default_rng(seed)
    made, resources = {}, []
    for part, each in (("train", 6), ("t10k", 2)):
        labels = draw.permutation(np.arange(10 * each) % 10).astype(np.uint8)
        images = draw.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
        made[part] = images, labels
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            filename = f"{part}-{kind}-ubyte.gz"
            path = files.write_whole(folder / name / "raw" / filename, idx(array))
            resources.append((filename, hashlib.md5(path.read_bytes()).hexdigest()))
    monkeypatch.setattr(getattr(torchvision.datasets, name), "resources", resources)
    monkeypatch.setattr(getattr(torchvision.datasets, name), "mirrors", ["file:///nowhere/"])
    return made


@pytest.fixture
def official(monkeypatch, tmp_path):
    monkeypatch.setenv("MTL_DATA", str(tmp_path))
    return {
        name: make_official(monkeypatch, tmp_path, name, seed)
        for seed, name in enumerate(["MNIST", "FashionMNIST"])
    }


def published_overlay(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Combine two 28x28 pictures as the text of the module says, with Pillow's nearest pixel."""
    canvas = np.zeros((36, 36), dtype=np.uint8)
    canvas[0:28, 0:28] = left
    canvas[6:34, 6:34] = np.maximum(canvas[6:34, 6:34], right)
    return np.asarray(Image.fromarray(canvas).resize((28, 28), Image.Resampling.NEAREST))


@pytest.mark.parametrize("source", ["mnist", "fashion", "fashion_and_mnist"])
def test_pairs_of_official_pictures(official, tmp_path, source):
    before = sorted(tmp_path.rglob("*"))
    splits = overlapping_digits(source, train=60, valid=15, test=25, seed=2)
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked into the data folder
    left_set, right_set = (official[name] for name in SOURCES[source])
    used = {"left": [], "right": []}
    for side, data in zip(SIDES, splits, strict=True):
        part = "t10k" if side == "test" else "train"
        (left, left_labels), (right, right_labels) = left_set[part], right_set[part]
        pairs = {
            published_overlay(left[i], right[j]).tobytes(): (i, j)
            for i, j in itertools.product(range(len(left)), range(len(right)))
        }
        grey = (data.inputs * 255).round().to(torch.uint8)[:, 0].numpy()
        found = [pairs[np.ascontiguousarray(image).tobytes()] for image in grey]
        assert [left_labels[i] for i, _ in found] == data.targets["left"].tolist()
        assert [right_labels[j] for _, j in found] == data.targets["right"].tolist()
        used["left"].append({i for i, _ in found})
        used["right"].append({j for _, j in found})
    for kind, chosen in (("left", left_set), ("right", right_set)):
        train, valid, test = used[kind]
        assert (len(train), len(valid), len(test)) == (50, 10, 20)
        assert not train & valid
        assert Counter(chosen["train"][1][list(train)].tolist()) == dict.fromkeys(range(10), 5)


def test_offsets_of_official_pictures_stay_on_the_canvas(official):
    assert overlapping_digits("mnist", **SMALL, offset=(8, 8)).train.inputs.shape[2:] == (28, 28)
    with pytest.raises(ValueError, match=r"28x28.*\(8, 8\)"):
        overlapping_digits("mnist", **SMALL, offset=(0, 9))


@pytest.mark.parametrize("download", [False, True])
def test_files_that_are_there_need_no_network(official, download):
    assert len(overlapping_digits("mnist", **SMALL, download=download).train) == 40


def test_missing_files_are_named(official, tmp_path):
    path = tmp_path / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        overlapping_digits("fashion_and_mnist", **SMALL)
    message = str(caught.value)
    assert message.startswith(f"FashionMNIST is not here: {path} is missing.")
    assert "download=True" in message
    assert "data/README.md" in message
    assert message.endswith("source='digits' works without any download.")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda whole: whole[:-4], "cut off, damaged"),
        (lambda whole: b"", "it is empty"),
        (lambda whole: b"<html>Please log in</html>", "web page"),
        (lambda whole: idx(np.zeros((60, 28, 28), np.uint8)), "another file"),
    ],
)
def test_damaged_files_are_named_and_fetched_again(official, monkeypatch, tmp_path, damage, words):
    import torchvision

    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with pytest.raises(ValueError, match=words) as caught:
        overlapping_digits("mnist", **SMALL)
    assert f"{path} is not the official file" in str(caught.value)
    assert "download=True" in str(caught.value)

    # one mirror is gone, one holds another file, the third is right
    mirrors = [tmp_path / "gone", tmp_path / "wrong", tmp_path / "right"]
    files.write_whole(mirrors[1] / path.name, b"something else")
    files.write_whole(mirrors[2] / path.name, whole)
    addresses = [f"{mirror.as_uri()}/" for mirror in mirrors]
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", addresses[:2])
    with pytest.raises(ValueError, match="was refused.*source='digits' works"):
        overlapping_digits("mnist", **SMALL, download=True)
    assert path.read_bytes() == damage(whole)
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", addresses)
    assert len(overlapping_digits("mnist", **SMALL, download=True).train) == 40
    assert path.read_bytes() == whole


def test_no_network_is_one_clear_sentence(official, monkeypatch, tmp_path):
    import torchvision

    path = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    path.unlink()
    gone = f"{(tmp_path / 'gone').as_uri()}/"
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [gone])
    with pytest.raises(ConnectionError, match="could not be downloaded") as caught:
        overlapping_digits("mnist", **SMALL, download=True)
    assert f"put it at {path}. source='digits' works without" in str(caught.value)
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "t10k-labels-idx1-ubyte.gz",
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]


def test_class_names():
    assert class_names() == {"left": list("0123456789"), "right": list("0123456789")}
    both = class_names("fashion_and_mnist")
    assert both["left"] == list("0123456789")
    assert both["right"][:2] == ["T-shirt/top", "Trouser"]
    assert len(both["right"]) == 10
    with pytest.raises(ValueError, match="unknown source 'svhn'"):
        class_names("svhn")


def test_a_broken_torchvision_is_explained(monkeypatch, tmp_path):
    broken = "raise RuntimeError('operator torchvision::nms does not exist')"
    files.write_whole(tmp_path / "torchvision" / "__init__.py", broken)
    for module in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError) as caught:
        overlapping_digits("mnist", **SMALL)
    message = str(caught.value)
    assert "RuntimeError: operator torchvision::nms does not exist" in message
    assert "environment check in notebooks/00_start_here.ipynb" in message
    assert message.endswith("source='digits' works without any download.")
    assert len(overlapping_digits(**SMALL).train) == 40


def test_importing_the_package_imports_neither_torchvision_nor_scikit_learn():
    code = (
        "import sys, mtl_helpers.datasets\n"
        "print([m for m in ('torchvision', 'sklearn') if m in sys.modules])"
    )
    root = Path(files.__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


def test_the_readme_names_every_file_and_its_checksum():
    from torchvision import datasets

    text = (Path(files.__file__).resolve().parents[1] / "data" / "README.md").read_text("utf-8")
    for name in ("MNIST", "FashionMNIST"):
        for filename, md5 in getattr(datasets, name).resources:
            line = next(x for x in text.splitlines() if f"`{name}/raw/{filename}`" in x)
            assert f"`{md5}`" in line


# --- the real files --------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.parametrize("source", ["mnist", "fashion", "fashion_and_mnist"])
def test_real_files(source):
    for name in set(SOURCES[source]):
        folder = files.data_folder() / name / "raw"
        if not (folder / "train-images-idx3-ubyte.gz").is_file():
            pytest.skip(f"the files of {name} are not in {folder}")
    before = sorted(files.data_folder().rglob("*"))
    splits = overlapping_digits(source, train=1000, valid=200, test=10_000, dtype=torch.float32)
    assert sorted(files.data_folder().rglob("*")) == before
    assert splits.train.inputs.shape == (1000, 1, 28, 28)
    assert splits.train.inputs.max() == 1
    # every official test picture is used once on each side: the known numbers of each class
    fashion = [1000] * 10
    mnist = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    for task, name in zip(("left", "right"), SOURCES[source], strict=True):
        expected = mnist if name == "MNIST" else fashion
        assert splits.test.targets[task].bincount().tolist() == expected
    with pytest.raises(ValueError, match="10000 pictures on the left"):
        overlapping_digits(source, train=1, valid=1, test=10**8 + 1)


def test_each_side_of_each_part_is_drawn_by_itself(monkeypatch):
    module, used = sys.modules["mtl_helpers.datasets.overlapping"], []
    draw = module._draw
    monkeypatch.setattr(module, "_draw", lambda *given: used.append(given[2]) or draw(*given))
    overlapping_digits(**SMALL)
    assert len(used) == len(set(map(str, used))) == 6
