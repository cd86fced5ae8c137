"""A GGUF file's header, with every length checked against the file before it is used.

The full readers trust these lengths, and a huge one keeps them busy for hours. Format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

from attnviz.errors import AttnVizError

VERSIONS = (2, 3)
MAX_ENTRIES = 2**16  # metadata entries, and tensors: published files have a few thousand
MAX_ARRAY = 2**21  # elements of one array: vocabularies have some 300,000
MAX_STRING = 2**24  # bytes: a chat template, a license
MAX_KEY = 2**16  # bytes
MAX_DIMENSIONS = 4
DEFAULT_ALIGNMENT = 32
MAX_LAYERS = 2_000
MIN_BOUND = 2**20  # small files may have larger numbers than weights, e.g. a vocabulary

# Endings of metadata keys whose value is a size of the model.
_SIZE_SUFFIXES = ("_count", "_length", "_size", "_count_kv", "_dim")

_SCALARS = {
    GGUFValueType.UINT8: "B",
    GGUFValueType.INT8: "b",
    GGUFValueType.UINT16: "H",
    GGUFValueType.INT16: "h",
    GGUFValueType.UINT32: "I",
    GGUFValueType.INT32: "i",
    GGUFValueType.FLOAT32: "f",
    GGUFValueType.UINT64: "Q",
    GGUFValueType.INT64: "q",
    GGUFValueType.FLOAT64: "d",
    GGUFValueType.BOOL: "?",
}


@dataclass(frozen=True)
class GgufHeader:
    """The content of a checked header.

    Attributes:
        architecture: llama.cpp's name, e.g. ``"llama"``.
        pre_tokenizer: llama.cpp's name of the rule that splits text into words, ``""`` if absent.
        n_tensors: the number of tensors.
        n_elements: the number of elements of all tensors together.
    """

    architecture: str
    pre_tokenizer: str
    n_tensors: int
    n_elements: int


def read_header(path: Path) -> GgufHeader:
    """The header of the GGUF ``path``.

    Raises:
        AttnVizError: not a GGUF, cut short, or declaring more than the file can hold.
    """
    try:
        with path.open("rb") as file:
            return _HeaderReader(file, path).header()
    except OSError as error:
        raise AttnVizError(f"{path} cannot be read ({error.strerror}).") from error


class _HeaderReader:
    """Reads one file from its beginning; no read goes beyond its end."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file = file
        self.name = path.name
        self.size = path.stat().st_size

    def header(self) -> GgufHeader:
        if self.file.read(4) != b"GGUF":
            raise self.error("is not a GGUF file")
        version = self.scalar("I")
        if version not in VERSIONS:
            raise self.error(f"has GGUF version {version}, and attnviz reads 2 and 3")
        n_tensors, n_entries = self.scalar("Q"), self.scalar("Q")
        for count, kind in ((n_tensors, "tensors"), (n_entries, "metadata entries")):
            if count > MAX_ENTRIES:
                raise self.error(f"declares {count:,} {kind}, which it cannot hold")
        values = dict(self.entry() for _ in range(n_entries))
        if len(values) != n_entries:
            raise self.error("names a metadata entry twice")
        tensors = [self.tensor() for _ in range(n_tensors)]
        if not tensors:
            raise self.error("holds no tensors")
        alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise self.error("has an alignment that is no power of two")
        data = -(-self.file.tell() // alignment) * alignment
        end = data + max(end for _, end in tensors)
        if end > self.size:
            raise self.error(f"is cut short: it has {self.size:,} bytes of {end:,}")
        n_elements = sum(n for n, _ in tensors)
        self.check_sizes(values, max(n_elements, MIN_BOUND))
        return GgufHeader(
            architecture=str(values.get("general.architecture", "")),
            pre_tokenizer=str(values.get("tokenizer.ggml.pre", "")),
            n_tensors=n_tensors,
            n_elements=n_elements,
        )

    def check_sizes(self, values: dict[str, object], bound: int) -> None:
        """Refuse sizes of the model that are larger than its tensors allow."""
        for key, value in values.items():
            limit = MAX_LAYERS if key.endswith("block_count") else bound
            is_size = key.endswith(_SIZE_SUFFIXES) and not key.endswith("context_length")
            if is_size and isinstance(value, int) and value > limit:
                raise self.error(f"says that {key[:80]} is {value:,}, which its tensors do not fit")

    def entry(self) -> tuple[str, object]:
        """The key and value of one metadata entry; arrays are skipped, their value is None."""
        key = self.string(MAX_KEY)
        return key, self.value(self.value_type())

    def value_type(self) -> GGUFValueType:
        number = self.scalar("I")
        try:
            return GGUFValueType(number)
        except ValueError:
            raise self.error(f"uses the unknown value type {number}") from None

    def value(self, kind: GGUFValueType) -> object:
        if kind == GGUFValueType.STRING:
            return self.string(MAX_STRING)
        if kind != GGUFValueType.ARRAY:
            return self.scalar(_SCALARS[kind])
        element, count = self.value_type(), self.scalar("Q")
        if element == GGUFValueType.ARRAY:
            raise self.error("has an array of arrays")
        width = 8 if element == GGUFValueType.STRING else struct.calcsize(_SCALARS[element])
        if count > MAX_ARRAY or count * width > self.left():
            raise self.error(f"declares an array of {count:,} elements, which it cannot hold")
        if element == GGUFValueType.STRING:
            for _ in range(count):
                self.skip(self.scalar("Q"))
        else:
            self.skip(count * width)
        return None

    def tensor(self) -> tuple[int, int]:
        """One tensor's number of elements, and the offset of its end within the data."""
        name = self.string(MAX_KEY)
        n_dimensions = self.scalar("I")
        if n_dimensions > MAX_DIMENSIONS:
            raise self.error(f"gives its tensor '{name[:80]}' {n_dimensions:,} dimensions")
        shape = [self.scalar("Q") for _ in range(n_dimensions)]
        number, offset = self.scalar("I"), self.scalar("Q")
        try:
            block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(number)]
        except (ValueError, KeyError):
            raise self.error(f"stores '{name[:80]}' in the unknown format {number}") from None
        n_elements = math.prod(shape)
        n_bytes = -(-n_elements // block) * block_bytes
        if offset + n_bytes > self.size:
            raise self.error(f"is cut short, or declares too big a tensor '{name[:80]}'")
        return n_elements, offset + n_bytes

    def string(self, max_bytes: int) -> str:
        length = self.scalar("Q")
        if length > min(max_bytes, self.left()):
            raise self.error(f"declares a text of {length:,} bytes, which it cannot hold")
        return self.file.read(length).decode("utf-8", "replace")

    def scalar(self, code: str) -> int:
        width = struct.calcsize(code)
        raw = self.file.read(width)
        if len(raw) < width:
            raise self.error("ends inside its header")
        return struct.unpack("<" + code, raw)[0]  # type: ignore[no-any-return]

    def skip(self, n_bytes: int) -> None:
        if n_bytes > self.left():
            raise self.error("ends inside its header")
        self.file.seek(n_bytes, 1)

    def left(self) -> int:
        return self.size - self.file.tell()

    def error(self, problem: str) -> AttnVizError:
        return AttnVizError(f"{self.name} {problem}.", "Download it again, or choose another file.")
