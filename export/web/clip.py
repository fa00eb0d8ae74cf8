r"""Films the page in use: a joint is dragged, the person dances, clothes are changed.

  python -m export.web --run_dir=figures-128 --out=site
  python -m export.web.clip --site=site --out=docs/web.webp

It needs Playwright and chromium (BUILD.md). Frames are taken one by one, so the clip is also smooth on a slow machine.
"""

import io
import threading
from pathlib import Path

from absl import flags
from PIL import Image

from export.web.browser import chromium
from export.web.serving import server
from vunet_tf.command_line.startup import run
from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError

_SITE = flags.DEFINE_string("site", None, "Folder of the page, made by `python -m export.web`.")
_OUT = flags.DEFINE_string("out", None, "WebP file for the clip.")

_WIDTH, _HEIGHT, _SHOWN = 1120, 760, 0.7  # size of the window in pixels, and the scale at which the clip shows it
_FRAME = 80  # milliseconds


class _Film:
    """Frames of a page whose clock stands still between them."""

    def __init__(self, page):
        self.page, self.frames = page, []

    def take(self, count: int = 1) -> None:
        """Lets time go on by one frame and takes it, `count` times."""
        for _ in range(count):
            self.page.clock.run_for(_FRAME)
            while self.page.evaluate("import('./main.js').then(({ state }) => state.busy)"):
                self.page.wait_for_timeout(20)  # the model works in real time
            shot = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
            self.frames.append(shot.resize((round(_WIDTH * _SHOWN), round(_HEIGHT * _SHOWN)), Image.Resampling.LANCZOS))

    def click(self, selector: str, frames: int = 8) -> None:
        """Clicks, and shows the result."""
        self.page.click(selector)
        self.take(frames)

    def drag(self, joint: str, path: list[tuple[int, int]]) -> None:
        """Drags a joint along steps in pixels, one frame for each step."""
        box = self.page.locator(f"#stage .{joint}").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        for right, down in path:
            x, y = x + right, y + down
            self.page.mouse.move(x, y)
            self.take()
        self.page.mouse.up()


def _played(film: _Film) -> None:
    film.take(5)
    film.drag("lelbow", [(4, -14)] * 8)
    film.drag("rwrist", [(-14, -10)] * 8)
    film.click("#appearances button >> nth=4")
    film.click("#appearances button >> nth=8")
    film.page.get_by_label("torso", exact=True).check(force=True)
    film.click("#appearances button >> nth=7")
    film.click("#surprise")
    film.page.get_by_label("everything", exact=True).check(force=True)
    film.click("#surprise")
    film.click("#appearances button >> nth=10")
    film.page.uncheck("#bones")
    film.click("#dance", frames=50)


def _film() -> None:
    if not _SITE.value or not _OUT.value:
        raise InputError("give --site and --out; `python -m export.web.clip --help` explains")
    atomic.check_writable(_OUT.value)
    serving = server(_SITE.value)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    with chromium() as browser:
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        page.goto(f"http://127.0.0.1:{serving.server_port}/")
        page.wait_for_selector("#stage[aria-busy=false]")
        page.clock.install()
        # The page's speed is wrong here, since the clock stands still.
        page.evaluate("document.getElementById('speed').style.visibility = 'hidden'")
        film = _Film(page)
        _played(film)
    first, *others = film.frames
    made = io.BytesIO()
    first.save(made, "WebP", save_all=True, append_images=others, duration=_FRAME, loop=0, quality=60, method=4)
    with atomic.writing(_OUT.value):
        atomic.write_bytes(Path(_OUT.value), made.getvalue())
    print(f"{_OUT.value}: {len(film.frames)} frames, {len(made.getvalue()) / 1e6:.2f} MB")


if __name__ == "__main__":
    run(_film, if_stopped="nothing was written")
