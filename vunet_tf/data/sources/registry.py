"""The list of all sources."""

from vunet_tf.data.sources import coco, figures, folder, keypoint_csv, pairs, release_index, sprites

SOURCES = {
    "coco": coco.open_source,
    "deepfashion": keypoint_csv.open_deepfashion,
    "market": keypoint_csv.open_market,
    "index": release_index.open_source,
    "pairs": pairs.open_source,
    "folder": folder.open_source,
    "sprites": sprites.open_source,
    "figures": figures.open_source,
}
