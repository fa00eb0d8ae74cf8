"""Drawing: a figure is painted from back to front out of soft-edged shapes.

Every shape is a signed distance (negative inside) on the pixels of its bounding box. Its coverage is this distance
clipped to one pixel, which gives the anti-aliasing. Light falls from the upper left.
"""

from typing import NamedTuple

import numpy as np

from vunet_tf.people.looks import Look
from vunet_tf.people.poses import Pose

_LIGHT = np.array([0.55, 0.83])  # points away from the light, in the picture
_SHADE = 0.20  # how much darker the far side of a limb is


class Figure(NamedTuple):
    """A drawn person: image [S, S, 3] uint8, and mask [S, S] uint8, 255 inside the person. The shadow is outside."""

    image: np.ndarray
    mask: np.ndarray


def draw(look: Look, pose: Pose, size: int) -> Figure:
    """Draws a look in a pose, `size` pixels square. The same arguments give the same bytes."""
    canvas = _Canvas(size, look.background)
    canvas.shadow(pose)
    painter = _Painter(canvas, look, pose)
    for _, paint in sorted(painter.layers(), key=lambda layer: layer[0]):
        paint()
    return canvas.figure()


class _Canvas:
    def __init__(self, size: int, background):
        self.size = size
        y = np.linspace(-1, 1, size, dtype=np.float32)[:, None, None]
        self.image = np.broadcast_to(np.array(background, np.float32) - 10 * y, (size, size, 3)).copy()
        self.mask = np.zeros((size, size), np.float32)

    def figure(self) -> Figure:
        image = np.clip(np.rint(self.image), 0, 255).astype(np.uint8)
        return Figure(image, np.clip(np.rint(self.mask * 255), 0, 255).astype(np.uint8))

    def box(self, low, high):
        """Slices of the pixels of a box in fractions, and the positions of their centres [h, w, 2]; None if outside."""
        low = np.clip(np.floor(np.asarray(low) * self.size - 1), 0, self.size).astype(int)
        high = np.clip(np.ceil(np.asarray(high) * self.size + 1), 0, self.size).astype(int)
        if (low >= high).any():
            return None
        y, x = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32)
        return (slice(low[1], high[1]), slice(low[0], high[0])), (np.stack([x, y], -1) + 0.5) / self.size

    def shadow(self, pose: Pose) -> None:
        """A soft shadow on the ground under the feet."""
        feet = np.array([pose.points[name] for name in ("rankle", "lankle", "rtoes", "ltoes")])
        centre = np.array([feet[:, 0].mean(), feet[:, 1].max()])
        radii = np.array([np.ptp(feet[:, 0]) / 2 + 0.10, 0.028])
        where = self.box(centre - radii, centre + radii)
        if where is not None:
            area, p = where
            inside = np.clip(1 - (((p - centre) / radii) ** 2).sum(-1), 0, 1)
            self.image[area] *= 1 - 0.28 * inside[..., None]

    def paint(self, area, distance, colour) -> None:
        """Lays a colour (one, or [h, w, 3]) over the pixels of `area` where `distance` (fractions) is negative."""
        coverage = np.clip(0.5 - distance * self.size, 0, 1)
        self.image[area] += (np.asarray(colour, np.float32) - self.image[area]) * coverage[..., None]
        self.mask[area] += (1 - self.mask[area]) * coverage

    def limb(self, a, b, radius_a, radius_b, colour, texture=None) -> None:
        """A tapered line with round ends, shaded as if it were round; `texture(u, v)` mixes in a second colour.

        u runs from 0 at `a` to 1 at `b`, v from -1 to 1 across.
        """
        widest = max(radius_a, radius_b)
        where = self.box(np.minimum(a, b) - widest, np.maximum(a, b) + widest)
        if where is None:
            return
        area, p = where
        along = b - a
        u = ((p - a) @ along) / max(along @ along, 1e-9)
        nearest = np.clip(u, 0, 1)
        offset = p - a - nearest[..., None] * along
        radius = radius_a + (radius_b - radius_a) * nearest
        distance = np.sqrt((offset**2).sum(-1)) - radius
        shade = 1 - _SHADE * np.clip((offset @ _LIGHT) / radius, -0.6, 1)
        colour = np.asarray(colour, np.float32)
        if texture is not None:
            v = (along[0] * offset[..., 1] - along[1] * offset[..., 0]) / max(np.linalg.norm(along), 1e-9) / radius
            colour = texture(u, v)
        self.paint(area, distance, colour * shade[..., None])

    def ball(self, centre, radius, colour) -> None:
        self.limb(centre, centre, radius, radius, colour)

    def polygon(self, corners, rounding, colour, texture=None) -> None:
        """A polygon grown by `rounding`; `texture(p)` gives the colours at positions p [h, w, 2]."""
        corners = np.asarray(corners)
        where = self.box(corners.min(axis=0) - rounding, corners.max(axis=0) + rounding)
        if where is None:
            return
        area, p = where
        squared = np.full(p.shape[:2], np.inf)
        sign = np.full(p.shape[:2], 1.0)
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            along, to = b - a, p - a
            t = np.clip((to @ along) / max(along @ along, 1e-9), 0, 1)
            squared = np.minimum(squared, ((to - t[..., None] * along) ** 2).sum(-1))
            straddles = (a[1] > p[..., 1]) != (b[1] > p[..., 1])
            rise = along[1] if abs(along[1]) > 1e-9 else 1e-9
            crosses = straddles & (to[..., 0] < to[..., 1] / rise * along[0])
            sign = np.where(crosses, -sign, sign)
        distance = sign * np.sqrt(squared) - rounding
        centre, half = corners.mean(axis=0), np.ptp(corners, axis=0).max() / 2 + rounding
        shade = 1 - _SHADE * np.clip(((p - centre) @ _LIGHT) / half, -0.6, 1)
        colour = np.asarray(colour, np.float32) if texture is None else texture(p)
        self.paint(area, distance, colour * shade[..., None])


