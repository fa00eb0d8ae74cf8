"""Training on several machines: who they are, and what happens when one of them is lost."""

import json
import os

import tensorflow as tf

from vunet_tf.files.errors import InputError

# A worker that has given no sign of life for so long is lost. TensorFlow's own default is longer than a minute.
SILENT_SECONDS = 30


def config_of_slurm(port: int) -> str:
    """TF_CONFIG of this task of a Slurm step (`srun`), by TensorFlow's `SlurmClusterResolver`.

    Every task is a worker with the GPUs that Slurm shows it; no task sees those of another (--gpus-per-task).

    The resolver counts the tasks node by node in alphabetical order, where n10 comes before n9. Slurm counts them in an
    order that `srun --distribution` decides. So this task finds its place by its node and its number on that node, and
    not by its rank.

    Args:
        port: the first task of each node listens at this port, the next ones at the ports after it.

    Raises:
        InputError: this is no task of a Slurm step, or Slurm's variables do not fit together.
    """
    try:
        tasks = int(os.environ["SLURM_STEP_NUM_TASKS"])
        # The counts of GPUs only have to be consistent. They set nothing, since Slurm has given the GPUs already.
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=port, gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
        )
        workers = resolver.cluster_spec().as_dict()["worker"]
        own = f"{os.environ['SLURMD_NODENAME']}:{port + int(os.environ['SLURM_LOCALID'])}"
    except KeyError as error:
        raise InputError(f"--cluster=slurm: {error.args[0]} is not set; start the training with `srun`") from error
    except (RuntimeError, ValueError) as error:
        raise InputError(f"--cluster=slurm: Slurm's variables do not fit together: {error}") from error
    if own not in workers:
        raise InputError(f"--cluster=slurm: this task is {own}, which is none of {', '.join(workers)}")
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": workers.index(own)}})


def strategy() -> tuple[tf.distribute.Strategy, bool]:
    """(the strategy of the machines that TF_CONFIG names, whether this one writes the run directory).

    Raises:
        InputError: TF_CONFIG does not name workers and which of them this is.
    """
    text = os.environ["TF_CONFIG"]
    try:
        config = json.loads(text)
        jobs = config.get("cluster", {})
        task = config["task"] if jobs else {"type": "worker", "index": 0}
        wrong = [job for job in jobs if job not in ("chief", "worker")]
        if jobs and not wrong:
            jobs[task["type"]][task["index"]]  # this task is one of them
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        told = f"{type(error).__name__}: {error}"
        raise InputError(f"TF_CONFIG={text} does not name the workers, and which of them this is ({told})") from error
    if wrong:
        raise InputError(f"TF_CONFIG={text} names {', '.join(wrong)}; this training has workers only")
    first = task["index"] == 0 and (task["type"] == "chief" or "chief" not in jobs)
    if jobs:
        _expect_signs_of_life({job: len(tasks) for job, tasks in jobs.items()})
    return tf.distribute.MultiWorkerMirroredStrategy(), first


def _expect_signs_of_life(counts):
    """Sets how long a worker may be silent. Call it before the strategy is made.

    In each worker a thread of TensorFlow gives signs of life, so a long step is no silence. When a worker's process
    ends, the others notice it at once by its closed connections. There is no public call for this. If a later version
    of TensorFlow has moved these functions, its default is used.

    Args:
        counts: {job: number of its tasks}.
    """
    try:
        from tensorflow.python.distribute import collective_all_reduce_strategy as collective
        from tensorflow.python.eager import context

        job_of = collective.coordination_config_pb2.CoordinatedJob
        context.context().configure_coordination_service(
            service_type="standalone",
            service_leader=f"/job:{'chief' if 'chief' in counts else 'worker'}/replica:0/task:0",
            heartbeat_timeout_in_ms=1000 * SILENT_SECONDS,
            coordinated_jobs=[job_of(name=job, num_tasks=counts[job]) for job in ("chief", "worker") if job in counts],
        )
    except (ImportError, AttributeError, TypeError):
        print(f"warning: a worker that falls silent may be noticed later than after {SILENT_SECONDS} s")
