"""Training on several machines: how they know each other under Slurm and Kubeflow, and the computed costs.

That two processes train as one, and what happens when one of them is lost, is in test_train.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tensorflow.python.eager import context as eager

from vunet_tf.command_line.flags import CONFIGS
from vunet_tf.config import RunConfig, TrainingConfig
from vunet_tf.files.errors import InputError
from vunet_tf.files.pictures import read_picture
from vunet_tf.training import cluster, scaling

# A step of 5 tasks on three machines, as srun tells each of its tasks. In the alphabet n10 comes before n9.
STEP = {
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_NODELIST": "gpu,n[9-10]",
    "SLURM_STEP_TASKS_PER_NODE": "1,2(x2)",
}
TASKS = [("gpu", 0), ("n9", 0), ("n9", 1), ("n10", 0), ("n10", 1)]


@pytest.fixture
def task(monkeypatch):
    """A function that makes this process one of these tasks."""

    def become(rank, **changes):
        node, local = TASKS[rank]
        variables = {**STEP, "SLURM_PROCID": str(rank), "SLURMD_NODENAME": node, "SLURM_LOCALID": str(local), **changes}
        for name, value in variables.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return become


def test_tasks_of_slurm_are_workers_each_at_its_own_address(task):
    found = {}
    for rank, (node, local) in enumerate(TASKS):
        task(rank)
        config = json.loads(cluster.config_of_slurm(2000))
        workers, own = config["cluster"]["worker"], config["task"]
        assert sorted(workers) == ["gpu:2000", "n10:2000", "n10:2001", "n9:2000", "n9:2001"]
        assert own["type"] == "worker" and workers[own["index"]] == f"{node}:{2000 + local}"
        found[own["index"]] = workers
    assert sorted(found) == list(range(5)) and len(set(map(tuple, found.values()))) == 1


def test_what_is_no_task_of_slurm_is_told(task):
    for name in (*STEP, "SLURM_PROCID", "SLURMD_NODENAME", "SLURM_LOCALID"):
        task(0, **{name: None})
        with pytest.raises(InputError, match=rf"^--cluster=slurm: .*{name.removeprefix('SLURM_')}"):
            cluster.config_of_slurm(8888)
    for wrong in ({"SLURM_STEP_NODELIST": "n[1-"}, {"SLURM_STEP_TASKS_PER_NODE": "x"}, {"SLURM_STEP_NUM_TASKS": "3"}):
        task(0, **wrong)
        with pytest.raises(InputError, match=r"^--cluster=slurm: Slurm's variables do not fit together: "):
            cluster.config_of_slurm(8888)
    task(0, SLURMD_NODENAME="elsewhere")
    with pytest.raises(InputError, match=r"this task is elsewhere:8888, which is none of gpu:8888, n10:8888"):
        cluster.config_of_slurm(8888)


@pytest.fixture
def configured(monkeypatch):
    """What TensorFlow's context is told of the workers, which it is not to believe in this process."""
    told = []
    monkeypatch.setattr(eager.Context, "configure_coordination_service", lambda context, **given: told.append(given))
    monkeypatch.setattr("tensorflow.distribute.MultiWorkerMirroredStrategy", lambda: "strategy")
    return told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "does not name the workers"),
        ("[]", "does not name the workers"),
        ("{}", None),
        ('{"cluster": {"worker": ["a:1"]}}', "which of them this is"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "which of them this is"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}', "which of them this is"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}', "names ps; this tr"),
    ],
)
def test_a_wrong_tf_config_is_named(monkeypatch, configured, text, told):
    monkeypatch.setenv("TF_CONFIG", text)
    if told is None:
        assert cluster.strategy() == ("strategy", True) and not configured
        return
    with pytest.raises(InputError, match=f"^TF_CONFIG={re.escape(text)} .*{told}"):
        cluster.strategy()


