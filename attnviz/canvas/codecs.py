"""Numbers as 16-bit codes that keep all digits shown on screen.

A weight is shown with four significant digits, and so it is sent: codes enumerate the decimal
numbers d.ddd · 10^e from 1e-7 up, 9,000 in each decade, and seven decades fit into 16 bits. The
browser prints exactly the backend's number, rounded once, at every zoom. Codes increase with the
numbers, so the maximum of codes is the code of the maximum, and a color scale of any shape is a
table with one entry per code.

Scores have both signs and a narrow range: their codes count steps of 10^-decimals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MASKED = 65535  # a masked cell
TINY = 1  # more than 0, less than the smallest number with a code of its own
FIRST = 2  # 1.000e-7
DECADES = 7  # below 1
PER_DECADE = 9000  # 1.000 to 9.999

_MAX_CODE = MASKED - 1
_MAX_DECIMALS = 6


@dataclass(frozen=True)
class SignificantDigits:
    """Numbers >= 0 with four significant digits."""

    def encode(self, values: np.ndarray, masked: np.ndarray | None = None) -> np.ndarray:
        """uint16 codes of numbers from 0 to 10; larger ones are clipped."""
        v = np.asarray(values, dtype=np.float64)
        codes = (v > 0).astype(np.uint16)  # 0, or TINY
        coded = v >= 0.99995e-7  # rounds to at least 1.000e-7
        some = v[coded]
        exponent = np.floor(np.log10(some)).astype(np.int64).clip(-DECADES - 1, 0)
        digits = np.rint(some * 10.0 ** (3 - exponent))
        for wrong, step in ((digits >= 10_000, 1), (digits < 1000, -1)):
            exponent += np.where(wrong, step, 0)
            digits = np.where(wrong, np.rint(some * 10.0 ** (3 - exponent)), digits)
        index = FIRST + (exponent + DECADES) * PER_DECADE + digits.astype(np.int64) - 1000
        codes[coded] = np.clip(index, FIRST, _MAX_CODE)
        if masked is not None:
            codes[masked] = MASKED
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The numbers as shown, float64; nan where masked, 0 where too small for a code."""
        index = codes.astype(np.int64) - FIRST
        digits, exponent = 1000 + index % PER_DECADE, index // PER_DECADE - DECADES
        values = np.where(index >= 0, digits / 10.0 ** (3 - exponent), 0.0)
        return np.where(codes == MASKED, np.nan, values)

    def header(self) -> dict[str, object]:
        """The codec's parameters, for the browser."""
        return {"kind": "significant"}


@dataclass(frozen=True)
class FixedPoint:
    """Numbers of both signs in steps of ``10 ** -decimals``; code 0 is ``low`` steps."""

    decimals: int
    low: int

    @classmethod
    def over(cls, values: np.ndarray) -> FixedPoint:
        """The codec with the finest steps that spans all finite numbers."""
        finite = values[np.isfinite(values)]
        lowest, highest = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        decimals = _MAX_DECIMALS
        while decimals > -30 and (highest - lowest) * 10.0**decimals > _MAX_CODE - 2:
            decimals -= 1
        return cls(decimals, int(np.floor(lowest * 10.0**decimals)))

    def encode(self, values: np.ndarray) -> np.ndarray:
        """uint16 codes; ``MASKED`` where a number is not finite."""
        v = np.asarray(values, dtype=np.float64)
        finite = np.isfinite(v)
        steps = np.rint(np.where(finite, v, 0.0) * 10.0**self.decimals) - self.low
        return np.where(finite, np.clip(steps, 0, _MAX_CODE), MASKED).astype(np.uint16)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The numbers as shown, float64; nan where masked."""
        values = (codes.astype(np.float64) + self.low) / 10.0**self.decimals
        return np.where(codes == MASKED, np.nan, values)

    def header(self) -> dict[str, object]:
        """The codec's parameters, for the browser."""
        return {"kind": "fixed", "decimals": self.decimals, "low": self.low}


Codec = SignificantDigits | FixedPoint


def codec_of(header: dict[str, object]) -> Codec:
    """The codec that a header describes."""
    if header["kind"] == "significant":
        return SignificantDigits()
    return FixedPoint(int(str(header["decimals"])), int(str(header["low"])))


def as_shown(value: float) -> str:
    """A weight as the canvas prints it.

    >>> as_shown(0.1234499), as_shown(0.00012345), as_shown(1 / 128)
    ('0.1234', '1.234e-4', '0.007812')
    """
    if value == 0:
        return "0"
    if value < 0.99995e-7:
        return "< 1e-7"
    digits, exponent = f"{value:.3e}".split("e")
    if int(exponent) >= -3:
        return f"{float(digits) * 10 ** int(exponent):.{3 - int(exponent)}f}"
    return f"{digits}e{int(exponent)}"
