"""Tokenizers of a task's own symbols, which transformers loads without any custom code."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, START, END = "<pad>", "<unk>", "<s>", "</s>"
SPECIAL_TOKENS = (PAD, UNKNOWN, START, END)


def character_tokenizer(
    characters: Sequence[str], append_end: bool = False
) -> PreTrainedTokenizerFast:
    """One token for each character.

    Args:
        characters: the vocabulary, after `SPECIAL_TOKENS`.
        append_end: whether ``</s>`` is appended to a text, as encoder-decoders expect.
    """
    tokenizer = _word_level(characters)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    if append_end:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {END}", special_tokens=[(END, SPECIAL_TOKENS.index(END))]
        )
    return _fast_tokenizer(tokenizer)


def word_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """One token for each word; words are separated by spaces."""
    tokenizer = _word_level(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _fast_tokenizer(tokenizer)


def _word_level(symbols: Sequence[str]) -> Tokenizer:
    names = [*SPECIAL_TOKENS, *dict.fromkeys(symbols)]
    return Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token=UNKNOWN))


def _fast_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=START,
        eos_token=END,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
