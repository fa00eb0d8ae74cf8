"""Each source, on small data that is made here, and on real data if it is there."""

import dataclasses
import inspect
import io
import json
import pickle
import re

import numpy as np
import pytest
from PIL import Image

from vunet_tf.body import keypoints
from vunet_tf.body.skeleton import JOINT_INDEX, JOINTS, SCHEMAS
from vunet_tf.data.example import Example, Rejected
from vunet_tf.data.sources.keypoint_csv import deepfashion_identity, market_identity
from vunet_tf.data.sources.registry import ESTIMATION, OPTIONS, SOURCES
from vunet_tf.data.sources.source import Options
from vunet_tf.data.splits import split_by_hash
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.people import draw, sample_look, sample_pose

SIZE = 48


def run(source):
    """All examples and rejects of an opened source; examples by name."""
    examples, rejects = [], list(source.rejects)
    for item in source.items:
        try:
            made = source.make(item)
        except InputError as error:
            made = [Rejected(source.name_of(item), str(error))]
        for result in made:
            (examples if isinstance(result, Example) else rejects).append(result)
    examples = split_by_hash(examples, source.valid_fraction)
    return {example.name: example for example in examples}, {reject.file: reject.reason for reject in rejects}


def person(index):
    """A drawn person: picture and joints in pixels, NaN where unseen."""
    pose = sample_pose(0, index)
    joints = keypoints.fractions_to_pixels(np.where(pose.joints >= 0, pose.joints, np.nan), SIZE, SIZE)
    return draw(sample_look(0, index), pose, SIZE).image, joints


def scattered(joints, schema, unseen):
    """Canonical joints as rows of another schema."""
    rows = np.full((len(SCHEMAS[schema]), 2), unseen, np.float64)
    for row, name in enumerate(SCHEMAS[schema]):
        if name in JOINT_INDEX and np.isfinite(joints[JOINT_INDEX[name]]).all():
            rows[row] = joints[JOINT_INDEX[name]]
    return rows


def save(folder, name, picture):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pictures.encode(picture, "png"))


FULL = [i for i in range(40) if np.isfinite(person(i)[1]).all()][:4]  # people all of whose joints are seen


# coco


def coco_annotation(index, image_id, annotation_id, **changes):
    rows = scattered(person(index)[1], "coco17", 0)
    visible = 2.0 * (rows != 0).any(axis=1)
    box = [*rows[visible > 0].min(0), *np.ptp(rows[visible > 0], axis=0)]
    values = np.column_stack([rows, visible]).ravel().tolist()
    return {"id": annotation_id, "image_id": image_id, "bbox": box, "keypoints": values, "iscrowd": 0} | changes


@pytest.fixture
def coco(tmp_path):
    """Four photographs and their annotations. write() saves the annotations and opens the source."""
    for i in FULL:
        save(tmp_path, f"images/{i}.png", person(i)[0])
    content = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in FULL],
        "annotations": [coco_annotation(i, i, 100 + i) for i in FULL],
    }

    def write(change=None, **options):
        if change:
            change(content)
        path = tmp_path / "people.json"
        path.write_text(json.dumps(content))
        options = {"image_size": 32, "min_person": 8, **options}
        return SOURCES["coco"](Options(images=tmp_path / "images", annotations=path, **options))

    return write


def test_coco_people_are_cut_out_with_their_joints(coco):
    examples, rejects = run(coco())
    assert not rejects and len(examples) == len(FULL)
    for i in FULL:
        example = examples[f"{i}.png#{100 + i}"]
        picture = pictures.read_picture(example.image)
        assert picture.shape == (32, 32, 3)
        left, top, side, _ = example.attributes["box"]
        expected = ((person(i)[1] + 0.5) - [left, top]) / side
        np.testing.assert_allclose(example.joints, expected, atol=1e-4)


