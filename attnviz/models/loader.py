"""From a name to a model that is ready to run."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers import CONFIG_MAPPING, GenerationConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_MAPPING,
)
from transformers.utils import logging as transformers_logging

from attnviz import nn  # noqa: F401  tells transformers of the model types of our own
from attnviz.errors import AttnVizError
from attnviz.models import catalog, config_check, gguf, hub, limits, meta_model, tokenizer_check
from attnviz.models.checkpoint_folder import (
    CheckpointFolder,
    FileStamp,
    file_stamp,
    inspect,
    read_json,
)
from attnviz.models.devices import resolve_device, resolve_dtype
from attnviz.models.loaded_model import LoadedModel
from attnviz.models.tokenizer_calls import tokenizer_errors

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
)
# A head that shares the embedding is stored once, and a checkpoint may lack a pooler or a head.
MORE_THAN_STORED = 3
SMALL = 2**20

NO_TOKENIZER = "The checkpoint brings no tokenizer that can be read, so it takes no text."
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")

# Weights that a checkpoint may lack without anything shown here depending on them: what sums up a
# text in one vector after the last layer, and BERT's next-sentence head.
_HARMLESS = re.compile(r"(^|\.)(pooler|seq_relationship)\.")

# One load at a time: two that both fit alone may not fit together, and progress bars are global.
_loading = threading.Lock()


def load(
    name: str, device: str = "auto", dtype: str = "auto", revision: str | None = None
) -> LoadedModel:
    """The model called `name`, in eval mode.

    Args:
        name: a catalog name (``"smollm2-135m"``), else the path of a .gguf file or of a folder made
            by save_pretrained, else an id on the Hugging Face hub (``"openai-community/gpt2"``).
        device: ``"auto"`` (cuda, then mps, then cpu) or a device.
        dtype: ``"auto"``, ``"float32"``, ``"bfloat16"``, ``"float16"`` or ``"float64"``.
        revision: a branch, tag or commit, for a hub id alone.

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
            f"The files of '{name[:200]}' hold what cannot be: {_sentence(error)}",
            "Download them again, or choose another model.",
        ) from error


def _load(name: str, device: str, dtype: str, revision: str | None) -> LoadedModel:
    place = resolve_device(device)
    path, label, sha, notes = _find(name, revision)
    converted = path.suffix == ".gguf" and path.is_file()
    if converted:  # a process with limits has read it, and tried out its tokenizer
        path = gguf.converted(path)
        sha = path.name
    before = file_stamp(path)
    found = inspect(path)
    number_format = resolve_dtype(dtype, place, found.dtype)
    with _loading, _quiet():
        module, load_notes = _build(found, place, number_format, label)
        tokenizer, tokenizer_notes = _tokenizer(found.path, module.config, tried=converted)
        processor, processor_notes = _processor(found.path)
    if file_stamp(path) != before:  # what was read first and last may be of two models
        raise AttnVizError(
            f"The files of '{label}' changed while they were read.", "Load it again."
        )
    return LoadedModel(
        module=module,
        tokenizer=tokenizer,
        processor=processor,
        name=label,
        device=place,
        dtype=number_format,
        revision=sha or found.revision,
        notes=(*notes, *found.notes, *load_notes, *tokenizer_notes, *processor_notes),
    )


def model_stamp(name: str) -> FileStamp:
    """What a local model's files are like now, without reading them: see `file_stamp`.

    Another stamp says that the model has to be loaded again. Empty for what is not on this machine
    under a path or a catalog name.
    """
    try:
        kept = (entry.source for entry in catalog.entries() if entry.name == name)
        return file_stamp(next(kept, Path(name).expanduser()))
    except (ValueError, RuntimeError):  # a name that no path can have
        return ()


