"""``python -m tests.campaign``: run parts of the campaign, go on where an earlier call stopped, and print the table."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.campaign.results import Results


def main() -> int:
    from tests.campaign import server
    from tests.campaign.parts import PARTS

    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--count", type=int, help="Trials of each group; if unset, those of the whole campaign.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="Run only groups whose name contains this.")
    parser.add_argument("--output", type=Path, default=Path(tempfile.gettempdir()) / "toolkit-campaign")
    parser.add_argument("--few", action="store_true", help="Only a few trials of each part, always the same.")
    parser.add_argument("--table", action="store_true", help="Only print the table of the results so far.")
    args = parser.parse_args()
    output = args.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    results = Results(output / "results.jsonl")
    names = list(PARTS) if args.part == "all" else [args.part]
    if not args.table:
        server.preload()
        made = server.prepare(output)
        sys.path.insert(0, str(made.site))
        for name in names:
            part = PARTS[name]
            count, only = part.few if args.few else (args.count or part.count, args.only)
            done = results.counts(name, args.seed)
            for record in part.run(made, output / name, count, args.seed, done, only):
                results.add(name, args.seed, record)
                if record["finds"]:
                    print(f"{name}, {record['group']}: {record['finds'][0][:2000]}", file=sys.stderr, flush=True)
    print(results.table())
    return 1 if any(results.finds(name) for name in names) else 0


if __name__ == "__main__":
    sys.exit(main())
