"""Writes the table of the kills into `docs/trust.md`, between two marks."""

import platform
import re
from pathlib import Path

from tests.fuzz.report import put

from .kills import Tally

BEGIN = "<!-- by python -m tests.faults -->"


def write(path: Path, tallies: list[Tally], seed: int) -> None:
    """Replaces what stands between the marks. Raises ValueError if the document has none."""
    put(path, BEGIN, _lines(tallies, seed))


def _lines(tallies, seed):
    rows = [
        f"| {each.command} | {each.kills} | {each.fell['before']} | {each.fell['within']} | {each.fell['after']} | "
        f"{each.findings.total()} | {each.same} |"
        for each in tallies
    ]
    kills, found = (sum(counts) for counts in zip(*((t.kills, t.findings.total()) for t in tallies), strict=True))
    shares = [f"{sum(t.fell[when] for t in tallies) / kills:.0%} {when}" for when in ("before", "within", "after")]
    return [
        "| command | kills | before it wrote | within | after | findings | what is equal afterwards |",
        "|---|--:|--:|--:|--:|--:|---|",
        *rows,
        "",
        f"{kills} kills ({', '.join(shares)}; seed {seed}, Python {platform.python_version()}), {found} findings"
        + (":" if found else "."),
        *(
            f"- {tally.command}: {re.sub(r'[|`]', ' ', finding)} ({count} times)"
            for tally in tallies
            for finding, count in tally.findings.items()
        ),
    ]
