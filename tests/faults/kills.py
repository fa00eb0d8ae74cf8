"""Kills a command many times, and checks what it left and whether the same command then ends as if never killed."""

import dataclasses
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .processes import started

_LOOK = 0.002  # seconds between two looks at the folder
_ORPHANS = 20.0  # seconds after which a process that outlives its parent is a finding
_LATEST = 0.97  # the latest moment of a kill, as a part of the whole run time
_ATTEMPTS = 12  # how often a kill is tried, each time earlier: on a busy machine the measured run may be a slow one
_LIMIT = 900.0  # the longest time of a whole run in seconds
_PASSING = (".lock", ".probe")  # endings of files that come and go, and are no part of the result


class Command(NamedTuple):
    """A command that writes into one folder.

    name: the name of its row in the table.
    arguments: from the folder for output to the arguments of Python, such as "-m" and a module.
    same: the meaning of "the same result", for the table.
    begin: puts into the folder what must be there before the command.
    normal: from (name, content, folder) of a file to the value that must be equal; None for a file that does not count.
    unfinished: whether a file of this name and content, which differs from the file of the whole result, may be there
        after a kill. For half a file it raises an error or returns False.
    """

    name: str
    arguments: Callable[[Path], list[str]]
    same: str = "every byte"
    begin: Callable[[Path], None] = lambda folder: None
    normal: Callable[[str, bytes, Path], object] = lambda name, content, folder: content
    unfinished: Callable[[str, bytes], bool] = lambda name, content: False


