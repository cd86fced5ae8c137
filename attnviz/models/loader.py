"""From a name to a model that is ready to run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging

from attnviz.errors import AttnVizError, first_line
from attnviz.models import gguf
from attnviz.models.checkpoint_folder import inspect
from attnviz.models.devices import resolve_device, resolve_dtype
from attnviz.models.loaded_model import LoadedModel
from attnviz.models.locate import locate
from attnviz.models.model_building import build
from attnviz.models.model_files import file_stamp
from attnviz.models.preprocessing import load_image_processor, load_tokenizer

# One load at a time: two models that each fit may not fit together, and transformers' progress bars
# and verbosity are global.
_lock = threading.Lock()


def load(
    name: str, device: str = "auto", dtype: str = "auto", revision: str | None = None
) -> LoadedModel:
    """The model called ``name``, in eval mode.

    Args:
        name: a catalog name (``"smollm2-135m"``), else the path of a .gguf file or of a folder made
            by save_pretrained, else an id on the Hugging Face hub (``"openai-community/gpt2"``).
        device: ``"auto"`` (cuda, then mps, then cpu) or a device.
        dtype: ``"auto"``, ``"float32"``, ``"bfloat16"``, ``"float16"`` or ``"float64"``.
        revision: a branch, tag or commit; only for a hub id.

    Raises:
        AttnVizError: there is no such model, it is unsafe, damaged, of an unknown type, or too big.
    """
    try:
        return _load(name.strip(), device, dtype, revision)
    except OSError as error:
        raise AttnVizError(
            f"The files of '{name[:200]}' cannot be read ({error.strerror or error}).",
            "Check the folder's rights, or the disk.",
        ) from error
    except (RecursionError, OverflowError) as error:
        raise AttnVizError(
            f"The files of '{name[:200]}' contain invalid data: {first_line(error)}.",
            "Download them again, or choose another model.",
        ) from error


def _load(name: str, device: str, dtype: str, revision: str | None) -> LoadedModel:
    torch_device = resolve_device(device)
    files = locate(name, revision)
    path, content = files.path, files.commit
    is_gguf = path.suffix == ".gguf" and path.is_file()
    if is_gguf:  # read, and its tokenizer checked, in a process with limits
        path = gguf.to_safetensors(path)
        content = path.name
    stamp = file_stamp(path)
    folder = inspect(path)
    torch_dtype = resolve_dtype(dtype, torch_device, folder.dtype)
    with _lock, _quiet():
        module, model_notes = build(folder, torch_device, torch_dtype, files.name)
        tokenizer, tokenizer_notes = load_tokenizer(path, module.config, checked=is_gguf)
        processor, processor_notes = load_image_processor(path)
    if file_stamp(path) != stamp:  # config and weights may be of two different models
        raise AttnVizError(
            f"The files of '{files.name}' changed while they were read.", "Load it again."
        )
    return LoadedModel(
        module=module,
        tokenizer=tokenizer,
        processor=processor,
        name=files.name,
        device=torch_device,
        dtype=torch_dtype,
        revision=content or folder.revision,
        notes=(*files.notes, *folder.notes, *model_notes, *tokenizer_notes, *processor_notes),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no log lines from transformers while a model loads."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(transformers_logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
