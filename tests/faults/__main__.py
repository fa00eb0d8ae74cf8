"""Kills every command that writes, at random moments. Checks that the same command then ends with the same result.

  python -m tests.faults                              twenty times each: about an hour on two cores
  python -m tests.faults --commands=prepare --kills=4
  python -m tests.faults --report=docs/trust.md       also writes the table into that document
  python -m tests.faults --go_on                      after a stopped campaign: only the commands that it did not finish

The exit status is 1 if there is a finding.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

# Everything runs on one thread, because several threads add numbers in another order each time.
os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}

from . import report
from .commands import COMMANDS, material
from .kills import Tally, campaign
from .processes import Forked, preload


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20, help="number of kills of each command (default: 20)")
    parser.add_argument("--commands", help="names of the commands to kill, with commas between (default: all)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the moments; another number gives other moments (default: 0)"
    )
    parser.add_argument("--kept", default=".faults", help="folder for the findings of each command (default: .faults)")
    parser.add_argument("--report", help="document into which the table of all commands in --kept is written")
    parser.add_argument("--go_on", action="store_true", help="leave out the commands of which --kept has so many kills")
    arguments = parser.parse_args()
    names = arguments.commands.split(",") if arguments.commands else list(COMMANDS)
    if unknown := [name for name in names if name not in COMMANDS]:
        sys.exit(f"error: --commands={','.join(unknown)}: known are {', '.join(COMMANDS)}")
    kept = Path(arguments.kept)
    kept.mkdir(parents=True, exist_ok=True)
    if arguments.go_on:
        names = [name for name in names if _kills_of(kept, name) < arguments.kills]
    folder = Path(tempfile.mkdtemp(prefix="vunet_faults"))  # a TemporaryDirectory would end with the first copy
    try:
        if names:
            preload()
            material(folder)
        for name in names:
            start = time.monotonic()
            (folder / name).mkdir()

            def keep(tally, path=kept / f"{name}.json"):
                path.write_text(tally.as_json())

            tally = campaign(COMMANDS[name](folder), folder / name, arguments.kills, arguments.seed, Forked, keep=keep)
            keep(tally)
            fell = ", ".join(f"{tally.fell[when]} {when}" for when in ("before", "within", "after"))
            told = f"{name}: {tally.kills} kills ({fell} writing), {tally.findings.total()} findings"
            print(f"{told}; a run {tally.seconds:.1f} s; {(time.monotonic() - start) / 60:.1f} minutes", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tallies = [Tally.from_json((kept / f"{n}.json").read_text()) for n in COMMANDS if (kept / f"{n}.json").is_file()]
    if arguments.report:
        report.write(Path(arguments.report), tallies, arguments.seed)
    return 1 if any(tally.findings for tally in tallies) else 0


def _kills_of(kept, name):
    path = kept / f"{name}.json"
    return Tally.from_json(path.read_text()).kills if path.is_file() else 0


if __name__ == "__main__":
    sys.exit(main())
