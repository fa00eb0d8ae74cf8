"""Writes a campaign's table into `docs/trust.md`, between two marks; the rest of the document is written by hand."""

import platform
import re
from pathlib import Path

from vunet_tf.files import atomic

from .campaign import Tally
from .readers import READERS

BEGIN, END = "<!-- by python -m tests.fuzz -->", "<!-- end -->"


def write(path: Path, tallies: list[Tally], minutes: float, seed: int) -> None:
    """Replaces what stands between the marks. Raises ValueError if the document has none."""
    put(path, BEGIN, _lines(tallies, minutes, seed))


def put(path: Path, begin: str, lines: list[str]) -> None:
    """Replaces what stands between the line `begin` of a document and the next `END`.

    Raises:
        ValueError: the document has no such marks.
    """
    text = path.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    if not found or END not in rest:
        raise ValueError(f"{path} has no lines {begin} and {END}")
    table = "\n".join(lines)
    atomic.write_text(path, f"{before}{begin}\n{table}\n{END}{rest.partition(END)[2]}")


def _lines(tallies, minutes, seed):
    rows = [
        f"| {tally.reader} | {tally.inputs:,} | "
        + " | ".join(f"{tally.endings[ending]:,}" for ending in ("result", "reject", "error"))
        + f" | {len(tally.findings)} | {tally.peak:,} | {READERS[tally.reader].memory:,} | {tally.slowest:.1f} |"
        for tally in tallies
    ]
    inputs, found = sum(tally.inputs for tally in tallies), sum(len(tally.findings) for tally in tallies)
    return [
        "| reader | inputs | result | listed reject | clear error | findings | peak MiB | bound MiB | slowest s |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"{inputs:,} inputs in {minutes:.0f} minutes (seed {seed}, Python {platform.python_version()}), "
        f"{found} findings" + (":" if found else "."),
        *(f"- {tally.reader}: {re.sub(r'[|`]', ' ', finding)}" for tally in tallies for finding in tally.findings),
    ]
