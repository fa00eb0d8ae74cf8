"""Poses: a jointed body in three dimensions, turned and put into the picture.

Body coordinates: x to the person's left, y up, z forwards; lengths in units of the person's height. Picture
coordinates: fractions, x to the right, y down. Depth grows towards the viewer.
"""

from typing import NamedTuple

import numpy as np

from vunet_tf.body.skeleton import JOINTS

ACTIONS = ("stand", "walk", "run", "wave", "cheer", "dance", "lunge", "sit")
_MARGIN = 0.06  # fraction of the person's height: hands, hair and shoes reach beyond the points
BODIES = 24  # bodies of different proportions; each pose has one of them


class Pose(NamedTuple):
    """A pose in the picture.

    Attributes:
        points: name to (x, y) in fractions of the picture: the 15 joints, and the points that only drawing needs: neck,
            pelvis, head (its centre), crown, toes.
        depth: name to depth of the same points, in fractions of the picture.
        forward: where the person faces, as a unit vector (to the right in the picture, towards the viewer).
        head_radius: in fractions of the picture.
        girth: how stout the body is, about 1.
        action: one of `ACTIONS`.
    """

    points: dict[str, np.ndarray]
    depth: dict[str, float]
    forward: tuple[float, float]
    head_radius: float
    girth: float
    action: str

    @property
    def joints(self) -> np.ndarray:
        """The 15 canonical joints, [15, 2] float32 fractions; -1 for the parts of a face that is turned away."""
        rows = np.full((len(JOINTS), 2), -1, np.float32)
        for i, name in enumerate(JOINTS):
            hidden = (
                name in ("reye", "leye", "cnose") and self.depth[name] < self.depth["head"] - 0.2 * self.head_radius
            )
            if not hidden:
                rows[i] = self.points[name]
        return rows


def sample_pose(seed: int, index: int) -> Pose:
    """Pose number `index` of a seed. The same arguments give the same pose."""
    random = np.random.default_rng([seed, 1, index])
    body = _Body(seed, int(random.integers(BODIES)))
    action = ACTIONS[random.integers(len(ACTIONS))]
    points = body.joints_of(_angles(action, random))
    yaw = _yaw(random)
    turned = {name: _turn(point, yaw) for name, point in points.items()}
    # The whole person is in the picture, at a random size and place.
    flat = np.array([point[:2] for point in turned.values()])
    low, high = flat.min(axis=0), flat.max(axis=0)
    room, tallest = 0.86, 1.05  # fractions of the picture; without the second, people who sit would become giants
    scale = min(random.uniform(0.85, 1.0) * room / (high - low).max(), tallest)
    slack = 1 - (high - low + 2 * _MARGIN) * scale
    place = _MARGIN * scale + random.uniform(0.2, 0.8, 2) * np.maximum(slack, 0)
    left, top = low[0], high[1]
    return Pose(
        points={
            n: np.array([(p[0] - left) * scale + place[0], (top - p[1]) * scale + place[1]]) for n, p in turned.items()
        },
        depth={n: float(p[2] * scale) for n, p in turned.items()},
        forward=(float(np.sin(yaw)), float(np.cos(yaw))),
        head_radius=body.head * scale,
        girth=body.girth,
        action=action,
    )


def _yaw(random) -> float:
    """Where the person faces, in radians: 0 is the viewer, positive is right. One in seven faces away."""
    kind = random.random()
    if kind < 0.6:
        return random.uniform(-0.7, 0.7)
    side = random.choice([-1, 1])
    return side * (random.uniform(0.7, 1.5) if kind < 0.86 else random.uniform(2.6, 3.5))


def _turn(point: np.ndarray, yaw: float) -> np.ndarray:
    """Turns body coordinates into (right, up, towards the viewer)."""
    x, y, z = point
    return np.array([x * np.cos(yaw) + z * np.sin(yaw), y, z * np.cos(yaw) - x * np.sin(yaw)])


class _Angles(NamedTuple):
    """Joint angles in radians; pairs are (right, left).

    lean: the trunk forwards; sway: the trunk to the person's left; swing: a limb forwards; spread: a limb outwards;
    bend: elbow or knee; nod: the head forwards; tilt: the head to the left.
    """

    lean: float
    sway: float
    arm_swing: tuple[float, ...]
    arm_spread: tuple[float, ...]
    elbow: tuple[float, ...]
    leg_swing: tuple[float, ...]
    leg_spread: tuple[float, ...]
    knee: tuple[float, ...]
    nod: float
    tilt: float


