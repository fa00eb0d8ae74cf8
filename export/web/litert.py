"""The files of LiteRT.js, which runs TFLite files in a browser: two packages of npm with a fixed version and hash.

They are downloaded when the first page is made, and kept in the user's cache. They are not in the repository: they have
2.9 MB compressed, again for every new version, and only pages need them.
"""

import base64
import hashlib
import io
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import platformdirs

from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError

VERSION = "2.5.3"
_REGISTRY = "https://registry.npmjs.org/@litertjs/{0}/-/{0}-{1}.tgz"
# As `npm view @litertjs/core@2.5.3 dist.integrity` shows them.
_SHA512 = {
    "core": "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
    "wasm-utils": "4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
}
# The build that every browser with WebAssembly SIMD can run; page/model.js names it.
_WASM = "wasm/litert_wasm_compat_internal"
_FILES = {"core": ("dist/index.js", f"{_WASM}.js", f"{_WASM}.wasm"), "wasm-utils": ("dist/index.js",)}
_NOTICE = f"""LiteRT.js {VERSION}: the npm packages {" and ".join(f"@litertjs/{name}" for name in _FILES)}, unchanged.
Copyright Google LLC. Licensed under the Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0
"""


def cache() -> Path:
    """The folder in which fetched packages are kept."""
    return platformdirs.user_cache_path("vunet_tf")


def archive(name: str) -> str:
    """The file of a package, as `npm pack` names it."""
    return f"litertjs-{name}-{VERSION}.tgz"


def files(folder: Path | str | None = None) -> dict[str, bytes]:
    """{path in the page's folder `litert`: content}.

    Args:
        folder: folder with both packages, as `npm pack` writes them. By default they are downloaded once and kept.

    Raises:
        InputError: a package is not there, cannot be downloaded, or has another hash.
    """
    found = {"NOTICE.txt": _NOTICE.encode()}
    for name, members in _FILES.items():
        content = _read(name, Path(folder) / archive(name), "--litert") if folder else _fetched(name)
        with tarfile.open(fileobj=io.BytesIO(content)) as package:
            found |= {f"{name}/{member}": package.extractfile(f"package/{member}").read() for member in members}
    return found


def _read(name, path, flag):
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{flag}: cannot read {path}: {error.strerror}; {_remedy()}") from error
    _check(name, content, path)
    return content


def _fetched(name):
    path = cache() / archive(name)
    if path.is_file():
        return _read(name, path, "the cache")
    url = _REGISTRY.format(name, VERSION)
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            content = answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise InputError(f"cannot fetch {url}: {getattr(error, 'reason', error)}; {_remedy()}") from error
    _check(name, content, url)
    with atomic.writing(path, "XDG_CACHE_HOME"):
        atomic.write_bytes(path, content)
    return content


def _check(name, content, source):
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != _SHA512[name]:
        raise InputError(f"{source} is not @litertjs/{name} {VERSION}: its hash is different; {_remedy()}")


def _remedy():
    packages = " ".join(f"@litertjs/{name}@{VERSION}" for name in _FILES)
    return f"run `npm pack {packages}` where there is a network, and name the folder with --litert"
