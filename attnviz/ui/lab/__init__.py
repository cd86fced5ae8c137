"""The Layer lab's pieces: its controls, the layer as a flow, one cell's arithmetic."""