def _angles(action: str, random) -> _Angles:
    def about(mean, spread):
        return float(np.clip(random.normal(mean, spread), mean - 2 * spread, mean + 2 * spread))

    def both(mean, spread):
        return about(mean, spread), about(mean, spread)

    phase = random.choice([-1.0, 1.0])
    stride = random.uniform(0.5, 1.0) * phase
    angles = _Angles(
        lean=about(0.03, 0.06),
        sway=about(0, 0.06),
        arm_swing=both(0.05, 0.15),
        arm_spread=both(0.18, 0.08),
        elbow=both(0.25, 0.15),
        leg_swing=both(0, 0.06),
        leg_spread=both(0.08, 0.05),
        knee=both(0.06, 0.05),
        nod=about(0, 0.1),
        tilt=about(0, 0.1),
    )
    if action == "walk":
        angles = angles._replace(
            arm_swing=(-0.5 * stride, 0.5 * stride),
            leg_swing=(0.45 * stride, -0.45 * stride),
            knee=(about(0.25, 0.1) + 0.2 * (stride < 0), about(0.25, 0.1) + 0.2 * (stride > 0)),
        )
    elif action == "run":
        angles = angles._replace(
            lean=about(0.22, 0.05),
            arm_swing=(-0.9 * stride, 0.9 * stride),
            elbow=both(1.5, 0.2),
            leg_swing=(0.9 * stride, -0.6 * stride),
            knee=(
                about(1.0, 0.2) if stride > 0 else about(0.8, 0.3),
                about(1.0, 0.2) if stride < 0 else about(0.8, 0.3),
            ),
        )
    elif action == "wave":
        raised = random.integers(2)
        spread, elbow = list(angles.arm_spread), list(angles.elbow)
        spread[raised], elbow[raised] = about(1.9, 0.3), about(0.9, 0.4)
        angles = angles._replace(arm_spread=tuple(spread), elbow=tuple(elbow), sway=about(0, 0.1))
    elif action == "cheer":
        angles = angles._replace(arm_spread=both(2.4, 0.25), elbow=both(0.4, 0.25), leg_spread=both(0.2, 0.1))
    elif action == "dance":
        angles = angles._replace(
            sway=about(0, 0.2),
            arm_swing=both(0.2, 0.5),
            arm_spread=both(1.1, 0.5),
            elbow=both(1.0, 0.5),
            leg_swing=both(0.1, 0.3),
            leg_spread=both(0.28, 0.15),
            knee=both(0.4, 0.25),
            tilt=about(0, 0.2),
        )
    elif action == "lunge":
        front = (1.0, -0.55) if phase > 0 else (-0.55, 1.0)
        angles = angles._replace(
            leg_swing=front,
            knee=(1.0, 0.25) if phase > 0 else (0.25, 1.0),
            arm_spread=both(0.7, 0.4),
            arm_swing=both(0.4, 0.4),
        )
    elif action == "sit":
        angles = angles._replace(
            lean=about(0.0, 0.08),
            leg_swing=both(1.35, 0.1),
            knee=both(1.45, 0.12),
            arm_swing=both(0.5, 0.2),
            elbow=both(0.7, 0.3),
        )
    return angles


class _Body:
    """The proportions of one person, in units of the person's height."""

    def __init__(self, seed: int, index: int):
        random = np.random.default_rng([seed, 0, index])

        def about(mean):
            return mean * (1 + 0.07 * float(np.clip(random.normal(), -2, 2)))

        self.shoulder, self.hip = about(0.105), about(0.062)  # half widths
        self.trunk, self.neck, self.head = about(0.29), about(0.055), about(0.092)
        self.upper_arm, self.forearm = about(0.165), about(0.150)
        self.thigh, self.shin, self.foot = about(0.235), about(0.225), about(0.085)
        self.girth = about(1.0)

    def joints_of(self, angles: _Angles) -> dict[str, np.ndarray]:
        """Points of the body in body coordinates, the pelvis at the origin."""
        spine = _direction(angles.lean, angles.sway, upwards=True)
        left = np.array([np.cos(angles.sway), -np.sin(angles.sway), 0.0])
        neck = spine * self.trunk
        head_axis = _direction(angles.lean + angles.nod, angles.sway + angles.tilt, upwards=True)
        head = neck + head_axis * (self.neck + self.head)
        forward = np.cross(left, head_axis)
        points = {"pelvis": np.zeros(3), "neck": neck, "head": head, "crown": head + head_axis * self.head}
        points["cnose"] = head + (forward * 0.95 - head_axis * 0.12) * self.head
        for side, sign, i in (("r", -1, 0), ("l", 1, 1)):
            points[side + "eye"] = head + (forward * 0.85 + left * sign * 0.42 + head_axis * 0.15) * self.head
            shoulder = neck + left * sign * self.shoulder - spine * 0.01
            points[side + "shoulder"] = shoulder
            swing, spread = angles.arm_swing[i], angles.arm_spread[i]
            elbow = shoulder + _direction(swing, sign * spread) * self.upper_arm
            # A hanging arm bends forwards, a raised one bends upwards.
            raised = np.clip((spread - 0.6) / 0.8, 0, 1)
            bend = angles.elbow[i]
            forearm = _direction(swing + bend * (1 - raised), sign * (spread + bend * raised))
            points[side + "elbow"], points[side + "wrist"] = elbow, elbow + forearm * self.forearm
            hip = left * sign * self.hip
            points[side + "hip"] = hip
            knee = hip + _direction(angles.leg_swing[i], sign * angles.leg_spread[i]) * self.thigh
            shin = _direction(angles.leg_swing[i] - angles.knee[i], sign * angles.leg_spread[i] * 0.6)
            ankle = knee + shin * self.shin
            points[side + "knee"], points[side + "ankle"] = knee, ankle
            points[side + "toes"] = ankle + np.array([sign * 0.25, -0.25, 1.0]) * self.foot
        return points


def _direction(swing: float, spread: float, upwards: bool = False) -> np.ndarray:
    """Unit vector of a limb: straight down (or up), then `spread` to the person's left, then `swing` forwards."""
    vertical = 1 if upwards else -1
    return np.array([np.sin(spread), vertical * np.cos(spread) * np.cos(swing), np.cos(spread) * np.sin(swing)])
