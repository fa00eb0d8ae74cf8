"""Evaluations of several runs side by side, and beside published numbers: a page of Markdown."""

import dataclasses
from pathlib import Path

import numpy as np

from vunet_tf.config import ModelConfig, TrainingConfig
from vunet_tf.evaluation import (
    appearance,
    inception,
    likelihood,
    per_example,
    probes,
    published,
    reconstruction,
    samples,
    sampling,
    transfer,
)
from vunet_tf.evaluation.measures import MODEL, Measure
from vunet_tf.evaluation.report import Results, number
from vunet_tf.evaluation.scoring import QUANTITIES, SHARPNESS, SSIM_PROTOCOL

NOT_MEASURED = "not measured (needs the dataset and GPUs)"
# Flags that say nothing about the weights of a run.
_OF_EACH_RUN = ("run_dir", "dataset_dir", "checkpoint_every", "keep_checkpoints", "log_every", "pictures_every")
_DEFAULTS = {
    name: ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()
    for config in (ModelConfig(), TrainingConfig())
    for name, value in dataclasses.asdict(config).items()
}
_SPREAD = "appearance kept over 5 poses: spread of colour"
# The rows of the main tables: title, section, the beginning of the quantity's name, and what it is of.
ROWS = (
    ("transfer: error inside the figure", transfer.SECTION, QUANTITIES["error_figure"].name, MODEL),
    ("transfer: SSIM inside the figure", transfer.SECTION, QUANTITIES["ssim_figure"].name, MODEL),
    ("transfer: error, whole picture", transfer.SECTION, QUANTITIES["error"].name, MODEL),
    ("transfer: SSIM, whole picture", transfer.SECTION, QUANTITIES["ssim"].name, MODEL),
    ("transfer: sharpness (true pictures: 1)", transfer.SECTION, SHARPNESS.name, MODEL),
    ("reconstruction: error, whole picture", reconstruction.SECTION, QUANTITIES["error"].name, MODEL),
    ("reconstruction: SSIM, whole picture", reconstruction.SECTION, QUANTITIES["ssim"].name, MODEL),
    ("reconstruction: sharpness (true pictures: 1)", reconstruction.SECTION, SHARPNESS.name, MODEL),
    ("joints read from z, R^2 (chance 0)", probes.SECTION, "joints read", probes.PROBE),
    ("pose read from z, accuracy", probes.SECTION, "all poses read", probes.PROBE),
    ("... chance", probes.SECTION, "all poses read", probes.CHANCE),
    ("attributes read from z, accuracy", probes.SECTION, "all attributes read", probes.PROBE),
    ("... chance", probes.SECTION, "all attributes read", probes.CHANCE),
    ("shape kept when z is sampled (noise: 0)", sampling.SECTION, sampling.KEPT.name, MODEL),
    ("... true pictures, other appearance", sampling.SECTION, sampling.KEPT.name, sampling.SAME_SHAPE),
    ("... true pictures, other shape and appearance", sampling.SECTION, sampling.KEPT.name, sampling.OTHER_SHAPE),
    ("diversity of samples", sampling.SECTION, sampling.DIVERSITY.name, MODEL),
    ("... true pictures", sampling.SECTION, sampling.DIVERSITY.name, sampling.SAME_SHAPE),
    ("appearance kept over 5 poses, colour spread", appearance.SECTION, _SPREAD, MODEL),
    ("... true pictures", appearance.SECTION, _SPREAD, appearance.TRUE),
    ("... five appearances", appearance.SECTION, _SPREAD, appearance.CHANCE),
    ("evidence lower bound, nats", likelihood.SECTION, "evidence lower bound", MODEL),
    ("importance-weighted bound, bits per value", likelihood.SECTION, "the latter as 8-bit pictures", MODEL),
    ("bits per dimension, dequantised", likelihood.SECTION, likelihood.BITS.name, MODEL),
    ("Frechet distance of samples, random convolutions", samples.SECTION, samples.DISTANCE.name, MODEL),
    ("... of an autoencoder at random codes", samples.SECTION, samples.DISTANCE.name, samples.RANDOM_CODES),
    ("... of an autoencoder at standard normal codes", samples.SECTION, samples.DISTANCE.name, samples.NORMAL_CODES),
    ("... training pictures", samples.SECTION, samples.DISTANCE.name, samples.TRAINING),
    ("variety of samples", samples.SECTION, samples.VARIETY.name, MODEL),
    ("... true pictures", samples.SECTION, samples.VARIETY.name, samples.TRUE),
    ("sharpness of samples (true pictures: 1)", samples.SECTION, SHARPNESS.name, MODEL),
    ("inception score of reconstructions", inception.SECTION, inception.SCORE.name, MODEL),
    ("FID of reconstructions", inception.SECTION, "FID", MODEL),
)


