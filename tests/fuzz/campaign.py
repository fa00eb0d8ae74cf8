"""Runs a reader over many inputs in a separate process, with limits, and counts how each input ends.

An input ends well in a result, in rejects that are listed, or in one InputError whose message is short and in one line.
Everything else is a finding: another exception, a reject for an unforeseen reason, a crash of the process, more memory
or time than the reader's bound, a write outside the folder for output, a program or a connection that is started.
"""

import contextlib
import dataclasses
import json
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from vunet_tf.files.errors import InputError

LONGEST_MESSAGE = 2000  # characters: a longer one is not clear
_ROOM = 8 * 2**30  # bytes of address space beyond what a started process has: far above every reader's bound
_TO_START = 1800.0  # seconds that a process may take to start, and to end
_WAITING = 15  # how much longer an input may take where other programs use the processor
# What no reader has to do, as Python's audit hooks name it.
_FORBIDDEN = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty")
_FORBIDDEN += ("pty.spawn", "socket.connect", "socket.getaddrinfo", "urllib.Request", "ctypes.dlopen")
_CHANGING = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.truncate")


class Started(NamedTuple):
    """A reader that is ready.

    good: inputs that must end in a result, so that no check becomes too strict.
    inputs: Hypothesis's strategy for the other inputs.
    read: takes an input and gives the reasons for what it rejected; raises InputError.
    out: the only folder that may be written. It has to exist.
    """

    good: list
    inputs: st.SearchStrategy
    read: Callable[[object], list[str]]
    out: Path


class Reader(NamedTuple):
    """A reader that is tried.

    name: name of the reader.
    start: makes it ready; takes an empty folder.
    memory: MiB that one input may take.
    seconds: processor time that one input may take.
    share: share of the campaign's time, relative to other readers.
    alone: whether it has a process for itself. Readers that need TensorFlow share one, since it takes long to start.
    """

    name: str
    start: Callable[[Path], Started]
    memory: int
    seconds: float = 20.0
    share: float = 1.0
    alone: bool = True


@dataclasses.dataclass
class Tally:
    """The results of a campaign for one reader.

    `peak` is the most memory of one input in MiB, `slowest` in seconds; `minutes` is the time that the reader had.
    """

    reader: str
    endings: Counter = dataclasses.field(default_factory=Counter)
    findings: dict[str, str] = dataclasses.field(default_factory=dict)  # what it is: the file with the input
    peak: int = 0
    slowest: float = 0.0
    minutes: float = 0.0

    @property
    def inputs(self) -> int:
        return sum(self.endings.values())

    def add(self, other: "Tally") -> None:
        self.endings += other.endings
        self.findings = {**other.findings, **self.findings}
        self.peak, self.slowest = max(self.peak, other.peak), max(self.slowest, other.slowest)

    def as_json(self) -> str:
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> "Tally":
        fields = json.loads(text)
        return cls(**{**fields, "endings": Counter(fields["endings"])})


class _Enough(BaseException):
    """The time of the campaign is over."""


class _TooSlow(BaseException):
    """One input took too long."""


class _Watch:
    """Python's audit events of one input."""

    def __init__(self):
        self.armed, self.seen, self.out = False, [], ""
        sys.addaudithook(self._hook)

    def _hook(self, event, arguments):
        if not self.armed:
            return
        if event in _FORBIDDEN:
            self.seen.append(f"{event} was called")
        elif event == "open" and arguments[2] and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self._written(event, arguments[0])
        elif event in _CHANGING:
            folder = arguments[-1]  # the open one that a name begins in, or -1
            self._written(event, arguments[0], f"/proc/self/fd/{folder}" if folder != -1 else "")

    def _written(self, event, path, folder=""):
        if isinstance(path, int):
            return
        if not os.path.realpath(os.path.join(folder, os.fsdecode(path))).startswith((self.out, os.devnull)):
            self.seen.append(f"{event} outside of the folder for output")


