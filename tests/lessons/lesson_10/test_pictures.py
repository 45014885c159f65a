"""The pictures of lesson 10: they show the numbers they say, and say when nobody has measured."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mtl_helpers.case_study import targets
from mtl_helpers.case_study.evaluate import calibration
from mtl_helpers.case_study.instances import GRID, WAYS
from mtl_helpers.case_study.model import NucleiNet, predict
from mtl_helpers.case_study.nuclei import draw_nuclei
from mtl_helpers.case_study.scores import match
from mtl_helpers.lessons.lesson_10 import pictures as pictures
from mtl_helpers.teaching.figures import cut_off
from mtl_helpers.teaching.recorded import Recorded

TWO = np.array([[1, 1, 2, 2], [1, 1, 2, 2]])
MEASURES = {
    "foreground": 0.9, "boundary": 0.8, "distance": 0.2, "count": 0.1, "modality_right": 0.9,
}  # fmt: skip


def row(arm, seed, better=1.0, **scores):
    ap = {way: [value + 0.01 * seed] * 10 for way, value in scores.items()}
    measures = {
        name: value * better if pictures.HIGHER_IS_BETTER[name] else value / better
        for name, value in MEASURES.items()
    }
    part = {"ap": ap, **measures, "pictures": 4}
    more = {
        "parameters": 1000, "steps": 40, "seconds": 10.0 + seed, "levels": {"mask": 2 + seed},
    }  # fmt: skip
    return {"arm": arm, "seed": seed, "all": part, "fluorescence": part, **more}


ROWS = [
    made
    for seed in range(3)
    for made in (
        row("all five tasks", seed, 1.1, components=0.3, mask=0.55, boundary=0.5, distance=0.7),
        row("mask alone", seed, components=0.3, mask=0.5),
        row("foreground + distance", seed, components=0.3, mask=0.5, distance=0.65 + 0.01 * seed),
        row("single-task networks", seed, components=0.3, mask=0.5, boundary=0.5, distance=0.6),
    )
]


@pytest.fixture(scope="module")
def drawn():
    return draw_nuclei(4, 48, seed=1)


def perfect(label):
    return {
        "foreground": targets.foreground(label[None])[0, 0],
        "boundary": targets.boundary(label[None])[0, 0],
        "distance": torch.from_numpy(targets.distance(label)),
    }


# ----------------------------------------------------------------------- pictures with outlines


def test_outlines_go_round_each_nucleus_and_between_those_that_touch():
    grey = np.full((3, 2, 4), 100, np.uint8)
    found = pictures.painted(grey, TWO)
    zoom = pictures.ZOOM
    assert found.shape == (2 * zoom, 4 * zoom, 3)
    line = (found == (230, 90, 0)).all(-1)
    assert line[:, 2 * zoom - 1].all() and line[:, 2 * zoom].all()  # where 1 meets 2
    assert not line[:, 0].any()  # the picture's edge is no outline
    assert (pictures.painted(grey) == 100).all()


def test_numbers_from_0_to_1_become_grey():
    found = pictures.painted(np.array([[0.0, 1.0]]))
    assert found[0, 0].tolist() == [0, 0, 0] and found[0, -1].tolist() == [255, 255, 255]


def test_a_gallery_holds_every_picture_and_its_words(drawn):
    shown = pictures.gallery(drawn.images, drawn.labels, ["a", "b", "c", "d"], says="x", columns=2)
    axes = shown.figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["a", "b", "c", "d"]
    sheet = axes.images[0].get_array()
    assert sheet.shape[0] > 2 * 48 * pictures.ZOOM and shown.says == "x"
    smaller = [drawn.images[0], drawn.images[1][:, :40]]
    cut = pictures.gallery(smaller, [drawn.labels[0], drawn.labels[1][:40]], says="x", columns=2)
    whole = pictures.gallery(drawn.images[:2], says="x", columns=2)
    missing = [b.figure.axes[0].images[0].get_array().shape[0] for b in (whole, cut)]
    assert missing[0] - missing[1] == 8 * pictures.ZOOM
    with pytest.raises(ValueError, match="found none"):
        pictures.gallery([], says="x")


# -------------------------------------------------------------------------------------- the split


def test_quarters_lie_where_they_lay_and_know_their_slide():
    slides = draw_nuclei(2, 64, seed=3)
    parts = pictures.quarters(slides)
    assert parts.groups == (0,) * 4 + (1,) * 4 and parts.modalities[0] == slides.modalities[0]
    top, low = (torch.cat(parts.images[k : k + 2], dim=2) for k in (0, 2))
    assert torch.equal(torch.cat([top, low], dim=1), slides.images[0])
    for part, label in zip(parts.labels[:2], slides.labels[0][:32].split(32, 1), strict=True):
        assert torch.equal(part > 0, label > 0)
        assert set(part.unique().tolist()) == set(range(int((label.unique() > 0).sum()) + 1))
    full = slides.labels[0].clamp(min=1)  # nuclei everywhere: no pixel may become background
    whole = pictures.quarters(replace(slides, labels=(full, full)))
    assert all(int(part.min()) == 1 for part in whole.labels)


# -------------------------------------------------------------------------------------- the score


def test_overlap_says_what_match_counts():
    for radius, shift, shrink in itertools.product((4, 20), (0, 6), (0, 3)):
        shown = pictures.overlap(radius, shift, shrink)
        assert not cut_off(shown.figure)
        true, found = pictures.two_discs(radius, shift, shrink)
        assert shown.says.endswith(f"{int(match(found, true).tp.sum())} of 10.")
    assert "IoU 1.00, 10 of 10" in pictures.overlap(8, 0, 0).says


def test_overlap_puts_hits_above_the_diagonal_and_misses_below():
    _, right = pictures.overlap(8, 1, 0).figure.axes
    diagonal, _, hits, misses = right.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    assert len(hits.get_xdata()) and len(misses.get_xdata())
    assert all(hits.get_ydata() > hits.get_xdata())
    assert all(misses.get_ydata() <= misses.get_xdata())


def test_separations_draw_every_corner(drawn):
    maps = [perfect(label) for label in drawn.labels]
    draw = pictures.separations(drawn.images, maps, drawn.labels)
    for picture, way, level in itertools.product((0, 3), WAYS, (1, 6)):
        shown = draw(picture, way, level)
        assert not cut_off(shown.figure)
        assert f"{int(drawn.labels[picture].max())} true" in shown.says
        texts = shown.figure.axes[1].texts
        assert sorted(text.get_text() for text in texts) == sorted(WAYS)
        heights = sorted(text.get_position()[1] for text in texts)
        assert min(b - a for a, b in itertools.pairwise(heights)) > 0.06  # none over another
        assert heights[0] > -0.05 and heights[-1] < 1.05
    assert len(draw(0, "mask").figure.axes[1].lines) == len(WAYS)


def test_the_slider_goes_through_the_list_of_levels():
    for way in ("mask", "boundary", "distance"):
        for place, value in enumerate(GRID[way], start=1):
            assert f"{value:g}" in pictures.level_words(way, place)
    assert pictures.level_words("boundary", 6) == pictures.level_words("boundary", 5)
    assert "no markers" in pictures.level_words("components", 1)


def test_markers_from_the_true_distance_find_nearly_every_nucleus(drawn):
    torch.manual_seed(0)
    network = NucleiNet(("foreground", "distance"), (8, 16)).eval()
    maps = pictures.with_true_distance(network, drawn)
    one = maps(drawn.images[1])
    assert np.array_equal(one["distance"], targets.distance(drawn.labels[1]))
    assert torch.equal(one["foreground"], predict(network, drawn.images[1])["foreground"])


def test_loss_curves():
    log = SimpleNamespace(steps=[50, 100], valid={"foreground": [2.0, 1.0], "count": [1.0, 3.0]})
    shown = pictures.loss_curves(log)
    assert shown.says == "Lower at the last look than at the first: foreground."
    assert [list(line.get_ydata()) for line in shown.figure.axes[0].lines] == [[2, 1], [1, 3]]
    assert not cut_off(shown.figure)


# --------------------------------------------------------------------------------- recorded answers


def test_crossed_is_the_mean_over_seeds():
    cells = pictures.crossed(ROWS)
    assert cells["all five tasks", "distance"].mean == pytest.approx(0.71)
    assert ("mask alone", "distance") not in cells
    table = pictures.crossed_table(ROWS)
    assert "0.710 ±0.025" in table and table.splitlines()[2].count("·") == 3
    shown = pictures.crossed_plot(ROWS)
    assert "3 seeds; highest mean: all five tasks, used distance, 0.710 [" in shown.says
    assert not cut_off(shown.figure)


def test_one_seed_is_not_an_answer():
    one = [r for r in ROWS if r["seed"] == 0]
    assert pictures.crossed(one) == {}
    assert pictures.difference(one, ("mask alone", "mask"), ("mask alone", "components")) is None


def test_the_whole_difference_is_the_sum_of_its_parts():
    parts = pictures.trained_or_used(ROWS)
    _, learned, used, both, shared = parts.values()
    assert learned.mean == pytest.approx(0.05) and used.mean == pytest.approx(0.15)
    assert both.mean == pytest.approx(learned.mean + used.mean)
    assert shared.mean == pytest.approx(0.1)  # 0.7 in one network, 0.6 in one of its own
    assert len(pictures.trained_or_used([r for r in ROWS if "single" not in r["arm"]])) == 4


def test_the_differences_are_taken_at_the_threshold_asked():
    rows = [{**r, "all": {**r["all"], "ap": {w: [*v[:8], 2 * v[8], v[9]]
             for w, v in r["all"]["ap"].items()}}} for r in ROWS]  # fmt: skip
    learned = [pictures.trained_or_used(rows, at=at)["learned by the trunk"].mean for at in (0, 8)]
    assert learned == [pytest.approx(0.05), pytest.approx(0.1)]
    assert "score at 0.9" in pictures.answer(recorded("10_sets", rows), at=8)


def test_pairs_are_by_seed():
    shuffled = ROWS[::-1]
    gap = pictures.difference(shuffled, ("all five tasks", "mask"), ("mask alone", "mask"))
    assert gap.low == pytest.approx(0.05) and gap.high == pytest.approx(0.05)


def test_verdicts():
    gap = pictures.difference(ROWS, ("all five tasks", "mask"), ("mask alone", "mask"))
    back = pictures.difference(ROWS, ("mask alone", "mask"), ("all five tasks", "mask"))
    unclear = pictures.mean_interval([-1.0, 1.0, 0.5])
    assert pictures.verdict(gap) == "a gain" and pictures.verdict(back) == "a loss"
    assert pictures.verdict(unclear).startswith("no gain")
    assert pictures.verdict(None) == pictures.said(None) == "not measured"


def test_gains_are_delta_m_over_the_five_measures():
    found = pictures.gains(ROWS, "all five tasks", "single-task networks")
    up, down = 3 * 10, 2 * 100 * (1 - 1 / 1.1)  # three measures rise by a tenth, two errors fall
    assert found.mean == pytest.approx((up + down) / 5)
    assert pictures.gains(ROWS, "all five tasks", "nobody") is None


def test_a_measure_that_is_0_has_no_relative_gain():
    rows = [{**r, "all": dict(r["all"])} for r in ROWS]
    for one in rows:
        if one["arm"] == "single-task networks":
            one["all"]["boundary"] = 0.0
    found = pictures.gains(rows, "all five tasks", "single-task networks")
    assert found.mean == pytest.approx((2 * 10 + 2 * 100 * (1 - 1 / 1.1)) / 4)


def test_the_method_without_a_network_is_a_line_and_no_row():
    rows = [*ROWS, row("without learning", 0, mask=0.45)]
    assert pictures.without_learning(rows) == pytest.approx(0.45)
    assert pictures.without_learning(ROWS) is None
    figure = pictures.crossed_plot(rows).figure
    axes = figure.axes[0]
    assert not cut_off(figure)
    assert "without learning" not in [text.get_text() for text in axes.get_yticklabels()]
    assert any(list(line.get_xdata()) == [0.45, 0.45] for line in axes.lines)
    assert "without learning" not in pictures.crossed_table(rows)


def test_measures_are_means_over_seeds():
    table = pictures.measures_table(ROWS)
    assert "0.99 0.99..0.99" in table.splitlines()[1] and "0.90 0.90..0.90" in table.splitlines()[2]
    rows = [{**r, "all": {**r["all"], "boundary": 0.1 * r["seed"]}} for r in ROWS]
    assert "0.10 0.00..0.20" in pictures.measures_table(rows).splitlines()[1]
    assert pictures.measures_table([]).endswith("not measured")


def test_rivals_are_compared_with_one_arm():
    lines = pictures.rivals_table(ROWS, "all five tasks").splitlines()
    assert [line[:24].strip() for line in lines[1:]] == [
        "mask alone", "foreground + distance", "single-task networks"
    ]  # fmt: skip
    gap = pictures.border_gap(ROWS, "single-task networks", "all five tasks")
    assert gap.mean == pytest.approx(0.8 - 0.88)
    assert lines[3].count("[") == 3 and f"{gap:+.3f}" in lines[3]
    assert lines[1].count("not measured") == 1  # the mask alone has no distance to use
    assert pictures.border_gap(ROWS, "nobody", "all five tasks") is None
    assert pictures.rivals_table([], "all five tasks").endswith("not measured")


def test_what_adding_a_task_does_is_averaged_over_all_sets():
    def made(arm, seed, **measures):
        return {"arm": arm, "seed": seed, "all": measures}

    rows = []
    for seed in range(3):
        tilt = 0.01 * seed
        rows += [
            made("foreground + boundary", seed, foreground=0.9, boundary=0.8),
            made(
                "foreground + boundary + distance",
                seed,
                foreground=0.9,
                boundary=0.5 + tilt,
                distance=0.2,
            ),
            made("foreground + boundary + count", seed, foreground=0.9, boundary=0.72, count=0.5),
            made(
                "without modality",
                seed,
                foreground=0.9,
                boundary=0.6 + tilt,
                count=0.9,
                distance=0.1,
            ),
        ]
    found = pictures.effects(rows)
    assert found["distance", "boundary"].mean == pytest.approx((-0.29 - 0.11) / 2)
    assert found["distance", "boundary"].high < 0
    assert found["distance", "count"].mean == pytest.approx(-0.4)  # a larger error is worse
    assert found["count", "boundary"].mean == pytest.approx((-0.08 + 0.1) / 2)
    assert found["count", "foreground"].mean == 0 and ("boundary", "foreground") not in found
    table = [line.split() for line in pictures.effects_table(rows).splitlines()]
    assert table == [
        ["added", "foreground", "boundary", "distance", "count"],
        ["distance", "+0.000", "-0.200*", "·", "-0.400*"],
        ["count", "+0.000", "+0.010*", "+0.100*", "·"],
    ]
    assert pictures.effects_table(ROWS[:0]).endswith("not measured")


def test_ranking_sorts_by_what_the_trunk_learned_and_widens_for_many_comparisons():
    shown = pictures.ranking(ROWS)
    axes = shown.figure.axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["all five tasks", "mask + distance", "single-task networks"]
    assert "8 comparisons of 3 sets" in shown.says  # 3 + 2 + 3: each arm in each of its ways
    assert "above it 1 (mask used), 0 (boundary used), 3 (distance used)" in shown.says
    assert not cut_off(shown.figure)
    pair = ("foreground + distance", "distance"), ("mask alone", "mask")
    narrow = pictures.difference(ROWS, *pair)
    wide = pictures.difference(ROWS, *pair, level=1 - 0.05 / 8)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_labels_plot_reads_the_share_from_the_arm():
    rows = [
        row(f"{arm}, {share}% of the slides", seed, mask=score, distance=score)
        for seed in range(2)
        for arm in ("all five tasks", "mask alone")
        for share, score in ((5, 0.2), (100, 0.6))
    ]
    shown = pictures.labels_plot(rows)
    assert shown.says.startswith("all five tasks (mask used) 5% 0.2")
    assert "(distance used) 5% 0.2" in shown.says and "mask alone (mask used) 5%" in shown.says
    assert "mask alone (distance used)" not in shown.says
    assert not cut_off(shown.figure)


@pytest.mark.parametrize("draw", ["crossed_plot", "labels_plot", "ranking"])
def test_without_rows_the_picture_says_so(draw):
    shown = getattr(pictures, draw)([])
    assert shown.says.endswith("not measured.") and not cut_off(shown.figure)
    assert "not measured" in shown.figure.axes[0].texts[0].get_text()


def test_without_rows_the_words_say_so():
    assert "not measured" in pictures.crossed_table([])
    assert pictures.reduced_words({}) == pictures.machine_words({}) == "not measured"
    assert set(pictures.trained_or_used([]).values()) == {None}
    assert pictures.speed_table([]).endswith("not measured")
    assert "not measured" in pictures.modalities_table([])


SETTINGS = {"widths": [8, 16], "crop": 128, "batch": 8, "steps": 400, "lr": 6e-3}
CONFIGURATION = {"profile": "reduced", "settings": SETTINGS, "most_tests": 60}


def recorded(name, rows):
    """Give what ``recorded.load`` would give."""
    there = bool(rows)
    return Recorded(
        name, "", CONFIGURATION if there else {}, [0, 1, 2] if there else [], rows, "abc", False,
        [], "", {"processor": "p", "gpu": None} if there else {}, {}, "2026-01-01",
    )  # fmt: skip


def test_words_about_a_recorded_study():
    words = pictures.reduced_words(CONFIGURATION)
    assert "channels (8, 16)" in words and "400 steps of 8 crops of 128x128" in words
    assert "at most 60" in words and "lr 0.006" in words
    assert pictures.machine_words({"processor": "p", "cores": 2, "gpu": None}) == "p, no GPU"
    assert pictures.machine_words({"processor": "p", "gpu": "g"}) == "g"


def test_what_is_recorded_and_what_begins_the_rest():
    studies = {name: recorded(name, []) for name in pictures.STUDIES}
    lines = pictures.recorded_words(studies).splitlines()
    assert len(lines) == 9 and lines[0].startswith("not measured: 10_sets, 10_which")
    assert "--profile reduced --question sets --record 10_sets" in lines[1]
    assert "--profile reduced --question which --record 10_which" in lines[2]
    assert lines[7].startswith("not measured on a GPU: 10_gpu_sets")
    studies["10_sets"] = recorded("10_sets", ROWS)
    lines = pictures.recorded_words(studies).splitlines()
    assert lines[0].startswith("10_sets: profile reduced") and "3 seeds; p, no GPU" in lines[0]
    assert lines[1].startswith("not measured: 10_which")


@pytest.mark.parametrize("name", [n for n in pictures.STUDIES if "speed" not in n])
def test_every_command_that_is_shown_is_understood(name, monkeypatch, tmp_path, capsys):
    from mtl_helpers.case_study import __main__ as program

    asked = {}

    def run_questions(questions, profile, out, **named):
        asked.update(questions=questions, profile=profile)
        return tmp_path / "none.jsonl"

    monkeypatch.setattr(program, "run_questions", run_questions)
    command = [word for word in pictures.STUDIES[name].split() if word != "cuda"]
    command = [word for word in command if word != "--device"]  # no GPU needed to ask
    if "full" in command:  # in the precision of a processor
        settings = program.PROFILES["full"].settings.but(precision="32-true")
        monkeypatch.setitem(
            program.PROFILES, "full", replace(program.PROFILES["full"], settings=settings)
        )
    assert program.main([*command, "--device", "cpu", "--out", str(tmp_path)]) == 0
    assert list(asked["questions"]) == [name.rpartition("_")[2]]


def test_the_answer_stands_with_its_budget():
    lines = pictures.answer(recorded("10_sets", ROWS)).splitlines()
    assert "3 seeds, 400 steps of 8 crops" in lines[0] and len(lines) == 7
    assert lines[3].startswith("learned by the trunk") and lines[3].endswith("a gain")
    assert pictures.answer(recorded("10_sets", [])) == "10_sets: not measured"


def test_published_numbers_stand_beside_the_recorded_ones():
    lines = pictures.published_table(ROWS).splitlines()
    stardist = next(line for line in lines if line.startswith("StarDist"))
    assert stardist.split()[1:] == ["0.864", "0.804", "0.685", "0.450", "0.119", "0.598"]
    ours = next(line for line in lines if line.startswith("all five tasks, distance"))
    assert ours.split()[-7:] == ["0.710"] * 6 + ["±0.025"]
    assert any(line.startswith("without learning") and "not measured" in line for line in lines)
    assert pictures.published_table([]).count("not measured") == 4
    for values in pictures.PUBLISHED.values():
        assert len(values) == len(pictures.PUBLISHED_AT) and sorted(values)[::-1] == list(values)


def test_the_budget_says_what_an_arm_really_costs():
    rows = [{**r, "seconds": 3 * r["seconds"], "steps": 200}
            if r["arm"] == "single-task networks" else r for r in ROWS]  # fmt: skip
    lines = pictures.budget_table(rows).splitlines()
    single, by_task = (line for line in lines if line.startswith("single-task networks"))
    assert single.split()[2:5] == ["1.00x", "5.00x", "3.00x"] and single.endswith("a gain")
    assert lines[1].split()[3:] == ["1.00x", "1.00x", "1.00x"]  # all five tasks
    assert by_task.split()[2:] == ["+10.0", "+10.0", "+9.1", "+9.1", "+10.0"]
    rows = [{**r, "all": {**r["all"], "boundary": 0.0}} for r in rows]
    by_task = pictures.budget_table(rows).splitlines()[-1]
    assert by_task.split()[2:] == ["+10.0", "·", "+9.1", "+9.1", "+10.0"]  # 0 has no multiple
    assert "not measured" in pictures.budget_table([])


def test_chosen_levels_are_listed_by_seed():
    line = pictures.chosen_levels(ROWS).splitlines()[0]
    assert line.split()[-4:] == ["mask", "2", "3", "4"]
    assert "not measured" in pictures.chosen_levels([])


def test_speed_table_shows_memory_and_share_where_they_were_measured():
    rows = [
        {"step": "naive", "pictures_per_second": 100.0, "times_the_first": 1.0, "device": "g",
         "peak_memory_mib": 2048.0, "share_of_peak": 0.25},
        {"step": "on the device", "pictures_per_second": 700.0, "times_the_first": 7.0,
         "device": "g"},
        {"step": "compiled", "pictures_per_second": None, "device": "g", "note": "no compiler"},
    ]  # fmt: skip
    lines = pictures.speed_table(rows).splitlines()
    assert lines[0] == "on g" and "2048" in lines[2] and "25.0%" in lines[2]
    assert "7.0" in lines[3] and lines[3].count("·") == 2
    assert lines[4].startswith("compiled") and lines[4].endswith("no compiler")
    studies = {"10_speed_cpu": recorded("10_speed_cpu", rows)}
    assert pictures.recorded_words(studies) == "10_speed_cpu: p, no GPU"


# --------------------------------------------------------------------------------- where it fails


@pytest.mark.parametrize("damage", pictures.DAMAGE)
def test_no_damage_changes_nothing_and_more_changes_more(damage, drawn):
    spoil, image = pictures.DAMAGE[damage], drawn.images[1]
    assert (spoil(image, 0.0).int() - image.int()).abs().max() <= 1
    apart = [float((spoil(image, s).float() - image.float()).abs().mean()) for s in (0.25, 0.5, 1)]
    assert 0 < apart[0] < apart[1] < apart[2]
    assert spoil(image, 1.0).dtype == torch.uint8 and spoil(image, 1.0).shape == image.shape


def test_robustness_says_whether_half_is_left(drawn):
    curves = {"blur": [0.6, 0.2], "noise": [0.6, 0.5], "contrast": [0.6, 0.6]}
    draw = pictures.robustness(drawn.images[1], lambda x: drawn.labels[1].numpy(), curves, [0, 1])
    assert draw("blur", 1.0).says == "blur, strength 1: less than half is left."
    assert draw("noise", 1.0).says == "noise, strength 1: more than half is left."
    for damage, strength in itertools.product(curves, (0.0, 1.0)):
        assert not cut_off(draw(damage, strength).figure)


def test_modalities_are_a_line_each():
    lines = pictures.modalities_table(ROWS).splitlines()
    assert len(lines) == 2 and lines[1].split()[:2] == ["fluorescence", "4"]
    assert "0.71 [" in lines[1] and "not measured" not in lines[1]


def test_reliability_leaves_empty_bins_out():
    found = calibration(torch.tensor([0.05, 0.95]), torch.tensor([False, True]))
    shown = pictures.reliability(found)
    assert len(shown.figure.axes[0].lines[1].get_xdata()) == 2
    assert not cut_off(shown.figure)


def test_crowding_has_a_point_a_picture():
    rows = [{"modality": kind, "ap": {"mask": [0.5]}} for kind in ("stained", "fluorescence")]
    shown = pictures.crowding(rows, [0.0, 1.0], "mask")
    assert sum(len(line.get_xdata()) for line in shown.figure.axes[0].lines) == 2
    assert not cut_off(shown.figure)


def test_share_of_nuclei_that_touch():
    assert pictures.touching_share(TWO) == 1.0
    assert pictures.touching_share([[1, 0, 2], [0, 0, 0], [3, 4, 0]]) == 0.5
    assert pictures.touching_share(np.zeros((2, 2), int)) == 0.0


def test_reach_plot_draws_a_square_of_each_side(drawn):
    shown = pictures.reach_plot(drawn.images[1], [10, 40], ["a", "b"])
    widths = [np.ptp(line.get_xdata()) for line in shown.figure.axes[0].lines]
    assert widths == [10, 40] and not cut_off(shown.figure)
