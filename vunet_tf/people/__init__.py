"""Procedural people: a dataset that needs no download and in which the truth of every transfer can be drawn.

A picture is a function of two things that are drawn independently: a pose (which has the joints and nothing else) and
a look (which has everything else). `draw(look, pose, size)` is the picture of any of the one with any of the other.
"""

from vunet_tf.people.drawing import Figure, draw
from vunet_tf.people.looks import Look, sample_look
from vunet_tf.people.poses import Pose, sample_pose

__all__ = ["Figure", "Look", "Pose", "draw", "sample_look", "sample_pose"]
