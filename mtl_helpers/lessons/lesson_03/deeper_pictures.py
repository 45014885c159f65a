"""The pictures of the notebooks that go deeper than lesson 03."""

from __future__ import annotations

from mtl_helpers.teaching.figures import BLACK, BLUE, GREY, VERMILLION, Picture, label, new_figure


def weights_of_examples(last: int = 1, full: int = 8) -> Picture:
    """Draw how much each example counts in the mean of the means of three batches.

    Args:
        last: examples in the last batch; the other two are full.
        full: examples in a full batch.
    """
    sizes = [full, full, last]
    weights = [1 / (len(sizes) * size) for size in sizes for _ in range(size)]
    colours = [BLUE] * (2 * full) + [VERMILLION] * last
    figure, axes = new_figure(width=6.4, height=3.4)
    axes.bar(range(1, len(weights) + 1), weights, color=colours, edgecolor="white")
    axes.axhline(1 / len(weights), color=BLACK, linewidth=1.4, linestyle="dashed")
    axes.text(0.6, 1 / len(weights) + 0.008, "mean over examples", color=BLACK, fontsize=11)
    axes.text(len(weights) + 0.4, 0.36, "last batch", color=VERMILLION, ha="right", fontsize=12)
    axes.text(full + 0.5, 0.2, "two full batches", color=BLUE, ha="center", fontsize=12)
    for edge in (full + 0.5, 2 * full + 0.5):
        axes.axvline(edge, color=GREY, linewidth=1, ymax=0.42)
    axes.set_xlim(0.3, 3 * full + 0.7)
    axes.set_ylim(0, 0.4)
    label(axes, "example", "its weight in the mean of means", f"last batch: {last} of {full}")
    ratio = weights[-1] / weights[0]
    says = f"An example of the last batch counts {ratio:.2f} times as much as one of a full batch."
    return Picture(figure, says)
