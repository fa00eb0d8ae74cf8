"""NPZ archives from outside: they are checked before NumPy allocates memory for their arrays."""

import math
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

MOST_UNPACKED = 2**30  # bytes of the arrays of a compressed archive


def check_archive(file: Path | str | BinaryIO, packed: bool) -> None:
    """Raises ValueError unless the archive has the bytes that its arrays need. A damaged one may raise any exception.

    The head of an array in a small file can promise any size, and NumPy would allocate memory for it.

    Args:
        file: path or open file of the archive.
        packed: whether its arrays may be compressed. Then they may have up to `MOST_UNPACKED` bytes together.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if not members:
            raise ValueError("it holds no arrays")
        if not packed and any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("its arrays are compressed")
        unpacked = sum(member.file_size for member in members)
        size = Path(file).stat().st_size if isinstance(file, (str, Path)) else MOST_UNPACKED
        if unpacked > (MOST_UNPACKED if packed else size):
            raise ValueError(f"its arrays have {unpacked:,} bytes, more than such a file can hold")
        for member in members:
            with archive.open(member) as content:
                version = np.lib.format.read_magic(content)
                read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                if version not in read:
                    raise ValueError(f"{member.filename} is an array of version {version}")
                shape, _, dtype = read[version](content)
                if (
                    not dtype.hasobject and math.prod(shape) * dtype.itemsize > member.file_size
                ):  # NumPy refuses objects
                    raise ValueError(f"{member.filename} has fewer bytes than its shape {shape} needs")
