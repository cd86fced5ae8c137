"""The Layer lab: its controls, the layer as a flow of matrices, the arithmetic of one weight."""
