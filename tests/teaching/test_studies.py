"""Recorded studies: run, listed, and compared with what they give today."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from importlib.machinery import ModuleSpec

import pytest

import mtl_helpers.teaching.recorded as recorded
from mtl_helpers.case_study import study as case_study
from mtl_helpers.case_study.train import Settings
from mtl_helpers.teaching import studies
from mtl_helpers.teaching.recorded import load, results_folder
from mtl_helpers.teaching.studies import Sample, Study, all_studies, rerun_sample
from mtl_helpers.teaching.studies.__main__ import main

KNOWN = all_studies()


def squares(configuration, seeds):
    return [
        {"x": x, "seed": seed, "value": x * x + seed, "minutes": id(object()), "path": (x, "a")}
        for x in configuration["xs"]
        for seed in seeds
    ]


def fails(configuration, seeds):
    raise RuntimeError("no such luck")


TOY = Study(
    name="toy",
    question="What are squares?",
    configuration={"xs": [1, 2, 3]},
    run=squares,
    seeds=range(3),
    keys=("x", "seed"),
    sample=Sample({"xs": [2]}, tolerance=1e-3, seeds=[0, 2], ignore=("minutes",)),
)
BAD = dataclasses.replace(TOY, name="bad", run=fails)
SECOND = dataclasses.replace(TOY, name="second")
TOYS = {study.name: study for study in (BAD, TOY, SECOND)}


@pytest.fixture(autouse=True)
def results(request, tmp_path, monkeypatch):
    if "study" not in request.fixturenames:  # those look at the project's own files
        monkeypatch.setattr(recorded, "results_folder", lambda: tmp_path)
    return tmp_path


def edit(results, change):
    path = results / "toy.json"
    found = json.loads(path.read_text())
    change(found)
    found.pop("checksum")
    path.write_text(json.dumps({**found, "checksum": recorded.checksum(found)}))


@pytest.mark.parametrize("study", KNOWN.values(), ids=KNOWN.keys())
def test_a_sample_of_every_recorded_study_gives_its_rows_again(study):
    if not (results_folder() / f"{study.name}.json").exists():
        pytest.skip(f"{study.name} is not measured: run make results")
    found = rerun_sample(study)
    assert found.rows and not found.differences
    tool = "python -m mtl_helpers.teaching.recorded restamp"
    assert not found.changed, f"its code changed and its rows did not: {tool} {study.name}"


def test_every_recorded_file_belongs_to_a_study():
    there = {path.stem for path in results_folder().glob("*.json")}
    assert {name for name in there if not name.startswith("10_")} <= set(KNOWN)
    questions = {f"10_{gpu}{name}" for gpu in ("", "gpu_") for name in case_study.QUESTIONS}
    assert {name for name in there if name.startswith("10_")} <= {
        *questions, "10_speed", "10_speed_cpu"
    }  # fmt: skip


@pytest.mark.parametrize(
    "study", [f"10_{gpu}{name}" for gpu in ("", "gpu_") for name in case_study.QUESTIONS]
)
def test_the_case_study_is_recorded_whole(study):
    """Every arm with every seed, once; its pictures are too many for a sample to run again."""
    found, question = load(study, missing_ok=True), study.rpartition("_")[2]
    if not found.measured:
        pytest.skip("not measured: python -m mtl_helpers.case_study")
    known = {field.name for field in dataclasses.fields(Settings)}
    assert set(found.configuration["settings"]) == known
    arms = case_study.arms(question, case_study.PROFILES[found.configuration["profile"]].settings)
    rows = [(row["question"], row["arm"], row["seed"]) for row in found.rows]
    expected = {(question, arm.name, seed) for arm in arms for seed in found.seeds}
    assert len(rows) == len(expected) and set(rows) == expected
    assert len(found.seeds) >= 5 and not found.dirty
    assert len({row["made"] for row in found.rows}) == 1
    for row in found.rows:
        for way, values in row["all"]["ap"].items():
            assert len(values) == 10 and all(0 <= v <= 1 for v in values), way


def test_a_study_is_recorded_whole():
    TOY.record()
    found = load("toy")
    assert (found.question, found.seeds, len(found.rows)) == ("What are squares?", [0, 1, 2], 9)
    assert found.configuration == {"xs": [1, 2, 3]}
    assert found.code[0].endswith("test_studies:squares")


def test_an_honest_sample_agrees():
    TOY.record()
    found = rerun_sample(TOY)
    assert (found.rows, found.differences, found.changed) == (2, [], False)


def test_the_sample_uses_all_seeds_when_none_are_named():
    TOY.record()
    sample = Sample({"xs": [2]}, tolerance=1e-3, ignore=("minutes",))
    assert rerun_sample(dataclasses.replace(TOY, sample=sample)).rows == 3


@pytest.mark.parametrize(
    ("factor", "agrees"), [(1.0005, True), (0.9995, True), (1.002, False), (0.998, False)]
)
def test_the_tolerance_counts(results, factor, agrees):
    TOY.record()
    edit(results, lambda found: found["rows"][5].update(value=6 * factor))  # x = 2, seed = 2
    differences = rerun_sample(TOY).differences
    assert (differences == []) is agrees
    if not agrees:
        assert differences[0].startswith("{'x': 2, 'seed': 2}: value was ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found: found["rows"].pop(3), "0 recorded rows, expected 1"),
        (lambda found: found["rows"].append(found["rows"][3]), "2 recorded rows, expected 1"),
        (lambda found: found["rows"][3].pop("value"), "value was None"),
        (lambda found: found["rows"][3].update(more=1), "more was 1, is now None"),
        (lambda found: found["rows"][3].update(path=[2, "b"]), "path was"),
        (lambda found: found["rows"][3].update(path=[2]), "path was"),
        (lambda found: found["rows"][3].update(value=None), "value was None"),
    ],
)
def test_a_row_that_does_not_fit_is_named(results, change, words):
    TOY.record()
    edit(results, change)
    assert words in rerun_sample(TOY).differences[0]


def test_a_sample_without_rows_is_no_proof():
    TOY.record()
    empty = dataclasses.replace(TOY, sample=Sample({"xs": []}, 1e-3))
    assert rerun_sample(empty).differences


def test_changed_code_is_reported_and_does_not_fail(results, capsys):
    TOY.record()
    edit(results, lambda found: found.update(code_hash="0" * 64))
    found = rerun_sample(TOY)
    assert found.changed and not found.differences
    assert main(["--list", "toy"], TOYS) == 0
    assert "warning: the code has changed since" in capsys.readouterr().out


def test_the_code_beside_run_counts():
    dataclasses.replace(TOY, code=[fails]).record()
    assert len(load("toy").code) == 2


def test_the_origin_is_that_from_before_the_run(monkeypatch):
    """Someone edits the file while a long study runs: what ran is what is recorded."""

    def edited_meanwhile(configuration, seeds):
        monkeypatch.setattr(recorded.inspect, "getsource", lambda item: "x = 1")
        return squares(configuration, seeds)

    monkeypatch.setitem(globals(), "edited_meanwhile", edited_meanwhile)
    edited_meanwhile.__qualname__ = "edited_meanwhile"
    dataclasses.replace(TOY, run=edited_meanwhile).record()
    assert load("toy").changed
    monkeypatch.undo()


def test_a_failure_does_not_stop_the_others(results, capsys):
    assert main([], TOYS) == 1
    assert sorted(path.name for path in results.iterdir()) == ["second.json", "toy.json"]
    said = capsys.readouterr()
    assert "no such luck" in said.err and "failed: bad" in said.err


def test_only_what_is_named_runs(results):
    assert main(["toy"], TOYS) == 0
    assert [path.name for path in results.iterdir()] == ["toy.json"]


def test_an_unknown_name_runs_nothing_and_lists_the_known(results, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["toy", "toi"], TOYS)
    assert stop.value.code == 2
    assert "unknown: toi; there are: bad, toy, second" in capsys.readouterr().err
    assert not list(results.iterdir())


def test_the_list_says_what_is_measured_and_runs_nothing(results, capsys):
    TOY.record()
    (results / "bad.json").write_text("{")
    assert main(["--list"], TOYS) == 1
    bad, toy, second = capsys.readouterr().out.split("What are squares?")[1:]
    assert "damaged" in bad and "9 rows of 20" in toy and "not measured" in second
    assert len(list(results.iterdir())) == 2


def test_studies_are_found_in_the_folders_of_the_lessons(monkeypatch):
    def module(name, *below, **content):
        for place in [".".join(["mtl_helpers.lessons", name, *below[:k]]) for k in (0, 1)]:
            made = types.ModuleType(place)
            made.__spec__ = ModuleSpec(place, None)
            made.__path__ = []
            monkeypatch.setitem(sys.modules, place, made)
        vars(made).update(content)
        return types.SimpleNamespace(name=name)

    def there_are(*found):
        monkeypatch.setattr(studies.pkgutil, "iter_modules", lambda path: found)

    first, other = (
        module("lesson_08", "studies", STUDIES=[TOY]),
        module("lesson_09", "studies", STUDIES=[SECOND]),
    )
    there_are(other, first, module("lesson_00_without_studies"))
    assert list(all_studies()) == ["toy", "second"]
    there_are(first, module("lesson_09", "studies", STUDIES=[TOY]))
    with pytest.raises(ValueError, match=r"two studies are called 'toy'; .*lesson_09\.studies"):
        all_studies()
    there_are(module("lesson_07", "studies"))
    with pytest.raises(ValueError, match=r"lesson_07\.studies has no list STUDIES"):
        all_studies()
