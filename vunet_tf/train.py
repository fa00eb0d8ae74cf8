r"""Trains a VU-Net. The same command, given again, goes on where a run stopped.

  python -m vunet_tf.train --flagfile=configs/quickstart.flags
  python -m vunet_tf.train --flagfile=configs/market.flags --dataset_dir=datasets/market --run_dir=runs/market
  python -m vunet_tf.train --flagfile=configs/market_gram.flags --init_from=runs/market --run_dir=runs/market_gram

It uses all GPUs of the machine, or the CPU where there is none. It uses several machines if TF_CONFIG names them, or
under Slurm with --cluster=slurm (docs/training.md).
The run directory gets the trained model (`vunet_tf.load(run_dir)`), checkpoints, metrics.csv, TensorBoard's events and
pictures of transfers.

Names in the flags: F reads the appearance out of a picture, z is its code, E reads the shape map, and D draws the
picture. "Paper" is the paper of the Variational U-Net, "released program" is its authors' program (docs/model.md).

Exit status: 0 if all steps are done, 1 after an error, 130 after Ctrl-C and 143 after SIGTERM. After these two signals
the run is saved first, and the same command goes on with it.
"""

import dataclasses
import os
import sys
from pathlib import Path

from vunet_tf.command_line.flags import as_flagfile, define, values
from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.config import ModelConfig, RunConfig, TrainingConfig
from vunet_tf.data.dataset import DatasetInfo, digest, read_info
from vunet_tf.files.errors import InputError
from vunet_tf.pretrained import folder_of

FROM_DATASET = ("image_size", "shape_channels")  # settings of the model whose default is the value of the dataset

define(RunConfig)
define(ModelConfig, FROM_DATASET)
define(TrainingConfig)


def _model_config(info: DatasetInfo, dataset_dir: str) -> ModelConfig:
    """The model that the flags describe, for this dataset."""
    model = values(ModelConfig)
    for name in FROM_DATASET:
        of_dataset = getattr(info, name)
        if model[name] not in (None, of_dataset):
            raise InputError(f"--{name}={model[name]}: the dataset {dataset_dir} has {of_dataset}")
        model[name] = of_dataset
    if info.joints is None and (model["model"], model["appearance"]) == ("vunet", "parts"):
        raise InputError(
            f"--appearance={model['appearance']} needs joints, and a dataset of the source {info.source!r} has none: "
            "use --appearance=picture"
        )
    return ModelConfig(**model)


def _strategy(settings: RunConfig):
    """(strategy, whether this process writes the run directory)."""
    import tensorflow as tf

    from vunet_tf.training import cluster

    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    gpus, replicas = tf.config.list_physical_devices("GPU"), settings.replicas
    if settings.cluster == "slurm":
        os.environ["TF_CONFIG"] = cluster.config_of_slurm(settings.cluster_port)
    if "TF_CONFIG" in os.environ:
        return cluster.strategy()
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
            "warning: this CPU has no bfloat16 instructions; float32 is several times as fast here: "
            "--mixed_precision=float32",
            file=sys.stderr,
        )


def _train() -> None:
    settings = RunConfig(**values(RunConfig))
    missing = [f"--{name}" for name in ("dataset_dir", "run_dir") if not getattr(settings, name)]
    if missing:
        raise InputError(f"give {' and '.join(missing)}; `python -m vunet_tf.train --help` explains")
    if settings.init_from:
        folder_of(settings.init_from, "--init_from")
    config = TrainingConfig(**values(TrainingConfig))
    info = read_info(settings.dataset_dir)
    model_config = _model_config(info, settings.dataset_dir)
    config.check_size(model_config.image_size)

    if config.warmup > config.steps / 4:
        print(
            f"warning: --warmup={config.warmup} is a large part of --steps={config.steps}: the learning rate stays far "
            f"below --learning_rate={config.learning_rate:g}; give a tenth of the steps",
            file=sys.stderr,
        )
    start_tensorflow()  # only now: --help and wrong flags need not wait for it
    _warn_of_slow_bfloat16(config)
    strategy, chief = _strategy(settings)
    if "valid" not in info.splits and (config.valid_batches or config.pictures_every):
        config = dataclasses.replace(config, valid_batches=0, pictures_every=0)
        if chief:
            print(f"{settings.dataset_dir} has no split 'valid': training without validation and without pictures")

    from vunet_tf import runs
    from vunet_tf.data.own_pictures import Fitting
    from vunet_tf.models.appearance_input import AppearanceInput
    from vunet_tf.training.loop import Loop, explained
    from vunet_tf.training.step import TrainingStep
    from vunet_tf.training.transfer_matrix import TransferMatrix

    run_dir = Path(settings.run_dir)
    crops = AppearanceInput(model_config).crops
    opened = runs.open_for_training(run_dir, model_config, chief)
    with opened as begin, explained(run_dir, settings.dataset_dir):
        matrix = TransferMatrix(settings.dataset_dir, crops=crops) if config.pictures_every and chief else None
        training_step = TrainingStep(model_config, config, strategy)

        def save(model):
            runs.save(model, run_dir, Fitting.of_dataset(info))

        loop = Loop(training_step, settings.dataset_dir, run_dir, save, crops, matrix, chief)
        loop.start(settings.init_from)
        if loop.step >= config.steps:
            print(f"{run_dir} has {loop.step} steps; --steps={config.steps} asks for no more")
            return
        for change in begin(loop.step, as_flagfile(), digest(settings.dataset_dir)):
            print(change)
        stopped_by = loop.run()
    if stopped_by:
        sys.exit(128 + stopped_by)


if __name__ == "__main__":
    run(_train, if_stopped="the last checkpoint is kept")
