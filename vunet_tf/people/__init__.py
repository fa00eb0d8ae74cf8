"""Procedural people: a dataset that needs no download, and in which the true result of every transfer can be drawn.

A picture depends on two things that are sampled independently: a pose (which has the joints and nothing else) and a
look (which has everything else). `draw(look, pose, size)` makes the picture of any look in any pose.
"""

from vunet_tf.people.drawing import Figure, draw
from vunet_tf.people.looks import Look, sample_look
from vunet_tf.people.poses import Pose, sample_pose

__all__ = ["Figure", "Look", "Pose", "draw", "sample_look", "sample_pose"]