_watch = _Watch()


def put(path: Path, content: bytes) -> None:
    """Writes the input of a reader. The test itself does this, so it is not a finding."""
    armed, _watch.armed = _watch.armed, False
    try:
        path.write_bytes(content)
    finally:
        _watch.armed = armed


def run_here(reader: Reader, folder: Path, seed: int, seconds: float, most: int, kept: Path) -> Tally:
    """Tries a reader in this process.

    Args:
        reader: which.
        folder: an empty one, for what it reads and writes; better one in memory.
        seed: of the inputs.
        seconds: when to stop, and
        most: after how many inputs.
        kept: folder for inputs that are findings, one of each kind, and for the tally and the last input, which are
            what a process that dies leaves behind.
    """
    before, kept = os.getcwd(), kept.absolute()
    os.chdir(folder)  # where a name such as "../x" leads is known then
    try:
        return _run(reader, folder, seed, seconds, most, kept)
    finally:
        os.chdir(before)


def _run(reader, folder, seed, seconds, most, kept):
    started = reader.start(folder)
    _watch.out = os.path.realpath(started.out)
    tally = Tally(reader.name)
    for number, value in enumerate(started.good):
        if reasons := started.read(value):
            raise AssertionError(f"{reader.name}: the good input {number} is rejected: {reasons[0]}")
    attempt = _Attempts(reader, started, tally, folder, kept)
    end = time.monotonic() + seconds

    def one(value):
        if time.monotonic() > end or tally.inputs >= most:
            raise _Enough
        attempt(value)

    try:
        for batch in range(10**6):
            _hypothesis(started.inputs, one, seed + batch)
    except _Enough:
        pass
    attempt.note()
    return tally


