"""The stickman, against an independent drawing with OpenCV."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from vunet_tf.body.skeleton import JOINT_INDEX, JOINTS
from vunet_tf.body.stickman import draw_stickman

SCALE = 16  # OpenCV draws this much larger, and the average of its pixels is the anti-aliased picture


def joints_of(**points):
    """[1, 15, 2] joints with only these seen."""
    joints = np.full((1, len(JOINTS), 2), -1, np.float32)
    for name, point in points.items():
        joints[0, JOINT_INDEX[name]] = point
    return joints


def opencv_stickman(joints, height, width):
    """The stickman of one person in [0, 1], written from the description of the format, not from our code."""
    chain = ["ankle", "knee", "hip", "shoulder", "elbow", "wrist"]
    thickness = round(3 * width / 128 * SCALE)
    right, left, torso, neck = (np.zeros((height * SCALE, width * SCALE), np.uint8) for _ in range(4))
    points = {n: joints[i] * [width, height] * SCALE - 0.5 for i, n in enumerate(JOINTS) if (joints[i] >= 0).all()}

    def fixed(point):
        return tuple(round(float(c) * 16) for c in point)

    def line(layer, a, b, value=255):
        cv2.line(layer, fixed(a), fixed(b), value, thickness, cv2.LINE_8, shift=4)

    for s, layer in {"r": right, "l": left}.items():
        for a, b in pairwise(chain):
            if s + a in points and s + b in points:
                line(layer, points[s + a], points[s + b])
        if "cnose" in points and s + "eye" in points:
            line(layer, points["cnose"], points[s + "eye"])
    if {"rshoulder", "lshoulder", "cnose"} <= points.keys():
        line(neck, (points["rshoulder"] + points["lshoulder"]) / 2, points["cnose"], 127)
    corners = ("lhip", "lshoulder", "rshoulder", "rhip")
    if points.keys() >= set(corners):
        polygon = np.array([fixed(points[name]) for name in corners], np.int32)
        cv2.fillPoly(torso, [polygon], 255, cv2.LINE_8, shift=4)
    channels = [np.maximum(right, neck), np.maximum(left, neck), torso]
    small = [cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA) for layer in channels]
    return np.stack(small, axis=-1) / 255


def test_equals_opencv_on_real_poses(people):
    """Soft intersection over union at least 0.95 in each channel of each person."""
    pictures, joints = people
    height, width = pictures.shape[1:3]
    ours = (draw_stickman(tf.constant(joints), height, width).numpy() + 1) / 2
    assert len(joints) >= 50
    for person, drawn in zip(joints, ours, strict=True):
        expected = opencv_stickman(person, height, width)
        overlap = np.minimum(drawn, expected).sum((0, 1)) / np.maximum(drawn, expected).sum((0, 1))
        assert overlap.min() >= 0.95, overlap


def test_of_pictures_that_are_not_square(figure_people):
    _, joints = figure_people
    drawn = (draw_stickman(tf.constant(joints[:10]), 96, 64).numpy() + 1) / 2
    for person, ours in zip(joints[:10], drawn, strict=True):
        expected = opencv_stickman(person, 96, 64)
        overlap = np.minimum(ours, expected).sum() / np.maximum(ours, expected).sum()
        assert overlap >= 0.93  # lines are 1.5 pixels thick


@pytest.mark.parametrize("gone", ["relbow", "lhip", "cnose", "rshoulder"])
@pytest.mark.parametrize("unseen", [(-1, -1), (np.nan, 0.5), (0.5, 1.2)])
def test_lines_with_an_unseen_end_are_left_out(figure_people, gone, unseen):
    joints = figure_people[1][:8].copy()
    joints[:, JOINT_INDEX[gone]] = unseen
    drawn = (draw_stickman(tf.constant(joints), 64, 64).numpy() + 1) / 2
    joints[:, JOINT_INDEX[gone]] = -1
    for person, ours in zip(joints, drawn, strict=True):
        expected = opencv_stickman(person, 64, 64)
        assert np.abs(ours - expected).mean() < 0.004


def test_nobody_is_an_empty_map():
    np.testing.assert_array_equal(draw_stickman(tf.constant(joints_of()), 32, 48), np.full((1, 32, 48, 3), -1.0))


def test_channels_and_levels():
    """Right is channel 0, left is channel 1; a neck of half brightness is in both."""
    joints = joints_of(relbow=(0.2, 0.2), rwrist=(0.2, 0.8), lelbow=(0.8, 0.2), lwrist=(0.8, 0.8))
    drawn = draw_stickman(tf.constant(joints), 128, 128).numpy()[0]
    assert drawn[64, 25].tolist() == [1, -1, -1]
    assert drawn[64, 102].tolist() == [-1, 1, -1]
    joints = joints_of(rshoulder=(0.3, 0.8), lshoulder=(0.7, 0.8), cnose=(0.5, 0.2))
    drawn = draw_stickman(tf.constant(joints), 128, 128).numpy()[0]
    np.testing.assert_allclose((drawn[64, 63] + 1) / 2 * 255, [127, 127, 0], atol=0.5)


def test_a_bone_without_length_is_a_dot():
    joints = joints_of(relbow=(0.5, 0.5), rwrist=(0.5, 0.5))
    drawn = (draw_stickman(tf.constant(joints), 128, 128).numpy()[0, ..., 0] + 1) / 2
    assert 0.5 * np.pi * 1.5**2 < drawn.sum() < 2 * np.pi * 1.5**2


def test_a_twisted_torso_is_two_triangles():
    joints = joints_of(lhip=(0.3, 0.8), lshoulder=(0.7, 0.2), rshoulder=(0.3, 0.2), rhip=(0.7, 0.8))
    drawn = draw_stickman(tf.constant(joints), 100, 100).numpy()[0, ..., 2]
    assert drawn[30, 49] == 1 and drawn[70, 49] == 1
    assert drawn[50, 35] == -1 and drawn[50, 65] == -1


def test_compiled_and_batched_give_the_same(figure_people):
    joints = tf.constant(figure_people[1])
    together = draw_stickman(joints, 64, 64).numpy()
    compiled = tf.function(lambda j: draw_stickman(j, 64, 64), jit_compile=True)(joints).numpy()
    np.testing.assert_allclose(compiled, together, atol=1e-4)
    alone = np.concatenate([draw_stickman(joints[i : i + 1], 64, 64).numpy() for i in range(len(joints))])
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_converts_to_tflite_with_built_in_operations_only(figure_people):
    """The converter fails on any operation that is not built in; the converted drawing is the same."""
    joints = figure_people[1][:1]
    function = tf.function(lambda j: draw_stickman(j, 64, 64), input_signature=[tf.TensorSpec([1, 15, 2])])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], joints)
    interpreter.invoke()
    drawn = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(drawn, draw_stickman(tf.constant(joints), 64, 64), atol=1e-4)
