"""Tokenizers of a task's own symbols, as transformers loads them without any code."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, START, END = "<pad>", "<unk>", "<s>", "</s>"
SPECIAL = (PAD, UNKNOWN, START, END)


def character_tokenizer(characters: Sequence[str], close: bool = False) -> PreTrainedTokenizerFast:
    """One token a character.

    Args:
        characters: the vocabulary, after `SPECIAL`.
        close: whether ``</s>`` is added to a text, as encoder-decoders expect.
    """
    tokenizer = _tokenizer(characters)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    if close:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {END}", special_tokens=[(END, SPECIAL.index(END))]
        )
    return _wrapped(tokenizer)


def word_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """One token a word; words stand between spaces."""
    tokenizer = _tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _wrapped(tokenizer)


def _tokenizer(symbols: Sequence[str]) -> Tokenizer:
    names = [*SPECIAL, *dict.fromkeys(symbols)]
    return Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token=UNKNOWN))


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=START,
        eos_token=END,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
