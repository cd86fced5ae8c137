"""Keys and values of earlier tokens, kept while a model generates."""

from __future__ import annotations

from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache

from attnviz.errors import AttnVizError
from attnviz.nn.config import AttentionConfig, TransformerConfig


def new_cache(config: TransformerConfig) -> Cache:
    """An empty cache for a decoder; an encoder-decoder's has a part for the context too."""
    cache = DynamicCache(config=config)
    if not config.is_encoder_decoder:
        return cache
    return EncoderDecoderCache(cache, DynamicCache(config=config))


def check_cacheable(config: AttentionConfig, cached: int, padding: Tensor | None) -> None:
    """Cached tokens cannot see later ones, so a mask that lets them must not be cached.

    Args:
        config: names the mask.
        cached: number of tokens in the cache.
        padding: (B, n_k), or None if every token is real.

    Raises:
        AttnVizError: cached tokens should have seen later ones.
    """
    if cached == 0 or config.is_causal:
        return
    real = cached if padding is None else int(padding[:, :cached].bool().sum(-1).min())
    if config.mask == "none" or real < config.prefix:
        raise AttnVizError(
            f"With mask = {config.mask!r} earlier tokens see later ones, so they cannot be cached.",
            "Pass use_cache=False, or with a prefix begin with at least that many tokens.",
        )


def stored_context(cache: Cache | None, layer_idx: int) -> tuple[Tensor, Tensor] | None:
    """A cross-attention's keys and values, (B, H_kv, n_k, d_head) each, if made before.

    The context stays the same from token to token, so its keys and values do.
    """
    if not isinstance(cache, EncoderDecoderCache) or not cache.is_updated.get(layer_idx, False):
        return None
    layer = cache.cross_attention_cache.layers[layer_idx]
    return layer.keys, layer.values


def extend(
    cache: Cache | None, layer_idx: int, k: Tensor, v: Tensor, *, cross: bool
) -> tuple[Tensor, Tensor]:
    """All keys and values so far, (B, H_kv, cached + n, d_head) each, once k and v are added."""
    if cache is None:
        return k, v
    if isinstance(cache, EncoderDecoderCache):
        if cross:
            cache.is_updated[layer_idx] = True
        cache = cache.cross_attention_cache if cross else cache.self_attention_cache
    keys, values = cache.update(k, v, layer_idx)
    return keys, values
