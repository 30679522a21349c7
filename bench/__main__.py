"""`python -m bench`: measures every target that can run here and prints the ratios.

The exit status is about right answers only, never about speed. PostgreSQL comes in with TEST_DATABASE_URL.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.load import Cell, DriverFailed, Row, Target, measure
from bench.processes import StartFailed
from bench.report import report
from bench.targets import Offer, Size, offers, thin_upstream

CELLS = (Cell("small", 1), Cell("small", 16), Cell("small", 64), Cell("large", 16))
WARM_UP = Cell("small", 8)
WARM_UP_SECONDS = 2


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        rows = measured(options)
    except (StartFailed, DriverFailed) as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"\n{report(rows)}")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 1 if any(row.errors for row in rows) else 0


def measured(options: argparse.Namespace) -> list[Row]:
    with thin_upstream() as upstream:
        chosen = chosen_offers(options.targets, offers(upstream, Size(options.agents, options.rules, options.policy)))
        every = [offer for _ in range(options.rounds) for offer in chosen]
        return [row for offer in every for row in measured_cells(offer, upstream, seconds=options.seconds)]


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    found.add_argument("--seconds", type=int, default=3, help="length of a cell")
    found.add_argument("--rounds", type=int, default=1, help="how often everything is measured; medians are shown")
    found.add_argument("--agents", type=int, default=1, help="agents that hold the tool")
    found.add_argument("--rules", type=int, default=1, help="CEL rules evaluated in each decision")
    found.add_argument("--policy", default="", help="a ready policy that binds everybody as well, e.g. baseline")
    found.add_argument("--targets", default="", help="only these, separated by commas")
    found.add_argument("--json", type=Path, metavar="FILE", help="write the rows of all rounds")
    return found


def chosen_offers(names: str, offered: dict[str, Offer]) -> list[Offer]:
    unknown = set(filter(None, names.split(","))) - set(offered)
    if unknown:
        sys.exit(f"--targets takes some of {', '.join(offered)} here, not {', '.join(sorted(unknown))}.")
    return [offer for name, offer in offered.items() if not names or name in names.split(",")]


def measured_cells(offer: Offer, upstream: Target, *, seconds: int) -> Iterator[Row]:
    with offer() as target:
        measure(target, WARM_UP, upstream, seconds=min(seconds, WARM_UP_SECONDS))
        for cell in CELLS:
            row = measure(target, cell, upstream, seconds=seconds)
            print(
                f"{row.target}: {row.payload}, {row.in_flight} in flight: {row.calls_per_second:,.0f} calls/s",
                flush=True,
            )
            yield row


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
