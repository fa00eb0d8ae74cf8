"""Clients of a SavedModel's server: requests of many sizes, their answers and times."""

import contextlib
import io
import itertools
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from export.load import server
from export.load.phone import GROWTH
from export.serving import checks
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.people import draw, sample_look, sample_pose

SIGNATURE = "transfer_bytes"
SIZES = (32, 48, 64, 100, 128, 200, 256, 333, 512)  # pixels of a picture
MOST_TOGETHER = 4  # the most examples in a request
DIFFERENT = 64  # number of different requests; these are sent again and again
WARM = 10_000  # so many requests warm a server up in their first tenth: it keeps memory for each shape
TURNS = 5  # half the number of turns, each first without batching and then with it


class Asked(NamedTuple):
    """A version's folder, the number of requests and clients, the part of the requests that is wrong, a seed."""

    version: Path
    requests: int
    clients: int
    wrong: float
    seed: int


class _Signature(NamedTuple):
    """inputs: {name: (name of the tensor, its sides without the batch)}. outputs: names of tensors."""

    inputs: dict[str, tuple[str, list[int]]]
    outputs: list[str]


class _Way:
    """The counts and times of one way of asking: alone or in batches."""

    def __init__(self):
        self.seconds, self.times, self.right, self.same, self.farthest = 0.0, [], 0, 0, 0
        # Right requests without an answer; wrong requests that were refused, and those that got an answer; requests
        # that were asked again.
        self.lost, self.refused, self.accepted, self.again = 0, 0, 0, 0
        self.lock = threading.Lock()


