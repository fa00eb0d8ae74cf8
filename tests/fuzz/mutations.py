"""Damaged copies of good inputs: of bytes, of pictures with right checksums, of JSON documents, and hostile names.

Everything is a function of a `random.Random`, so that a number that Hypothesis draws stands for the whole input.
"""

import copy
import json
import struct
import zlib
from collections.abc import Callable
from random import Random

NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
NAMES = (
    "../x",
    "../../x.png",
    "/etc/passwd",
    "-rf",
    "--flagfile=x",
    "a\nb",
    "a\tb\x1b[31m",
    "\ud800",
    "\udcff",
    "\0",
    "",
    ".",
    "..",
    "a/../../b",
    "x" * 300,
    "é" * 200,
    "CON",
    "a:b+c,d",
    "http://127.0.0.1:9/x.mp4",
)
_ZEROS = [zlib.compress(bytes(size), 9) for size in (10, 10**6, 80 * 10**6)]
_DEEP = "@deep@"
_VALUES = (
    *NAMES,
    _DEEP,
    None,
    True,
    False,
    0,
    -1,
    1,
    2.5,
    -0.0,
    2**31,
    2**63,
    2**64,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    [],
    {},
    [[]],
    [None],
    [[1, 2], [3]],
    {"a": 1},
    {"": {}},
    [0] * 1000,
    "x" * 100_000,
)


def damaged(random: Random, originals: list[bytes], header: int = 256) -> bytes:
    """One of the originals with some bits, bytes, numbers or slices changed; half of the changes in the header."""
    content = bytearray(random.choice(originals))
    for _ in range(random.choice((1, 1, 1, 2, 3, 8, 40))):
        at = random.randrange(min(header, len(content)) if random.random() < 0.5 and content else len(content) + 1)
        length = random.choice((1, 2, 4, 8, 64, 1000))
        kind = random.randrange(11)
        if kind == 0 and at < len(content):
            content[at] ^= 1 << random.randrange(8)
        elif kind == 1 and at < len(content):
            content[at] = random.randrange(256)
        elif kind == 2:
            del content[at:]
        elif kind == 3:
            del content[at : at + length]
        elif kind == 4:
            content[at:at] = content[at : at + length] * random.choice((1, 2, 50))
        elif kind == 5:
            content[at:at] = random.randbytes(length)
        elif kind == 6:
            other = random.randrange(len(content) + 1)
            first, second = bytes(content[at : at + length]), bytes(content[other : other + length])
            content[at : at + len(second)], content[other : other + len(first)] = second, first
        elif kind in (7, 8):
            code = random.choice("<>") + random.choice("BHIQ")
            size = struct.calcsize(code)
            content[at : at + size] = struct.pack(code, random.choice(NUMBERS) % 2 ** (8 * size))
        elif kind == 9:
            content[at : at + length] = bytes(length)
        else:
            other = random.choice(originals)
            content[at:] = other[random.randrange(len(other) + 1) :]
    return bytes(content)


def damaged_png(random: Random, originals: list[bytes]) -> bytes:
    """A PNG whose chunks are damaged, moved, doubled or resized, their checksums right again."""
    content = random.choice(originals)
    chunks, at = [], 8
    while at + 12 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        chunks.append([content[at + 4 : at + 8], content[at + 8 : at + 8 + length]])
        at += 12 + length
    for _ in range(random.choice((1, 1, 2, 4))):
        i = random.randrange(len(chunks))
        kind = random.randrange(7)
        if kind == 0:
            chunks[i][1] = damaged(random, [chunks[i][1]])
        elif kind == 1:
            sides = [random.choice((0, 1, 3, 8192, 8193, 65535, 2**31 - 1, 2**32 - 1)) for _ in range(2)]
            rest = chunks[0][1][8:] if random.random() < 0.5 else random.randbytes(5)
            chunks[0] = [b"IHDR", struct.pack(">II", *sides) + rest]
        elif kind == 2:
            chunks.insert(random.randrange(len(chunks) + 1), list(chunks[i]))
        elif kind == 3 and len(chunks) > 1:
            del chunks[i]
        elif kind == 4:
            random.shuffle(chunks)
        elif kind == 5:
            text = random.choice(_ZEROS)
            name = random.choice((b"zTXt", b"iTXt", b"iCCP", b"tRNS", b"PLTE", b"eXIf", b"acTL", b"fdAT"))
            chunks.insert(1, [name, b"a\0\0" + text if name != b"PLTE" else text])
        else:
            chunks[i][0] = random.choice((b"IDAT", b"tEXt", b"PLTE", b"tRNS", b"gAMA", random.randbytes(4)))
    body = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return content[:8] + b"".join(body)


def damaged_document(random: Random, document) -> bytes:
    """A JSON document with some of its values replaced, removed, doubled or wrapped; a few are damaged as text."""
    document = json.loads(json.dumps(document))
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        document = _changed(random, document)
    text = json.dumps(document, ensure_ascii=random.random() < 0.7).encode("utf-8", "surrogatepass")
    while f'"{_DEEP}"'.encode() in text:
        depth = random.choice((50, 900, 1100, 100_000))
        opening, closing = random.choice(((b"[", b"]"), (b'{"a":', b"}")))
        text = text.replace(f'"{_DEEP}"'.encode(), opening * depth + b"1" + closing * depth, 1)
    return damaged(random, [text]) if random.random() < 0.1 else text


def _changed(random: Random, document):
    """The document with one change; which value is changed is drawn level by level, so that all depths occur."""
    if isinstance(document, (dict, list)) and document and random.random() < 0.85:
        keys = list(document) if isinstance(document, dict) else range(len(document))
        key = random.choice(keys)
        kind = random.randrange(12)
        if kind == 0:
            del document[key]
        elif kind == 1 and isinstance(document, list):
            document.extend(copy.deepcopy(document[:3]))
        elif kind == 2 and isinstance(document, dict):
            document[random.choice(NAMES)] = copy.deepcopy(document[key])
        else:
            document[key] = _changed(random, document[key])
        return document
    if random.random() < 0.1:
        return [document]
    if isinstance(document, (int, float)) and abs(document) < 1e15 and random.random() < 0.3:
        return random.choice((document * 1000, -document, document + 0.5, str(document)))
    return copy.deepcopy(random.choice(_VALUES))


def one_of(*makers: Callable[[Random], object]) -> Callable[[Random], object]:
    """What one of several makers gives."""
    return lambda random: random.choice(makers)(random)
