r"""Trains a VU-Net, or goes on where a run stopped: the same command again.

  python -m vunet_tf.train --flagfile=configs/quickstart.flags
  python -m vunet_tf.train --flagfile=configs/market.flags --dataset_dir=datasets/market --run_dir=runs/market
  python -m vunet_tf.train --flagfile=configs/market_gram.flags --init_from=runs/market --run_dir=runs/market_gram

Runs on all GPUs there are, else on the CPU; on several machines where TF_CONFIG names them (see docs/training.md).
The run directory holds the trained model (`vunet_tf.load(run_dir)`), checkpoints, metrics.csv, TensorBoard's events and
grids of pictures.
"""

import dataclasses
import os
import sys
from pathlib import Path

from absl import flags

from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.config import ModelConfig, TrainingConfig, descriptions
from vunet_tf.files.errors import InputError

_DATASET_DIR = flags.DEFINE_string("dataset_dir", None, "A dataset made by `python -m vunet_tf.prepare`.")
_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of the run; a run that is there goes on.")
_INIT_FROM = flags.DEFINE_string(
    "init_from", None, "Run to begin from: its weights and optimizer slots, steps and schedules counted anew."
)
_REPLICAS = flags.DEFINE_integer(
    "replicas", 0, "Devices to use: 0 for all GPUs; without a GPU, so many parts of the CPU.", lower_bound=0
)
_DETERMINISTIC = flags.DEFINE_bool("deterministic", False, "Only ops that give the same bits each time (slower).")

FROM_DATASET = ("image_size", "shape_channels")  # of the model: by default what the dataset has


def _define(config_class, from_dataset=()) -> None:
    """A flag for every field of a configuration, its help from the docstring."""
    helps = descriptions(config_class)
    for field in dataclasses.fields(config_class):
        default = None if field.name in from_dataset else field.default
        help_text = helps[field.name] + (" By default the dataset's." if field.name in from_dataset else "")
        if isinstance(field.default, bool):
            flags.DEFINE_bool(field.name, default, help_text)
        elif isinstance(field.default, int):
            flags.DEFINE_integer(field.name, default, help_text)
        elif isinstance(field.default, float):
            flags.DEFINE_float(field.name, default, help_text)
        elif isinstance(field.default, tuple):
            flags.DEFINE_list(field.name, ",".join(map(str, default)), help_text)
        else:
            flags.DEFINE_string(field.name, default, help_text)


_define(ModelConfig, FROM_DATASET)
_define(TrainingConfig)


def _values(config_class) -> dict:
    values = {field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(config_class)}
    for name in ("feature_weights", "gram_weights"):
        if name in values:
            try:
                values[name] = tuple(map(float, values[name]))
            except ValueError:
                raise InputError(f"--{name}={','.join(values[name])}: must be numbers with commas between") from None
    return values


def _model_config(info) -> ModelConfig:
    """The model that the flags describe, for this dataset."""
    values = _values(ModelConfig)
    for name in FROM_DATASET:
        of_dataset = getattr(info, name)
        if values[name] not in (None, of_dataset):
            raise InputError(f"--{name}={values[name]}: the dataset {_DATASET_DIR.value} has {of_dataset}")
        values[name] = of_dataset
    if info.joints is None and values["appearance"] in ("parts", "both"):
        raise InputError(
            f"--appearance={values['appearance']} needs joints, which a dataset of the source {info.source!r} has not: "
            "use --appearance=picture"
        )
    return ModelConfig(**values)


def _flags_as_used() -> str:
    """All flags of this program with their values, as the text of a flagfile."""
    own_flags = flags.FLAGS.get_key_flags_for_module(sys.argv[0])
    return "".join(f"{flag.serialize()}\n" for flag in own_flags if flag.value is not None)


def _strategy():
    """(strategy, whether this process writes the run directory)."""
    import tensorflow as tf

    if _DETERMINISTIC.value:
        tf.config.experimental.enable_op_determinism()
    gpus, replicas = tf.config.list_physical_devices("GPU"), _REPLICAS.value
    if "TF_CONFIG" in os.environ:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        return strategy, strategy.cluster_resolver.task_id in (None, 0)
    if replicas > len(gpus) > 0:
        raise InputError(f"--replicas={replicas}: this machine has {len(gpus)} GPUs")
    if gpus:
        names = [f"GPU:{i}" for i in range(replicas or len(gpus))]
    else:
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * max(replicas, 1))
        names = [f"CPU:{i}" for i in range(max(replicas, 1))]
    return (tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy()), True


def _warn_of_slow_bfloat16(config: TrainingConfig) -> None:
    import tensorflow as tf

    cpu = Path("/proc/cpuinfo")
    if config.mixed_precision != "mixed_bfloat16" or tf.config.list_physical_devices("GPU") or not cpu.exists():
        return
    if not {"avx512_bf16", "amx_bf16", "bf16"} & set(cpu.read_text().split()):
        print(
            "warning: this CPU has no bfloat16 instructions, float32 is several times as fast here: "
            "--mixed_precision=float32",
            file=sys.stderr,
        )


def _train() -> None:
    if not _DATASET_DIR.value or not _RUN_DIR.value:
        raise InputError("give --dataset_dir and --run_dir; `python -m vunet_tf.train --help` explains")
    if _INIT_FROM.value and not Path(_INIT_FROM.value).is_dir():
        raise InputError(f"--init_from={_INIT_FROM.value} is no run")
    config = TrainingConfig(**_values(TrainingConfig))

    start_tensorflow()  # only now: --help and wrong flags need not wait for it
    from vunet_tf.data.dataset import read_info

    info = read_info(_DATASET_DIR.value)
    model_config = _model_config(info)
    config.check_size(model_config.image_size)
    _warn_of_slow_bfloat16(config)
    strategy, chief = _strategy()
    if "valid" not in info.splits and (config.valid_batches or config.pictures_every):
        config = dataclasses.replace(config, valid_batches=0, pictures_every=0)
        if chief:
            print(f"{_DATASET_DIR.value} has no split 'valid': training without validation and without pictures")

    from vunet_tf import runs
    from vunet_tf.training.loop import Loop, explained
    from vunet_tf.training.step import TrainingStep
    from vunet_tf.training.transfer_matrix import TransferMatrix

    run_dir = Path(_RUN_DIR.value)
    crops = model_config.crops
    opened = runs.open_for_training(run_dir, model_config, chief)
    with opened as begin, explained(run_dir, _DATASET_DIR.value):
        matrix = TransferMatrix(_DATASET_DIR.value, **crops) if config.pictures_every and chief else None
        training_step = TrainingStep(model_config, config, strategy)

        def save(model):
            runs.save(model, run_dir, keypoints=info.joints is not None)

        loop = Loop(training_step, _DATASET_DIR.value, run_dir, save, crops, matrix, chief)
        loop.start(_INIT_FROM.value)
        if loop.step >= config.steps:
            print(f"{run_dir} has {loop.step} steps; --steps={config.steps} asks for no more")
            return
        for change in begin(loop.step, _flags_as_used()):
            print(change)
        stopped_by = loop.run()
    if stopped_by:
        sys.exit(128 + stopped_by)


if __name__ == "__main__":
    run(_train, if_stopped="the last checkpoint stands")
