"""A browser that Playwright controls, to film the page and to test it."""

import contextlib
import shutil
from collections.abc import Iterator

from vunet_tf.files.errors import InputError


@contextlib.contextmanager
def chromium() -> Iterator:
    """Chromium without a window, a `playwright.sync_api.Browser`.

    Raises:
        InputError: Playwright or chromium is not there.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise InputError("there is no Playwright: pip install '.[dev]'") from error
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise InputError("there is no chromium: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
