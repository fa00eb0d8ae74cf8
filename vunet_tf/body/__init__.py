"""The human body: the tables of its skeleton, keypoints and their files, the stickman, crops of body parts."""