class _Painter:
    """The parts of a person, each with its depth."""

    def __init__(self, canvas: _Canvas, look: Look, pose: Pose):
        self.canvas, self.look, self.pose = canvas, look, pose
        # All widths follow the size of the head, so they are in the joints and not in the look.
        self.unit = pose.head_radius * pose.girth
        self.facing_away = pose.forward[1] < -0.1

    def layers(self):
        """(depth, paint) of all parts; the trunk has depth 0."""
        depth = self.pose.depth
        trunk = depth["neck"] / 2
        for side in "rl":
            arm = (depth[side + "elbow"] + depth[side + "wrist"] + depth[side + "shoulder"]) / 3 - trunk
            # An arm at the side of the trunk is in front of it, whichever way the person faces.
            yield (arm if arm < -0.25 * self.unit else abs(arm) + 0.2), lambda side=side: self.arm(side)
            leg = (depth[side + "knee"] + depth[side + "ankle"]) / 2
            yield -1 + leg, lambda side=side: self.leg(side)
        if "skirt" in self.look.legwear:
            yield -0.01, self.skirt
        yield 0.0, self.trunk
        head_depth = 0.15
        yield (0.3 if self.facing_away else -0.02), self.hair_behind
        yield head_depth, self.head
        yield head_depth + 0.01, self.hair_before

    def arm(self, side: str) -> None:
        p, look, unit = self.pose.points, self.look, self.unit
        shoulder, elbow, wrist = p[side + "shoulder"], p[side + "elbow"], p[side + "wrist"]
        wide, middle, thin = 0.40 * unit, 0.33 * unit, 0.25 * unit
        if look.sleeves != "long":
            self.canvas.limb(elbow, wrist, middle, thin, look.skin)
        self.canvas.ball(wrist + 0.12 * (wrist - elbow), 0.32 * unit, look.skin)
        if look.sleeves == "none":
            self.canvas.limb(shoulder, elbow, wide, middle, look.skin)
            return
        if look.sleeves == "long":
            self.canvas.limb(elbow, wrist, middle * 1.12, thin * 1.25, look.shirt, self.sleeve_texture)
            self.canvas.limb(shoulder, elbow, wide * 1.1, middle * 1.12, look.shirt, self.sleeve_texture)
        else:
            self.canvas.limb(shoulder, elbow, wide, middle, look.skin)
            hem = shoulder + 0.55 * (elbow - shoulder)
            self.canvas.limb(shoulder, hem, wide * 1.15, wide * 1.2, look.shirt, self.sleeve_texture)

    def leg(self, side: str) -> None:
        p, look, unit = self.pose.points, self.look, self.unit
        hip, knee, ankle, toes = (p[side + name] for name in ("hip", "knee", "ankle", "toes"))
        wide, middle, thin = 0.60 * unit, 0.44 * unit, 0.32 * unit
        self.canvas.limb(hip, knee, wide, middle, look.skin)
        self.canvas.limb(knee, ankle, middle, thin, look.skin)
        heel = ankle + np.array([0, 0.22 * unit])
        self.canvas.limb(heel, toes + np.array([0, 0.02 * unit]), 0.34 * unit, 0.26 * unit, look.shoes)
        if look.legwear == "trousers":
            self.canvas.limb(knee, ankle, middle * 1.1, thin * 1.3, look.legs)
            self.canvas.limb(hip, knee, wide * 1.05, middle * 1.1, look.legs)
        elif look.legwear == "shorts":
            self.canvas.limb(hip, hip + 0.65 * (knee - hip), wide * 1.08, wide * 0.98, look.legs)

    def skirt(self) -> None:
        p, unit = self.pose.points, self.unit
        reach = 0.95 if self.look.legwear == "long skirt" else 0.6
        hips = [p["rhip"], p["lhip"]]
        hems = [p[side + "hip"] + reach * (p[side + "knee"] - p[side + "hip"]) for side in "rl"]
        if (hips[0][0] > hips[1][0]) != (hems[0][0] > hems[1][0]):
            hems.reverse()  # crossed legs do not twist the skirt
        middle = (hems[0] + hems[1]) / 2
        hems = [hem + (hem - middle) * 0.25 for hem in hems]
        self.canvas.polygon([hips[0], hips[1], hems[1], hems[0]], 0.55 * unit, self.look.legs)

    def trunk(self) -> None:
        p, look, unit = self.pose.points, self.look, self.unit
        hips = [p["rhip"], p["lhip"]]
        self.canvas.limb(hips[0], hips[1], 0.62 * unit, 0.62 * unit, look.legs)
        neck_width = 0.36 * unit
        self.canvas.limb(p["neck"], p["head"], neck_width, neck_width, look.skin)
        inwards = 0.28
        middle = (p["rshoulder"] + p["lshoulder"]) / 2
        down = (p["pelvis"] - p["neck"]) * 0.06
        shoulders = [p[s + "shoulder"] + inwards * (middle - p[s + "shoulder"]) + down * 2.2 for s in "rl"]
        waist = [hip - down * 2.2 for hip in hips]
        rounding = 0.56 * unit
        self.canvas.polygon([shoulders[0], shoulders[1], waist[1], waist[0]], rounding, look.shirt, self.shirt_texture)

    def head(self) -> None:
        p, look, radius = self.pose.points, self.look, self.pose.head_radius
        head = p["head"]
        up = (p["crown"] - head) / max(np.linalg.norm(p["crown"] - head), 1e-9)
        self.canvas.limb(head - 0.28 * radius * up, head + 0.12 * radius * up, 0.74 * radius, 0.86 * radius, look.skin)
        if self.facing_away:
            return
        depth = self.pose.depth
        white, dark = (250, 250, 250), (40, 34, 38)
        for side in "rl":
            if depth[side + "eye"] > depth["head"]:
                self.canvas.ball(p[side + "eye"], 0.17 * radius, white)
                self.canvas.ball(
                    p[side + "eye"] + np.array([self.pose.forward[0] * 0.05 * radius, 0]), 0.10 * radius, dark
                )
        shaded = np.array(look.skin) * 0.82
        self.canvas.ball(p["cnose"], 0.13 * radius, shaded)
        mouth = p["cnose"] - 0.36 * radius * up
        across = np.array([-up[1], up[0]]) * 0.24 * radius * abs(self.pose.forward[1])
        mouth = mouth - np.array([self.pose.forward[0] * 0.18 * radius, 0])
        self.canvas.limb(mouth - across, mouth + across, 0.06 * radius, 0.06 * radius, np.array(look.skin) * 0.55)

    def hair_behind(self) -> None:
        """The hair that hangs behind the head, and all hair of a person who faces away."""
        p, style, radius = self.pose.points, self.look.hair_style, self.pose.head_radius
        head, up, back = p["head"], self._up(), self._back()
        if style in ("bob", "long"):
            length = 0.75 if style == "bob" else 1.75
            top, end = head + 0.15 * radius * up + 0.15 * back, head - length * radius * up + 0.4 * back
            self.canvas.limb(top, end, 0.98 * radius, 0.82 * radius, self.look.hair)
        elif style == "ponytail":
            root = head + 0.45 * radius * up + 0.75 * back
            self.canvas.limb(root, root - 1.5 * radius * up + 0.45 * back, 0.34 * radius, 0.2 * radius, self.look.hair)
        elif style == "afro":
            self.canvas.ball(head + 0.3 * radius * up + 0.1 * back, 1.3 * radius, self.look.hair)
        if self.facing_away and style not in ("bald", "long", "bob"):
            colour = self.look.hat if style == "cap" else self.look.hair
            self.canvas.ball(head + 0.12 * radius * up, 0.93 * radius, colour)

    def hair_before(self) -> None:
        """The hair on top of the head: it follows the skull and leaves the face free."""
        p, look, radius = self.pose.points, self.look, self.pose.head_radius
        style, head, up, back = look.hair_style, p["head"], self._up(), self._back()
        if style == "bald":
            return
        if self.facing_away and style in ("short", "crop", "long", "bob", "afro", "ponytail"):
            return
        colour = look.hat if style == "cap" else look.hair
        across = np.array([-up[1], up[0]]) * radius
        lift = {"crop": 0.62, "cap": 0.5}.get(style, 0.5)
        crown = head + lift * radius * up + 0.28 * back
        thick = {"crop": 0.36, "afro": 0.5}.get(style, 0.46) * radius
        spread = 0.5 * across
        self.canvas.limb(crown - spread, crown + spread, thick, thick, colour)
        self.canvas.ball(
            head + 0.45 * radius * up + 0.3 * back, 0.62 * radius if style != "crop" else 0.5 * radius, colour
        )
        if style in ("short", "bob", "long", "ponytail", "bun") and abs(self.pose.forward[0]) > 0.25:
            self.canvas.ball(head + 0.05 * radius * up + 0.62 * back, 0.55 * radius, colour)  # the side of the head
        if style == "bun":
            self.canvas.ball(head + 1.2 * radius * up + 0.35 * back, 0.42 * radius, colour)
        if style == "cap" and not self.facing_away:
            peak = crown - 0.24 * radius * up
            towards = np.array([self.pose.forward[0], 0.0]) * 0.95 * radius
            side = across * 0.55 * abs(self.pose.forward[1])
            darker = np.array(colour) * 0.8
            self.canvas.polygon(
                [peak - side, peak + side, peak + side + towards, peak - side + towards], 0.12 * radius, darker
            )

    def _up(self) -> np.ndarray:
        up = self.pose.points["crown"] - self.pose.points["head"]
        return up / max(np.linalg.norm(up), 1e-9)

    def _back(self) -> np.ndarray:
        """The direction of the back of the head in the picture, one head radius long when seen from the side."""
        return np.array([-self.pose.forward[0], 0.0]) * self.pose.head_radius

    def sleeve_texture(self, u, v):
        return self._pattern(v * 0.5, u * 0.6)

    def shirt_texture(self, p):
        """The shirt's pattern lies on the trunk: it leans, grows and turns with it."""
        points = self.pose.points
        neck, spine = points["neck"], points["pelvis"] - points["neck"]
        length = max(np.linalg.norm(spine), 1e-9)
        spine = spine / length
        across = np.array([spine[1], -spine[0]])
        v = ((p - neck) @ spine) / length
        half_width = 1.9 * self.unit
        u = ((p - neck) @ across) / half_width - 0.5 * self.pose.forward[0]
        return self._pattern(u, v)

    def _pattern(self, u, v):
        """The shirt's colours [h, w, 3] at u (across, 0 on the breastbone) and v (0 at the neck, 1 at the hip)."""
        shirt, accent = np.array(self.look.shirt, np.float32), np.array(self.look.shirt_accent, np.float32)
        # Bands have soft edges. Hard ones would shimmer in small pictures.
        soft = 6.0
        pattern = self.look.pattern
        if pattern == "stripes":
            mix = np.clip(np.sin(v * 2 * np.pi * 3.5) * soft / 2 + 0.5, 0, 1)
        elif pattern == "pinstripes":
            mix = np.clip(np.sin(u * 2 * np.pi * 2.2 + np.pi / 2) * soft / 2 + 0.5, 0, 1)
        elif pattern == "checks":
            mix = np.clip(np.sin(u * 2 * np.pi * 1.5 + 0.8) * np.sin(v * 2 * np.pi * 2.5) * soft + 0.5, 0, 1)
        elif pattern == "dots":
            mix = np.clip((np.cos(u * 2 * np.pi * 2.2) + np.cos(v * 2 * np.pi * 4) - 0.9) * soft / 2 + 0.5, 0, 1)
        elif pattern == "halves":
            mix = np.clip((v - 0.5) * 12 + 0.5, 0, 1)
        elif pattern == "emblem" and not self.facing_away:
            mix = np.clip((0.3 - np.hypot(u * 1.2, (v - 0.38) * 1.6)) * 12 + 0.5, 0, 1)
        else:
            return np.broadcast_to(shirt, (*np.shape(u), 3))
        return shirt + (accent - shirt) * mix[..., None].astype(np.float32)
