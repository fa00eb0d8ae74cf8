"""The files for phones in a folder: the model in several precisions, the drawing, and their description."""

import json
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from export import runtime
from export.tflite import PRECISIONS, calibration, graph, model_file, quantise
from export.trained import describe
from vunet_tf.files import atomic
from vunet_tf.runs import Run

DRAWING = "drawing.tflite"


def file_name(precision: str) -> str:
    """The name of the file of a precision."""
    return f"vunet_{precision}.tflite"


def write(
    run: Run,
    out: Path | str,
    precisions: Sequence[str] = PRECISIONS,
    uses: Sequence[str] = graph.USES,
    count: int = 64,
    all_int8: bool = False,
) -> list[Path]:
    """Writes the files, each completely or not at all, and only if LiteRT can run all of its signatures.

    Args:
        run: as `trained.load` gives it.
        out: folder of the files. It is made if it is not there.
        precisions: precisions, one file for each.
        uses: signatures of the files.
        count: for int8: number of examples for the calibration.
        all_int8: for int8: whether int8 is also used where it loses most (`graph.kept_in_float`).

    Returns:
        Paths of the files that were written.

    Raises:
        InputError: there is no dataset with a training split for int8, or a file cannot be written.
    """
    out = Path(out)
    config = run.model.config
    written = []

    def put(name, content):
        with atomic.writing(out / name):
            atomic.write_bytes(out / name, content)
        written.append(out / name)

    if "int8" in precisions:
        calibration.require_examples(run)
    ranges = None
    with tqdm(total=len(precisions) + 1, unit=" files", disable=None) as bar:
        bar.set_postfix_str("converting")
        content = graph.model_graph(run.model, uses)
        float_layers = () if all_int8 else graph.kept_in_float(content, config)
        if "int8" in precisions:
            bar.set_postfix_str("calibrating")
            examples = calibration.examples(run, count, uses)
            ranges = quantise.ranges_of(content, examples)
        about = {**describe(run), "feeding": graph.feeding(config, run.fitting.stickmen, uses)}
        if run.fitting.stickmen and config.draws_shapes:
            put(DRAWING, model_file.with_description(graph.drawing_graph(config), about))
        bar.update()
        for precision in precisions:
            bar.set_postfix_str(precision)
            made = quantise.quantised(content, precision, ranges, float_layers=float_layers)
            tried = runtime.TFLiteFile(made)
            for use in uses:
                tried.call(use, tried.example(use))
            put(file_name(precision), model_file.with_description(made, {**about, "precision": precision}))
            bar.update()
        put(model_file.METADATA, (json.dumps(about, indent=1) + "\n").encode())
    return written
