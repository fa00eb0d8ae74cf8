"""Pictures, keypoints and shape maps: from any source to the model's door.

`skeleton` has the tables, `keypoints` maps any schema to ours, `stickman` and `body_parts` draw what the model sees,
`sources/` reads the formats people have, `dataset` is our own format on disk, `pipeline` gives training batches.
"""
