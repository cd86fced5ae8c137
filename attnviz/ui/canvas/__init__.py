"""One canvas for every way of looking at a trace: strip, grid, map, lines and neuron.

    state = canvas_state("map")                                   # what the person did last
    payload = map_payload(trace, layer, head, view=state.view)    # what is sent
    canvas(payload, key="map", height=640)

Numbers travel as quantised bytes and are drawn by plain JavaScript modules in ``js/``.
"""

from attnviz.ui.canvas.bundle import as_html
from attnviz.ui.canvas.component import canvas, canvas_state
from attnviz.ui.canvas.grid import GridLayer, GridPayload, grid_layer, grid_of, grid_payload
from attnviz.ui.canvas.lines import LinesPayload, lines_payload
from attnviz.ui.canvas.map import MapPayload, map_payload
from attnviz.ui.canvas.matrix import MatrixPayload, matrix_payload
from attnviz.ui.canvas.neuron import NeuronPayload, neuron_payload
from attnviz.ui.canvas.state import CanvasState, TokenAt, View
from attnviz.ui.canvas.strip import StripPayload, strip_payload

__all__ = [
    "CanvasState",
    "GridLayer",
    "GridPayload",
    "LinesPayload",
    "MapPayload",
    "MatrixPayload",
    "NeuronPayload",
    "StripPayload",
    "TokenAt",
    "View",
    "as_html",
    "canvas",
    "canvas_state",
    "grid_layer",
    "grid_of",
    "grid_payload",
    "lines_payload",
    "map_payload",
    "matrix_payload",
    "neuron_payload",
    "strip_payload",
]