def test_coco_bad_annotations_are_listed_and_the_rest_is_made(coco):
    hips = [3 * 11 + 2, 3 * 12 + 2]

    def change(content):
        a = content["annotations"]
        for i in hips:
            a[0]["keypoints"][i] = 0
        a[1]["keypoints"].pop()
        a[2]["keypoints"] = [float("nan")] * 51
        extra = [
            {"keypoints": [0.0] * 48},
            {"iscrowd": 1},
            {"bbox": [1, 2, 3]},
            {"bbox": [0, 0, 3, 4]},
            {"bbox": [0, 0, -5, 90]},
            {"bbox": [0, 0, 1e300, 1e300]},
            {"bbox": [500, 500, 20, 20]},
            {"keypoints": None},
        ]
        for k, changes in enumerate(extra):
            a.append(coco_annotation(FULL[3], FULL[3], 200 + k, **changes))
        a.append(coco_annotation(FULL[3], 999, 300))
        content["images"] += [
            {"id": 50, "file_name": "gone.png"},
            {"id": 51, "file_name": "nobody.png"},
            {"id": 52, "file_name": "../people.json"},
        ]
        a.extend([coco_annotation(FULL[0], 50, 400), coco_annotation(FULL[0], 52, 401)])

    examples, rejects = run(coco(change))
    assert list(examples) == [f"{FULL[3]}.png#{100 + FULL[3]}"]
    assert "unseen: rhip, lhip" in rejects[f"{FULL[0]}.png#{100 + FULL[0]}"]
    assert "no list of x, y, v" in rejects[f"{FULL[1]}.png#{100 + FULL[1]}"]
    assert "unseen: rshoulder" in rejects[f"{FULL[2]}.png#{100 + FULL[2]}"]
    reasons = [rejects[f"{FULL[3]}.png#{200 + k}"] for k in range(8)]
    for reason, expected in zip(
        reasons,
        [
            "coco17 has 17 joints",
            "a crowd",
            "no box of",
            "smaller than --min_person=8",
            "no rectangle",
            "no rectangle",
            "unseen: rshoulder",
            "no list of x, y, v",
        ],
        strict=True,
    ):
        assert expected in reason
    assert "not in the file's list" in rejects["people.json: image 999"]
    assert "No such file" in rejects["gone.png"]
    assert rejects["nobody.png"] == "no person is annotated"
    assert "leaves the folder" in rejects["../people.json"]


def test_coco_people_who_share_a_sequence_share_their_appearance(coco):
    def change(content):
        for annotation in content["annotations"][:2]:
            annotation |= {"person": "anna", "sequence": "cam1"}

    examples, _ = run(coco(change))
    ids = [example.appearance_id for example in examples.values()]
    assert ids[:2] == ["anna/cam1"] * 2 and len(set(ids)) == 3


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"images": []}', b'{"images": [1], "annotations": []}'])
def test_a_file_that_is_not_coco_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json is not a COCO person-keypoints file"):
        SOURCES["coco"](Options(images=tmp_path, annotations=tmp_path / "a.json"))


def test_coco_on_the_photographs(photos_dir):
    options = Options(
        images=photos_dir / "images",
        annotations=photos_dir / "person_keypoints_train.json",
        valid_annotations=photos_dir / "person_keypoints_valid.json",
        image_size=64,
    )
    examples, rejects = run(SOURCES["coco"](options))
    assert len(examples) + len(rejects) == 304 and len(rejects) < 10
    assert all("unseen" in reason for reason in rejects.values())
    appearances = {example.appearance_id for example in examples.values() if example.name.startswith("p2s")}
    assert appearances == {"p2s_man/cam1", "p2s_man/cam2", "p2s_man/cam3"}


# deepfashion, market


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("fashionWOMENDressesid0000000202_1front.jpg", "00000002_02"),
        ("WOMEN/Dresses/id_00000002/02_1_front.jpg", "00000002_02"),
        ("MEN/Denim/id_00000080/01_7_additional.jpg", "00000080_01"),
        ("holiday.jpg", None),
    ],
)
def test_deepfashion_identities(name, identity):
    assert deepfashion_identity(name) == identity


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("0002_c1s1_000451_03.jpg", "0002"),
        ("bounding_box_train/1501_c6s4_001902_01.jpg", "1501"),
        ("-1_c1s1_000401_03.jpg", "-1_c1s1_000401_03"),
        ("0000_c1s1_000151_01.jpg", "0000_c1s1_000151_01"),
        ("portrait.jpg", None),
    ],
)
def test_market_identities(name, identity):
    assert market_identity(name) == identity


