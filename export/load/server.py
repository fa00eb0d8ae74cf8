"""A server for `python -m export.load`: it runs a SavedModel with TensorFlow's C++ loader, with and without batching.

It is a process without Python's TensorFlow. Each client has a connection and a thread. A request is (tensors, names of
outputs, whether it is batched). "memory" asks for the MiB of this process, "sizes" for the sizes of its batches.
"""

import re
import sys
import threading
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

from export.load import batching, cpp_loader


def memory_mib() -> float:
    """The memory that this process occupies now, in MiB."""
    return int(re.search(r"VmRSS:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def connect(address: str, key: bytes) -> Connection:
    """A new connection to the server, for a client."""
    return Client(address, "AF_UNIX", authkey=key)


def _serve(connection, model, batcher):
    try:
        while True:
            asked = connection.recv()
            if asked == "memory":
                connection.send(memory_mib())
            elif asked == "sizes":
                connection.send(dict(batcher.sizes))
                batcher.sizes.clear()
            else:
                inputs, outputs, batched = asked
                connection.send(batcher.ask(inputs, outputs) if batched else model(inputs, outputs))
    except (EOFError, ConnectionResetError, BrokenPipeError):
        pass


def main(library_dir: str, model_dir: str, address: str, rules_file: str) -> None:
    """Serves until standard input ends. Its first line is the key that clients must know."""
    key = bytes.fromhex(sys.stdin.readline())
    model = cpp_loader.SavedModel(cpp_loader.load_library(library_dir), model_dir)

    def run(inputs, outputs):
        error, arrays = model.run(inputs, outputs)
        return error, dict(zip(outputs, arrays, strict=False))

    batcher = batching.Batcher(batching.read_rules(rules_file), run)
    listener = Listener(address, "AF_UNIX", authkey=key)
    forbidden = sorted({"tensorflow", "keras", "vunet_tf"} & sys.modules.keys())
    assert not forbidden, forbidden

    def accept():
        while True:
            connection = listener.accept()
            threading.Thread(target=_serve, args=(connection, run, batcher), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
