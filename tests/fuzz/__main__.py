"""Tries hostile and broken input on every reader of the package, and counts how the inputs end.

  python -m tests.fuzz                               ten minutes, all readers
  python -m tests.fuzz --readers=png,index --seconds=60
  python -m tests.fuzz --report=docs/trust.md        also writes the table into that document
  python -m tests.fuzz --go_on                       after a stopped campaign: only the readers that it did not reach
  python -m tests.fuzz --again=FILE                  reads one input that was kept, with its traceback

Inputs that are findings are kept in --kept, one of each kind. The exit status is 1 if there is a finding.
"""

import argparse
import pickle
import shutil
import sys
import tempfile
import time
from pathlib import Path

from . import campaign
from .readers import READERS

_IN_MEMORY = Path("/dev/shm")


def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="vunet_fuzz", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None)


def _child(arguments) -> int:
    for name in arguments.child.split(","):
        folder = Path(arguments.folder) / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        campaign.run_here(
            READERS[name], folder, arguments.seed, arguments.seconds, arguments.inputs, Path(arguments.kept)
        )
    return 0


def _again(path: Path) -> int:
    """Reads one kept input. Its name begins with the name of its reader."""
    with _folder() as folder:
        started = READERS[path.name.split(".")[0]].start(Path(folder))
        print(started.read(pickle.loads(path.read_bytes())) or "a result")
    return 0


def _tell(tally) -> None:
    ends = ", ".join(f"{count} {ending}" for ending, count in sorted(tally.endings.items()))
    print(f"{tally.reader}: {tally.inputs} inputs ({ends}), {tally.peak} MiB, {tally.slowest} s", flush=True)
    for finding, file in tally.findings.items():
        print(f"  FINDING {finding}  [{file}]", flush=True)


def _campaign(arguments) -> int:
    names = arguments.readers.split(",") if arguments.readers else list(READERS)
    if unknown := [name for name in names if name not in READERS]:
        sys.exit(f"error: --readers={','.join(unknown)}: known are {', '.join(READERS)}")
    kept = Path(arguments.kept)
    kept.mkdir(parents=True, exist_ok=True)
    done = {name: kept / f"{name}.total" for name in names if arguments.go_on and (kept / f"{name}.total").is_file()}
    left = [name for name in names if name not in done]
    together = [name for name in left if not READERS[name].alone]
    groups = [[name] for name in left if READERS[name].alone] + ([together] if together else [])
    shares = sum(READERS[name].share for name in left)
    tallies = {name: campaign.Tally.from_json(path.read_text()) for name, path in done.items()}
    with _folder() as folder:
        for group in groups:
            start = time.monotonic()
            seconds = arguments.seconds * sum(READERS[name].share for name in group) / shares
            for tally in campaign.run_apart(group, Path(folder), arguments.seed, seconds, arguments.inputs, kept):
                tally.minutes = (time.monotonic() - start) / 60 / len(group)
                (kept / f"{tally.reader}.total").write_text(tally.as_json())
                tallies[tally.reader] = tally
                _tell(tally)
    tallies = [tallies[name] for name in names]
    found = sum(len(tally.findings) for tally in tallies)
    minutes = sum(tally.minutes for tally in tallies)
    print(f"{sum(tally.inputs for tally in tallies):,} inputs, {found} findings, {minutes:.1f} minutes")
    if arguments.report:
        from . import report

        report.write(Path(arguments.report), tallies, minutes, arguments.seed)
    return 1 if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="seconds for all readers together (default: 600)")
    parser.add_argument("--inputs", type=int, default=10**9, help="largest number of inputs for each reader")
    parser.add_argument("--readers", help="names of the readers to try, with commas between (default: all)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the inputs; another seed gives other inputs (default: 0)"
    )
    parser.add_argument("--kept", default=".fuzz", help="folder for inputs that are findings (default: .fuzz)")
    parser.add_argument("--report", help="document into which the table is written")
    parser.add_argument(
        "--go_on",
        action="store_true",
        help="keep the results of a stopped campaign in --kept, and try only the other readers",
    )
    parser.add_argument("--again", help="file of a kept input: read only this one, and show its traceback")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.again:
        return _again(Path(arguments.again))
    return _child(arguments) if arguments.child else _campaign(arguments)


if __name__ == "__main__":
    sys.exit(main())
