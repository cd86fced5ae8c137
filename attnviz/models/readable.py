"""Whether a model can read a text: its tokenizer knows the words, and the text is not too long."""

from __future__ import annotations

from attnviz.errors import AttnVizError
from attnviz.models.loaded_model import LoadedModel
from attnviz.models.text_encoding import encode

UNKNOWN = 0.1  # of the tokens; of a name or an emoji alone a text is still readable


def can_read(source: LoadedModel, text: str) -> bool:
    """Whether at most a tenth of the text's tokens are unknown to the model.

    A tokenizer of bytes knows every text, whatever languages the model was trained on.
    """
    try:
        _, tokens = encode(source, text)
    except AttnVizError:
        return False
    words = [token for token in tokens if not token.special]
    return sum(token.unknown for token in words) <= UNKNOWN * len(words)