@dataclasses.dataclass
class Tally:
    """The counts of a command.

    fell: how many kills came before, within and after the writing.
    seconds: duration of a whole run.
    writing: seconds from the first change in its folder to the last one.
    findings: {finding: how often}.
    """

    command: str
    same: str
    kills: int = 0
    fell: Counter = dataclasses.field(default_factory=Counter)
    seconds: float = 0.0
    writing: float = 0.0
    findings: Counter = dataclasses.field(default_factory=Counter)

    def as_json(self) -> str:
        """The tally as a text."""
        return json.dumps(vars(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Tally":
        """The inverse of `as_json`."""
        fields = json.loads(text)
        return cls(**{**fields, **{name: Counter(fields[name]) for name in ("fell", "findings")}})


def campaign(
    command: Command, folder: Path, kills: int, seed: int, start=started, tell=print, keep=lambda tally: None
) -> Tally:
    """Kills a command `kills` times, each time from its beginning, and lets it run to the end after each.

    Half of the moments are spread evenly over its whole run time. But most of that time goes into starting, so the
    other half is spread over the time in which it writes, counted from the first change in the folder. Each moment is
    random within its share.

    Args:
        command: the command.
        folder: an empty folder that may be filled.
        kills: the number of kills.
        seed: seed of the moments.
        start: `started` or `Forked`, see `processes`.
        tell: called with a line for each finding.
        keep: called with the tally after each kill, so that a stopped campaign is not lost.
    """
    tally, moments = Tally(command.name, command.same), random.Random(f"{command.name} {seed}")
    out, log = folder / "out", folder / "log"

    def run():
        return start(command.arguments(out), log)

    def fresh():
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        command.begin(out)
        return _files(out)

    before = fresh()
    first, last, tally.seconds = _timeline(run, out, log)
    tally.writing = last - first
    whole = _compared(command, out)
    for i in range(kills):
        share = (i // 2 + moments.random()) / ((kills + 1) // 2)
        fresh()
        for attempt in range(_ATTEMPTS):
            writes = i % 2 == 1
            delay = share * (tally.writing if writes else _LATEST * tally.seconds) * 0.8**attempt
            if _killed(run, out, delay, writes, tally):
                break
            fresh()  # it ended before the kill, so it is killed earlier in the next attempt
        else:
            tally.findings["it could not be killed before its end"] += 1
            continue
        tally.kills += 1
        _look(command, out, before, whole, tally)
        _again(command, run, out, log, whole, tally)
        for finding in tally.findings:
            if tally.findings[finding] == 1:
                tell(f"{command.name}, kill {i + 1}: {finding}")
        keep(tally)
    return tally


def _timeline(run, out, log):
    """Seconds from the start to the first change in the folder, to the last one, and to the end of a whole run."""
    start, seen = time.monotonic(), _signature(out)
    process = run()
    first = last = None
    ended = False
    while not ended:
        ended = process.poll() is not None  # then the loop looks at the folder once more
        if time.monotonic() - start > _LIMIT:
            _end_session(process.pid)
            raise RuntimeError(f"it takes longer than {_LIMIT} s")
        if (now := _signature(out)) != seen:
            seen, last = now, time.monotonic() - start
            first = last if first is None else first
        time.sleep(_LOOK)
    if process.returncode or first is None:
        raise RuntimeError(f"it fails without being killed, or writes nothing:\n{log.read_text()}")
    return first, last, time.monotonic() - start


def _killed(run, out, delay, writes, tally) -> bool:
    """Kills the command after some seconds, or after some seconds of writing. Returns False if it ended before."""
    seen, process = _signature(out), run()
    try:
        while writes and process.poll() is None and _signature(out) == seen:
            time.sleep(_LOOK)
        end = time.monotonic() + delay
        while process.poll() is None and (rest := end - time.monotonic()) > 0:
            time.sleep(min(rest, _LOOK))
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            return False
        deadline = time.monotonic() + _ORPHANS
        while _session(process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        if _session(process.pid):
            tally.findings["processes outlive it"] += 1
        return True
    finally:
        _end_session(process.pid)


def _look(command, out, before, whole, tally):
    """Checks the files that the killed command left."""
    left, hidden = {}, False
    for name, content in _files(out).items():
        if _is_hidden(name):
            hidden |= not name.endswith(_PASSING)
        else:
            left[name] = content
    if left == {name: content for name, content in before.items() if not _is_hidden(name)} and not hidden:
        tally.fell["before"] += 1
        return
    found = {name: _normal(command, name, content, out) for name, content in left.items()}
    tally.fell["after" if _counted(found) == _counted(whole) and not hidden else "within"] += 1
    for name, content in left.items():
        if before.get(name) == content or (name in whole and whole[name] == found[name]):
            continue
        try:
            fine = command.unfinished(name, content)
        except Exception as error:  # any error of its reader means that it is half a file
            fine, name = False, f"{name} ({type(error).__name__}: {error})"
        if not fine:
            tally.findings[f"a file that is not whole: {_kind(name)}"] += 1


def _again(command, run, out, log, whole, tally):
    """Runs the same command again, to its end."""
    process = run()
    try:
        status = process.wait(_LIMIT)
    except subprocess.TimeoutExpired:
        _end_session(process.pid)
        tally.findings["it does not end"] += 1
        return
    if status:
        tally.findings[f"status {status}: {log.read_text().strip().splitlines()[-1:]}"] += 1
        return
    names = [name for name in _files(out) if _is_hidden(name)]
    if names:
        tally.findings[f"left for ever: {', '.join(sorted({_kind(name) for name in names}))}"] += 1
    made = _compared(command, out)
    for name in sorted(_counted(whole).keys() | _counted(made).keys()):
        if made.get(name) != whole.get(name):
            tally.findings[f"another result: {name}"] += 1


def _compared(command, out):
    """{name: the value that must be equal} of all files with final names."""
    files = {name: content for name, content in _files(out).items() if not _is_hidden(name)}
    return {name: _normal(command, name, content, out) for name, content in files.items()}


def _normal(command, name, content, out):
    """The value of a file that must be equal. For half a file it is a text that no whole file has."""
    try:
        return command.normal(name, content, out)
    except Exception as error:  # any error of its reader
        return f"not whole: {error}"


def _counted(files):
    return {name: content for name, content in files.items() if content is not None}


def _kind(name):
    """A name without the part that is different each time."""
    return re.sub(r"unfinished-[0-9a-f]+", "unfinished-*", name)


def _files(folder: Path) -> dict[str, bytes]:
    """{name in the folder: content} of all files; a file that vanishes at that moment is left out."""
    found = {}
    for path in _paths(folder):
        try:
            found[str(path.relative_to(folder))] = path.read_bytes()
        except FileNotFoundError:
            continue
    return found


def _paths(folder):
    for root, _, names in os.walk(folder):
        for name in names:
            yield Path(root, name)


def _is_hidden(name):
    return any(part.startswith(".") for part in name.split("/"))


def _signature(folder) -> str:
    """Changes with every file that is made, grows or goes."""
    seen = hashlib.sha256()
    for path in sorted(_paths(folder)):
        if not path.name.endswith(_PASSING):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            seen.update(f"{path} {status.st_size} {status.st_mtime_ns} {status.st_ino}\n".encode())
    return seen.hexdigest()


def _session(leader: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            state, _, _, session = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == leader and state != "Z":
            found.append(int(name))
    return found


def _end_session(leader: int) -> None:
    for process in _session(leader):
        os.kill(process, signal.SIGKILL)
