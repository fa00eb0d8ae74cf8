"""The load on what is exported: the stand-in keeps TensorFlow Serving's rules, and a short load loses nothing."""

import io
import threading
import time

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import ExifTags, Image

from export.load import RULES, batching, clients, phone
from export.load.batching import FAILED_PRECONDITION, INVALID_ARGUMENT, UNAVAILABLE, Batcher, Rules
from export.serving import checks
from tests.test_serving_clients import batching_parameters
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError


def test_the_rules_are_those_that_the_server_reads():
    theirs, ours = text_format.Parse(RULES.read_text(), batching_parameters()()), batching.read_rules(RULES)
    assert ours.allowed_batch_sizes == tuple(theirs.allowed_batch_sizes)
    for name in Rules._fields[:4]:
        assert getattr(ours, name) == getattr(theirs, name).value


class Model:
    """Doubles numbers, refuses those below 0, and can be held up."""

    def __init__(self):
        self.seen, self.go = [], threading.Event()

    def run(self, inputs, outputs):
        self.go.wait(10)
        (values,) = inputs.values()
        self.seen.append(values.copy())
        if (values < 0).any():
            return [INVALID_ARGUMENT, "below 0"], {}
        return [0, ""], {outputs[0]: 2 * values}


def ask_together(batcher, model, requests):
    """The answers to requests that come one after another while the model is held up."""
    answers, threads = [None] * len(requests), []
    for i, request in enumerate(requests):

        def ask(i=i, request=request):
            answers[i] = batcher.ask({"x": np.array(request, float)}, ["y"])

        threads.append(threading.Thread(target=ask))
        threads[-1].start()
        time.sleep(0.02)  # in this order
    model.go.set()
    for thread in threads:
        thread.join(20)
    return answers


@pytest.fixture
def served():
    """A batcher of up to 4 examples, which waits for 0.2 s, and its model."""
    model = Model()
    batcher = Batcher(Rules(4, 200_000, 2, 1, (1, 4)), model.run)
    yield batcher, model
    model.go.set()
    batcher.close()


def test_requests_share_a_batch_which_is_filled_up_and_each_gets_its_own_part(served):
    batcher, model = served
    answers = ask_together(batcher, model, [[1.0, 2.0], [3.0], [4.0, 5.0]])  # the third does not fit
    assert [(error[0], part["y"].tolist()) for error, part in answers] == [(0, [2, 4]), (0, [6]), (0, [8, 10])]
    assert [values.tolist() for values in model.seen] == [[1, 2, 3, 3], [4, 5, 4, 4]]
    assert batcher.sizes == {3: 1, 2: 1}


def test_a_wrong_request_fails_its_batch_and_so_does_another_size(served):
    batcher, model = served
    answers = ask_together(batcher, model, [[1.0], [-1.0], [2.0, 3.0], [4.0]])
    assert [error[0] for error, _ in answers] == [INVALID_ARGUMENT] * 3 + [0]
    answers = ask_together(batcher, model, [[[1.0]], [[1.0, 2.0]]])
    assert [error[0] for error, _ in answers] == [FAILED_PRECONDITION] * 2


def test_what_does_not_fit_into_the_queue_is_turned_away(served):
    batcher, model = served
    assert batcher.ask({"x": np.zeros(5)}, ["y"])[0][0] == INVALID_ARGUMENT
    full = [[1.0] * 4] * 4  # one runs, two wait
    assert sorted(error[0] for error, _ in ask_together(batcher, model, full)) == [0, 0, 0, UNAVAILABLE]


def test_a_short_load_on_the_server(parts_version):
    """By the C++ loader, with batching and without, a tenth of the requests wrong; nothing that is right is lost."""
    found = clients.ask_server(clients.Asked(parts_version, 60, 4, 0.1, 0), RULES)
    assert found["requests"] == 60 and len(found["memory_mib"]) == 10 and found["batch"] >= 1
    for way in found["ways"].values():
        assert way["lost"] == way["accepted"] == 0 and way["farthest"] <= 1 and 0 < way["refused"] < 30
        assert way["answered"] + way["refused"] == 60 and way["ms"]["50"] <= way["ms"]["99"]
    assert found["ways"]["alone"]["same"] == found["ways"]["alone"]["answered"]
    text = clients.table(found)
    wrong = [found["ways"][name]["refused"] for name in ("alone", "batched")]
    told = "60 requests each way by 4 clients; wrong ones: alone {}, batched {}\n".format(*wrong)
    assert text.startswith(told) and "times as many requests/s" in text
    growing = {**found, "growth": 0.06}
    assert any(told.startswith("memory grew by 6.0%; a server may still warm") for told in clients.faults(growing))
    assert "memory grew by 6.0%" in clients.faults({**growing, "requests": 10_000})


class Obliging:
    """A connection to a server that answers everything, also what is damaged."""

    def send(self, request):
        self.outputs = request[1]

    def recv(self):
        return (0, ""), {self.outputs[0]: np.array([b"a picture"], object)}