def as_markdown(
    all_results: list[Results], examples: list[dict[tuple[str, str], per_example.ExampleScores]], command: str
) -> str:
    """The page: tables for each split, baselines, published numbers, and how each run was made and measured.

    Args:
        all_results: the evaluations.
        examples: the scores of every example of each, as `per_example.read` gives them.
        command: the command line that makes the page.
    """
    lines = [
        "# Results",
        "",
        f"Made by `{command}`; do not edit. Numbers in brackets are 95 % bootstrap intervals over appearances; errors "
        f"are on the 0-255 scale. SSIM: {SSIM_PROTOCOL}. What each column means: [evaluation.md](evaluation.md).",
    ]
    for split in dict.fromkeys(measure.split for results in all_results for measure in results.measures):
        with_it = [results for results in all_results if any(each.split == split for each in results.measures)]
        lines += ["", f"## {split}: {with_it[0].settings.get('splits', {}).get(split, '')}", ""]
        lines += _runs(with_it, split)
        lines += _differences(all_results, examples, split)
        lines += ["", f"Transfers of {split} without a model:", ""]
        lines += _baselines(with_it, split)
    lines += ["", "## Published", "", *_published(all_results)]
    lines += ["", "## How each run was made and measured", ""]
    lines += _settings(all_results)
    for results in all_results:
        references = "; ".join(str(value) for key, value in results.settings.items() if key.startswith("references"))
        lines += [
            f"- {_name(results)}: dataset `{results.dataset}`, {_training(results)}.",
            f"  `{results.command}`" + (f". References: {references}." if references else ""),
        ]
    return "\n".join(lines) + "\n"


def _name(results):
    return Path(results.run).name


def _training(results):
    told = ["model", "code_size", "steps", "batch_size", "mixed_precision", "width", "max_width", "bottleneck_factor"]
    told += ["reconstruction", "learning_rate", "appearance", "appearance_from", "mirror", "shift", "hue"]
    told += ["latent_scales"]
    if str(results.training.get("adversarial", 0.0)) not in ("0", "0.0"):
        told += ["adversarial", "r1"]
    if results.training.get("latent_scales"):
        told += ["kl_schedule", "kl_weight", "variance", "prior"]
    flags = ", ".join(f"--{key}={results.training[key]}" for key in told if key in results.training)
    return "; ".join([flags or "flags unknown", *results.changes])


def _find(results: Results, split, section, quantity, of) -> Measure | None:
    found = (
        each
        for each in results.measures
        if (each.split, each.section, each.of) == (split, section, of) and each.quantity.startswith(quantity)
    )
    return next(found, None)


def _runs(all_results, split):
    """A table. Rows: quantities that at least one run has; columns: runs."""
    rows = []
    for title, section, quantity, of in ROWS:
        found = [_find(results, split, section, quantity, of) for results in all_results]
        if any(found):
            rows.append([title, *(_shown(measure) for measure in found)])
    return _table(["", *map(_name, all_results)], rows)


def _differences(all_results, examples, split):
    """A table. Rows: scores that every example has; columns: runs on the same examples as the first run."""
    keys = {quantity.name: key for key, quantity in QUANTITIES.items()}
    references = [results.settings.get(f"references of {split}") for results in all_results]
    rows = []
    for title, section, quantity, of in ROWS:
        if of != MODEL or quantity not in keys:
            continue
        key = keys[quantity]
        first, *others = (each.get((section, split)) for each in examples)
        differences = [
            per_example.difference(first, each, key)
            if first and each and (section != transfer.SECTION or rule == references[0])
            else None
            for each, rule in zip(others, references[1:], strict=True)
        ]
        if any(differences):
            shown = [
                _change(difference, QUANTITIES[key]) if each and key in each.values else "not measured"
                for each, difference in zip(others, differences, strict=True)
            ]
            rows.append([title, *shown])
    lost = [_name(results) for results, each in zip(all_results, examples, strict=True) if not each]
    told = []
    if lost:
        told = [
            "",
            f"No differences of {', '.join(lost)}: there is no NAME_examples.csv beside the results; measure again.",
        ]
    if not rows:
        return told
    return [
        *told,
        "",
        f"Difference from {_name(all_results[0])}, example by example, with appearances resampled. If the interval "
        "does not contain 0, the difference is more than chance in the choice of these examples. It does not say how "
        "much two trainings of the same run differ.",
        "",
        *_table(["", *map(_name, all_results[1:])], rows),
    ]