def _find(name: str, revision: str | None) -> tuple[Path, str, str | None, tuple[str, ...]]:
    """Where `name` is: a path, what to call it, its commit if it has one, and notes."""
    if not name:
        raise AttnVizError("No model was named.", "Choose one of the list, or type a name.")
    for entry in catalog.entries():
        if entry.name == name:
            return entry.source, name, None, ()
    if name.startswith(("//", "\\\\")) or "\0" in name:  # a Windows share would send a log-in
        raise AttnVizError(f"'{name[:80]!r}' is not a path that attnviz opens.")
    try:
        path = Path(name).expanduser()
        if path.is_file():
            if path.suffix.lower() == ".gguf":
                return path, path.stem, None, ()
            raise AttnVizError(
                f"{path.name} is not a .gguf file.",
                "Give the folder that holds the model's config.json, or a .gguf file.",
            )
        if path.is_dir():
            return path, path.resolve().name, None, ()
    except (OSError, RuntimeError) as error:  # RuntimeError: the ~ of an unknown user
        reason = getattr(error, "strerror", None) or error
        raise AttnVizError(f"{name[:80]} cannot be opened ({reason}).") from error
    if _looks_like_path(name):
        raise AttnVizError(
            f"There is no file or folder {name[:200]}.",
            "Check the path; ~ stands for your home folder.",
        )
    fetched = hub.fetch(name, revision)
    return fetched.path, name, fetched.commit, fetched.notes


