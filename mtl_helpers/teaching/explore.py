"""Pictures that answer to a slider, and pictures that only stand there.

An `Explorer` is one output in three forms: a live widget while a kernel runs, a PNG that stays in
the saved notebook, and one line of text with the key numbers, which nbval compares.
"""

from __future__ import annotations

import base64
import html
import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets as widgets
from IPython.display import display
from matplotlib.figure import Figure

from mtl_helpers.teaching.figures import Picture, png

__all__ = ["Explorer", "Picture", "show"]


def show(figure: Figure, *, says: str, alt: str | None = None) -> None:
    """Display a figure as one output: a PNG, and its key numbers as plain text.

    Args:
        figure: The figure, from `mtl_helpers.teaching.figures` or from Matplotlib itself.
        says: The key numbers in short plain words, rounded to what is stable.
        alt: Alternative text for screen readers; ``says`` unless given.

    Raises:
        TypeError: If ``figure`` is not a Matplotlib figure or ``says`` is not text.
    """
    picture = _checked(Picture(figure, says), "show")
    data, metadata = _stored(png(picture.figure), says, alt or says)
    display(data, metadata=metadata, raw=True)


class Explorer(widgets.VBox):
    """A picture with controls: moving a control draws the picture again.

    The front end keeps at most one message of a control on its way and replaces the one behind
    it, so a fast drag skips pictures instead of falling behind. An error in the figure function
    is shown in one line; the last picture stays, and so do the controls.

    Args:
        figure_function: A pure function of the controls' values that returns a `Picture`. Aim at
            less than 100 ms: at most two axes, no constrained layout, no training.
        question: What the learner shall find out by moving the controls.
        describe: What the picture shows, in words, for readers who cannot see it.
        **controls: For each parameter of the function an ipywidgets abbreviation, such as
            ``(0, 1, 0.1)``, ``["sum", "mean"]`` or ``True``, or a widget. The parameter's default
            is where the control starts.

    Raises:
        TypeError: If the controls do not fit the function's parameters, a control is no control,
            or the function returns something else than a `Picture`.
    """

    def __init__(
        self,
        figure_function: Callable[..., Picture],
        *,
        question: str = "",
        describe: str = "",
        **controls: Any,
    ) -> None:
        self._function = figure_function
        self._name = getattr(figure_function, "__name__", type(figure_function).__name__)
        self._describe = describe
        self._controls = _make_controls(self._name, figure_function, controls)
        self._silent = False
        self._png, self._says = b"", ""
        fitted = widgets.Layout(max_width="100%", align_self="flex-start", display="none")
        # No tooltip on the image: ipywidgets 8 then fails to draw it.
        self._image = widgets.Image(format="png", layout=fitted)
        self._text = widgets.HTML()
        parts = [*self._controls.values(), self._image, self._text]
        if question:
            parts.insert(0, widgets.HTML(_paragraph(question, "font-weight: bold")))
        if describe:
            parts.append(widgets.HTML(_paragraph(describe)))
        super().__init__(children=parts)
        for control in self._controls.values():
            control.observe(self._changed, names="value")
        self._changed(first=True)

    @property
    def values(self) -> dict[str, Any]:
        """The value of each control now."""
        return {name: control.value for name, control in self._controls.items()}

    def redraw(self, **values: Any) -> Picture:
        """Set controls and draw once, as if a learner had moved them; errors are raised.

        Args:
            **values: New values by control name; the others keep theirs.

        Returns:
            The picture, its figure still open to look into.

        Raises:
            TypeError: If there is no control of that name, or the figure function returns
                something else than a `Picture`.
            ValueError: If a control cannot take the value.
        """
        self._silent = True
        try:
            for name, value in values.items():
                self._set(name, value)
        finally:
            self._silent = False
        return self._draw()

    def corners(self) -> Iterator[dict[str, Any]]:
        """Every combination of the controls' ends, for tests.

        Yields:
            Values by control name: lowest and highest of a slider, each option of a list, both
            states of a check box, and the present value of anything else.
        """
        ends = [_ends(control) for control in self._controls.values()]
        for combination in itertools.product(*ends):
            yield dict(zip(self._controls, combination, strict=True))

    def _set(self, name: str, value: Any) -> None:
        if name not in self._controls:
            raise TypeError(
                f"Explorer of {self._name}: no control {name!r}, only {', '.join(self._controls)}."
            )
        control = self._controls[name]
        try:
            control.value = value
        except Exception as error:
            raise ValueError(f"Explorer of {self._name}: {name} cannot be {value!r}.") from error
        if control.value != value:
            raise ValueError(
                f"Explorer of {self._name}: {name} cannot be {value!r}; the control made it "
                f"{control.value!r}. Choose a value inside its range."
            )

    def _draw(self) -> Picture:
        picture = _checked(self._function(**self.values), self._name)
        self._png, self._says = png(picture.figure), picture.says
        self._image.value = self._png
        self._image.layout.display = None
        self._text.value = _paragraph(self._says, role="status")
        return picture

    def _changed(self, change: Any = None, *, first: bool = False) -> None:
        if self._silent:
            return
        try:
            self._draw()
        except Exception as error:
            if first and isinstance(error, _NoPictureError):
                raise TypeError(str(error)) from None
            self._says = self._complaint(error)
            self._text.value = _paragraph(self._says, "font-weight: bold", role="alert")

    def _complaint(self, error: Exception) -> str:
        said = " ".join(str(error).split())
        at = ", ".join(f"{name} = {value!r}" for name, value in self.values.items())
        kept = " The picture is the last one that could be drawn." if self._png else ""
        return f"{type(error).__name__}: {said} (at {at}).{kept}"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data = super()._repr_mimebundle_(**kwargs) or {}
        stored, metadata = _stored(self._png, self._says, self._describe or self._says)
        return {**data, **stored}, {"explorer": True, **metadata}


