"""Run the recorded studies: ``python -m mtl_helpers.teaching.studies [name ...] [--list]``."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Mapping, Sequence

from mtl_helpers.teaching.recorded import load
from mtl_helpers.teaching.studies import Study, all_studies


def main(arguments: Sequence[str] | None = None, known: Mapping[str, Study] | None = None) -> int:
    """Run studies and write each as it ends; a failure does not stop the others.

    Args:
        arguments: names of studies, or ``--list``; from the command line when left out.
        known: the studies there are, by name; all of the project when left out.

    Returns:
        0, or 1 when a study failed (or, with ``--list``, a file is damaged).
    """
    known = all_studies() if known is None else known
    parser = argparse.ArgumentParser(
        prog="python -m mtl_helpers.teaching.studies", description=__doc__
    )
    parser.add_argument("names", nargs="*", metavar="name", help="what to run; all when left out")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.names if name not in known]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(known) or 'none'}")
    chosen = [known[name] for name in asked.names or known]
    failed = [study.name for study in chosen if not (_describe if asked.list else _run)(study)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _run(study: Study) -> bool:
    print(f"{study.name}: {study.question}", flush=True)
    began = time.monotonic()
    try:
        path = study.record()
    except Exception:
        traceback.print_exc()
        return False
    print(f"  {path.name} written after {time.monotonic() - began:.0f} s", flush=True)
    return True


def _describe(study: Study) -> bool:
    print(f"{study.name}: {study.question}")
    try:
        found = load(study.name, missing_ok=True)
    except ValueError as error:
        print(f"  damaged: {error}")
        return False
    if not found.measured:
        print("  not measured")
        return True
    print(f"  {len(found.rows)} rows of {found.date}, revision {found.revision[:10]}")
    if found.changed:
        print("  warning: the code has changed since; run it again")
    if found.dirty:
        print("  warning: it ran on code that no commit holds")
    return True


if __name__ == "__main__":
    sys.exit(main())
