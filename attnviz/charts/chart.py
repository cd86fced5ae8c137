"""A chart: a Vega-Lite specification and the table it draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

_DATA: Final = "data"


@dataclass(frozen=True)
class Chart:
    """A Vega-Lite chart without its data, and the data as one Arrow table.

    The specification is written as plain Vega-Lite: docs/decisions/charts.md says why.

    Attributes:
        specification: mark, encoding, size and so on, as in https://vega.github.io/vega-lite/docs.
        data: one row a mark.
    """

    specification: dict[str, Any]
    data: pa.Table

    def properties(self, **properties: Any) -> Chart:
        """The chart with some top-level properties replaced, such as ``height`` or ``padding``."""
        return replace(self, specification=self.specification | properties)

    def vega_lite(self) -> dict[str, Any]:
        """The specification with the table under ``datasets``, for a browser.

        Two charts that differ in numbers alone have the same specification here, including the
        range of a color scale, which is read from the table. A browser then puts the new numbers
        into the existing picture.
        """
        specification, table = self.specification, self.data
        color = specification["encoding"].get("color", {})
        domain = color.get("scale", {}).get("domain", ())
        if domain and not isinstance(domain[0], str):
            low, high = domain[0], domain[-1]
            table = table.append_column("low", pa.array(np.full(len(table), low)))
            table = table.append_column("high", pa.array(np.full(len(table), high)))
            color = color | {"scale": color["scale"] | {"domain": _domain_from_table(len(domain))}}
            if color["legend"]:
                color["legend"] = color["legend"] | {"values": _domain_from_table(3)}
            encoding = specification["encoding"] | {"color": color}
            specification = specification | {"encoding": encoding}
        return specification | {"data": {"name": _DATA}, "datasets": {_DATA: table}}


def _domain_from_table(count: int) -> list[dict[str, str]]:
    """Expressions for ``count`` evenly spaced values from the table's low to its high."""
    row = f"data('{_DATA}')[0]"
    loaded = f"length(data('{_DATA}'))"
    return [
        {"expr": f"{loaded} ? {row}.low + ({row}.high - {row}.low) * {i / (count - 1)} : {i}"}
        for i in range(count)
    ]