def _settings(all_results):
    """A table. Rows: flags in which the runs differ; columns: runs."""
    names = dict.fromkeys(name for results in all_results for name in results.training)
    rows = []
    for name in names:
        values = [str(results.training.get(name, "")) for results in all_results]
        # A run of an earlier version does not have every flag: it was trained as the default trains now.
        default = _DEFAULTS.get(name, "")
        meant = {str(results.training.get(name, default if results.training else "")) for results in all_results}
        if name not in _OF_EACH_RUN and len(meant) > 1:
            rows.append([f"`--{name}`", *values])
    if not rows:
        return []
    return ["Flags in which the runs differ:", "", *_table(["", *map(_name, all_results)], rows), ""]


def _change(found, quantity):
    if found is None:
        return "other examples"
    digits = 2 if quantity.unit else 3
    if np.isnan(found[1]):
        return f"{found[0]:+.{digits}f}"
    return f"{found[0]:+.{digits}f} [{found[1]:+.{digits}f}, {found[2]:+.{digits}f}]"


def _shown(measure):
    return number(measure) if measure else "not measured"


def _baselines(all_results, split):
    """A table. Rows: baselines of each dataset, which do not depend on the run."""
    rows = {}
    for results in all_results:
        methods = {each.of for each in results.measures if (each.section, each.split) == (transfer.SECTION, split)}
        for of in sorted(methods - {MODEL}):
            scores = [
                _find(results, split, transfer.SECTION, QUANTITIES[key].name, of)
                for key in ("error_figure", "ssim_figure", "error", "ssim")
            ]
            rows.setdefault((Path(results.dataset).name, of), list(map(_shown, scores)))
    titles = ["dataset", "baseline", "error inside the figure", "SSIM inside the figure", "error", "SSIM"]
    return _table(titles, [[*key, *scores] for key, scores in rows.items()]) if rows else ["None was measured."]


def _published(all_results):
    """The numbers of the paper, and ours for the same datasets."""

    def ours(source, section, quantity):
        found = (_find(each, "valid", section, quantity, MODEL) for each in all_results if each.source == source)
        return next((number(measure) for measure in found if measure), NOT_MEASURED)

    def shown(values):
        return ["-" if value is None else f"{value:g}" for value in values]

    titles = ["reconstruction", "Market IS", "Market SSIM", "DeepFashion IS", "DeepFashion SSIM"]
    rows = [[name, *shown(values)] for name, values in published.RECONSTRUCTION.items()]
    measured = [(inception.SECTION, inception.SCORE.name), (reconstruction.SECTION, QUANTITIES["ssim"].name)]
    mine = [ours(source, *what) for source in ("market", "deepfashion") for what in measured]
    lines = _table(titles, [*rows, ["this program", *mine]])
    titles = ["shape kept: error of re-detected joints, pixels at 256", "COCO", "DeepFashion", "Market"]
    rows = [[name, *shown(values)] for name, values in published.SHAPE_KEPT.items()]
    lines += ["", *_table(titles, [*rows, ["this program", *[NOT_MEASURED] * 3]])]
    titles = ["appearance kept: spread of re-identification features over 5 poses", "Market"]
    rows = [[name, f"{value:g}"] for name, value in published.APPEARANCE_KEPT.items()]
    lines += ["", *_table(titles, [*rows, ["this program", NOT_MEASURED]])]
    return [
        "Esser, Sutter, Ommer, CVPR 2018 ([arXiv 1804.04694](https://arxiv.org/abs/1804.04694)). Other",
        "papers pad DeepFashion with white before the SSIM, use other windows, or another real side of the FID.",
        "",
        *lines,
    ]


def _table(titles, rows):
    rules = ["---", *["--:"] * (len(titles) - 1)]
    return ["| " + " | ".join(row) + " |" for row in (titles, rules, *rows)]
