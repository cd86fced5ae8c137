"""A safetensors file's header, checked against the file's size; no tensor is read.

Tensors are read with the library's `safe_open`, which checks the header as well. It is checked here
first, for three reasons. The number of values is bounded before the JSON is parsed: the library
parses up to 100 MB (of 30 MB it made 280 MB in memory). The library maps the file into memory, and
a mapped file that is cut meanwhile ends the process. And an error here names the tensor, and
distinguishes a quantized format, which attnviz does not load, from a damaged file. The header's
bytes are also needed for the checkpoint's revision.

Format: https://huggingface.co/docs/safetensors - eight bytes of length (little-endian), that many
bytes of JSON, then the tensors' bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from attnviz.errors import AttnVizError
from attnviz.models import bounded_json

MAX_HEADER = 32 * 2**20  # bytes; a tensor takes some 100 of them
MAX_VALUES = 2**20  # of the JSON; a tensor takes nine
MAX_DIMENSIONS = 16

DTYPES: dict[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file: its name, dtype and number of elements."""

    name: str
    dtype: torch.dtype
    n_elements: int


def header_bytes(path: Path) -> bytes:
    """The file's header, unparsed.

    Raises:
        AttnVizError: not a safetensors file, or cut short.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > MAX_HEADER or length < 2:
            raise AttnVizError(f"{path.name} is not a safetensors file.", "Download it again.")
        if length > size - 8:
            raise _truncated(path, size, 8 + length)
        return file.read(length)


def read_header(path: Path) -> tuple[StoredTensor, ...]:
    """The tensors that the file ``path`` declares.

    Raises:
        AttnVizError: not a safetensors file, cut short, inconsistent, or a quantized format.
    """
    raw = header_bytes(path)
    size, length = path.stat().st_size, len(raw)
    try:
        header = bounded_json.parse(raw, MAX_VALUES)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise AttnVizError(
            f"The header of {path.name} is not the JSON of a safetensors file.",
            "Download it again.",
        )
    header.pop("__metadata__", None)
    ends = [8 + length]
    tensors = []
    for name, entry in header.items():
        tensor, end = _stored_tensor(path, name, entry)
        tensors.append(tensor)
        ends.append(8 + length + end)
    if max(ends) > size:
        raise _truncated(path, size, max(ends))
    return tuple(tensors)


def _stored_tensor(path: Path, name: str, entry: Any) -> tuple[StoredTensor, int]:
    """The tensor of one header entry, and the offset of its end within the data."""
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not all(type(n) is int and 0 <= n < 2**63 for n in (*shape, begin, end)):
            raise ValueError
        if len(shape) > MAX_DIMENSIONS:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise AttnVizError(
            f"{path.name} has an invalid description of its tensor '{name[:80]}'.",
            "Download it again.",
        ) from None
    if dtype not in DTYPES:
        raise AttnVizError(
            f"{path.name} stores '{name[:80]}' in the format {str(dtype)[:20]}, which is a "
            "quantized or unknown one.",
            "Use the model's full-precision safetensors, or a GGUF.",
        )
    n_elements = math.prod(shape)
    if end - begin != n_elements * DTYPES[dtype].itemsize:
        raise AttnVizError(
            f"{path.name} stores its tensor '{name[:80]}' in a number of bytes that does not match "
            "its shape.",
            "Download it again.",
        )
    return StoredTensor(name, DTYPES[dtype], n_elements), end


def _truncated(path: Path, size: int, expected: int) -> AttnVizError:
    return AttnVizError(
        f"{path.name} is cut short: it has {size:,} bytes of at least {expected:,}.",
        "Download it again.",
    )
