"""One canvas for every view of a trace: strip, grid, image, map, lines, neuron; and a layer's flow.

    payload = map_payload(trace, layer, head)                # what the browser is sent
    page = as_html(payload, "Layer 3, head 5")               # one HTML file that opens offline

Numbers travel as quantized bytes and are drawn by plain JavaScript modules in ``js/``. Nothing here
needs Streamlit: `attnviz.ui.canvas` mounts the same files on a page of the app.
"""

from attnviz.canvas.bundle import as_html
from attnviz.canvas.flow import FlowMatrix, FlowPayload, FlowStep
from attnviz.canvas.grid import GridLayer, GridPayload, assemble_grid, grid_layer, grid_payload
from attnviz.canvas.image import ImagePayload, image_payload, lacks_grid, shows_image
from attnviz.canvas.interaction import CanvasState, TokenRef, Viewport
from attnviz.canvas.lines import LinesPayload, lines_payload
from attnviz.canvas.map import MapPayload, map_payload
from attnviz.canvas.matrix import matrix_payload
from attnviz.canvas.neuron import NeuronPayload, neuron_payload
from attnviz.canvas.strip import StripPayload, strip_payload

__all__ = [
    "CanvasState",
    "FlowMatrix",
    "FlowPayload",
    "FlowStep",
    "GridLayer",
    "GridPayload",
    "ImagePayload",
    "LinesPayload",
    "MapPayload",
    "NeuronPayload",
    "StripPayload",
    "TokenRef",
    "Viewport",
    "as_html",
    "assemble_grid",
    "grid_layer",
    "grid_payload",
    "image_payload",
    "lacks_grid",
    "lines_payload",
    "map_payload",
    "matrix_payload",
    "neuron_payload",
    "shows_image",
    "strip_payload",
]
