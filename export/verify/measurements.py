"""The measurements of `python -m export.verify`: artefacts compared with the Keras model and with the truth."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from export import runtime
from vunet_tf.command_line.startup import in_own_process
from vunet_tf.files.errors import InputError
from vunet_tf.runs import Run

if TYPE_CHECKING:
    from export.verify.transfers import Transfers

THREADS = (1, 2)


def artefacts(arguments: Iterable[Path | str]) -> list[Path]:
    """The SavedModel versions and TFLite files that the arguments name, in their order.

    Raises:
        InputError: an argument names no artefact.
    """
    from export.saved_model.versions import versions
    from export.tflite.files import DRAWING

    found = []
    for argument in map(Path, arguments):
        if runtime.is_saved_model(argument) or (argument.suffix == ".tflite" and argument.is_file()):
            found.append(argument)
            continue
        inside = [path for path in sorted(argument.glob("*.tflite")) if path.name != DRAWING]
        inside.sort(key=lambda path: -path.stat().st_size)
        newest = [argument / str(number) for number in versions(argument)[-1:]]
        if not inside + newest:
            raise InputError(f"{argument} is no SavedModel, no TFLite file, and no folder of either")
        found += newest + inside
    return found


def transferred(path: Path, given: "Transfers") -> np.ndarray:
    """The pictures [n, S, S, 3] uint8 that an artefact makes for the transfers `given`.

    Raises:
        InputError: it cannot be read, or does not fit the run.
    """
    # What TensorFlow and LiteRT raise for damaged files and for inputs of the wrong form.
    expected = (ValueError, LookupError, TypeError, RuntimeError, OSError, tf.errors.OpError)
    try:
        model = runtime.load(path)
    except expected as error:
        raise InputError(f"{path} is damaged or not whole: {_first_line(error)}; export it again") from error
    try:
        pictures = given.by_saved_model(model) if runtime.is_saved_model(path) else given.by_tflite(model)
    except expected as error:
        raise InputError(f"{path} is not of this run; name its own --run_dir ({_first_line(error)})") from error
    if pictures.shape != given.truth.shape:
        sizes = f"its pictures have {pictures.shape[1]} pixels a side, the run's {given.truth.shape[1]}"
        raise InputError(f"{path} is not of this run; name its own --run_dir ({sizes})")
    return pictures


def _first_line(error):
    return str(error).partition("\n")[0]


def size_mb(path: Path) -> float:
    """Size in megabytes (10^6 bytes) of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file()) / 1e6


def speeds(path: Path, seconds: float, signature: str) -> dict[str, dict]:
    """{"1", "2": `runtime.Speed` of the signature on so many threads}. Each is measured in a new process.

    Raises:
        LookupError: the artefact has no such signature.
    """
    return {
        str(threads): in_own_process(runtime.measure, path, signature, threads, seconds)._asdict()
        for threads in THREADS
    }


def closeness(pictures: np.ndarray, keras: np.ndarray, truth: np.ndarray, masks: np.ndarray | None) -> dict:
    """How near pictures are to those of Keras and to the truth, all uint8 [n, S, S, 3]. Scores are means over pictures.

    Scores are those of `evaluate` (`vunet_tf.evaluation.metrics`). "psnr" and "psnr_worst" are for the pictures that
    differ from Keras's; None if none does. "error" is inside the masks [n, S, S] (bool), or everywhere without masks.
    """
    from vunet_tf.evaluation import metrics

    psnr = metrics.psnr(keras, pictures)
    return {
        "largest": int(np.abs(pictures.astype(int) - keras).max()),
        "psnr": metrics.finite_mean(psnr),
        "psnr_worst": float(psnr.min()) if np.isfinite(psnr).any() else None,
        "ssim": metrics.finite_mean(metrics.ssim(truth, pictures)),
        "ssim_to_keras": metrics.finite_mean(metrics.ssim(keras, pictures)),
        "error": metrics.finite_mean(metrics.absolute_error(truth, pictures, masks)),
    }


