"""The KV cache: keys and values of earlier tokens, reused while a model generates."""

from __future__ import annotations

from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache

from attnviz.errors import AttnVizError
from attnviz.nn.config import AttentionConfig, TransformerConfig


def new_cache(config: TransformerConfig) -> Cache:
    """An empty cache for a decoder; for an encoder-decoder, with a second part for the context."""
    cache = DynamicCache(config=config)
    if not config.is_encoder_decoder:
        return cache
    return EncoderDecoderCache(cache, DynamicCache(config=config))


def check_cacheable(config: AttentionConfig, cached: int, padding: Tensor | None) -> None:
    """Check that the mask allows a cache: cached tokens cannot see later ones.

    Args:
        config: the layer's settings, with the mask.
        cached: number of tokens in the cache.
        padding: (B, n_k), or None if every token is real.

    Raises:
        AttnVizError: the mask lets cached tokens see later ones.
    """
    if cached == 0 or config.is_causal:
        return
    real = cached if padding is None else int(padding[:, :cached].bool().sum(-1).min())
    if config.mask == "none" or real < config.prefix:
        raise AttnVizError(
            f"With mask = {config.mask!r} earlier tokens see later ones, so they cannot be cached.",
            "Pass use_cache=False, or with a prefix begin with at least that many tokens.",
        )


def cached_context(cache: Cache | None, layer_idx: int) -> tuple[Tensor, Tensor] | None:
    """The keys and values of cross-attention, (B, H_kv, n_k, d_head) each, if they are cached.

    The context is the same for every generated token, so its keys and values are computed once.
    """
    if not isinstance(cache, EncoderDecoderCache) or not cache.is_updated.get(layer_idx, False):
        return None
    layer = cache.cross_attention_cache.layers[layer_idx]
    return layer.keys, layer.values


def extend_cache(
    cache: Cache | None, layer_idx: int, k: Tensor, v: Tensor, *, cross: bool
) -> tuple[Tensor, Tensor]:
    """Add k and v to the cache; all keys and values, (B, H_kv, cached + n, d_head) each."""
    if cache is None:
        return k, v
    if isinstance(cache, EncoderDecoderCache):
        if cross:
            cache.is_updated[layer_idx] = True
        cache = cache.cross_attention_cache if cross else cache.self_attention_cache
    keys, values = cache.update(k, v, layer_idx)
    return keys, values
