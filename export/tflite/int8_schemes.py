r"""Compares ways to quantise a run to int8: how near each comes to float32, and what it costs.

  python -m export.tflite.int8_schemes --run_dir=runs/quickstart

A scheme is a rule by which an activation's range follows from the calibration (export/tflite/quantise.py), and the
layers that stay float. Printed are the file's size, PSNR to float32 on transfers of the valid split (mean and worst),
SSIM to the truth less that of float32, and the time of "generate" on two threads, all schemes in turns.
"""

import statistics
import time

from absl import flags
from tqdm import tqdm

from vunet_tf.command_line.startup import run, start_tensorflow

_RUN_DIR = flags.DEFINE_string("run_dir", None, "The run to quantise.")
_DATASET_DIR = flags.DEFINE_string("dataset_dir", None, "The dataset; by default what the run trained on.")
_CALIBRATE = flags.DEFINE_integer("calibrate", 64, "Examples of the training split to calibrate with.", lower_bound=1)
_EXAMPLES = flags.DEFINE_integer("examples", 100, "Transfers on the valid split to compare on.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 30, "How often the time is taken; the median is shown.", lower_bound=1)


def _compare() -> None:
    start_tensorflow()
    from export import runtime, trained
    from export.tflite import calibration, graph, quantise
    from export.verify import transfers
    from export.verify.closeness import closeness

    run = trained.load(_RUN_DIR.value, _DATASET_DIR.value)
    uses = ("encode", "generate")
    content = graph.model_graph(run.model, uses)
    ranges = quantise.ranges_of(content, calibration.examples(run, _CALIBRATE.value, uses))
    schemes = {precision: quantise.quantised(content, precision) for precision in ("float32", "float16", "dynamic")}
    kept_float = {
        "nothing": (),
        "residual sums": ("/add;",),
        "the last scale": graph.last_scale(content, run.model.config),
    }
    for rule in quantise.RULES:
        for name, layers in kept_float.items():
            schemes[f"int8, {rule}, float: {name}"] = quantise.quantised(content, "int8", ranges, rule, layers)
    given = transfers.load(run, "valid", _EXAMPLES.value)
    models = {name: runtime.TFLiteFile(file) for name, file in schemes.items()}
    made = {name: given.by_tflite(model) for name, model in tqdm(models.items(), unit=" schemes", disable=None)}
    times = {name: [] for name in schemes}
    for _ in range(_ROUNDS.value):
        for name, model in models.items():
            inputs, start = model.example("generate"), time.perf_counter()
            model.call("generate", inputs)
            times[name].append(1000 * (time.perf_counter() - start))
    reference = closeness(made["float32"], made["float32"], given.truth, given.inside)
    print(f"{'':<40}{'MB':>7}{'PSNR (worst)':>16}{'SSIM':>9}{'ms':>7}")
    for name, pictures in made.items():
        found = closeness(pictures, made["float32"], given.truth, given.inside)
        psnr = "exact" if found.psnr is None else f"{found.psnr:.1f} ({found.psnr_worst:.1f})"
        size, median = len(schemes[name]) / 1e6, statistics.median(times[name])
        print(f"{name:<40}{size:>7.2f}{psnr:>16}{found.ssim - reference.ssim:>+9.4f}{median:>7.1f}")


if __name__ == "__main__":
    run(_compare, if_stopped="nothing was written")
