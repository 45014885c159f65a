"""The Explorer: one output in three forms, and controls that outlive a mistake."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys

import ipywidgets as widgets
import nbformat
import pytest
from matplotlib import pyplot
from nbclient import NotebookClient
from PIL import Image

from mtl_helpers.teaching import explore
from mtl_helpers.teaching.explore import Explorer, Picture, show
from mtl_helpers.teaching.figures import new_figure
from mtl_helpers.teaching.notebooks import canonical, to_text

VIEW = "application/vnd.jupyter.widget-view+json"


def line(weight=0.25, power=1, dashed=False):
    figure, axes = new_figure(width=3, height=2)
    axes.plot([0, 1], [0, weight**power], linestyle="dashed" if dashed else "solid")
    axes.set_ylim(0, 1)
    return Picture(figure, f"ends at {weight**power:.2f}")


def fragile(weight=0.5):
    return line(1 / weight)


def controls(**more):
    return {"weight": (0.0, 1.0, 0.05), "power": {"straight": 1, "bent": 2}, **more}


def bundle(explorer):
    return explorer._repr_mimebundle_()


def picture_of(explorer) -> bytes:
    """The bytes the live picture has now."""
    [image] = [child for child in explorer.children if isinstance(child, widgets.Image)]
    return bytes(image.value)


def words_of(explorer) -> str:
    return " ".join(child.value for child in explorer.children if isinstance(child, widgets.HTML))


def control_of(explorer, description):
    return next(c for c in explorer.children if getattr(c, "description", "") == description)


def test_one_output_has_three_forms():
    data, metadata = bundle(Explorer(line, describe="A line.", **controls()))
    assert data.keys() == {VIEW, "image/png", "text/plain"}
    assert data["text/plain"] == "ends at 0.25"
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).format == "PNG"
    assert metadata == {"explorer": True, "image/png": {"alt": "A line."}}


def test_the_stored_picture_is_the_live_one():
    explorer = Explorer(line, **controls())
    assert base64.b64decode(bundle(explorer)[0]["image/png"]) == picture_of(explorer)


def test_it_stands_as_question_controls_picture_words_and_description():
    explorer = Explorer(line, question="How high?", describe="A line.", **controls(dashed=True))
    kinds = [type(child) for child in explorer.children]
    assert kinds == [widgets.HTML, widgets.FloatSlider, widgets.Dropdown, widgets.Checkbox,
                     widgets.Image, widgets.HTML, widgets.HTML]  # fmt: skip
    question, *_, says, description = explorer.children
    assert "How high?" in question.value
    assert "ends at 0.25" in says.value
    assert 'role="status"' in says.value
    assert "A line." in description.value


def test_it_needs_no_output_widget():
    explorer = Explorer(line, **controls())
    assert not any(isinstance(child, widgets.Output) for child in explorer.children)


def test_a_control_starts_at_the_default_of_the_parameter():
    assert Explorer(line, **controls()).values == {"weight": 0.25, "power": 1}


def test_moving_a_control_changes_picture_and_words():
    explorer = Explorer(line, **controls())
    before = picture_of(explorer)
    control_of(explorer, "weight").value = 0.5
    assert picture_of(explorer) != before
    assert "ends at 0.50" in words_of(explorer)
    control_of(explorer, "power").value = 2
    assert "ends at 0.25" in words_of(explorer)
    assert bundle(explorer)[0]["text/plain"] == "ends at 0.25"


def test_words_are_not_read_as_html():
    explorer = Explorer(
        lambda weight: Picture(line().figure, "a < b & c"), question="<b>?", weight=(0, 1)
    )
    assert "a &lt; b &amp; c" in words_of(explorer)
    assert "&lt;b&gt;?" in words_of(explorer)
    assert bundle(explorer)[0]["text/plain"] == "a < b & c"


def test_redraw_sets_controls_and_returns_the_picture():
    explorer = Explorer(line, **controls())
    picture = explorer.redraw(weight=0.5, power=2)
    assert picture.says == "ends at 0.25"
    assert picture.figure.axes[0].lines[0].get_ydata()[1] == 0.25
    assert explorer.values == {"weight": 0.5, "power": 2}
    assert explorer.redraw(power=1).says == "ends at 0.50"


def test_redraw_draws_once_however_many_controls_it_sets():
    drawn = []

    def counted(weight=0.25, power=1):
        drawn.append(weight)
        return line(weight, power)

    explorer = Explorer(counted, **controls())
    explorer.redraw(weight=0.5, power=2)
    assert drawn == [0.25, 0.5]
    control_of(explorer, "weight").value = 0.75
    assert drawn == [0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ({"wieght": 0.5}, TypeError, "no control 'wieght', only weight, power"),
        ({"weight": 3.0}, ValueError, "weight cannot be 3.0; the control made it 1.0"),
        ({"power": 7}, ValueError, "power cannot be 7"),
    ],
)
def test_redraw_refuses_what_no_learner_could_set(values, kind, message):
    explorer = Explorer(line, **controls())
    with pytest.raises(kind, match=message):
        explorer.redraw(**values)
    control_of(explorer, "weight").value = 0.5
    assert "ends at" in words_of(explorer)


def test_corners_are_all_ends_of_all_controls():
    explorer = Explorer(line, **controls(dashed=False))
    corners = list(explorer.corners())
    assert len(corners) == len({tuple(corner.items()) for corner in corners}) == 8
    assert {corner["weight"] for corner in corners} == {0.0, 1.0}
    assert {corner["power"] for corner in corners} == {1, 2}
    assert {corner["dashed"] for corner in corners} == {True, False}
    for corner in corners:
        assert explorer.redraw(**corner).says
    assert explorer.values == corners[-1]


@pytest.mark.parametrize(
    ("control", "ends"),
    [
        (["sum", "mean", "max"], ["sum", "mean", "max"]),
        ([("a", 1), ("b", 2)], [1, 2]),
        ({"a": 1, "b": 2}, [1, 2]),
        ((0, 5), [0, 5]),
        (widgets.ToggleButtons(options=["a", "b"]), ["a", "b"]),
        (widgets.SelectionSlider(options=[0.1, 1.0, 10.0]), [0.1, 1.0, 10.0]),
        (widgets.IntRangeSlider(min=0, max=9), [(0, 0), (0, 9), (9, 9)]),
        (widgets.Text("words"), ["words"]),
    ],
)
def test_corners_of_each_kind_of_control(control, ends):
    explorer = Explorer(lambda x: Picture(line().figure, str(x)), x=control)
    corners = list(explorer.corners())
    assert corners == [{"x": end} for end in ends]
    assert [explorer.redraw(**corner).says for corner in corners] == [str(end) for end in ends]


def test_an_error_is_one_line_beside_the_last_picture():
    explorer = Explorer(fragile, weight=(0.0, 1.0, 0.5))
    before = picture_of(explorer)
    control_of(explorer, "weight").value = 0.0
    assert "ZeroDivisionError: float division by zero (at weight = 0.0)" in words_of(explorer)
    assert 'role="alert"' in words_of(explorer)
    assert "last one that could be drawn" in words_of(explorer)
    assert picture_of(explorer) == before
    control_of(explorer, "weight").value = 1.0
    assert "alert" not in words_of(explorer)
    assert picture_of(explorer) != before


def test_a_long_error_stays_in_one_line():
    def shout(weight):
        raise RuntimeError("first\nsecond\n\nthird")

    assert bundle(Explorer(shout, weight=(0, 1)))[0]["text/plain"] == (
        "RuntimeError: first second third (at weight = 0)."
    )


def test_an_error_at_the_start_leaves_an_explorer_without_a_picture():
    explorer = Explorer(fragile, weight=widgets.FloatSlider(0.0, min=0, max=1))
    data, metadata = bundle(explorer)
    assert data.keys() == {VIEW, "text/plain"}
    assert metadata == {"explorer": True}
    assert data["text/plain"].startswith("ZeroDivisionError")
    [image] = [child for child in explorer.children if isinstance(child, widgets.Image)]
    assert image.layout.display == "none"
    control_of(explorer, "weight").value = 0.5
    assert image.layout.display != "none"
    assert "image/png" in bundle(explorer)[0]


def test_redraw_lets_the_error_of_the_figure_function_through():
    explorer = Explorer(fragile, weight=(0.0, 1.0, 0.5))
    with pytest.raises(ZeroDivisionError):
        explorer.redraw(weight=0.0)


@pytest.mark.parametrize(
    ("result", "found"),
    [
        (None, "found a NoneType"),
        (("figure", "says"), "found a tuple"),
        (Picture("figure", "says"), "found a Picture with a str as its figure"),
        (Picture(new_figure()[0], ""), "found a Picture that says ''"),
        (Picture(new_figure()[0], 3), "found a Picture that says 3"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(result, found):
    def curve(weight):
        return result

    with pytest.raises(TypeError, match=f"curve: {found}.*return Picture"):
        Explorer(curve, weight=(0, 1))


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"wieght": (0, 1)}, r"'wieght'.*line\(weight=0.25, power=1, dashed=False\)"),
        ({}, "no control"),
        ({"weight": object()}, "weight = .* is no control"),
        ({"weight": widgets.fixed(3)}, "weight = .* is no control"),
    ],
)
def test_wrong_controls_are_refused_by_name(wrong, found):
    with pytest.raises(TypeError, match=f"Explorer of line: .*{found}"):
        Explorer(line, **wrong)


def test_a_parameter_without_default_needs_a_control():
    with pytest.raises(TypeError, match="'power'"):
        Explorer(lambda weight, power: line(weight, power), weight=(0, 1))


def test_a_function_may_take_any_keyword():
    explorer = Explorer(lambda **values: Picture(line().figure, str(values)), weight=(0, 2))
    assert bundle(explorer)[0]["text/plain"] == "{'weight': 1}"


def test_a_pyplot_figure_is_closed_after_each_redraw():
    def with_pyplot(weight=0.5):
        figure = pyplot.figure(figsize=(2, 2))
        return Picture(figure, f"{weight}")

    before = pyplot.get_fignums()
    explorer = Explorer(with_pyplot, weight=(0.0, 1.0))
    explorer.redraw(weight=1.0)
    assert pyplot.get_fignums() == before


def test_show_displays_one_output_with_a_picture_and_its_words(monkeypatch):
    shown = []
    monkeypatch.setattr(explore, "display", lambda *data, **how: shown.append((data, how)))
    assert show(line().figure, says="ends at 0.25") is None
    show(line().figure, says="ends at 0.25", alt="A line.")
    (first,), how = shown[0]
    assert first.keys() == {"image/png", "text/plain"}
    assert first["text/plain"] == "ends at 0.25"
    assert how == {"metadata": {"image/png": {"alt": "ends at 0.25"}}, "raw": True}
    assert shown[1][1]["metadata"] == {"image/png": {"alt": "A line."}}
    assert shown[0][0] == shown[1][0]


@pytest.mark.parametrize(("figure", "says"), [("no figure", "words"), (new_figure()[0], " ")])
def test_show_refuses_what_says_nothing(figure, says):
    with pytest.raises(TypeError, match="show: found a Picture"):
        show(figure, says=says)


CELLS = [
    "from mtl_helpers.teaching.explore import Explorer, Picture, show\n"
    "from mtl_helpers.teaching.figures import new_figure\n"
    "def line(weight=0.5):\n"
    "    figure, axes = new_figure()\n"
    "    axes.plot([0, weight])\n"
    "    return Picture(figure, f'ends at {weight:.2f}')",
    "Explorer(line, weight=(0, 1, 0.1))",
    "show(line().figure, says='ends at 0.50')",
]


def test_strict_nbval_passes_and_notices_another_number(tmp_path, project_folder):
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    [stored] = notebook.cells[1].outputs
    assert VIEW in stored.data
    assert stored.metadata["explorer"] is True
    notebook = canonical(notebook)
    [stored] = notebook.cells[1].outputs
    assert stored.data.keys() == {"image/png", "text/plain"}

    (tmp_path / "good.ipynb").write_text(to_text(notebook), encoding="utf-8")
    notebook.cells[0].source = CELLS[0].replace("0.5", "0.6")
    (tmp_path / "stale.ipynb").write_text(to_text(notebook), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."]
    command += ["--nbval", "--nbval-current-env", "good.ipynb", "stale.ipynb"]
    path = os.pathsep.join([str(project_folder), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert "FAILED stale.ipynb::Cell 1" in done.stdout
    assert "1 failed, 5 passed" in done.stdout
