"""Computes what training on many machines costs: bytes of a step, their time on the wire, and the speed that is left.

Each worker keeps its batch. So the time of a step itself stays the same, and the time to add up the gradients is lost.
All gradients are added up in one message after the backward pass, and not during it (`training.step`), by a ring: each
of n workers sends 2 (n - 1) pieces of an n-th of the gradients (Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce
algorithms for clusters of workstations").
"""

import io
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import numpy as np

WORKERS = (8, 64, 1000)
GIGABITS = (25, 200)  # per second: speeds of network cards
Seconds = TypeVar("Seconds", float, np.ndarray)
GRADIENTS = {"float32": 4, "bfloat16": 2}  # bytes of one number


class Step(NamedTuple):
    """A measured training step of one worker: its precision, its pictures, and its seconds without other workers."""

    precision: str
    batch_size: int
    seconds: float


def bytes_sent(parameters: int, bytes_each: int, workers: int) -> float:
    """Bytes that each worker sends in a step. It receives as many."""
    return 2 * (workers - 1) / workers * parameters * bytes_each


def ring_seconds(sent: float, workers: int, gigabits: float, latency: float = 0.0) -> float:
    """Seconds to add up the gradients.

    Args:
        sent: bytes that each worker sends.
        workers: number of workers.
        gigabits: speed of the network, per second and direction.
        latency: seconds until a message begins to arrive. Each worker sends 2 (workers - 1) messages, one after
            another.
    """
    return sent * 8 / (gigabits * 1e9) + 2 * (workers - 1) * latency


def efficiency(step_seconds: Seconds, exchange_seconds: float) -> Seconds:
    """The part of the speed that is left, 0 to 1: n workers are as fast as this times n workers without exchange."""
    return step_seconds / (step_seconds + exchange_seconds)


def tables(parameters: int, steps: list[Step], record_bytes: float, latency: float = 0.0) -> str:
    """The tables of docs/scaling.md, in Markdown.

    Args:
        parameters: number of trained parameters of the model.
        steps: measured steps.
        record_bytes: size of an example on disk; it is rounded to the nearest ten.
        latency: latency of the network in seconds.
    """

    def seconds(bytes_each, workers, gigabits):
        return ring_seconds(bytes_sent(parameters, bytes_each, workers), workers, gigabits, latency)

    cases = [(name, gigabits) for name in GRADIENTS for gigabits in GIGABITS]
    first = [
        f"What each worker sends in a step, and how long it is on the wire, for {parameters:,} parameters:",
        "",
        "| workers | float32: MB sent | 25 Gbit/s | 200 Gbit/s | bfloat16: MB sent | 25 Gbit/s | 200 Gbit/s |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for workers in WORKERS:
        cells = [f"{workers:,}"]
        for bytes_each in GRADIENTS.values():
            cells.append(f"{bytes_sent(parameters, bytes_each, workers) / 1e6:,.1f}")
            cells += [f"{1000 * seconds(bytes_each, workers, gigabits):,.1f} ms" for gigabits in GIGABITS]
        first.append(_row(cells))

    heads = [f"{name}, {gigabits} Gbit/s" for name, gigabits in cases]
    second = [
        "The part of the speed that is left, by the format of the gradients and the network:",
        "",
        _row(["step of one worker", "workers", *heads]),
        f"|---|--:|{'--:|' * len(cases)}",
    ]
    for step in steps:
        for workers in WORKERS:
            left = [efficiency(step.seconds, seconds(GRADIENTS[name], workers, speed)) for name, speed in cases]
            second.append(_row([_told(step), f"{workers:,}", *(f"{part:.1%}" for part in left)]))
    needed = [9 * seconds(GRADIENTS[name], WORKERS[-1], speed) for name, speed in cases]
    steps_needed = [f"{1000 * each:,.0f} ms ({head})" for each, head in zip(needed, heads, strict=True)]
    second += ["", f"With {WORKERS[-1]:,} workers, 90 % is left if a step takes {', '.join(steps_needed)}."]

    record_bytes = round(record_bytes, -1)
    third = [
        f"What the workers read, with {record_bytes / 1000:,.2f} kB for each example:",
        "",
        "| step of one worker | workers | images/s of each | images/s of all | MB/s read by each | by all |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for step in steps:
        rate = step.batch_size / step.seconds
        for workers in (1, *WORKERS):
            read = rate * workers * record_bytes / 1e6
            cells = [f"{rate:,.1f}", f"{rate * workers:,.1f}", f"{read:,.2f}", f"{read * workers:,.1f}"]
            third.append(_row([_told(step), f"{workers:,}", *cells]))
    return "\n".join([*first, "", *second, "", *third])


def _told(step: Step) -> str:
    return f"{step.precision}, {step.batch_size} pictures, {1000 * step.seconds:,.0f} ms"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def plot(parameters: int, steps: list[Step], latency: float = 0.0) -> bytes:
    """A plot of efficiency over the time of a step, as a PNG. The measured steps are marked."""
    from matplotlib.figure import Figure  # imported here, since few users need it

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    times = np.geomspace(0.01, 10, 200)  # seconds
    for colour, (name, bytes_each) in enumerate(GRADIENTS.items()):
        for gigabits, style in zip(GIGABITS, ("--", "-"), strict=True):
            for workers, width in zip(WORKERS, (0.8, 1.4, 2.0), strict=True):
                lost = ring_seconds(bytes_sent(parameters, bytes_each, workers), workers, gigabits, latency)
                label = f"{name} gradients, {gigabits} Gbit/s" if workers == WORKERS[-1] else None
                axes.plot(times, efficiency(times, lost), style, color=f"C{colour}", linewidth=width, label=label)
    for step in steps:
        axes.axvline(step.seconds, color="C7", linewidth=0.8)
        axes.text(step.seconds, 0.02, f" {step.precision}", rotation=90, fontsize=8, color="C7", ha="right")
    axes.set_xscale("log")
    axes.set_ylim(0, 1)
    axes.set_xlabel("seconds of a step without other workers")
    axes.set_ylabel("part of the speed that is left")
    axes.set_title(
        f"{parameters:,} parameters; thin to thick: {', '.join(f'{n:,}' for n in WORKERS)} workers", fontsize=9
    )
    axes.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
