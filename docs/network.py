"""Draws the network of docs/model.md: `python docs/network.py` writes docs/network.svg."""

from pathlib import Path

GREY, BLUE, GREEN, ORANGE, RED = "#e9edf1", "#cfe3f7", "#d5efd9", "#fde3c4", "#f6d3d6"
INK = "#22303c"
PARTS: list[str] = []


def box(x, y, width, height, colour, *lines, rounded=6):
    """A box with lines of text in its middle."""
    PARTS.append(
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{rounded}" fill="{colour}" stroke="{INK}"/>'
    )
    for i, line in enumerate(lines):
        text(x + width / 2, y + height / 2 + 5 + 17 * (i - (len(lines) - 1) / 2), line)


def text(x, y, line, size=14, anchor="middle", style=""):
    PARTS.append(f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" {style}>{line}</text>')


def arrow(*points, dashed=False):
    """A line through the points with a head at its end."""
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    way = " ".join(f"{x},{y}" for x, y in points)
    PARTS.append(
        f'<polyline points="{way}" fill="none" stroke="{INK}" stroke-width="1.4"{dash} marker-end="url(#head)"/>'
    )


def scales(x, colour, names, grows):
    """A column of boxes, one for each scale of a network. From the top down they shrink, or grow if `grows`."""
    for i, name in enumerate(names):
        width = 150 - 26 * (len(names) - 1 - i if grows else i)
        box(x - width / 2, 150 + 62 * i, width, 40, colour, name)
        if i:
            arrow((x, 150 + 62 * i - 22), (x, 150 + 62 * i - 2))


def drawing() -> str:
    text(150, 28, "shape map y", 16)
    box(75, 40, 150, 56, GREY, "stickman, edges", "or doll [S, S, C]")
    text(800, 28, "picture x and its shape map", 16)
    box(715, 40, 170, 56, GREY, "x beside y", "[S, S, 3 + C]")

    text(150, 134, "E: shape encoder", 15, style='font-weight="bold"')
    scales(150, BLUE, ("S", "S / 2", "...", "bottom"), grows=False)
    arrow((150, 98), (150, 116))

    text(462, 134, "D: decoder, upwards", 15, "start", style='font-weight="bold"')
    for i, name in enumerate(("S", "S / 2", "...", "bottom")):
        width = 150 - 26 * i
        box(450 - width / 2, 150 + 62 * i, width, 40, GREEN, name)
        if i:
            arrow((450, 150 + 62 * i - 2), (450, 150 + 62 * i - 20))
        arrow((150 + width / 2 + 2, 170 + 62 * i), (450 - width / 2 - 4, 170 + 62 * i))
    text(298, 222, "skips carry", 13)
    text(298, 260, "the shape", 13)

    text(800, 134, "F: appearance encoder", 15, style='font-weight="bold"')
    scales(800, ORANGE, ("S", "S / 2", "..."), grows=False)
    arrow((800, 98), (800, 116))
    box(705, 336, 190, 46, ORANGE, "q(z | x, y)", "mean and variance")
    arrow((800, 316), (800, 334))

    box(590, 336, 70, 46, RED, "z")
    arrow((703, 359), (664, 359))
    text(684, 350, "sample", 11)
    arrow((588, 359), (492, 359))
    box(75, 430, 150, 46, RED, "prior p(z | y)")
    arrow((150, 378), (150, 428))
    arrow((227, 453), (625, 453), (625, 386), dashed=True)
    text(420, 445, "to sample an appearance, z comes from the prior", 13)
    text(684, 425, "training: KL(q || p)", 13)

    arrow((450, 148), (450, 100))
    box(375, 40, 150, 56, GREY, "picture G(y, z)", "[S, S, 3]")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 950 500" font-family="sans-serif" fill="' + INK + '">'
        '<defs><marker id="head" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L10 5 L0 10 z" fill="{INK}"/></marker></defs>'
        '<rect width="950" height="500" fill="white"/>' + "\n".join(PARTS) + "</svg>\n"
    )


if __name__ == "__main__":
    Path(__file__).with_name("network.svg").write_text(drawing())
