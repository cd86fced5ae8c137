"""Wrapping a model that is already in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    GPT2LMHeadModel,
)

from attnviz.errors import AttnVizError
from attnviz.models.loaded_model import wrap_module


def test_wrap_module_changes_nothing(gpt2_folder: Path) -> None:
    model = GPT2LMHeadModel.from_pretrained(gpt2_folder)
    model.train()
    described = wrap_module(model)
    assert described.module is model
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert any("training mode" in note for note in described.notes)
    assert wrap_module(model).revision != described.revision


def test_wrap_module_takes_transformers_models_alone() -> None:
    with pytest.raises(AttnVizError, match="Linear is not a transformers model"):
        wrap_module(nn.Linear(2, 2))  # type: ignore[arg-type]
    with torch.device("meta"):
        shell = GPT2LMHeadModel(GPT2LMHeadModel.config_class(n_layer=1))
    with pytest.raises(AttnVizError, match="no weights in memory"):
        wrap_module(shell)
