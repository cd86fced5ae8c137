"""The model of the Layer lab: a small stack of attention layers and the text it reads.

config = AttentionConfig(d_model=32, n_heads=4, mask="causal")
lab = Lab(config, tokenize("The cat sat", "words"))
lab.steps().weights          # (1, 4, 3, 3)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import regex  # type: ignore[import-untyped]
import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.nn import AttentionConfig, AttentionSteps, MultiHeadAttention, Stage
from attnviz.nn.initialization import derived_seed

Unit = Literal["words", "characters"]
Architecture = Literal["encoder", "decoder", "encoder-decoder"]
Part = Literal["decoder", "encoder", "cross"]  # of an encoder-decoder: which attention

MAX_TOKENS: Final = 64  # a matrix of more tokens has cells too small to read
PADDING: Final = "[pad]"
_BIAS_STD: Final = 0.5  # visible beside projections of standard deviation 1

_UNSPACED: Final = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}"
# A character of a script without spaces, a word with its apostrophes, or a symbol
_WORD: Final = regex.compile(
    rf"[{_UNSPACED}]\p{{M}}*|[\w--[{_UNSPACED}]]+(?:['’]\w+)*|(?!\s)\X", regex.V1
)
_SEED_OF: Final[dict[Part, int]] = {"decoder": 0, "encoder": 1, "cross": 2}
_PARTS: Final = len(_SEED_OF)


def tokenize(text: str, unit: Unit) -> tuple[str, ...]:
    """The text as words and symbols, or as characters (grapheme clusters).

    >>> tokenize("It's a cat!", "words")
    ("It's", 'a', 'cat', '!')

    Raises:
        AttnVizError: the text is empty, or has more than ``MAX_TOKENS`` tokens.
    """
    if unit == "words":
        tokens = _WORD.findall(text)
    else:
        tokens = ["␣" if c.isspace() else c for c in regex.findall(r"\X", text.strip())]
    if not tokens:
        raise AttnVizError("The text is empty.", "Type a word or two.")
    if len(tokens) > MAX_TOKENS:
        raise AttnVizError(
            f"The text has {len(tokens):,} {unit}, and the lab shows at most {MAX_TOKENS}.",
            "Shorten it, or use Explore for longer texts.",
        )
    return tuple(tokens)


def embed(tokens: Sequence[str], d_model: int, seed: int = 0) -> Tensor:
    """(1, n, d_model): a standard normal vector for each token, from the seed and the token alone.

    The same token has the same vector at every position.
    """
    vectors = [
        torch.randn(d_model, generator=torch.Generator().manual_seed(derived_seed(seed, token)))
        for token in tokens
    ]
    return torch.stack(vectors)[None]  # (1, n, d_model)


def randomize_biases(layer: MultiHeadAttention, seed: int = 0) -> MultiHeadAttention:
    """Draw the biases of the linear maps, which start at zero and would have no visible effect."""
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.endswith("_proj.bias"):
                parameter.normal_(
                    std=_BIAS_STD, generator=torch.Generator().manual_seed(derived_seed(seed, name))
                )
    return layer


def layer_of(config: AttentionConfig, depth: int = 0, part: Part = "decoder") -> MultiHeadAttention:
    """The layer at ``depth`` of a stack, with weights of its own.

    Absolute positions are added once, before the first layer. A layer with dropout is in training
    mode, so that it drops weights.
    """
    seed = config.seed + _PARTS * depth + _SEED_OF[part]
    added = config.positions in ("sinusoidal", "learned") and depth > 0
    config = replace(config, seed=seed, positions="none" if added else config.positions)
    layer = MultiHeadAttention(config).train(config.dropout > 0)
    return randomize_biases(layer, seed) if config.bias else layer


@dataclass(frozen=True)
class Lab:
    """A stack of layers, its input text, and the attention in it that is shown.

    In an encoder-decoder ``tokens`` are the decoder's text and ``context`` the encoder's. Each
    decoder layer has self-attention, then cross-attention to the encoder's output, then its
    feed-forward network.

    Raises:
        AttnVizError: there is no such layer, or an encoder-decoder has no context.
    """

    config: AttentionConfig
    tokens: tuple[str, ...]
    context: tuple[str, ...] = ()
    architecture: Architecture = "decoder"
    part: Part = "decoder"  # of an encoder-decoder: which attention is shown
    layers: int = 1
    layer: int = 0  # the one that is shown
    padding: int = 0  # padding tokens after the text of the keys

    def __post_init__(self) -> None:
        if not 0 <= self.layer < self.layers:
            raise AttnVizError(
                f"There is no layer {self.layer} among {self.layers}.",
                f"Choose 0 to {self.layers - 1}.",
            )
        if self.architecture == "encoder-decoder" and not self.context:
            raise AttnVizError("The encoder's text is empty.", "Type a word or two.")

    @property
    def query_tokens(self) -> tuple[str, ...]:
        """The label of each query."""
        if self.architecture == "encoder-decoder":
            return self._padded(self.context) if self.part == "encoder" else self.tokens
        return self._padded(self.tokens)

    @property
    def key_tokens(self) -> tuple[str, ...]:
        """The label of each key."""
        if self.architecture == "encoder-decoder" and self.part == "cross":
            return self._padded(self.context)
        return self.query_tokens

    @property
    def title(self) -> str:
        """What is shown, for a saved picture."""
        layer = f"layer {self.layer}" if self.layers > 1 else "one layer"
        return f"Random weights, {layer} of {self.config.n_heads} heads"

    def stage_labels(self, stage: Stage) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The labels of a stage's rows and columns: tokens, or numbers of dimensions."""
        tokens = {"query": self.query_tokens, "key": self.key_tokens, "sink": ("sink",)}
        numbers = tuple(map(str, range(stage.value.shape[-1])))
        return tokens[stage.rows], tokens.get(stage.columns, numbers)

    def steps(self) -> AttentionSteps:
        """Every intermediate of the attention that is shown."""
        with torch.inference_mode():
            if self.architecture != "encoder-decoder":
                return self._through_stack(self.config, self.tokens, self.layer, "decoder")
            encoder = replace(self.config, mask="none")
            last = self.layer if self.part == "encoder" else self.layers - 1
            steps = self._through_stack(encoder, self.context, last, "encoder")
            if self.part == "encoder":
                return steps
            return self._through_decoder(steps.output)

    def _padded(self, tokens: tuple[str, ...]) -> tuple[str, ...]:
        return tokens + (PADDING,) * self.padding

    def _real(self, n: int) -> Tensor | None:
        """(1, n): 1 for a token, 0 for padding at the end; None without padding."""
        if not self.padding:
            return None
        return (torch.arange(n)[None] < n - self.padding).long()

    def _through_stack(
        self, config: AttentionConfig, tokens: tuple[str, ...], last: int, part: Part
    ) -> AttentionSteps:
        x = embed(self._padded(tokens), config.d_model, config.seed)
        real = self._real(x.shape[1])
        for depth in range(last):
            x = layer_of(config, depth, part).explain(x, padding=real).output
        return layer_of(config, last, part).explain(x, padding=real)

    def _through_decoder(self, memory: Tensor) -> AttentionSteps:
        own = replace(self.config, feed_forward=False)
        across = replace(self.config, mask="none", positions="none")
        x = embed(self.tokens, self.config.d_model, self.config.seed)
        real = self._real(memory.shape[1])
        for depth in range(self.layer):
            x = layer_of(own, depth).explain(x).output
            x = layer_of(across, depth, "cross").explain(x, memory, real).output
        steps = layer_of(own, self.layer).explain(x)
        if self.part == "decoder":
            return steps
        return layer_of(across, self.layer, "cross").explain(steps.output, memory, real)