def keypoint_line(name, rows):
    x, y = (json.dumps([round(v) if np.isfinite(v) else v for v in rows[:, axis]]) for axis in (0, 1))
    return f"{name}: {y}: {x}"


@pytest.fixture
def market(tmp_path):
    names = [f"{k:04d}_c1s1_00000{k}_00.png" for k in range(1, 5)]
    lines = []
    for name, i in zip(names, FULL, strict=True):
        save(tmp_path, f"images/{name}", person(i)[0])
        lines.append(keypoint_line(name, scattered(person(i)[1], "openpose18", -1)))

    def write(lines=lines, header="name:keypoints_y:keypoints_x", **options):
        path = tmp_path / "keypoints.csv"
        path.write_text("\n".join([header, *lines]) + "\n")
        return SOURCES["market"](Options(images=tmp_path / "images", annotations=path, image_size=32, **options))

    return write, names, lines


def test_keypoint_files_are_read(market):
    write, names, _ = market
    examples, rejects = run(write())
    assert not rejects and list(examples) == names
    for name, i in zip(names, FULL, strict=True):
        assert examples[name].appearance_id == name[:4]
        np.testing.assert_allclose(examples[name].joints, (person(i)[1] + 0.5) / SIZE, atol=0.6 / SIZE)


def test_bad_lines_of_a_keypoint_file_are_listed(market):
    write, names, lines = market
    rows = scattered(person(FULL[0])[1], "openpose18", -1)
    without_hip = rows.copy()
    without_hip[8] = -1
    nan = rows.copy()
    nan[2] = np.nan
    bad = [
        keypoint_line(names[0], without_hip),
        keypoint_line(names[0], nan),
        keypoint_line(names[0], rows[:17]),
        f"{names[0]}: [1, 2]: [1]",
        f"{names[0]}: import os: [1]",
        names[0],
        keypoint_line("0009_c1s1_000009_00.png", rows),
        keypoint_line("../0009_c1s1_000009_00.png", rows),
        keypoint_line("someone.png", rows),
        "",
    ]
    for line, expected in zip(
        bad[:-1],
        [
            "unseen: rhip",
            "unseen: rshoulder",
            "openpose18 has 18 joints",
            "two lists of numbers",
            "two lists of numbers",
            "1 columns instead of 3",
            "No such file",
            "leaves the folder",
            "no identity",
        ],
        strict=True,
    ):
        examples, rejects = run(write([*lines[1:], line, ""]))
        assert len(examples) == 3
        (reason,) = rejects.values()
        assert expected in reason


def test_a_file_that_is_not_of_keypoints_is_refused(market):
    write, _, _ = market
    with pytest.raises(InputError, match="its first line is not name:keypoints_y:keypoints_x"):
        write(header="name,x,y")


def test_splits_of_identities_do_not_mix(market):
    write, _, lines = market
    more = [line.replace("_00.png", "_01.png") for line in lines]
    examples, _ = run(write(lines + more, valid_fraction=0.5))
    by_identity = {}
    for example in examples.values():
        by_identity.setdefault(example.appearance_id, set()).add(example.split)
    assert all(len(splits) == 1 for splits in by_identity.values())


# the split by hash


def keyed(*keys, split=""):
    return [Example(split, key, key, key, b"", split_key=key) for key in keys]


def sides(examples, valid_fraction):
    return {example.name: example.split for example in split_by_hash(examples, valid_fraction)}


def test_adding_pictures_moves_none_to_the_other_side():
    names = [f"{k}.png" for k in range(400)]
    few, many = sides(keyed(*names[:200]), 0.3), sides(keyed(*names), 0.3)
    assert few == {name: many[name] for name in few} and few.keys() | many.keys() == set(names)
    assert 90 < sum(split == "valid" for split in many.values()) < 150


