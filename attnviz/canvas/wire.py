"""One message to the browser: a small JSON header, followed by arrays in their memory layout.

Streamlit passes bytes to a component unchanged only if they are all of its data, so the header is
part of them:

    4 bytes "AVC1" · uint32 length of the header · header, UTF-8, padded with spaces · arrays

The header's ``arrays`` names each array's type, shape and offset from the header's end. Everything
is little-endian and aligned to 8 bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

MAGIC = b"AVC1"
_ALIGN = 8
_TYPES = {"u1": np.uint8, "u2": np.uint16, "u4": np.uint32, "f4": np.float32}


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """The message.

    Raises:
        TypeError: a NumPy scalar in the header, or an array of another type.
    """
    table, parts, offset = {}, [], 0
    for name, array in arrays.items():
        data = np.ascontiguousarray(array)
        kind = data.dtype.str.lstrip("<|")
        if kind not in _TYPES:
            raise TypeError(f"{name} is {data.dtype}; a message carries {', '.join(_TYPES)}")
        table[name] = {"type": kind, "shape": list(data.shape), "at": offset}
        raw = data.tobytes()
        raw += b"\0" * (-len(raw) % _ALIGN)
        parts.append(raw)
        offset += len(raw)
    text = json.dumps({**header, "arrays": table}, ensure_ascii=False, allow_nan=False).encode(
        "utf-8", "replace"
    )
    text += b" " * (-(len(text) + len(MAGIC) + 4) % _ALIGN)
    return b"".join((MAGIC, struct.pack("<I", len(text)), text, *parts))


def unpack(message: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a message that ``pack`` made."""
    if message[:4] != MAGIC:
        raise ValueError("not a canvas message")
    (length,) = struct.unpack_from("<I", message, 4)
    header = json.loads(message[8 : 8 + length])
    arrays = {}
    for name, entry in header.pop("arrays").items():
        count = int(np.prod(entry["shape"], dtype=np.int64))
        start = 8 + length + entry["at"]
        flat = np.frombuffer(message, _TYPES[entry["type"]], count, start)
        arrays[name] = flat.reshape(entry["shape"])
    return header, arrays
