"""Grey levels of half-precision pictures; for files see tests/case_study/test_pictures.py."""

from __future__ import annotations

import numpy as np

from mtl_helpers.datasets.pictures import grey_levels


def test_half_precision_pictures_whose_range_is_larger_than_a_half_can_hold():
    two = np.array([[-60_000, 60_000]], dtype=np.float16)  # their difference is infinite as a half
    assert grey_levels(two, "two").tolist() == [[[0] * 3, [255] * 3]]
    half = np.linspace(-60_000, 60_000, 256).astype(np.float16).reshape(16, 16)
    assert np.array_equal(grey_levels(half, "half"), grey_levels(half.astype(np.float32), "single"))
