"""The page's folder served to this machine: browsers load modules from a server only."""

import functools
import http.server
from pathlib import Path


def server(folder: Path | str, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A web server for a folder, to this machine alone; silent."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    Handler.extensions_map = {**Handler.extensions_map, ".js": "text/javascript"}  # Windows may say text/plain
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Handler, directory=str(folder)))
    serving.handle_error = lambda *_: None  # a browser gave a file up
    return serving
