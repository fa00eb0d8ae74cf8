"""The list of all sources, and the options that each takes."""

from vunet_tf.data.sources import coco, digits, figures, folder, keypoint_csv, pairs, release_index, sprites

SOURCES = {
    "coco": coco.open_source,
    "deepfashion": keypoint_csv.open_deepfashion,
    "market": keypoint_csv.open_market,
    "index": release_index.open_source,
    "pairs": pairs.open_source,
    "folder": folder.open_source,
    "sprites": sprites.open_source,
    "figures": figures.open_source,
    "digits": digits.open_source,
}

# Settings that `source.people_in` and `source.person_example` read.
ESTIMATION = ("estimate", "pose_model", "cutout")
_KEYPOINT_FILE = ("images", "annotations", "valid_annotations", "fit", "valid_fraction", "min_joints", *ESTIMATION)
_PERSON = ("margin", "min_person", "min_joints")  # how people are cut from photographs
# All sources also take image_size and encoding. A flag of another source is an error; it is not ignored.
OPTIONS = {
    "coco": ("images", "annotations", "valid_annotations", "valid_fraction", *_PERSON, *ESTIMATION),
    "deepfashion": _KEYPOINT_FILE,
    "market": _KEYPOINT_FILE,
    "index": ("input", "fit", "min_joints"),
    "pairs": ("input", "fit", "valid_fraction", "edges_side"),
    "folder": ("input", "fit", "valid_fraction", "shapes", "min_score", *_PERSON, *ESTIMATION),
    "sprites": ("input", "shape_map"),
    "figures": ("seed", "looks", "poses", "examples"),
    "digits": (),
}