def _looks_like_path(name: str) -> bool:
    return (
        name.startswith((".", "/", "~"))
        or "\\" in name
        or name.count("/") > 1
        or name.lower().endswith((".gguf", ".safetensors", ".bin"))
        or re.match(r"[A-Za-z]:", name) is not None
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


def _build(
    found: CheckpointFolder, device: torch.device, dtype: torch.dtype, label: str
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """The module with the folder's weights, by the first class that they fill."""
    try:
        config = CONFIG_MAPPING[found.config["model_type"]].from_dict(found.config)
    except Exception as error:  # a config class may raise anything on values it does not expect
        raise AttnVizError(
            f"The configuration of '{label}' is not a sound one: {_sentence(error)}"
        ) from error
    classes = _classes(config, found.config.get("architectures"))
    if not classes:
        raise AttnVizError(
            f"transformers builds no model that attnviz can show from the type "
            f"'{config.model_type}'."
        )
    first_missing: list[str] = []
    for model_class in classes:
        _check_memory(model_class, config, found, device, dtype, label)
        module, missing = _fill(model_class, config, found, dtype, label)
        lost = [key for key in missing if not _HARMLESS.search(key)]
        if not lost:
            module.requires_grad_(False)
            _take_generation_settings(module, found.path)
            return module.to(device), _notes(model_class, classes[0], missing)
        first_missing = first_missing or lost
        del module
    raise AttnVizError(
        f"'{label}' lacks {len(first_missing)} of the weights that {classes[0].__name__} needs, "
        f"{first_missing[0]} among them, and they would be random.",
        "Choose a complete checkpoint.",
    )


def _classes(config: PreTrainedConfig, architectures: Any) -> list[type[PreTrainedModel]]:
    """The classes to try, best first: the one the checkpoint names, then by what it can predict."""
    if config.is_encoder_decoder:
        order = [MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING]
    elif getattr(config, "is_decoder", False):
        order = [MODEL_FOR_CAUSAL_LM_MAPPING]
    else:  # the encoders that could also be decoders are in both
        order = [MODEL_FOR_MASKED_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING]
    order += [MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, MODEL_MAPPING]
    known: list[type[PreTrainedModel]] = []
    for mapping in order:
        if type(config) in mapping:
            entry = mapping[type(config)]
            known += entry if isinstance(entry, (tuple, list)) else [entry]
    named = architectures[0] if isinstance(architectures, list) and architectures else None
    own = [cls for cls in [*known, *_native(named, config)] if cls.__name__ == named]
    base = known[-1:] if type(config) in MODEL_MAPPING else []
    return list(dict.fromkeys([*own, *base] if own else known))


def _native(name: Any, config: PreTrainedConfig) -> list[type[PreTrainedModel]]:
    """The class of transformers or our own called `name`, if there is one for this config."""
    found = getattr(transformers, name, None) if isinstance(name, str) else None
    if found is None and type(config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        classifier = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
        found = classifier if classifier.__name__ == name else None
    if not isinstance(found, type) or not issubclass(found, PreTrainedModel):
        return []
    return [found] if getattr(found, "config_class", None) is type(config) else []


def _attention(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> str:
    """sdpa where it computes what the model means; it leaves out Gemma 2's soft cap."""
    softcap = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    return "sdpa" if model_class._supports_sdpa and not softcap else "eager"


def _check_memory(
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    found: CheckpointFolder,
    device: torch.device,
    dtype: torch.dtype,
    label: str,
) -> None:
    """Build the model without memory (on the meta device) and ask whether it would fit."""
    limits.require_memory(found.n_elements * dtype.itemsize, f"The model '{label}'")
    try:
        built = meta_model.build(model_class, config, found.n_tensors)
    except AttnVizError:
        raise
    except Exception as error:  # a model class may raise anything on values it does not expect
        raise AttnVizError(
            f"The configuration of '{label}' does not build a {model_class.__name__}: "
            f"{_sentence(error)}"
        ) from error
    n_elements = sum(p.numel() for p in built.parameters())
    if n_elements > MORE_THAN_STORED * found.n_elements + SMALL:
        raise AttnVizError(
            f"config.json describes {n_elements:,} weights, and the files of '{label}' hold "
            f"{found.n_elements:,}.",
            "Download it again, or choose another model.",
        )
    n_bytes = n_elements * dtype.itemsize
    n_bytes += sum(b.numel() * b.itemsize for b in built.buffers())
    limits.require_memory(n_bytes, f"The model '{label}'")
    if device.type == "cuda":
        limits.require_memory(n_bytes, f"The model '{label}'", device)


def _fill(
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    found: CheckpointFolder,
    dtype: torch.dtype,
    label: str,
) -> tuple[PreTrainedModel, list[str]]:
    """A model with the folder's weights on the CPU, and the names of those it lacks.

    The tensors are read here and handed over, so that nothing else in the folder (an adapter, a
    pickled or distributed checkpoint, a file that the config names) is looked at by the loader.
    """
    try:
        tensors: dict[str, torch.Tensor] = {}
        for file in found.weights:
            with safe_open(file, "pt") as stored:
                # copies: what safetensors gives is the file itself, mapped into memory, and would
                # change with it, or end the process when the file is cut
                names = stored.keys()
                tensors |= {name: stored.get_tensor(name).clone() for name in names}
        module, info = model_class.from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            dtype=dtype,
            attn_implementation=_attention(model_class, config),
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except SafetensorError as error:
        raise AttnVizError(
            f"The weights of '{label}' are damaged: {_sentence(error)}", "Download them again."
        ) from error
    except Exception as error:  # transformers raises many kinds; each is about this checkpoint
        raise AttnVizError(
            f"'{label}' could not be loaded as a {model_class.__name__}: {_sentence(error)}"
        ) from error
    return module, sorted(info["missing_keys"])


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
            "what it gives is not shown."
        )
    return tuple(notes)


def _take_generation_settings(module: PreTrainedModel, path: Path) -> None:
    """The checkpoint's own end tokens and the like, where it brings them and they are sound."""
    if module.can_generate() and (path / "generation_config.json").is_file():
        try:
            read_json(path / "generation_config.json")  # within bounds; its reader has none
            settings = GenerationConfig.from_pretrained(path, local_files_only=True)
        except Exception:  # those derived from the config remain
            return
        module.generation_config = settings


def _tokenizer(
    path: Path, config: PreTrainedConfig, tried: bool
) -> tuple[Any | None, tuple[str, ...]]:
    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        reads_text = hasattr(config.get_text_config(), "vocab_size")
        return None, (NO_TOKENIZER,) if reads_text else ()
    try:
        if not tried:
            tokenizer_check.check(path)
        with tokenizer_errors():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                path, config=config, local_files_only=True, trust_remote_code=False
            )
            # The first call takes a stored truncation or padding off the shared tokenizer, so that
            # no later one changes it while another thread is using it.
            tokenizer("attention")
    except AttnVizError as error:
        return None, (f"The tokenizer could not be loaded: {_sentence(error.__cause__ or error)}",)
    return tokenizer, ()


def _processor(path: Path) -> tuple[Any | None, tuple[str, ...]]:
    if not any((path / name).is_file() for name in PROCESSOR_FILES):
        return None, ()
    try:
        for name in PROCESSOR_FILES:
            if (path / name).is_file():
                config_check.check_image_processor(read_json(path / name))
        processor = transformers.AutoImageProcessor.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        return None, (f"The image processor could not be loaded: {_sentence(error)}",)
    return processor, ()


def _sentence(error: BaseException) -> str:
    """The first line of what another library said, as the end of a sentence of ours."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0][:300].rstrip(".") if lines else type(error).__name__) + "."
