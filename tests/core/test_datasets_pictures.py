"""Grey levels of half-precision pictures; for files see tests/case_study/test_pictures.py."""

from __future__ import annotations

import numpy as np

from mtl_helpers.datasets.pictures import grey_levels


def test_half_precision_pictures_whose_range_is_larger_than_a_half_can_hold():
    half = np.linspace(-60_000, 60_000, 256).astype(np.float16).reshape(16, 16)
    found = grey_levels(half, "half")
    assert np.array_equal(found, grey_levels(half.astype(np.float32), "single"))
    assert found.min() == 0 and found.max() == 255 and len(np.unique(found)) > 200
