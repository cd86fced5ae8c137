"""Settings of an attention layer and of a transformer, checked on construction."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args

from transformers import PreTrainedConfig

from attnviz.errors import AttnVizError

Scale = Literal["sqrt", "none"]
Mask = Literal["none", "causal", "sliding", "prefix"]
Positions = Literal["none", "sinusoidal", "learned", "rope", "alibi", "t5"]
Norm = Literal["pre", "post", "none"]
NormKind = Literal["layer", "rms"]
Activation = Literal["gelu", "gelu_tanh", "relu", "silu", "swiglu"]
Architecture = Literal["encoder", "decoder", "encoder-decoder"]
Part = Literal["encoder", "decoder", "cross"]


@dataclass(frozen=True)
class AttentionConfig:
    """All settings of one attention layer.

    The defaults are the layer of Vaswani et al. (2017), without mask or positions.

    Raises:
        AttnVizError: a value is out of range or two of them contradict each other.
    """

    d_model: int = 64  # width of the residual stream: of the layer's input and output
    n_heads: int = 4  # H: how many attention patterns one layer can have at once
    n_kv_heads: int | None = None  # H_kv: None = H (MHA), 1 = MQA, between = GQA; saves cache
    d_head: int | None = None  # width of one head; None = d_model / H
    bias: bool = True  # of every linear map; recent models leave it out
    dropout: float = 0.0  # probability that a weight is dropped in training; not on Q, K or V

    scale: Scale | float = "sqrt"  # "sqrt" = 1/sqrt(d_head) keeps the scores' variance at 1
    temperature: float = 1.0  # divides the dot products: below 1 sharpens, above 1 flattens
    qk_norm: bool = False  # RMSNorm on each query and key: bounds the scores (Qwen 3, Gemma 3)
    softcap: float | None = None  # scores become softcap * tanh(scores / softcap) (Gemma 2)
    sink: bool = False  # one learned score per head that takes weight and has no value (gpt-oss)

    mask: Mask = "none"  # which keys a query may see; padding is given at call time
    window: int = 4  # "sliding": a query sees itself and the window - 1 tokens before it
    prefix: int = 0  # "prefix": the first tokens see each other, the others are causal

    positions: Positions = "none"  # without them, attention does not depend on the order of tokens
    max_positions: int = 512  # length of the "learned" table; other schemes have no limit
    rope_theta: float = 10_000.0  # base of RoPE's wavelengths: larger reaches further
    t5_buckets: int = 32  # rows of the table of biases; distances share them
    t5_max_distance: int = 128  # from here on all distances share one bucket

    residual: bool = True  # adds the input to the output; deep stacks do not train without it
    norm: Norm = "post"  # before the layer (GPT-2, Llama), after the sum (BERT), or nowhere
    norm_kind: NormKind = "layer"  # "rms" neither subtracts the mean nor adds a bias
    norm_eps: float = 1e-5  # keeps the norm finite; models differ (BERT has 1e-12)

    feed_forward: bool = False  # two more linear maps after the attention, token by token
    feed_forward_size: int | None = None  # its hidden width; None = 4 * d_model
    activation: Activation = "gelu"  # between the two maps; "swiglu" has a third one as a gate

    seed: int = 0  # of the initial weights, which depend on it and their names alone

    @property
    def kv_heads(self) -> int:
        """H_kv, with the default resolved."""
        return self.n_heads if self.n_kv_heads is None else self.n_kv_heads

    @property
    def head_dim(self) -> int:
        """d_head, with the default resolved."""
        return self.d_model // self.n_heads if self.d_head is None else self.d_head

    @property
    def hidden_dim(self) -> int:
        """Hidden width of the feed-forward sublayer, with the default resolved."""
        return 4 * self.d_model if self.feed_forward_size is None else self.feed_forward_size

    @property
    def scaling(self) -> float:
        """The factor of the dot products: the scale divided by the temperature."""
        if self.scale == "sqrt":
            return self.head_dim**-0.5 / self.temperature
        if self.scale == "none":
            return 1.0 / self.temperature
        return float(self.scale) / self.temperature

    @property
    def is_causal(self) -> bool:
        """Whether no query sees a later key."""
        return self.mask in ("causal", "sliding")

    def __post_init__(self) -> None:
        self._check_sizes()
        self._check_choices()
        self._check_numbers()
        self._check_positions()

    def _check_sizes(self) -> None:
        sizes = {
            "d_model": self.d_model,
            "n_heads": self.n_heads,
            "n_kv_heads": self.kv_heads,
            "d_head": 1 if self.d_head is None else self.d_head,
            "window": self.window,
            "max_positions": self.max_positions,
            "feed_forward_size": self.hidden_dim,
        }
        for name, size in sizes.items():
            if size < 1:
                raise AttnVizError(f"{name} is {size}.", "Choose a whole number of 1 or more.")
        if self.prefix < 0:
            raise AttnVizError(f"prefix is {self.prefix}.", "Choose 0 or more tokens.")
        if self.d_head is None and self.d_model % self.n_heads:
            raise AttnVizError(
                f"{self.n_heads} heads do not divide d_model = {self.d_model}.",
                f"Choose one of {_divisors(self.d_model)} heads, or set d_head.",
            )
        if self.n_heads % self.kv_heads:
            raise AttnVizError(
                f"{self.n_heads} query heads cannot share {self.kv_heads} key/value heads evenly.",
                f"Choose one of {_divisors(self.n_heads)} key/value heads.",
            )

    def _check_choices(self) -> None:
        choices: dict[str, tuple[object, Any]] = {
            "mask": (self.mask, Mask),
            "positions": (self.positions, Positions),
            "norm": (self.norm, Norm),
            "norm_kind": (self.norm_kind, NormKind),
            "activation": (self.activation, Activation),
        }
        if isinstance(self.scale, str):
            choices["scale"] = (self.scale, Scale)
        for name, (value, allowed) in choices.items():
            if value not in get_args(allowed):
                raise AttnVizError(
                    f"{name} = {value!r} is not known.",
                    f"Choose one of {', '.join(get_args(allowed))}.",
                )

    def _check_numbers(self) -> None:
        if not 0.0 <= self.dropout < 1.0:
            raise AttnVizError(f"dropout is {self.dropout}.", "Choose 0 or more, and less than 1.")
        positive = {
            "temperature": self.temperature,
            "softcap": 1.0 if self.softcap is None else self.softcap,
            "norm_eps": self.norm_eps,
            "rope_theta": self.rope_theta,
        }
        if not isinstance(self.scale, str):
            positive["scale"] = self.scale
        for name, number in positive.items():
            if not 0.0 < number < float("inf"):
                raise AttnVizError(f"{name} is {number}.", "Choose a number above 0.")

    def _check_positions(self) -> None:
        if self.positions == "rope" and self.head_dim % 2:
            raise AttnVizError(
                f"RoPE rotates pairs of dimensions, and d_head = {self.head_dim} is odd.",
                "Choose an even d_head, another number of heads, or other positions.",
            )
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise AttnVizError(
                f"Sinusoidal positions come in pairs, and d_model = {self.d_model} is odd.",
                "Choose an even d_model or other positions.",
            )
        if self.positions == "t5":
            if self.t5_buckets < 4 or self.t5_buckets % 2:
                raise AttnVizError(
                    f"t5_buckets is {self.t5_buckets}.", "Choose an even number of 4 or more."
                )
            if self.t5_max_distance <= self.t5_buckets // 2:
                raise AttnVizError(
                    f"t5_max_distance is {self.t5_max_distance}.",
                    f"Choose more than half the buckets, so above {self.t5_buckets // 2}.",
                )


def _divisors(number: int) -> str:
    return ", ".join(str(n) for n in range(1, number + 1) if number % n == 0)


class TransformerConfig(PreTrainedConfig):
    """Settings of a transformer: those of :class:`AttentionConfig` for each layer, and more.

    It is a transformers configuration, so ``save_pretrained``, ``from_pretrained`` and
    ``AutoConfig`` work. The attention's temperature is called ``attention_temperature`` here,
    because in transformers ``temperature`` is a setting of generation.

    Raises:
        AttnVizError: a value is out of range or two of them contradict each other.
    """

    model_type = "attnviz"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "intermediate_size": "feed_forward_size",
        "num_attention_heads": "n_heads",
        "num_key_value_heads": "n_kv_heads",
        "num_hidden_layers": "n_layers",
        "head_dim": "d_head",
        "max_position_embeddings": "max_positions",
    }

    vocab_size: int = 256  # one token per byte; a tokenizer brings its own
    n_layers: int = 2  # of the encoder and of the decoder each
    architecture: Architecture = "decoder"  # GPT-like, BERT-like, or T5-like with both
    embedding_norm: bool = False  # a norm before the first block, as in BERT
    tie_word_embeddings: bool = True  # one table for token embeddings and logits
    initializer_range: float = 0.02  # standard deviation of the tables' initial values
    use_cache: bool = True  # keep keys and values while generating
    pad_token_id: int | None = None  # fills up the shorter texts of a batch
    bos_token_id: int | None = None  # begins a text
    eos_token_id: int | None = None  # ends a text, and with it generation
    decoder_start_token_id: int | None = None  # first token of an encoder-decoder's decoder

    # As in AttentionConfig, which explains them; each None is replaced by the value it stands for.
    d_model: int = 64
    n_heads: int = 4
    n_kv_heads: int | None = None
    d_head: int | None = None
    bias: bool = True
    dropout: float = 0.0
    scale: Scale | float = "sqrt"
    attention_temperature: float = 1.0
    qk_norm: bool = False
    softcap: float | None = None
    sink: bool = False
    mask: Mask | None = None  # None: causal in a decoder, none in an encoder
    window: int = 4
    prefix: int = 0
    positions: Positions = "learned"
    max_positions: int = 512
    rope_theta: float = 10_000.0
    t5_buckets: int = 32
    t5_max_distance: int = 128
    residual: bool = True
    norm: Norm = "pre"  # trains without warm-up; one more norm follows the last block
    norm_kind: NormKind = "layer"
    norm_eps: float = 1e-5
    feed_forward: bool = True
    feed_forward_size: int | None = None
    activation: Activation = "gelu"
    seed: int = 0

    def __post_init__(self, **kwargs: Any) -> None:
        if self.architecture not in get_args(Architecture):
            raise AttnVizError(
                f"architecture = {self.architecture!r} is not known.",
                f"Choose one of {', '.join(get_args(Architecture))}.",
            )
        for name in ("vocab_size", "n_layers"):
            if getattr(self, name) < 1:
                raise AttnVizError(f"{name} is {getattr(self, name)}.", "Choose 1 or more.")
        if self.mask is None:
            self.mask = "none" if self.architecture == "encoder" else "causal"
        layer = self.attention("encoder" if self.architecture == "encoder" else "decoder")
        self.n_kv_heads, self.d_head = layer.kv_heads, layer.head_dim
        self.feed_forward_size = layer.hidden_dim
        self.is_encoder_decoder = self.architecture == "encoder-decoder"
        if self.architecture == "encoder" or self.mask == "none":
            self.use_cache = False  # every token sees later ones, so its keys and values change
        super().__post_init__(**kwargs)

    def attention(self, part: Part) -> AttentionConfig:
        """Settings of the attention layers in one part of the transformer.

        ``mask`` applies to the decoder, or to the encoder if there is no decoder. Cross-attention
        has no position encoding: positions of two sequences cannot be compared.
        """
        names = {field.name: field.name for field in fields(AttentionConfig)}
        names["temperature"] = "attention_temperature"
        values = {name: getattr(self, own) for name, own in names.items()}
        if part == "cross" or (part == "encoder" and self.architecture != "encoder"):
            values["mask"] = "none"
        if part == "cross":
            values["positions"] = "none"
        return AttentionConfig(**values)