def table(results: dict[str, dict]) -> str:
    """The results of all artefacts as a table of text."""
    keras = results["keras"]
    lines = [
        f"{'':<28}{'MB':>7}{'max':>5}{'PSNR (worst)':>16}{'SSIM':>19}{'error':>7}{'load':>7}"
        f"{'ms, 1 thread':>15}{'ms, 2 threads':>15}{'memory':>8}  XNNPACK"
    ]
    for name, found in results.items():
        psnr = "exact" if found["psnr"] is None else f"{found['psnr']:.1f} ({found['psnr_worst']:.1f})"
        ssim = f"{found['ssim']:.4f} ({found['ssim'] - keras['ssim']:+.4f})"
        size = f"{found['mb']:.2f}" if "mb" in found else ""
        line = f"{name:<28}{size:>7}{found['largest']:>5}{psnr:>16}{ssim:>19}"
        line += f"{found['error']:>7.2f}"
        if "speed" in found:
            speed = found["speed"]
            line += f"{speed['2']['load_ms']:>7.0f}"
            for threads in THREADS:
                line += f"{speed[str(threads)]['median_ms']:>8.1f} /{speed[str(threads)]['p90_ms']:>5.1f}"
            line += f"{speed['2']['memory_mib']:>8.0f}"
        elif "partitions" in found:
            line += " " * 45
        if "partitions" in found:
            outside = ", ".join(f"{count} {kind}" for kind, count in found["outside"].items()) or "none"
            line += f"  {found['partitions']}, outside: {outside}"
        lines.append(line)
    return "\n".join(lines)


def strip(transfers: "Transfers", made: dict[str, np.ndarray], count: int) -> np.ndarray:
    """A picture with a row for each transfer: looks, shape, truth, and the result of each artefact."""
    from vunet_tf.data.dataset import evenly_spread
    from vunet_tf.files.grids import enlarge, grid, label
    from vunet_tf.files.pixels import to_rgb, to_uint8

    columns = {
        "looks": transfers.sent["image"],
        "shape": to_rgb(to_uint8(transfers.shape)),
        "truth": transfers.truth,
        **made,
    }
    chosen = evenly_spread(len(transfers.truth), count)
    rows = [[enlarge(pictures[i], 128) for pictures in columns.values()] for i in chosen]
    return grid([[label(name, row.shape[1]) for name, row in zip(columns, rows[0], strict=True)], *rows])


def measured(
    run: Run, split: str, examples: int, paths: list[Path], seconds: float, signature: str = "generate"
) -> tuple["Transfers", dict[str, np.ndarray], dict[str, dict]]:
    """Compares every artefact with the run's Keras model.

    Args:
        run: as `trained.load` gives it.
        split, examples: number of transfers onto examples of this split. The examples are the truth.
        paths: the artefacts, see `artefacts`.
        seconds: seconds for each speed; 0 leaves speeds out.
        signature: what the speeds are of. An artefact without it has none.

    Returns:
        tuple: (transfers, {name: [n, S, S, 3] uint8 pictures}, {name: results}). "keras" is the first name.

    Raises:
        InputError: an artefact cannot be read or is not of this run, or none has the signature.
    """
    from export.tflite import model_file
    from export.verify import transfers
    from vunet_tf import runs
    from vunet_tf.files.pixels import to_uint8

    given = transfers.load(run, split, examples)
    # The run itself, and not the folded model that was exported.
    keras = to_uint8(np.asarray(runs.load(run.directory).model.transfer(given.batch, given.shape)))
    made = {"keras": keras}
    results = {"keras": closeness(keras, keras, given.truth, given.masks)}
    without: list[str] = []  # what artefacts without the signature have
    for path in tqdm(paths, unit=" artefacts", disable=None):
        name = f"SavedModel {path.name}" if runtime.is_saved_model(path) else path.stem.removeprefix("vunet_")
        if name in made:  # a file of the same name from another export
            name = f"{path.parent.name}/{name}"
        made[name] = transferred(path, given)
        found = {
            "path": str(path),
            "mb": size_mb(path),
            **closeness(made[name], keras, given.truth, given.masks),
        }
        if path.suffix == ".tflite":
            graph = model_file.signature(path.read_bytes(), "generate")
            found |= {"partitions": graph.partitions, "outside": dict(graph.outside), "ops": dict(graph.ops)}
        if seconds:
            try:
                found["speed"] = speeds(path, seconds, signature)
            except LookupError as error:
                without.append(str(error))
        results[name] = found
    if paths and len(without) == len(paths):
        raise InputError(f"--signature={signature}: nothing to verify has it; {'; '.join(without)}")
    return given, made, results
