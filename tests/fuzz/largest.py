"""Measures the memory that the largest pictures take which are read: `python -m tests.fuzz.largest`.

Each is made and read in a process of its own. Shown are MiB: the kernel's peak beyond what the process had before.
"""

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from vunet_tf.command_line.startup import in_own_process
from vunet_tf.files import pictures

SIDE = 8192  # pixels; its square is `pictures.MAX_PIXELS`
KINDS = {
    "transparency (PNG)": ("RGBA", np.uint8, 4, "PNG"),
    "16 bits of grey (PNG)": ("I;16", np.uint16, None, "PNG"),
    "CMYK (JPEG)": ("CMYK", np.uint8, 4, "JPEG"),
}


def write(kind: str, path: Path, side: int = SIDE) -> None:
    """Writes such a picture, flat: what it takes in memory does not depend on what it shows."""
    mode, dtype, channels, file_format = KINDS[kind]
    pixels = np.full((side, side, channels) if channels else (side, side), 99, dtype)
    content = io.BytesIO()
    picture = Image.fromarray(pixels, mode) if channels else Image.fromarray(pixels)
    picture.save(content, file_format, **({"compress_level": 1} if file_format == "PNG" else {}))
    path.write_bytes(content.getvalue())


def peak(kind: str, path: Path) -> float:
    """MiB that reading it takes, after a small one of its kind."""
    small = path.with_name("small")
    write(kind, small, 8)
    pictures.read_picture(small)
    clear, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")

    def told(name):
        return int(status.read_text().split(f"{name}:")[1].split()[0]) / 1024

    clear.write_text("5")  # the peak begins anew
    before = told("VmRSS")
    assert pictures.read_picture(path).shape == (SIDE, SIDE, 3)
    return told("VmHWM") - before


def main() -> None:
    """Prints a line for each kind. It takes no arguments, and --help shows what it measures."""
    argparse.ArgumentParser("tests.fuzz.largest", description=__doc__).parse_args()
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture"
            in_own_process(write, kind, path)
            print(f"{SIDE} x {SIDE}, {kind}: {in_own_process(peak, kind, path):,.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