def ask_server(asked: Asked, rules: str) -> dict:
    """Sends the requests, without batching and with it, and returns what was measured.

    Raises:
        InputError: the version has no such signature, or the server does not start.
    """
    signature = _signature(asked.version)
    requests = _requests(signature, asked.seed)
    wrong = _wrong(signature, requests)
    with _server(asked.version, rules) as connect, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect()) for _ in range(asked.clients)]
        alone = []
        for request in requests:
            error, answer = _ask(connections[0], request, signature, batched=False)
            if error[0]:
                raise InputError(f"{asked.version} refuses a right request: {error[1]}")
            alone.append(answer)
        ways = {"alone": _Way(), "batched": _Way()}
        memory, count = [], max(1, asked.requests // (2 * TURNS))
        with tqdm(total=2 * asked.requests, unit=" requests", disable=None) as bar:
            for turn in range(2 * TURNS):
                for name, way in ways.items():
                    numbers = itertools.count(turn * count)
                    _turn(connections, numbers, (turn + 1) * count, way, name == "batched", signature,
                          (requests, alone, wrong, asked))  # fmt: skip
                    bar.update(count)
                connections[0].send("memory")
                memory.append(connections[0].recv())
        connections[0].send("sizes")
        sizes = connections[0].recv()
    return {
        "requests": 2 * TURNS * count,
        "clients": asked.clients,
        "wrong": asked.wrong,
        "ways": {name: _told(way) for name, way in ways.items()},
        "batch": sum(size * n for size, n in sizes.items()) / max(1, sum(sizes.values())),
        "memory_mib": [round(value, 1) for value in memory],
        "growth": memory[-1] / memory[0] - 1,
    }


def _signature(version) -> _Signature:
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel.FromString((Path(version) / "saved_model.pb").read_bytes())
    (meta_graph,) = content.meta_graphs
    if SIGNATURE not in meta_graph.signature_def:
        raise InputError(f"{version} has no signature {SIGNATURE}: its model does not follow shapes")
    found = meta_graph.signature_def[SIGNATURE]
    sides = {name: [dim.size for dim in info.tensor_shape.dim[1:]] for name, info in found.inputs.items()}
    inputs = {name: (info.name, sides[name]) for name, info in found.inputs.items()}
    return _Signature(inputs, [info.name for info in found.outputs.values()])


def _requests(signature, seed) -> list[dict[str, np.ndarray]]:
    """Right requests, each {name of the input: its value}."""
    random = np.random.default_rng(seed)
    made = []
    for i in range(DIFFERENT):
        examples = []
        for k in range(int(random.integers(1, MOST_TOGETHER + 1))):
            look, own, wanted = (int(number) for number in random.integers(0, 2**20, 3))
            pose, target = sample_pose(seed, own), sample_pose(seed, wanted)
            drawn = draw(sample_look(seed, look), pose, int(random.choice(SIZES)))
            example: dict[str, bytes | np.ndarray] = {
                "image_bytes": pictures.encode(drawn.image, ("png", "jpeg")[(i + k) % 2])
            }
            for name, shown in (("", pose), ("target_", target)):
                if f"{name}joints" in signature.inputs:
                    example[f"{name}joints"] = shown.joints.astype(np.float32)
                else:  # all shape maps have one size, because a batch cannot have several
                    sides = [side if side > 0 else 64 for side in signature.inputs[f"{name}shape"][1]]
                    mask = draw(sample_look(seed, look), shown, sides[0]).mask
                    example[f"{name}shape"] = np.broadcast_to(mask.reshape(*sides[:2], 1), sides).astype(np.uint8)
            examples.append(example)
        made.append({name: _together([example[name] for example in examples]) for name in examples[0]})
    return made


def _together(values):
    return np.array(values, object) if isinstance(values[0], bytes) else np.stack(values)


def _wrong(signature, requests) -> list[dict[str, np.ndarray]]:
    """Requests that the graph refuses: with a cut file, with rubbish, or with joints in pixels."""
    made = []
    for i, request in enumerate(requests):
        request, kind = dict(request), i % 3
        if kind == 2 and "joints" in request:
            request["joints"] = np.abs(request["joints"]) * 200 + 2
        else:
            files = request["image_bytes"].copy()
            files[-1] = files[-1][: len(files[-1]) // 2] if kind else b"rubbish"
            request["image_bytes"] = files
        made.append(request)
    return made


@contextlib.contextmanager
def _server(version, rules):
    """In the block a server runs. Gives a function that returns a new connection to it."""
    import tensorflow as tf

    key = secrets.token_bytes(16)
    with tempfile.TemporaryDirectory(prefix="vunet_load") as folder:
        address = f"{folder}/server"
        root = str(Path(server.__file__).parent.parent.parent)
        command = [sys.executable, "-m", server.__name__, tf.sysconfig.get_lib(), version, address, rules]
        environment = {**os.environ, "PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "1"}
        process = subprocess.Popen(
            [str(word) for word in command], stdin=-1, stdout=-1, stderr=-1, text=True, env=environment
        )
        try:
            process.stdin.write(key.hex() + "\n")
            process.stdin.flush()
            if process.stdout.readline() != "ready\n":
                raise InputError(f"the server does not start: {process.communicate()[1].strip()[-500:]}")
            yield lambda: server.connect(address, key)
        finally:
            process.kill()
            process.communicate()


def _ask(connection, request, signature, batched):
    """([code, message], [PNG file of each picture])."""
    tensors = {signature.inputs[name][0]: value for name, value in request.items()}
    connection.send((tensors, signature.outputs, batched))
    error, arrays = connection.recv()
    return error, [] if error[0] else list(arrays[signature.outputs[0]])


def _turn(connections, numbers, end, way, batched, signature, asked):
    """All clients ask until `numbers` reaches `end`."""
    failed = []

    def ask_many(connection):
        try:
            while (number := next(numbers)) < end:
                _ask_one(connection, number, way, batched, signature, *asked)
        except Exception as error:  # the thread that waits raises it again
            failed.append(error)

    threads = [threading.Thread(target=ask_many, args=(connection,)) for connection in connections]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    way.seconds += time.perf_counter() - start
    if failed:
        raise failed[0]


def _ask_one(connection, number, way, batched, signature, requests, alone, wrong, asked):
    random = np.random.default_rng([asked.seed, number])
    which = int(random.integers(len(requests)))
    if random.random() < asked.wrong:
        error, _ = _ask(connection, wrong[which], signature, batched)
        with way.lock:
            way.refused += bool(error[0])
            way.accepted += not error[0]
        return
    tried = 0

    def once():
        nonlocal tried
        tried += 1
        error, answer = _ask(connection, requests[which], signature, batched)
        if error[0]:
            raise checks.Refused(error[1])
        return answer

    start = time.perf_counter()
    try:
        answer = checks.until_answered(once)
    except checks.Refused:
        answer = None
    passed = 1000 * (time.perf_counter() - start)
    with way.lock:
        way.again += tried > 1
        if answer is None:
            way.lost += 1
            return
        way.times.append(passed)
        way.right += 1
        same = answer == alone[which]
        way.same += same
    if not same:
        farthest = max(_distance(*both) for both in zip(answer, alone[which], strict=True))
        with way.lock:
            way.farthest = max(way.farthest, farthest)


def _distance(first: bytes, second: bytes) -> int:
    """The largest difference of two pictures' pixels, in grey levels."""
    one, other = (np.asarray(Image.open(io.BytesIO(content)), int) for content in (first, second))
    return int(np.abs(one - other).max()) if one.shape == other.shape else 255


def _told(way) -> dict:
    percentiles = statistics.quantiles(way.times, n=100)
    return {
        "per_second": (way.right + way.refused + way.accepted + way.lost) / way.seconds,
        "ms": {str(p): round(percentiles[p - 1], 2) for p in (50, 95, 99)},
        "answered": way.right,
        "same": way.same,
        "farthest": way.farthest,
        "lost": way.lost,
        "refused": way.refused,
        "accepted": way.accepted,
        "asked_again": way.again,
    }


def table(found: dict) -> str:
    """The same as text."""
    lines = [
        f"{found['requests']:,} requests each way by {found['clients']} clients; wrong ones: "
        + ", ".join(f"{name} {way['refused'] + way['accepted']:,}" for name, way in found["ways"].items()),
        f"{'':<10}{'requests/s':>11}{'50 %':>9}{'95 %':>9}{'99 %':>9}  ms",
    ]
    for name, way in found["ways"].items():
        lines.append(
            f"{name:<10}{way['per_second']:>11.1f}" + "".join(f"{value:>9.1f}" for value in way["ms"].values()) + "  ms"
            f"   {way['answered']:,} answers, {way['same']:,} of them equal to the answer to the same request alone, "
            f"largest difference {way['farthest']} grey levels; {way['refused']} wrong requests refused, "
            f"{way['asked_again']} right ones asked again, {way['lost']} lost"
        )
    ways = found["ways"]
    ratio = ways["batched"]["per_second"] / ways["alone"]["per_second"]
    lines.append(f"with batching {ratio:.2f} times as many requests/s; {found['batch']:.1f} examples in a batch")
    memory = ", ".join(f"{value:.0f}" for value in found["memory_mib"])
    lines.append(f"memory after each tenth: {memory} MiB; {found['growth']:+.1%} since the first")
    return "\n".join(lines)


def faults(found: dict) -> list[str]:
    """The faults that were found, as sentences."""
    told = []
    for name, way in found["ways"].items():
        if way["lost"]:
            told.append(f"{name}: {way['lost']} right requests got no answer")
        if way["accepted"]:
            told.append(f"{name}: {way['accepted']} damaged requests were answered and not refused")
        if way["farthest"] > 1:
            told.append(f"{name}: an answer is {way['farthest']} grey levels from that to the same request alone")
    if found["growth"] >= GROWTH:
        few = f"; a server may still warm up in fewer than {WARM:,} requests" if found["requests"] < WARM else ""
        told.append(f"memory grew by {found['growth']:.1%}{few}")
    return told
