"""A transformers module from a checked checkpoint folder: its class, its size, its weights."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers import CONFIG_MAPPING, GenerationConfig, PreTrainedConfig, PreTrainedModel

from attnviz.errors import AttnVizError, first_line
from attnviz.models import limits, meta_model
from attnviz.models.checkpoint_folder import CheckpointFolder, read_json
from attnviz.models.model_class import attention_implementation, candidate_classes

# A head that shares the embedding is stored once, and a checkpoint may lack a pooler or a head.
MAX_TIMES_STORED = 3
SMALL = 2**20  # parameters: a tiny checkpoint may describe more than three times what it stores

# Weights that a checkpoint may lack because nothing shown depends on them: the pooler after the
# last layer, and BERT's next-sentence head.
_OPTIONAL_WEIGHTS = re.compile(r"(^|\.)(pooler|seq_relationship)\.")


def build(
    folder: CheckpointFolder, device: torch.device, dtype: torch.dtype, name: str
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """The module with the folder's weights, by the first candidate class that they fill.

    Args:
        folder: the checked folder.
        device: where the module is moved.
        dtype: of the floating-point parameters.
        name: what the model is called in messages.

    Returns:
        The module in eval mode, without gradients, and notes to show.

    Raises:
        AttnVizError: an unusable configuration, damaged or missing weights, or too little memory.
    """
    try:
        config = CONFIG_MAPPING[folder.config["model_type"]].from_dict(folder.config)
    except Exception as error:  # a config class may raise anything on values it does not expect
        raise AttnVizError(
            f"The configuration of '{name}' is not a sound one: {first_line(error)}."
        ) from error
    classes = candidate_classes(config, folder.config.get("architectures"))
    if not classes:
        raise AttnVizError(
            f"transformers has no attention model that attnviz can show for the type "
            f"'{config.model_type}'."
        )
    first_missing: list[str] = []
    for model_class in classes:
        _check_memory(model_class, config, folder, device, dtype, name)
        module, missing = _load_weights(model_class, config, folder, dtype, name)
        required = [key for key in missing if not _OPTIONAL_WEIGHTS.search(key)]
        if not required:
            module.requires_grad_(False)
            _use_stored_generation_config(module, folder.path)
            return module.to(device), _notes(model_class, classes[0], missing)
        first_missing = first_missing or required
        del module  # before the next candidate is loaded
    raise AttnVizError(
        f"'{name}' lacks {len(first_missing)} of the weights that {classes[0].__name__} needs, "
        f"{first_missing[0]} among them, and they would be random.",
        "Choose a complete checkpoint.",
    )


def _check_memory(
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    folder: CheckpointFolder,
    device: torch.device,
    dtype: torch.dtype,
    name: str,
) -> None:
    """Build the model on the meta device, without memory, and check that it would fit."""
    limits.require_memory(folder.n_elements * dtype.itemsize, f"The model '{name}'")
    try:
        empty = meta_model.build(model_class, config, folder.n_tensors)
    except AttnVizError:
        raise
    except Exception as error:  # a model class may raise anything on values it does not expect
        raise AttnVizError(
            f"The configuration of '{name}' does not build a {model_class.__name__}: "
            f"{first_line(error)}."
        ) from error
    n_elements = sum(p.numel() for p in empty.parameters())
    if n_elements > MAX_TIMES_STORED * folder.n_elements + SMALL:
        raise AttnVizError(
            f"config.json describes {n_elements:,} weights, and the files of '{name}' hold "
            f"{folder.n_elements:,}.",
            "Download it again, or choose another model.",
        )
    n_bytes = n_elements * dtype.itemsize
    n_bytes += sum(b.numel() * b.itemsize for b in empty.buffers())
    limits.require_memory(n_bytes, f"The model '{name}'")
    if device.type == "cuda":
        limits.require_memory(n_bytes, f"The model '{name}'", device)


def _load_weights(
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    folder: CheckpointFolder,
    dtype: torch.dtype,
    name: str,
) -> tuple[PreTrainedModel, list[str]]:
    """A model with the folder's weights on the CPU, and the names of those it lacks.

    The tensors are read here and passed on, so that `from_pretrained` looks at nothing else in the
    folder (an adapter, a pickled or distributed checkpoint, a file that the config names).
    """
    try:
        tensors: dict[str, torch.Tensor] = {}
        for file in folder.weights:
            with safe_open(file, "pt") as stored:
                # Copies, because safetensors maps the file into memory: its tensors would change
                # with the file, and reading them after the file was cut would end the process.
                keys = stored.keys()
                tensors |= {key: stored.get_tensor(key).clone() for key in keys}
        module, info = model_class.from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            dtype=dtype,
            attn_implementation=attention_implementation(model_class, config),
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except SafetensorError as error:
        raise AttnVizError(
            f"The weights of '{name}' are damaged: {first_line(error)}.", "Download them again."
        ) from error
    except Exception as error:  # transformers raises many types
        raise AttnVizError(
            f"'{name}' could not be loaded as a {model_class.__name__}: {first_line(error)}."
        ) from error
    return module, sorted(info["missing_keys"])


def _use_stored_generation_config(module: PreTrainedModel, path: Path) -> None:
    """The checkpoint's own end tokens and the like; if unreadable, those from its config stay."""
    if module.can_generate() and (path / "generation_config.json").is_file():
        try:
            read_json(path / "generation_config.json")  # bounded; from_pretrained is not
            module.generation_config = GenerationConfig.from_pretrained(path, local_files_only=True)
        except Exception:
            return


def _notes(
    used: type[PreTrainedModel], wanted: type[PreTrainedModel], missing: list[str]
) -> tuple[str, ...]:
    notes = []
    if used is not wanted:
        notes.append(
            f"The checkpoint has no weights for the head of {wanted.__name__}, so it was loaded "
            f"as {used.__name__}, without predictions."
        )
    if missing:
        notes.append(
            f"The checkpoint lacks {', '.join(missing[:3])}: no attention depends on it, and "
            "its outputs are not shown."
        )
    return tuple(notes)
