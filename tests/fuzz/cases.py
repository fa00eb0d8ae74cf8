"""The inputs that once were findings, made by code: {reader: {what it was: input}}. Each must end well now."""

import pickle
import struct


class _Calls:
    """Pickled, it asks for a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def pickles() -> dict[str, bytes]:
    """Pickles that would run something, fill the memory or never end."""
    import os

    empty = b"\x80\x04}"
    lists = b"(" + b"".join(b"\x8c%c%b]" % (len(key), key) for key in (b"imgs", b"train", b"joints")) + b"u."
    many = b"(" + b"".join(b"J" + struct.pack("<i", i) + b"K\x00\x86" for i in range(3000)) + b"lq\x00"
    copies = b"ccollections\nOrderedDict\nq\x010(" + b"h\x01h\x00\x85R" * 20_000 + b"l"
    return {
        "a call of the system": pickle.dumps({"imgs": _Calls(os.system, "true")}),
        "a place in the memo that takes 64 GiB": empty + b"]r\xff\xff\xff\xff0" + lists,
        "a text that is longer than the file": empty + b"\x8e" + struct.pack("<Q", 2**40) + lists,
        "a key whose hash takes years": empty + b"K\x01" + b"2\x86" * 60 + b"K\x01s" + lists,
        "a name that unfolds to more than any memory": b"\x80\x02}(X\x04\x00\x00\x00imgs]K\x01"
        + b"2\x86" * 40
        + b"aX\x05\x00\x00\x00train]K\x01aX\x06\x00\x00\x00joints]]au.",
        "one list copied many times": b"\x80\x02" + many + b"0" + copies + b".",
        "a function of ours changed": b"\x80\x02c_codecs\nencode\nN}X\x0c\x00\x00\x00__defaults__N\x85s\x86b}.",
    }
