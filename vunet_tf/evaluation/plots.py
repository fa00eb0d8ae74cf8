"""Plots of an evaluation as PNG: scores with their intervals, and the curve of the run."""

import csv
import io
from pathlib import Path

import matplotlib
import numpy as np

from vunet_tf.evaluation.measures import MODEL, Measure

matplotlib.use("Agg")  # no window
from matplotlib.figure import Figure

_DOTS = 110  # per inch


def scores(measures: list[Measure], quantity: str) -> bytes | None:
    """One quantity of all splits and methods with its intervals, as a PNG; None if it was not measured."""
    found = [each for each in measures if each.quantity == quantity]
    if not found:
        return None
    splits = list(dict.fromkeys(each.split for each in found))
    methods = list(dict.fromkeys(each.of for each in found))
    plot = Figure(figsize=(7, 1 + 0.28 * len(splits) * (len(methods) + 1)), layout="constrained")
    axes = plot.subplots()
    places = {}
    for each in found:
        place = splits.index(each.split) * (len(methods) + 1) + methods.index(each.of)
        places[place] = each.of
        reach = None if each.low is None else [[each.value - each.low], [each.high - each.value]]
        axes.barh(place, each.value, xerr=reach, color="C0" if each.of == MODEL else "C7", capsize=3)
    axes.set_yticks(list(places), places.values())
    for row, split in enumerate(splits):
        axes.text(1.01, row * (len(methods) + 1) + (len(methods) - 1) / 2, split, transform=axes.get_yaxis_transform())
    axes.invert_yaxis()
    axes.set_xlabel(f"{quantity} ({found[0].unit})" if found[0].unit else quantity)
    return _png(plot)


def curve(run_dir: Path | str) -> bytes | None:
    """Loss and KL of a run over its steps, from its metrics.csv, as a PNG; None if it has no curve."""
    path = Path(run_dir) / "metrics.csv"
    try:
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if None not in row.values() and row["step"].isdigit()]
    except (OSError, KeyError, csv.Error):
        return None
    names = [name for name in ("loss", "error", "kl") if any(row.get(name) for row in rows)]
    if not names:
        return None
    plot = Figure(figsize=(7, 2.2 * len(names)), layout="constrained")
    for axes, name in zip(np.atleast_1d(plot.subplots(len(names), sharex=True)), names, strict=True):
        for split in dict.fromkeys(row["split"] for row in rows):
            points = [(int(row["step"]), float(row[name])) for row in rows if row["split"] == split and row[name]]
            axes.plot(*zip(*points, strict=True), marker=".", label=split)
        axes.set_ylabel("KL (nats)" if name == "kl" else name)
        axes.legend()
    axes.set_xlabel("step")
    return _png(plot)


def _png(plot):
    buffer = io.BytesIO()
    plot.savefig(buffer, format="png", dpi=_DOTS, metadata={"Software": None})
    return buffer.getvalue()
