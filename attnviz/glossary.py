"""The terms of attention in one sentence each, in English and Chinese.

One table for all readers: the tooltips on screen, the first table of docs/glossary.md (written by
``python -m attnviz.glossary docs/glossary.md``), and lessons.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final, NamedTuple


class Term(NamedTuple):
    """A term's name and meaning in both languages."""

    name: str
    meaning: str
    name_zh: str
    meaning_zh: str


TERMS: Final[dict[str, Term]] = {
    entry.name: entry
    for entry in (
        Term(
            "token",
            "A piece of the input: a word, part of a word, a character or an image patch.",
            "词元",
            "输入的一个单位：一个词、词的一部分、一个字符或一个图像块。",
        ),
        Term(
            "head",
            "One of a layer's parallel attention patterns, with its own queries, keys and values.",
            "注意力头",
            "一层中并行的注意力模式之一，有自己的查询、键和值。",
        ),
        Term(
            "layer",
            "One block of the model; its attention heads all read the same residual stream.",
            "层",
            "模型的一个块；其中所有注意力头读取同一个残差流。",
        ),
        Term(
            "query",
            "What a token looks for: the vector compared with every key. One row of the map.",
            "查询",
            "一个词元要找的内容：与每个键比较的向量。对应图中的一行。",
        ),
        Term(
            "key",
            "What a token offers to be found by: the vector queries are compared with. One column "
            "of the map.",
            "键",
            "一个词元供查找的内容：与查询比较的向量。对应图中的一列。",
        ),
        Term(
            "value",
            "What a token passes on: the vector that is weighted and summed into the output.",
            "值",
            "一个词元传递的内容：加权求和后成为输出的向量。",
        ),
        Term(
            "score",
            "Scaled dot product of a query and a key, with bias and mask, before the softmax.",
            "分数",
            "查询与键的缩放点积，加上偏置和掩码，尚未经过 softmax。",
        ),
        Term(
            "weight",
            "Softmax of the scores: the share of a query's attention that goes to a key. A row "
            "sums to 1.",
            "权重",
            "分数的 softmax：一个查询分给某个键的注意力比例。每行之和为 1。",
        ),
        Term(
            "output",
            "A head's attention-weighted sum of values, before the output projection.",
            "输出",
            "一个头按注意力权重对值求和的结果，尚未经过输出投影。",
        ),
        Term(
            "mask",
            "Which keys a query can attend to. Masked scores are −∞, so their weights are 0.",
            "掩码",
            "查询可以关注哪些键。被遮住的分数为 −∞，权重为 0。",
        ),
        Term(
            "residual",
            "The stream of vectors, one per token, that every layer reads from and adds to.",
            "残差流",
            "每个词元一个向量；每一层从中读取并加上自己的结果。",
        ),
        Term(
            "sink",
            "Where attention goes when a head has nothing to do: often the first token, or an "
            "extra learned logit that adds nothing.",
            "注意力汇聚点",
            "头无事可做时注意力的去处：常是第一个词元，或一个不产生输出的可学习分数。",
        ),
        Term(
            "induction",
            "Attending to the token that followed an earlier copy of the current one: A B … A → B.",
            "归纳",
            "关注当前词元上一次出现之后的那个词元：A B … A → B。",
        ),
        Term(
            "entropy",
            "How spread out a row of weights is, in bits: 0 for one key, log2 n for n equal keys.",
            "熵",
            "一行权重的分散程度（比特）：只看一个键为 0，n 个键均等为 log2 n。",
        ),
        Term(
            "softcap",
            "Keeps scores within ±cap by cap · tanh(score / cap).",
            "软上限",
            "用 cap · tanh(score / cap) 把分数限制在 ±cap 之内。",
        ),
        Term(
            "temperature",
            "Divides scores or logits before a softmax: below 1 sharpens it, above 1 flattens it.",
            "温度",
            "在 softmax 之前除分数：小于 1 更尖锐，大于 1 更平坦。",
        ),
        Term(
            "KV head",
            "Keys and values that several query heads share (grouped-query attention).",
            "键值头",
            "由多个查询头共用的键和值（分组查询注意力）。",
        ),
        Term(
            "cross-attention",
            "Attention whose queries come from the decoder and whose keys and values come from the "
            "encoder.",
            "交叉注意力",
            "查询来自解码器、键和值来自编码器的注意力。",
        ),
    )
}

SECTION: Final = "## Terms on screen"


def term(name: str, rest: str = "") -> str:
    """A term's tooltip: its sentence, and what else there is to say here.

    Raises:
        KeyError: there is no such term.
    """
    return f"{TERMS[name].meaning} {rest}".strip()


def table() -> str:
    """The section of docs/glossary.md."""
    rows = "\n".join(
        f"| {t.name} | {t.meaning} | {t.name_zh}：{t.meaning_zh} |" for t in TERMS.values()
    )
    return f"""{SECTION}

The app's tooltips. Made by `python -m attnviz.glossary docs/glossary.md`.

| term | meaning | 中文 |
| --- | --- | --- |
{rows}
"""


def with_table(document: str) -> str:
    """The document with its section of terms made anew; it ends at the next heading."""
    before, _, after = document.partition(f"{SECTION}\n")
    _, _, rest = after.partition("\n## ")
    return f"{before}{table()}\n## {rest}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
