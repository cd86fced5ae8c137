"""A GGUF file as a safetensors folder, made once and kept in the user's cache.

Reading a GGUF means handing a file from anywhere to readers that trust it, and it is slow. So the
header is checked first, the reading is done by a process of its own with limits on its memory and
time (``python -m attnviz.models.gguf SOURCE TARGET``), and the result is kept under the hash of the
file's content: moving or copying the file, or installing it again, does not convert it again.
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

from attnviz.errors import AttnVizError
from attnviz.models import checkpoint_folder, limited_process, limits, tokenizer_check
from attnviz.models.gguf_header import Header, read_header
from attnviz.models.user_folders import cache_folder

LAYOUT = 2  # part of the cache key; raise it when the conversion changes what it writes
FLOAT32 = 4  # bytes; de-quantised weights do not fit a shorter format exactly
COPIES = 3  # of the weights, at the conversion's peak
BASE_MEMORY = 2 * limits.GIB  # the vocabulary as Python objects, and room to work
BASE_SECONDS = 300
BYTES_PER_SECOND = 500_000  # far slower than any disk or processor in use
ABANDONED_SECONDS = 24 * 3600


def to_safetensors(source: Path) -> Path:
    """The safetensors folder made from the GGUF at `source`, converting it if need be.

    Safe when several processes ask at once: one converts, the others wait for it.

    Raises:
        AttnVizError: not a sound GGUF, too big for memory or disk, an architecture that
            transformers cannot read from GGUF, or the conversion went past its limits.
    """
    header = read_header(source)
    root = cache_folder() / "gguf"
    target = root / _key(source)
    if _complete(target):
        return target
    limits.require_memory(_budget(source, header), f"Reading {source.name}")
    limits.require_disk(header.n_elements * FLOAT32, root, f"Reading {source.name}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(root)
        with FileLock(target.with_suffix(".lock"), timeout=_seconds(source)):
            if not _complete(target):
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
    with source.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{content}-{LAYOUT}"


def _complete(target: Path) -> bool:
    if not target.is_dir():
        return False
    try:
        checkpoint_folder.inspect(target)
    except AttnVizError:
        return False
    return True


def _budget(source: Path, header: Header) -> int:
    return header.n_elements * FLOAT32 * COPIES + source.stat().st_size + BASE_MEMORY


def _seconds(source: Path) -> int:
    return BASE_SECONDS + source.stat().st_size // BYTES_PER_SECOND


def _remove_abandoned(root: Path) -> None:
    """Remove what conversions left that were killed on the way."""
    for path in root.glob("tmp-*"):
        if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _convert(source: Path, header: Header, target: Path) -> None:
    """Run the conversion into a folder beside `target`, then rename it: all or nothing."""
    work = Path(tempfile.mkdtemp(prefix="tmp-", dir=target.parent))
    try:
        alone = _alone(source, work / "source")
        _run(alone, work / "model", _budget(source, header), _seconds(source), work / "log.txt")
        if _key(source) != target.name:  # it would be kept under the hash of another content
            raise AttnVizError(f"{source.name} changed while it was read.", "Load it again.")
        if target.exists():  # an incomplete one, from a damaged disk
            shutil.rmtree(target)
        os.replace(work / "model", target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _alone(source: Path, empty: Path) -> Path:
    """The file in a folder of its own: the readers also open what lies beside it, and an adapter or
    a tokenizer's settings there would be kept as part of this file's content."""
    empty.mkdir()
    alone = empty / source.name
    for bring in (os.symlink, os.link, shutil.copyfile):  # Windows lets few people make links
        try:
            bring(source.resolve(), alone)
            break
        except OSError:
            if bring is shutil.copyfile:
                raise
    return alone


def _run(source: Path, target: Path, budget: int, seconds: int, log: Path) -> None:
    """The conversion as a child process, ended past its limits."""
    limited_process.run(
        "attnviz.models.gguf",
        [str(source.absolute()), str(target)],
        subject=source.name,
        memory=budget,
        seconds=seconds,
        log=log,
    )


def _write(source: Path, target: Path) -> None:
    """De-quantise `source` and save it, in this process."""
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

    # What was read stays marked as quantised and cannot be saved; a fresh model can.
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
    except Exception as error:  # a model without its tokenizer is still worth having
        print(f"no tokenizer: {error}", file=sys.stderr)
        return
    if header.pre_tokenizer == "smollm":
        _split_digits(tokenizer)
    tokenizer.save_pretrained(target)
    tokenizer_check.try_out(target)  # once, here: it is not asked again when the model is loaded


def _split_digits(tokenizer: object) -> None:
    """SmolLM's tokenizer takes every digit apart first; the reader of GGUF does not know that."""
    from tokenizers import pre_tokenizers

    backend = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])


def _main() -> int:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    import torch  # noqa: F401  before the limits, which are about the file and not the libraries
    import transformers  # noqa: F401

    limited_process.limit_this_process(memory=int(sys.argv[3]), seconds=int(sys.argv[4]))
    try:
        _write(source, target)
    except MemoryError:
        print("\nit needs more memory than its size allows", file=sys.stderr)
        return 1
    except Exception as error:  # the reader's own words, for the parent to show
        message = str(error).strip().splitlines()
        print("\n" + (message[0] if message else type(error).__name__), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
