"""Measures the embedded backbone and its removers, and writes docs/nano-report.md.

    python -m benchmarks.nano_report --material DIR --work DIR [--variant "NAME=[@REVISION] [ARGUMENT ...]" ...]

``--material`` is a folder with portraits (``stills/london`` and ``stills/synthetic``, listed in
``stills/MANIFEST.csv``), real clips (``media/faces``, ``media/odd``, ``media/glasses``) and a model that measures
identity (``weights/*facenet*.onnx``). Everything is made in ``--work``; what is there already is kept, as long as the
same code, weights and videos made it. So an interrupted run goes on, and after a change only what depends on it is
measured again.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.against import HERE
from benchmarks.nano_report import report
from benchmarks.nano_report.data import Size
from benchmarks.nano_report.material import Material
from benchmarks.nano_report.variants import parse_variant
from toolkit.native_logs import quiet

VARIANTS = ("nano 1=@be5b2d4", "nano 2=")
"""The last revision before nano 2, and this one."""

PAGE = HERE / "docs" / "nano-report.md"
PICTURES = HERE / "docs" / "images"


def main() -> int:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = os.environ.get("TOOLKIT_SHARED")
    parser.add_argument("--material", type=Path, default=shared, required=shared is None, help="portraits and clips")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument(
        *("--variant", "-v"),
        action="append",
        help="NAME=[@REVISION] [ARGUMENT ...]: a way to edit, by `toolkit edit` of a commit or source folder with "
        f"these arguments; repeatable. The first was before, the last is now. Default: {', '.join(VARIANTS)}",
    )
    parser.add_argument("--part", nargs="+", choices=report.PARTS, default=list(report.PARTS))
    parser.add_argument("--london", type=int, help="use only so many of the London videos, evenly chosen")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each real clip with glasses")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="folder for the page's pictures")
    parser.add_argument("--quick", action="store_true", help="a few frames only: the figures mean nothing")
    args = parser.parse_args()
    try:
        variants = [parse_variant(text) for text in args.variant or VARIANTS]
    except ValueError as error:
        parser.error(str(error))
    run = report.Run(
        material=Material(args.material),
        work=args.work.resolve(),
        variants=variants,
        size=Size(2, 4, 2, 1, 4) if args.quick else Size(),
        london=args.london,
        seconds=0.16 if args.quick else args.seconds,
        quick=args.quick,
    )
    with quiet():
        report.write(run, args.part, args.page, args.pictures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