@pytest.mark.parametrize(
    ("wrong", "told"), [(1.0, ["alone: 3 damaged requests were answered and not refused"]), (0.0, [])]
)
def test_a_damaged_request_that_gets_an_answer_is_a_fault(wrong, told):
    signature = clients._Signature({"image_bytes": ("image_bytes:0", [])}, ["made:0"])
    requests = [{"image_bytes": np.array([b"a file"], object)}]
    way, asked = clients._Way(), clients.Asked("1", 3, 1, wrong, 0)
    for number in range(3):
        answers = [[b"a picture"]]
        clients._ask_one(Obliging(), number, way, False, signature, requests, answers, requests, asked)
    counted = {name: getattr(way, name) for name in ("lost", "refused", "accepted", "farthest")}
    assert way.right == 3 - way.accepted
    assert clients.faults({"ways": {"alone": counted}, "growth": 0.0, "requests": 3}) == told


def test_wrong_requests_are_wrong_for_the_clients_checks(parts_version):
    """Those that the load damages are what `check` would not have sent, and the others are what it lets through."""
    signature = clients._signature(parts_version)
    requests = clients._requests(signature, 0)
    for wanted, made in ((False, requests), (True, clients._wrong(signature, requests))):
        for request in made[:9]:
            files, joints, targets = (request[name] for name in ("image_bytes", "joints", "target_joints"))
            refused = []
            for picture, own, target in zip(files, joints, targets, strict=True):
                try:
                    checks.check(picture, ("joints", own), ("joints", target))
                except InputError as error:
                    refused.append(str(error))
            assert bool(refused) == wanted, refused


def test_calls_of_a_file(parts_phone):
    path = next(path for path in parts_phone if path.name == "vunet_int8.tflite")
    found = phone.call(path, 200)
    assert found["different"] == 0 and len(found["memory_mib"]) == 11 and found["median_ms"] <= found["p99_ms"]
    assert "200 calls, 0 answers differ" in phone.table(found)
    assert phone.faults({**found, "different": 3, "growth": 0.5}) == ["3 answers differ", "memory grew by 50.0%"]
    with pytest.raises(InputError, match=r"--tflite=none\.tflite cannot be used"):
        phone.call("none.tflite", 20)


PICTURE = pictures.encode(np.zeros((9, 9, 3), np.uint8), "png")
JOINTS, MAP = ("joints", np.full((15, 2), 0.5, np.float32)), ("shape", np.zeros((9, 9, 1), np.uint8))


WIDE = pictures.encode(np.zeros((1, 9000, 3), np.uint8), "png")


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ((b"rubbish", JOINTS, JOINTS), "image_bytes must be PNG or JPEG"),
        ((PICTURE[:40], JOINTS, JOINTS), "image_bytes must be whole PNG or JPEG files"),
        ((WIDE, JOINTS, JOINTS), "image_bytes must have 1 to 8192 pixels a side"),
        ((PICTURE, ("joints", np.full((15, 2), 70.0)), JOINTS), "^joints must have a joint inside the picture"),
        (
            (PICTURE, JOINTS, ("joints", np.eye(15, 2) * 70)),
            "^target_joints must be fractions of the picture, not pixels",
        ),
        ((PICTURE, JOINTS, ("joints", np.full((15, 2), np.nan))), "^target_joints must have a joint inside"),
        ((PICTURE, JOINTS, ("joints", np.zeros((17, 2)))), r"^target_joints must have the shape \[15, 2\]"),
        ((PICTURE, MAP, ("shape", np.zeros((0, 9, 1), np.uint8))), "^target_shape must be a picture of 1 to 8192"),
    ],
)
def test_a_wrong_request_is_not_sent(question, told):
    with pytest.raises(InputError, match=told):
        checks.check(*question)
    checks.check(PICTURE, JOINTS, JOINTS)
    checks.check(PICTURE, MAP, MAP)


@pytest.mark.parametrize(("kind", "largest"), [("JPEG", 3), ("PNG", 0)])
def test_a_picture_with_an_exif_rotation_is_sent_upright(kind, largest):
    ramp = np.linspace(0, 255, 24).astype(np.uint8)[:, None, None]
    seen = np.broadcast_to(ramp, (24, 16, 3)).copy()  # dark above
    exif, files = Image.Exif(), {}
    for orientation, stored in ((1, seen), (6, np.rot90(seen))):  # 6: turn it clockwise to see it
        exif[ExifTags.Base.Orientation] = orientation
        buffer = io.BytesIO()
        Image.fromarray(stored).save(buffer, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
        files[orientation] = buffer.getvalue()
    assert checks.upright(files[1]) is files[1] and checks.upright(PICTURE) is PICTURE
    sent = checks.upright(files[6])
    checks.check(sent, JOINTS, JOINTS)
    with Image.open(io.BytesIO(sent)) as image:  # as the graph reads it: without EXIF
        assert image.format == kind and image.size == (16, 24)
        assert np.abs(np.asarray(image, int) - seen).max() <= largest


def test_a_right_request_is_asked_again_after_a_refusal():
    asked = []

    def refused_twice():
        asked.append(1)
        if len(asked) < 3:
            raise checks.Refused("of another's fault")
        return "an answer"

    assert checks.until_answered(refused_twice) == "an answer" and len(asked) == 3
    with pytest.raises(checks.Refused, match="always"):
        checks.until_answered(lambda: (_ for _ in ()).throw(checks.Refused("always")))
    with pytest.raises(InputError, match="no server"):  # nothing to wait for
        checks.until_answered(lambda: (_ for _ in ()).throw(InputError("no server")))
