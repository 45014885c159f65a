"""Data sets: one file a source, each giving inputs and ``{task name: target}``."""

from mtl_helpers.datasets.base import MultiTaskData, Splits, with_missing
from mtl_helpers.datasets.overlapping import SOURCES, class_names, overlapping_digits, overlay

__all__ = [
    "SOURCES",
    "MultiTaskData",
    "Splits",
    "class_names",
    "overlapping_digits",
    "overlay",
    "with_missing",
]
