"""Serves the page's folder to this machine. Browsers load modules only from a server."""

import functools
import http.server
from pathlib import Path


def server(folder: Path | str, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A web server for a folder. Only this machine can reach it, and it prints nothing."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    Handler.extensions_map = {**Handler.extensions_map, ".js": "text/javascript"}  # Windows may say text/plain
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Handler, directory=str(folder)))
    serving.handle_error = lambda *_: None  # a browser stopped loading a file
    return serving