@pytest.mark.parametrize(("kind", "index", "first"), [("chief", 0, True), ("worker", 0, False), ("worker", 1, False)])
def test_one_process_alone_writes_the_run_and_all_expect_signs_of_life(monkeypatch, configured, kind, index, first):
    config = {"cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "task": {"type": kind, "index": index}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert cluster.strategy() == ("strategy", first)
    (told,) = configured
    assert told["heartbeat_timeout_in_ms"] < 60_000 and told["service_leader"] == "/job:chief/replica:0/task:0"
    assert {job.name: job.num_tasks for job in told["coordinated_jobs"]} == {"chief": 1, "worker": 2}


# The fields of kubeflow.org/v1 TFJob, by its CustomResourceDefinition (training-operator, manifests/base/crds).
RUN_POLICY = {
    "activeDeadlineSeconds",
    "backoffLimit",
    "cleanPodPolicy",
    "schedulingPolicy",
    "suspend",
    "ttlSecondsAfterFinished",
}
SCHEDULING = {"minAvailable", "minResources", "priorityClass", "queue", "scheduleTimeoutSeconds"}


def flags_of(words):
    return [word.removeprefix("--").partition("=")[0] for word in words if word.startswith("--")]


KNOWN = {"flagfile", *RunConfig.__dataclass_fields__, *TrainingConfig.__dataclass_fields__}


def test_the_tfjob_is_one():
    job, claim = yaml.safe_load_all((CONFIGS / "cluster/tfjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "TFJob") and job["metadata"]["name"]
    spec = job["spec"]
    assert spec.keys() <= {"enableDynamicWorker", "runPolicy", "successPolicy", "tfReplicaSpecs"}
    policy = spec["runPolicy"]
    assert policy.keys() <= RUN_POLICY and policy["schedulingPolicy"].keys() <= SCHEDULING
    assert policy["cleanPodPolicy"] in ("All", "Running", "None") and policy["backoffLimit"] > 0
    (kind, worker), *others = spec["tfReplicaSpecs"].items()
    assert kind == "Worker" and not others, "`train` knows no parameter servers"
    assert worker.keys() == {"replicas", "restartPolicy", "template"}
    assert worker["replicas"] == policy["schedulingPolicy"]["minAvailable"]
    # By ExitCode, the status 1 after a lost worker would be the end of the job.
    assert worker["restartPolicy"] == "OnFailure"
    pod = worker["template"]["spec"]
    (container,) = pod["containers"]
    assert container["name"] == "tensorflow" and container["image"], "the operator sets TF_CONFIG in this container"
    assert container["ports"] == [{"name": "tfjob-port", "containerPort": 2222}]
    assert set(flags_of(container["command"])) <= KNOWN
    assert f"--batch_size={16 * worker['replicas']}" in container["command"]
    (mount,), (volume,) = container["volumeMounts"], pod["volumes"]
    assert mount["name"] == volume["name"]
    paths = dict(word.split("=", 1) for word in container["command"] if "_dir=" in word)
    assert all(path.startswith(f"{mount['mountPath']}/") for path in paths.values()) and len(paths) == 2
    assert (claim["apiVersion"], claim["kind"]) == ("v1", "PersistentVolumeClaim")
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"] and claim["spec"]["resources"]["requests"]["storage"]


def run_script(folder, status, **environment):
    """Runs the Slurm script with fake srun and scontrol: gives its status and their calls."""
    for name, code in (("srun", status), ("scontrol", 0)):
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {folder / "calls"}\nexit {code}\n')
        (folder / name).chmod(0o755)
    (folder / "calls").unlink(missing_ok=True)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "SLURM_JOB_ID": "12345", "SLURM_NTASKS": "32", **environment}
    ended = subprocess.run(["bash", CONFIGS / "cluster/train.slurm", "--steps=7"], env=environment)
    return ended.returncode, (folder / "calls").read_text().splitlines()


def test_the_slurm_script_starts_the_training_and_goes_on_after_preemption(tmp_path):
    status, (call,) = run_script(tmp_path, 0)
    words = call.split()
    assert status == 0 and words[words.index("-m") + 1] == "vunet_tf.train" and words[-1] == "--steps=7"
    assert "--cluster=slurm" in words and "--cluster_port=32345" in words and "--batch_size=512" in words
    assert set(flags_of(words[words.index("-m") :])) <= KNOWN
    again = "scontrol requeue 12345"
    assert run_script(tmp_path, 143, SLURM_RESTART_COUNT="99") == (143, [call, again])
    assert run_script(tmp_path, 1, SLURM_RESTART_COUNT="2") == (1, [call, again])
    assert run_script(tmp_path, 1, SLURM_RESTART_COUNT="3") == (1, [call])


def test_a_ring_sends_each_piece_around():
    """A simulation: three workers pass on thirds of their numbers, first to add them up, then to spread the sums."""
    workers, numbers = 3, 12
    held = [[(k + 1) * 10**i for i in range(3)] for k in range(workers)]  # a number stands for a third
    sent = [0] * workers
    for phase in range(2):
        for turn in range(workers - 1):
            messages = [(k, (k + phase - turn) % workers) for k in range(workers)]
            values = [held[k][piece] for k, piece in messages]
            for (k, piece), value in zip(messages, values, strict=True):
                after = (k + 1) % workers
                held[after][piece] = value if phase else held[after][piece] + value
                sent[k] += 4 * numbers // workers
    assert held == [[6, 60, 600]] * workers
    assert sent == [scaling.bytes_sent(numbers, 4, workers)] * workers


def test_time_and_efficiency():
    sent = scaling.bytes_sent(10**9, 4, 2)
    assert sent == 4e9 and scaling.bytes_sent(10**9, 4, 1) == 0
    assert scaling.ring_seconds(sent, 2, 32) == pytest.approx(1.0)
    assert scaling.ring_seconds(0, 11, 32, latency=1e-3) == pytest.approx(0.02)
    assert scaling.efficiency(3.0, 1.0) == 0.75 and scaling.efficiency(3.0, 0.0) == 1


STEPS = [scaling.Step("float32", 16, 16 / 5.7), scaling.Step("bfloat16", 16, 16 / 8.9)]  # docs/training.md, Speed


def test_the_document_has_the_command_s_tables():
    document = (Path(__file__).parent.parent / "docs/scaling.md").read_text()
    record = float(re.search(r"([\d.]+) kB for each example", document)[1])
    assert scaling.tables(46_188_422, STEPS, 1000 * record) in document
    assert "--images_per_second=5.7,8.9 --out=docs/scaling.png" in document


def test_the_plot_is_a_picture():
    picture = read_picture(scaling.plot(46_188_422, STEPS))
    assert picture.shape[2] == 3 and min(picture.shape[:2]) > 300 and picture.std() > 10
