"""Converting a GGUF file to a safetensors folder, once, in the user's cache.

Reading a GGUF is slow, and its readers trust its lengths. So its header is checked
first, it is read by a process with limits on memory and time (``python -m attnviz.models.gguf
SOURCE TARGET MEMORY SECONDS``), and the result is cached under the hash of the file's content:
moving, copying or reinstalling the file does not convert it again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

from attnviz.errors import AttnVizError, first_line
from attnviz.models import checkpoint_folder, limited_process, limits, tokenizer_check
from attnviz.models.gguf_header import GgufHeader, read_header
from attnviz.models.user_folders import cache_folder

FORMAT_VERSION = 2  # part of the cache key; raise it when the conversion writes something else
FLOAT32 = 4  # bytes; dequantized weights do not fit a shorter format exactly
COPIES = 3  # of the weights in memory, at the conversion's peak
BASE_MEMORY = 2 * limits.GIB  # the vocabulary as Python objects, and working memory
BASE_SECONDS = 300
BYTES_PER_SECOND = 500_000  # far below any disk or processor in use
ABANDONED_SECONDS = 24 * 3600


def to_safetensors(source: Path) -> Path:
    """The safetensors folder of the GGUF ``source``, converted unless it is in the cache.

    Several processes may call this at once: one converts, the others wait for it.

    Raises:
        AttnVizError: a damaged GGUF, one too big for memory or disk, an architecture that
            transformers cannot read from GGUF, or the conversion exceeded its limits.
    """
    header = read_header(source)
    root = cache_folder() / "gguf"
    target = root / _key(source)
    if _is_sound(target):
        return target
    limits.require_memory(_memory(source, header), f"Reading {source.name}")
    limits.require_disk(header.n_elements * FLOAT32, root, f"Reading {source.name}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(root)
        with FileLock(target.with_suffix(".lock"), timeout=_seconds(source)):
            if not _is_sound(target):
                _convert(source, header, target)
    except Timeout:
        raise AttnVizError(
            f"Another process has been converting {source.name} for too long.", "Try again later."
        ) from None
    except OSError as error:
        raise AttnVizError(
            f"The cache folder {root} cannot be written ({error.strerror}).",
            "Point ATTNVIZ_CACHE at a folder of yours.",
        ) from error
    return target


def _key(source: Path) -> str:
    """The name of the folder in the cache: the hash of the content, and the format's version."""
    with source.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{content}-{FORMAT_VERSION}"


def _is_sound(target: Path) -> bool:
    """Whether ``target`` is a whole checkpoint folder."""
    if not target.is_dir():
        return False
    try:
        checkpoint_folder.inspect(target)
    except AttnVizError:
        return False
    return True


def _memory(source: Path, header: GgufHeader) -> int:
    """Bytes of memory that the conversion may take."""
    return header.n_elements * FLOAT32 * COPIES + source.stat().st_size + BASE_MEMORY


def _seconds(source: Path) -> int:
    """How long the conversion may take."""
    return BASE_SECONDS + source.stat().st_size // BYTES_PER_SECOND


def _remove_abandoned(root: Path) -> None:
    """Remove what interrupted conversions have left."""
    for path in root.glob("tmp-*"):
        if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _convert(source: Path, header: GgufHeader, target: Path) -> None:
    """Convert into a folder beside ``target``, then rename it: all or nothing."""
    work = Path(tempfile.mkdtemp(prefix="tmp-", dir=target.parent))
    try:
        isolated = _isolated(source, work / "source")
        _run(isolated, work / "model", _memory(source, header), _seconds(source), work / "log.txt")
        if _key(source) != target.name:  # it would be cached under the hash of other content
            raise AttnVizError(f"{source.name} changed while it was read.", "Load it again.")
        if target.exists():  # incomplete, from a damaged disk
            shutil.rmtree(target)
        os.replace(work / "model", target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _isolated(source: Path, folder: Path) -> Path:
    """The file linked into a new ``folder`` of its own.

    The readers also open the files beside it, and an adapter or a tokenizer's settings there would
    become part of what is cached for this file's content.
    """
    folder.mkdir()
    isolated = folder / source.name
    for link in (os.symlink, os.link, shutil.copyfile):  # few users of Windows may make links
        try:
            link(source.resolve(), isolated)
            break
        except OSError:
            if link is shutil.copyfile:
                raise
    return isolated


def _run(source: Path, target: Path, memory: int, seconds: int, log: Path) -> None:
    """Convert in a child process with limits."""
    limited_process.run(
        "attnviz.models.gguf",
        [str(source.absolute()), str(target)],
        subject=source.name,
        memory=memory,
        seconds=seconds,
        log=log,
    )


def _write(source: Path, target: Path) -> None:
    """Dequantize ``source`` and save it to ``target``, in this process."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
    from transformers.initialization import no_init_weights

    header = read_header(source)
    auto = AutoModelForSeq2SeqLM if header.architecture == "t5" else AutoModelForCausalLM
    read, info = auto.from_pretrained(
        source.parent, gguf_file=source.name, output_loading_info=True, local_files_only=True
    )
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise AttnVizError(f"it lacks {len(missing)} weights, {missing[0]} among them")

    # The model that was read stays marked as quantized and cannot be saved; a fresh one can.
    config = type(read.config).from_dict(
        {k: v for k, v in read.config.to_dict().items() if k != "quantization_config"}
    )
    with no_init_weights():
        fresh = type(read)(config)
    fresh.tie_weights()
    fresh.load_state_dict(read.state_dict())
    fresh.save_pretrained(target)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source.parent, gguf_file=source.name, local_files_only=True
        )
    except Exception as error:  # the model is of use without it
        print(f"no tokenizer: {error}", file=sys.stderr)
        return
    if header.pre_tokenizer == "smollm":
        _split_digits(tokenizer)
    tokenizer.save_pretrained(target)
    tokenizer_check.try_tokenizer(target)  # here, once; not again at every load


def _split_digits(tokenizer: object) -> None:
    """SmolLM's tokenizer splits off every digit first, which transformers' GGUF reader omits."""
    from tokenizers import pre_tokenizers

    backend = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])


def _main() -> int:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    import torch  # noqa: F401  before the limits, which are for the file, not for libraries
    import transformers  # noqa: F401

    limited_process.limit_this_process(memory=int(sys.argv[3]), seconds=int(sys.argv[4]))
    try:
        _write(source, target)
    except MemoryError:
        print("\nit needs more memory than its size allows", file=sys.stderr)
        return 1
    except Exception as error:  # the parent shows the last line
        print("\n" + first_line(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