class _NoPictureError(TypeError):
    """A figure function returned something else than a Picture."""


def _checked(picture: Any, name: str) -> Picture:
    """The picture itself, if it is a figure with a text."""
    if not isinstance(picture, Picture):
        found = f"{type(picture).__name__}"
    elif not isinstance(picture.figure, Figure):
        found = f"Picture with a {type(picture.figure).__name__} as its figure"
    elif not isinstance(picture.says, str) or not picture.says.strip():
        found = f"Picture that says {picture.says!r}"
    else:
        return picture
    raise _NoPictureError(
        f"{name}: found a {found}, expected a Matplotlib figure and its key numbers as text. "
        "A figure function ends with: return Picture(figure, says)."
    )


def _stored(png_bytes: bytes, says: str, alt: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The forms of a picture that stay in a saved notebook, and their metadata."""
    if not png_bytes:
        return {"text/plain": says}, {}
    encoded = base64.b64encode(png_bytes).decode("ascii")
    return {"image/png": encoded, "text/plain": says}, {"image/png": {"alt": alt}}


def _make_controls(name: str, function: Callable[..., Any], wanted: dict[str, Any]) -> dict:
    """A widget for each control, checked against the function's parameters."""
    signature = inspect.signature(function)
    try:
        signature.bind(**wanted)
    except TypeError as error:
        raise TypeError(
            f"Explorer of {name}: {error}. The function is {name}{signature}: give it controls by "
            "these names, at least where there is no default, such as weight=(0, 1, 0.1)."
        ) from None
    if not wanted:
        raise TypeError(f"Explorer of {name}: no control. Use show(figure, says=...) instead.")
    controls = {}
    for key, abbreviation in wanted.items():
        parameter = signature.parameters.get(key)
        default = parameter.default if parameter else inspect.Parameter.empty
        controls[key] = _make_control(name, key, abbreviation, default)
    return controls


def _make_control(name: str, key: str, abbreviation: Any, default: Any) -> widgets.Widget:
    control = widgets.interactive.widget_from_abbrev(abbreviation, default)
    if not isinstance(control, widgets.ValueWidget):
        raise TypeError(
            f"Explorer of {name}: {key} = {abbreviation!r} is no control. Expected a widget or an "
            "abbreviation such as (0, 1, 0.1), ['sum', 'mean'] or True."
        )
    if control is not abbreviation:
        control.style.description_width = "initial"
        control.layout.width = "min(100% - 4px, 32em)"
    control.description = control.description or key.replace("_", " ")
    control.tooltip = control.tooltip or control.description  # else the label's tip says "null"
    return control


def _ends(control: widgets.Widget) -> list[Any]:
    """The values of a control that a test should see."""
    if isinstance(control.value, bool):
        return [False, True]
    if hasattr(control, "options"):
        options = control.options
        options = list(options.items() if isinstance(options, dict) else options)
        labelled = all(isinstance(option, tuple | list) and len(option) == 2 for option in options)
        return [option[1] for option in options] if labelled else options
    if hasattr(control, "min") and hasattr(control, "max"):
        low, high = control.min, control.max
        ranged = isinstance(control.value, tuple)
        return [(low, low), (low, high), (high, high)] if ranged else [low, high]
    return [control.value]


def _paragraph(text: str, style: str = "", role: str = "paragraph") -> str:
    """HTML that screen readers speak when its role is "status" or "alert" and its text changes."""
    return f'<p role="{role}" style="margin: 0; {style}">{html.escape(text)}</p>'