def _hypothesis(strategy, function, seed) -> None:
    settings = hypothesis.settings(
        max_examples=400,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    hypothesis.seed(seed)(settings(hypothesis.given(strategy)(lambda value: function(value))))()


class _Attempts:
    """Reads one input after another, and counts how they end."""

    def __init__(self, reader, started, tally, folder, kept):
        self.reader, self.started, self.tally, self.kept = reader, started, tally, kept
        self.folder, self.listing = folder, sorted(os.listdir(folder))
        self.noted = 0.0
        kept.mkdir(parents=True, exist_ok=True)
        for number in (signal.SIGALRM, signal.SIGPROF):
            signal.signal(number, self._too_slow)
        size = _resident("VmSize")
        resource.setrlimit(resource.RLIMIT_AS, (size + _ROOM, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    @staticmethod
    def _too_slow(number, frame):
        raise _TooSlow

    def __call__(self, value) -> None:
        (self.kept / f"{self.reader.name}.last").write_bytes(pickle.dumps(value))
        finding, ending, start = None, "error", time.process_time()
        before = _resident("VmRSS" if _forget_peak() else "VmHWM")  # what earlier ones left is not this one's
        signal.setitimer(signal.ITIMER_PROF, self.reader.seconds)
        signal.setitimer(signal.ITIMER_REAL, _WAITING * self.reader.seconds)
        _watch.seen.clear()
        _watch.armed = True
        try:
            reasons = self.started.read(value)
            ending = "reject" if reasons else "result"
            if strange := [reason for reason in reasons if reason.startswith("unexpected ")]:
                finding = f"reject: {strange[0]}"
        except InputError as error:
            finding = _unclear(str(error))
        except _TooSlow:
            finding = f"more than {self.reader.seconds:g} seconds"
        except (Exception, SystemExit, RecursionError) as error:
            place = [
                frame for frame in traceback.extract_tb(error.__traceback__) if "/tests/fuzz/" not in frame.filename
            ]
            ours = [frame for frame in place if "vunet_tf" in frame.filename or "/export/" in frame.filename]
            at = f"{Path(ours[-1].filename).name} {ours[-1].name}" if ours else "the test itself"
            finding = f"{type(error).__name__} in {at}: {str(error)[:80]!r}"
        finally:
            _watch.armed = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        seconds = time.process_time() - start
        peak = (_resident("VmHWM") - before) // 2**20
        self.tally.endings[ending] += 1
        self.tally.peak = max(self.tally.peak, peak)
        self.tally.slowest = max(self.tally.slowest, round(seconds, 2))
        finding = finding or next(iter(_watch.seen), None)
        if not finding and peak > self.reader.memory:
            finding = f"memory: over {self.reader.memory} MiB"
        if sorted(os.listdir(self.folder)) != self.listing:
            finding, self.listing = "a file beside the folder for output", sorted(os.listdir(self.folder))
        if finding:
            self._keep(finding, value)
        if time.monotonic() - self.noted > 1:
            self.note()

    def _keep(self, finding, value) -> None:
        kind = "".join(character if character.isalnum() else "_" for character in finding)[:100]
        path = self.kept / f"{self.reader.name}.{kind}"
        if not path.exists() or path.stat().st_size > len(pickle.dumps(value)):
            path.write_bytes(pickle.dumps(value))
        self.tally.findings.setdefault(finding, path.name)

    def note(self) -> None:
        """Writes the tally."""
        (self.kept / f"{self.reader.name}.tally").write_text(self.tally.as_json())
        self.noted = time.monotonic()


def _unclear(message: str) -> str | None:
    if not message.strip():
        return "an error without words"
    if unforeseen := re.search(r"unexpected [A-Z]\w+: .{0,80}", message):  # why all are left out, where nothing is left
        return f"error: {unforeseen[0]}"
    if len(message) > LONGEST_MESSAGE:
        return "an error of more than 2,000 characters"
    return None


def _forget_peak() -> bool:
    """Lets the kernel begin a new measurement of this process's peak memory."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return True
    return False


def _resident(name: str) -> int:
    """A size in bytes from /proc/self/status."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(name):
                return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {name}")


def run_apart(names: list[str], folder: Path, seed: int, seconds: float, most: int, kept: Path) -> list[Tally]:
    """Tries readers in a separate process. If it dies, that is a finding, and it is started again with other inputs.

    Args:
        names: of the readers.
        seconds: for all of them together.
        Others: as for `run_here`.
    """
    total = {name: Tally(name) for name in names}
    left, end, starts = list(names), time.monotonic() + seconds, 0
    while left and (not starts or time.monotonic() < end):
        each = max(1.0, (end - time.monotonic()) / len(left))
        command = [sys.executable, "-m", "tests.fuzz", f"--child={','.join(left)}", f"--seed={seed + 1000 * starts}"]
        command += [f"--seconds={each:.1f}", f"--inputs={most}", f"--folder={folder}", f"--kept={kept}"]
        starts += 1
        for name in left:
            for ending in ("tally", "last"):
                (kept / f"{name}.{ending}").unlink(missing_ok=True)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, errors="replace")
        try:
            _, told = process.communicate(timeout=each * len(left) + _TO_START)
            ended = f"crash: signal {-process.returncode}"
        except subprocess.TimeoutExpired:  # an input that neither ends nor lets itself be interrupted
            process.kill()
            _, told = process.communicate()
            ended = "it does not end"
        tried = [name for name in left if (kept / f"{name}.last").is_file()]
        for name in tried:
            if (kept / f"{name}.tally").is_file():
                total[name].add(Tally.from_json((kept / f"{name}.tally").read_text()))
        if process.returncode == 0:
            break
        if process.returncode > 0 or not tried:  # the test itself is wrong
            raise RuntimeError(f"{left}: {told[-3000:]}")
        name = tried[-1]  # the one that was running
        file = f"{name}.crash{starts}"
        os.replace(kept / f"{name}.last", kept / file)
        total[name].findings[ended] = file
        total[name].endings["crash"] += 1
        left = left[left.index(name) :]
    return list(total.values())