@pytest.mark.parametrize("fraction", [0.001, 0.05, 0.5, 0.999, 1.0])
def test_two_appearances_are_enough_for_both_splits(fraction):
    for k in range(20):
        names = [f"{k}/{i}" for i in range(2 + k)]
        split = sides(keyed(*names), fraction)
        assert set(split.values()) == {"train", "valid"} and split.keys() == set(names)
        assert sides(keyed(*reversed(names)), fraction) == split, "the order decides nothing"


def test_a_whole_appearance_goes_to_the_side_that_is_empty():
    examples = [
        Example("", f"{i}{who}", who, "", b"", split_key=who) for i in range(3) for who in ("ann", "bob", "eve")
    ]
    split = sides(examples, 1e-9)
    valid = {name[1:] for name, side in split.items() if side == "valid"}
    assert len(split) == 9 and len(valid) == 1 and sum(side == "valid" for side in split.values()) == 3


def test_one_appearance_is_for_training_and_no_fraction_is_meant():
    assert set(sides(keyed("a", "a"), 1.0).values()) == set(sides(keyed("a", "a"), 1e-9).values()) == {"train"}
    assert set(sides(keyed(*"abcdefgh"), 0).values()) == {"train"}


def test_splits_of_the_source_are_kept():
    own = keyed("x", split="valid") + keyed("y", split="test")
    assert sides([*own, *keyed("a", "b")], 1e-9) == {"x": "valid", "y": "test", "a": "train", "b": "train"}
    assert sides([*keyed("a"), *keyed("x", split="train")], 1e-9) == {"x": "train", "a": "valid"}


# index


@pytest.mark.parametrize("order", [list(JOINTS), None, list(SCHEMAS["openpose18"])])
def test_the_original_index(tmp_path, order):
    schema = "openpose18" if order and len(order) == 18 else "vunet15"
    joints = []
    for i in FULL:
        save(tmp_path, f"img/{i}.png", person(i)[0])
        pose = sample_pose(0, i).joints
        joints.append(scattered(np.where(pose >= 0, pose, np.nan), schema, -1))
    index = {
        "imgs": [f"img/{i}.png" for i in FULL] + ["img/gone.png", "../x.png"],
        "train": [True, False, True, True, True, True],
        "joints": [*joints, joints[0], joints[0]],
        **({"joint_order": order} if order else {}),
    }
    (tmp_path / "index.p").write_bytes(pickle.dumps(index))
    examples, rejects = run(SOURCES["index"](Options(input=tmp_path, image_size=32)))
    assert [example.split for example in examples.values()] == ["train", "valid", "train", "train"]
    for i in FULL:
        np.testing.assert_allclose(examples[f"img/{i}.png"].joints, sample_pose(0, i).joints, atol=1e-6)
    assert "No such file" in rejects["img/gone.png"] and "leaves the folder" in rejects["../x.png"]


def test_an_index_with_another_number_of_joints(tmp_path):
    save(tmp_path, "0.png", person(FULL[0])[0])
    for order, message in ((None, "16 joints without a joint_order"), (JOINTS, "has 15 joints")):
        index = {"imgs": ["0.png"], "train": [1], "joints": [np.full((16, 2), 0.5)], "joint_order": order}
        (tmp_path / "index.p").write_bytes(pickle.dumps(index))
        _, rejects = run(SOURCES["index"](Options(input=tmp_path / "index.p")))
        assert message in rejects["0.png"]


# pairs, folder


@pytest.mark.parametrize("side", ["left", "right"])
def test_pairs_in_either_order(tmp_path, side):
    edges = np.zeros((40, 40, 3), np.uint8)
    edges[10:12] = 255
    photo = person(FULL[0])[0][:40, :40]
    halves = [edges, photo] if side == "left" else [photo, edges]
    save(tmp_path, "val/1_AB.png", np.concatenate(halves, axis=1))
    save(tmp_path, "train/2_AB.png", np.concatenate(halves, axis=1))
    save(tmp_path, "train/odd.png", np.zeros((40, 41, 3), np.uint8))
    options = Options(input=tmp_path, edges_side=side, image_size=40, encoding="png")
    examples, rejects = run(SOURCES["pairs"](options))
    assert {name: example.split for name, example in examples.items()} == {
        "train/2_AB.png": "train",
        "val/1_AB.png": "valid",
    }
    for example in examples.values():
        np.testing.assert_array_equal(pictures.read_picture(example.image), photo)
        np.testing.assert_array_equal(pictures.read_picture(example.shape), edges)
    assert "41 pixels wide" in rejects["train/odd.png"]


