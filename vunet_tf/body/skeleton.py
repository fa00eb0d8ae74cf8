"""Tables of the human skeleton: joint names, keypoint schemas, bones, body parts. There are only names here.

A joint's name begins with its side: l and r for the person's own left and right, c for the centre. A schema is the
tuple of names in the order of its joints, so that one schema can be mapped to another by name.
"""

from itertools import pairwise
from typing import NamedTuple

from vunet_tf.config import CUT_PARTS

# The 15 joints of VU-Net, in the released program's order. All code inside uses this order.
JOINTS = (
    *("rankle", "rknee", "rhip", "rshoulder", "relbow", "rwrist", "reye"),
    *("lankle", "lknee", "lhip", "lshoulder", "lelbow", "lwrist", "leye"),
    "cnose",
)
JOINT_INDEX = {name: i for i, name in enumerate(JOINTS)}

# Without these a person has no torso, neck or scale: the released program leaves such pictures out.
REQUIRED_JOINTS = ("rshoulder", "lshoulder", "rhip", "lhip")

# MIRRORED[i] is the joint that joint i becomes when the picture is flipped from left to right.
MIRRORED = tuple(JOINT_INDEX[{"l": "r", "r": "l", "c": "c"}[name[0]] + name[1:]] for name in JOINTS)

COCO_17 = (
    *("cnose", "leye", "reye", "lear", "rear", "lshoulder", "rshoulder", "lelbow", "relbow"),
    *("lwrist", "rwrist", "lhip", "rhip", "lknee", "rknee", "lankle", "rankle"),
)
OPENPOSE_18 = (
    *("cnose", "cneck", "rshoulder", "relbow", "rwrist", "lshoulder", "lelbow", "lwrist"),
    *("rhip", "rknee", "rankle", "lhip", "lknee", "lankle", "reye", "leye", "rear", "lear"),
)
BODY_25 = (
    *("cnose", "cneck", "rshoulder", "relbow", "rwrist", "lshoulder", "lelbow", "lwrist"),
    *("chip", "rhip", "rknee", "rankle", "lhip", "lknee", "lankle", "reye", "leye", "rear", "lear"),
    *("lbigtoe", "lsmalltoe", "lheel", "rbigtoe", "rsmalltoe", "rheel"),
)
MEDIAPIPE_33 = (
    *("cnose", "leyeinner", "leye", "leyeouter", "reyeinner", "reye", "reyeouter", "lear", "rear"),
    *("lmouth", "rmouth", "lshoulder", "rshoulder", "lelbow", "relbow", "lwrist", "rwrist"),
    *("lpinky", "rpinky", "lindex", "rindex", "lthumb", "rthumb", "lhip", "rhip", "lknee", "rknee"),
    *("lankle", "rankle", "lheel", "rheel", "lfootindex", "rfootindex"),
)
SCHEMAS = {
    "vunet15": JOINTS,
    "coco17": COCO_17,
    "openpose18": OPENPOSE_18,
    "body25": BODY_25,
    "mediapipe33": MEDIAPIPE_33,
}


def _side(side: str) -> tuple[tuple[str, str], ...]:
    """The lines of one side of the stickman, from the ankle up to the wrist and from the nose to the eye."""
    chain = [side + joint for joint in ("ankle", "knee", "hip", "shoulder", "elbow", "wrist")]
    return (*pairwise(chain), ("cnose", side + "eye"))


# The stickman (released program): channel 0 has the right side, channel 1 the left, channel 2 the filled torso.
RIGHT_BONES = _side("r")
LEFT_BONES = _side("l")
TORSO = ("lhip", "lshoulder", "rshoulder", "rhip")


class BodyPart(NamedTuple):
    """A part of the body that is cut out and turned upright.

    kind "torso": the quadrilateral of the four torso joints, right shoulder in the upper left corner.
    kind "head": a box around the line from the neck through the nose, which goes on as far beyond the nose.
    kind "limb": a box around the line from the first joint (top of the crop) to the second (bottom).

    Attributes:
        aspect: width of the box divided by its length.
        to_bottom: a limb whose second joint is unseen goes straight down to the picture's lower edge.
    """

    name: str
    kind: str
    joints: tuple[str, ...]
    aspect: float = 1.0
    to_bottom: bool = False


def _limb(name: str, first: str, second: str, **kwargs) -> BodyPart:
    return BodyPart(name, "limb", (first, second), aspect=0.5, **kwargs)


# The 8 parts of the released program; the authors' own runs on Market-1501 used 10, with the shins.
PARTS_8 = (
    BodyPart("torso", "torso", ("rshoulder", "lshoulder", "lhip", "rhip")),
    BodyPart("head", "head", ("rshoulder", "lshoulder", "cnose")),
    _limb("right upper arm", "rshoulder", "relbow"),
    _limb("right forearm", "relbow", "rwrist"),
    _limb("left upper arm", "lshoulder", "lelbow"),
    _limb("left forearm", "lelbow", "lwrist"),
    _limb("right thigh", "rhip", "rknee", to_bottom=True),
    _limb("left thigh", "lhip", "lknee", to_bottom=True),
)
PARTS_10 = (*PARTS_8, _limb("right shin", "rknee", "rankle"), _limb("left shin", "lknee", "lankle"))
BODY_PARTS = dict(zip(CUT_PARTS, (PARTS_8, PARTS_10), strict=True))
