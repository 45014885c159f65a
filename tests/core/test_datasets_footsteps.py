"""Footsteps: the table is what its source says, and every counter gets its own few hours."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch

from mtl_helpers import files
from mtl_helpers.datasets import footsteps as module
from mtl_helpers.datasets.footsteps import FEW_HOURS, footsteps, read_footsteps

TABLE = read_footsteps()


def labelled(part):
    return {name: ~target.isnan() for name, target in part.targets.items()}


def hour_index(text):
    return int((np.datetime64(text, "h") - TABLE.hours[0]).astype(int))


def test_the_file_is_small_and_its_licence_is_told(project_folder):
    path = project_folder / "data" / "footsteps" / "auckland.bin.xz"
    assert path.stat().st_size < 1_000_000
    told = (project_folder / "data" / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(path.read_bytes()).hexdigest() in told
    assert "Hyesop Shin" in told and "creativecommons.org/licenses/by/4.0" in told


def test_the_table_has_what_the_source_has():
    """Numbers read off the CSV file of the package."""
    assert TABLE.counts.shape == (26304, 21) and len(TABLE.counters) == 21
    queen = TABLE.counters.index("210 Queen Street")
    assert TABLE.counts[hour_index("2023-07-05T12"), queen] == 1401
    assert TABLE.counts[hour_index("2023-01-01T00")].sum() == 25_512  # fireworks
    assert TABLE.counts.nan_to_num().max() == 3709


def test_what_is_missing_is_missing():
    missing = TABLE.counts.isnan()
    everywhere = missing.all(1).nonzero()[:, 0].tolist()
    assert everywhere == [15311, hour_index("2024-09-29T02")]  # the second does not exist
    gaps = {
        "107 Quay Street": ("2022-03-01T06", 3432),
        "188 Quay Street Lower Albert (EW)": ("2022-01-01T06", 5832),
        "188 Quay Street Lower Albert (NS)": ("2022-01-01T06", 5832),
        FEW_HOURS: ("2023-10-26T12", 138),
    }
    for k, name in enumerate(TABLE.counters):
        first, hours = gaps.get(name, ("2022-01-01T06", 0))
        column = missing[:, k]
        assert column[hour_index(first) :][:hours].all() and column.sum() == hours + 2


def test_a_day_begins_at_six():
    assert str(TABLE.day[hour_index("2023-01-01T05")]) == "2022-12-31"
    assert str(TABLE.day[hour_index("2023-01-01T06")]) == "2023-01-01"


def test_distances_are_those_on_the_globe():
    i, j = (TABLE.counters.index(n) for n in ("107 Quay Street", "150 K Road"))
    a, b = (torch.deg2rad(torch.stack([TABLE.latitude[k], TABLE.longitude[k]])) for k in (i, j))
    half = ((b - a) / 2).sin().square()
    arc = 2 * (half[0] + a[0].cos() * b[0].cos() * half[1]).sqrt().asin() * 6_371_000
    found = TABLE.distances()
    assert found[i, j] == pytest.approx(float(arc), rel=1e-4) and found[i, i] == 0
    assert torch.equal(found, found.T)


def test_every_counter_has_as_many_labels_as_asked_for_and_no_hour_twice():
    splits = footsteps(30, valid_hours=20, seed=0)
    assert len(splits.train.targets) == 20 and FEW_HOURS not in splits.train.targets
    for name in splits.train.targets:
        counts = [int(labelled(part)[name].sum()) for part in splits]
        assert counts[:2] == [30, 20] and sum(counts) == 8760 - 1
    for part, hours in zip(splits[:2], (30, 20), strict=True):
        one_label = torch.stack(list(labelled(part).values())).sum(0)
        assert len(part) == 20 * hours and (one_label == 1).all()
    assert len(splits.test) == 8759


def test_targets_are_the_counts_of_those_hours():
    name = "45 Queen Street"
    people = footsteps(40, counters=[name], target="count", seed=3)
    logs = footsteps(40, counters=[name], target="log", seed=3)
    for part, in_logs in zip(people, logs, strict=True):
        torch.testing.assert_close(
            part.targets[name].log1p(), in_logs.targets[name], equal_nan=True
        )
    every = torch.cat([p.targets[name][labelled(p)[name]] for p in people]).sort().values
    column = TABLE.counts[8760:17520, TABLE.counters.index(name)]
    assert torch.equal(every, column[~column.isnan()].sort().values)


def test_the_draw_depends_on_seed_and_counter_alone():
    names = ["45 Queen Street", "2 High Street"]
    both, one = footsteps(40, counters=names, seed=1), footsteps(40, counters=names[:1], seed=1)
    theirs = both.train.subset(labelled(both.train)[names[0]])
    assert torch.equal(theirs.inputs, one.train.inputs) and len(theirs) == 40
    assert torch.equal(theirs.targets[names[0]], one.train.targets[names[0]])
    again, other = (footsteps(40, counters=names, seed=s) for s in (1, 2))
    assert torch.equal(again.train.inputs, both.train.inputs)
    assert not torch.equal(other.train.inputs[:40], both.train.inputs[:40])


def test_more_hours_contain_the_fewer():
    name = "45 Queen Street"
    few, many = (
        footsteps(n, counters=[name], valid_hours=10, seed=0).train.targets[name].tolist()
        for n in (20, 60)
    )
    assert set(few) <= set(many)


def test_a_later_year_is_a_second_test_on_the_same_training_data():
    now, later = footsteps(seed=0), footsteps(seed=0, test_year=2024)
    assert torch.equal(now.train.inputs, later.train.inputs)
    assert torch.equal(now.valid.inputs, later.valid.inputs)
    counted = TABLE.counts[17520:, TABLE.counters.index("2 High Street")]
    assert len(later.test) == 8783 and int(counted.isnan().sum()) == 1
    torch.testing.assert_close(
        later.test.targets["2 High Street"], counted[~counted.isnan()].log1p()
    )


def test_hours_without_a_count_are_no_part_of_the_data():
    data = footsteps(200, counters=["107 Quay Street"], year=2022, seed=0, inputs="good")
    (name,) = data.test.targets
    assert sum(int(labelled(part)[name].sum()) for part in data) == 8760 - 3432
    assert len(data.test) == 8760 - 3432


def by_hand(when):
    """The inputs of one hour, written down anew."""
    day = when - np.timedelta64(6, "h")
    hour = int(when.astype("datetime64[h]").astype(int)) % 24
    date = day.astype("datetime64[D]").item()
    season = (date.timetuple().tm_yday - 1) / 365.25
    turn = 2 * math.pi
    year = [math.sin(turn * season), math.cos(turn * season)]
    waves = [math.sin(turn * k * hour / 24) for k in (1, 2, 3)]
    waves += [math.cos(turn * k * hour / 24) for k in (1, 2, 3)]
    weekdays = [float(date.weekday() == k) for k in range(7)]
    return {
        "plain": [waves[0], waves[3], *weekdays, *year],
        "good": [*waves, float(when.astype("datetime64[D]").item().weekday() >= 5), *year],
    }


@pytest.mark.parametrize("kind", ["plain", "good"])
@pytest.mark.parametrize(
    "when",
    ["2023-07-08T14", "2023-07-09T03", "2023-07-10T03", "2024-02-29T23", "2022-12-31T06"],
)
def test_inputs_say_which_hour_it_was(kind, when):
    found = module.FEATURES[kind](TABLE)[hour_index(when)]
    assert found.tolist() == pytest.approx(by_hand(np.datetime64(when, "h"))[kind])


def test_the_type_is_the_one_asked_for():
    splits = footsteps(seed=0, dtype=torch.float32)
    assert {t.dtype for p in splits for t in (p.inputs, *p.targets.values())} == {torch.float32}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"counters": ["5 Queen Street"]}, r"counters must be different ones of 1 Court.*found"),
        ({"counters": []}, "counters must be different ones"),
        ({"counters": ["2 High Street"] * 2}, "counters must be different ones"),
        ({"inputs": "best"}, "inputs must be one of plain, good; found 'best'"),
        ({"target": "mean"}, "target must be one of log, count; found 'mean'"),
        ({"year": 2021}, "there are counts for 2022, 2023, 2024; found 2021"),
        ({"test_year": 2025}, "found 2025"),
        (
            {"hours": 0},
            "'1 Courthouse Lane': 0 training and 0 validation hours.*8759 hours in 2023",
        ),
        ({"hours": 5000}, "5000 training and 5000 validation hours asked for"),
        ({"valid_hours": 0}, "50 training and 0 validation"),
    ],
)
def test_bad_arguments_are_named(wrong, text):
    with pytest.raises(ValueError, match=text):
        footsteps(**{"seed": 0, **wrong})


def test_a_damaged_or_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "embedded_folder", lambda: tmp_path)
    read_footsteps.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"auckland\.bin\.xz"):
        read_footsteps()
    (tmp_path / "footsteps").mkdir()
    content = (files.embedded_folder() / "footsteps" / "auckland.bin.xz").read_bytes()
    (tmp_path / "footsteps" / "auckland.bin.xz").write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"auckland\.bin\.xz is damaged: restore data/footsteps"):
        read_footsteps()