def test_a_folder_of_any_pictures(tmp_path):
    for k in range(60):
        save(tmp_path, f"{k % 3}/{k}.png", person(k)[0])
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture, no business of ours")
    (tmp_path / ".hidden.png").write_bytes(b"")
    examples, rejects = run(SOURCES["folder"](Options(input=tmp_path, image_size=32, valid_fraction=0.3)))
    assert len(examples) == 60 and set(rejects) == {"broken.jpg", "empty.png"}
    splits = {name: example.split for name, example in examples.items()}
    assert 6 <= sum(split == "valid" for split in splits.values()) <= 32
    shape = np.asarray(Image.open(io.BytesIO(next(iter(examples.values())).shape)))
    assert shape.shape == (32, 32) and set(np.unique(shape)) <= {0, 255} and shape.any()


def test_a_folder_with_shape_maps_of_the_same_names(tmp_path):
    for k in range(3):
        save(tmp_path, f"photos/{k}.png", person(k)[0])
    for k in range(2):
        save(tmp_path, f"maps/{k}.{'png' if k else 'bmp'}", np.full((SIZE, SIZE, 3), 100 + k, np.uint8))
    options = Options(input=tmp_path / "photos", shapes=tmp_path / "maps", image_size=16)
    examples, rejects = run(SOURCES["folder"](options))
    greys = {name: pictures.read_picture(example.shape)[0, 0, 0] for name, example in examples.items()}
    assert greys == {"0.png": 100, "1.png": 101}
    assert "no map of the same name" in rejects["2.png"]


def test_a_map_is_of_the_same_name_to_the_letter(tmp_path):
    """A longer name is not taken, nor one that happens to match as a pattern."""
    for name, grey in (("a.b.png", 1), ("a.png", 2), ("shoe[1].png", 3), ("shoe1.png", 4)):
        save(tmp_path, f"maps/{name}", np.full((SIZE, SIZE, 3), grey, np.uint8))
    for name in ("a.jpg", "shoe[1].jpg"):
        save(tmp_path, f"photos/{name}", person(0)[0])
    options = Options(input=tmp_path / "photos", shapes=tmp_path / "maps", image_size=16)
    examples, _ = run(SOURCES["folder"](options))
    assert {n: pictures.read_picture(e.shape)[0, 0, 0] for n, e in examples.items()} == {"a.jpg": 2, "shoe[1].jpg": 3}


def test_padding_has_no_edges(tmp_path):
    picture = np.zeros((32, 16, 3), np.uint8)
    picture[::8] = 255  # stripes up to the edge, which padding goes on with
    save(tmp_path, "a.png", picture)
    examples, _ = run(SOURCES["folder"](Options(input=tmp_path, image_size=32)))
    edges = pictures.read_picture(examples["a.png"].shape)[..., 0]
    assert edges[:, 8:24].any() and not edges[:, :8].any() and not edges[:, 24:].any()


@pytest.mark.parametrize("name", ["folder", "pairs"])
def test_a_folder_without_pictures_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="has no pictures"):
        SOURCES[name](Options(input=tmp_path))
    with pytest.raises(InputError, match="is not a folder"):
        SOURCES[name](Options(input=tmp_path / "none"))


# sprites


def write_sprites(folder, **changes):
    cell, rng = 16, np.random.default_rng(0)
    for name in ("a", "b"):
        sheet = np.full((cell, 3 * cell, 3), 128, np.uint8)
        sheet[4:12, :, :] = rng.integers(0, 100, (8, 3 * cell, 3))
        save(folder, f"{name}.png", sheet)
    body = np.zeros((cell, 3 * cell, 1), np.uint8)
    body[4:12] = 200
    save(folder, "body.png", body)
    index = {
        "format": "vunet-sprites-1",
        "cell": cell,
        "background": [128, 128, 128],
        "shape_maps": {"any": {"body": "body.png"}},
        "frames": [
            {
                "id": k,
                "action": "walk",
                "direction": "up",
                "t": k,
                "row": 0,
                "col": k,
                "split": "test" if k == 2 else "train",
            }
            for k in range(3)
        ],
        "appearances": [
            {"id": n, "shape_set": "any", "sheet": f"{n}.png", "split": s, "attributes": {"hair": n}}
            for n, s in (("a", "train"), ("b", "valid"))
        ],
    } | changes
    (folder / "index.json").write_text(json.dumps(index))


