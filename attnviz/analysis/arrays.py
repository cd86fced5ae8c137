"""Tensors as NumPy arrays."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def as_numpy(tensor: Tensor, dtype: torch.dtype = torch.float32) -> np.ndarray:
    """The numbers on the CPU as ``dtype``, since NumPy has no bfloat16. May share memory."""
    return tensor.detach().to("cpu", dtype).numpy()
