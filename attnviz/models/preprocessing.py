"""The tokenizer and the image processor that come with a checkpoint, each None if unusable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from attnviz.errors import AttnVizError, first_line
from attnviz.models import config_check, tokenizer_check
from attnviz.models.checkpoint_folder import read_json
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
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")

NO_TOKENIZER = "The checkpoint has no tokenizer that attnviz can read, so it cannot be given text."


def load_tokenizer(
    path: Path, config: PreTrainedConfig, checked: bool
) -> tuple[PreTrainedTokenizerBase | None, tuple[str, ...]]:
    """The folder's tokenizer, and notes on why there is none.

    Args:
        path: the checkpoint folder.
        config: the model's configuration.
        checked: whether `tokenizer_check` has already tried it.
    """
    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        reads_text = hasattr(config.get_text_config(), "vocab_size")
        return None, (NO_TOKENIZER,) if reads_text else ()
    try:
        if not checked:
            tokenizer_check.check(path)
        with tokenizer_errors():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                path, config=config, local_files_only=True, trust_remote_code=False
            )
            # The first call removes a stored truncation or padding from the shared tokenizer, so
            # that no later call changes it while another thread is using it.
            tokenizer("attention")
    except AttnVizError as error:
        reason = first_line(error.__cause__ or error)
        return None, (f"The tokenizer could not be loaded: {reason}.",)
    return tokenizer, ()


def load_image_processor(path: Path) -> tuple[Any | None, tuple[str, ...]]:
    """The folder's image processor, and notes on why there is none."""
    files = [path / name for name in PROCESSOR_FILES if (path / name).is_file()]
    if not files:
        return None, ()
    try:
        for file in files:
            config_check.check_image_processor(read_json(file))
        processor = transformers.AutoImageProcessor.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        return None, (f"The image processor could not be loaded: {first_line(error)}.",)
    return processor, ()