def test_sprites(tmp_path):
    write_sprites(tmp_path)
    examples, rejects = run(SOURCES["sprites"](Options(input=tmp_path)))
    assert not rejects
    assert {name: example.split for name, example in examples.items()} == {
        "a/0": "train",
        "a/1": "train",
        "a/2": "valid_shape",
        "b/0": "valid_appearance",
        "b/1": "valid_appearance",
        "b/2": "valid",
    }
    example = examples["b/1"]
    sheet = pictures.read_picture(tmp_path / "b.png")
    np.testing.assert_array_equal(pictures.read_picture(example.image), sheet[:, 16:32])
    mask = pictures.read_picture(example.mask)[..., 0]
    np.testing.assert_array_equal(mask > 0, (sheet[:, 16:32] != 128).any(-1))
    assert example.attributes == {"hair": "b", "action": "walk", "direction": "up", "t": 1}
    assert examples["a/1"].shape_id == example.shape_id == "any/1"


def test_damaged_sprites(tmp_path):
    write_sprites(tmp_path)
    with pytest.raises(InputError, match=r"no shape map 'edges' .* it has body"):
        SOURCES["sprites"](Options(input=tmp_path, shape_map="edges"))
    (tmp_path / "b.png").unlink()
    examples, rejects = run(SOURCES["sprites"](Options(input=tmp_path)))
    assert len(examples) == 3 and "No such file" in rejects["b.png"]
    for changes, message in (
        ({"format": "other"}, "has format 'other'"),
        ({"frames": [{"id": 0}]}, "is damaged"),
        ({"cell": "x"}, "is damaged"),
        ({"shape_maps": {"any": {"body": "gone.png"}}}, r"gone\.png: cannot be read"),
        ({"shape_maps": {"any": {"body": "../body.png"}}}, "leaves the folder"),
    ):
        write_sprites(tmp_path, **changes)
        with pytest.raises(InputError, match=message):
            SOURCES["sprites"](Options(input=tmp_path))


@pytest.mark.parametrize(("shape_map", "channels"), [("body", 1), ("mask", 1), ("edges", 1), ("joints", 3)])
def test_the_real_sprites(sprites_dir, shape_map, channels):
    source = SOURCES["sprites"](Options(input=sprites_dir, shape_map=shape_map))
    assert len(source.items) == 400 and source.shape_channels == channels
    made = source.make(source.items[10])
    assert len(made) == 130 and all(isinstance(example, Example) for example in made)
    index = json.loads((sprites_dir / "index.json").read_bytes())
    frame = index["frames"][40]
    sheet = np.array(Image.open(sprites_dir / index["appearances"][10]["sheet"]).convert("RGB"))
    expected = sheet[frame["row"] * 64 :, frame["col"] * 64 :][:64, :64]
    np.testing.assert_array_equal(pictures.read_picture(made[40].image), expected)


# all


@pytest.mark.parametrize("name", sorted(SOURCES.keys() - {"figures", "digits"}))
def test_a_source_without_its_input_says_what_it_needs(name):
    with pytest.raises(InputError, match=r"this source needs --(input|images)"):
        SOURCES[name](Options())


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_is_said_to_take_what_it_reads(name):
    """`prepare` refuses the other flags."""
    text = inspect.getsource(inspect.getmodule(SOURCES[name]))
    names = {field.name for field in dataclasses.fields(Options)}
    read = names & {*re.findall(r"options\.(\w+)", text), *re.findall(r'"(\w+)"', text)}
    if "people_in" in text:
        read |= {*ESTIMATION}
    assert read - {"image_size", "encoding"} == set(OPTIONS[name])
