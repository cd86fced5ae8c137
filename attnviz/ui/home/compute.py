"""Computes what Home keeps, with the models of requirements-models.txt and the shipped ones.

    python -m attnviz.ui.home.compute           # about two minutes, one of them a training

Every number on Home is in ``kept.json``, which this writes; a test holds it to the models.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from pathlib import Path

import attnviz
from attnviz.analysis.heads import all_baselines, baselines, head_metrics
from attnviz.analysis.roles import describe, most_structured
from attnviz.models.images import as_rgb
from attnviz.trace import Model, Trace
from attnviz.train import jobs, snapshots
from attnviz.train.tasks import find
from attnviz.train.tasks.digits import as_image, load_images
from attnviz.train.tasks.task import settings_for
from attnviz.ui.home.computed_views import layer_view, map_view, sentence_view
from attnviz.ui.home.views import (
    HEADS,
    KEPT,
    MODEL,
    TEXT,
    WIDTHS,
    ExampleView,
    Kept,
    TrainingView,
    as_thousandths,
    layer_name,
)

THUMBNAIL = 48  # cells a side
CAT = "The cat sat down because it was tired"
LETTERS = "kdxmbqkdxmbqk"
DATE, ISO = "5 March 2024", "2024-03-05"
DIGIT = 3  # the first "3" of scikit-learn's data: Explore's sample digit
CHINESE = "小猫坐下了，因为它累了"
LICENSE = Path(__file__).parents[3] / "LICENSE"
DOCUMENT_CHARACTERS = 4_300  # a link carries so much


def compute() -> Kept:
    """All of it."""
    model = attnviz.load(MODEL, device="cpu")
    return Kept(
        sentence=sentence_view(model, TEXT),
        layers={
            layer_name(d_model, n): layer_view(TEXT, d_model, n)
            for d_model in WIDTHS
            for n in HEADS
        },
        examples=examples(model),
        training=training(),
    )


def examples(model: Model) -> list[ExampleView]:
    """The six thumbnails. Each names the head that its measure chose."""
    return [_pronoun(model), _induction(), _dates(), _digit(), _chinese(model), _document(model)]


def _pronoun(model: Model) -> ExampleView:
    trace = model.trace(CAT)
    words = [token.text.strip() for token in trace.tokens]
    it, cat = words.index("it"), words.index("cat")

    def weight(head: tuple[int, int]) -> float:
        return float(trace.attention(*head).weights(rows=slice(it, it + 1))[0, cat])

    heads = [(layer.index, h) for layer in trace.layers for h in range(layer.n_heads)]
    best = max(heads, key=weight)
    about = f"“it” attends to “cat” ({weight(best):.2f}) in layer {best[0]}, head {best[1]}."
    return _example(trace, "pronoun", "What does “it” mean?", about, best, MODEL, text=CAT)


def _induction() -> ExampleView:
    trace = attnviz.load("tiny-induction", device="cpu").trace(LETTERS)
    best = max(head_metrics(trace), key=lambda head: head.values["induction"] or 0.0)
    return _example(
        trace,
        "induction",
        "Induction",
        _described(trace, best.layer, best.head),
        (best.layer, best.head),
        "tiny-induction",
        text=LETTERS,
    )


def _dates() -> ExampleView:
    trace = attnviz.load("tiny-dates", device="cpu").trace(DATE, target=ISO)
    crossing = [head for head in head_metrics(trace) if head.kind == "cross"]
    best = max(crossing, key=lambda head: head.values["max_weight"] or 0.0)
    about = f"“{DATE}” becomes {ISO}: which letters each digit is read from (cross-attention)."
    index = [layer.index for layer in trace.layers if layer.kind == "cross"].index(best.layer)
    made = _example(
        trace, "dates", "Date translation", about, (best.layer, best.head), "tiny-dates", text=DATE
    )
    made["params"] |= {"target": ISO, "kind": "cross", "layer": str(index)}
    return made


def _digit() -> ExampleView:
    images, labels = load_images()
    trace = attnviz.load("tiny-digits", device="cpu").trace(image=as_rgb(as_image(images[DIGIT])))
    rows = {
        (layer.index, h): trace.attention(layer.index, h).weights(rows=slice(0, 1))[0, 1:]
        for layer in trace.layers
        for h in range(layer.n_heads)
    }
    best = max(rows, key=lambda head: float(rows[head].max()))
    (answer,) = trace.predictions(k=1)
    side = round(len(rows[best]) ** 0.5)
    about = (
        f"Read as {answer.token} ({answer.probability:.1%}): the patches that [CLS] attends to "
        f"in layer {best[0]}, head {best[1]}."
    )
    params = {"digit": str(int(labels[DIGIT]))}
    made = _example(trace, "digit", "A handwritten digit", about, best, "tiny-digits", **params)
    made["weights"] = as_thousandths(rows[best].unflatten(0, (side, side)))
    made["image"] = as_thousandths(images[DIGIT])
    return made


def _chinese(model: Model) -> ExampleView:
    trace = model.trace(CHINESE)
    layer, head = _most_structured(trace)
    about = (
        f"{len(CHINESE)} characters, {len(trace.tokens)} tokens. {_described(trace, layer, head)}"
    )
    return _example(trace, "chinese", "中文", about, (layer, head), MODEL, text=CHINESE)


def _document(model: Model) -> ExampleView:
    """The beginning of this project's license, to the end of a paragraph."""
    paragraphs = re.split(r"\n\s*\n", LICENSE.read_text(encoding="utf-8").strip())
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    text = text[:DOCUMENT_CHARACTERS].rpartition("\n\n")[0]
    trace = model.trace(text)
    best = max(head_metrics(trace), key=lambda head: head.values["induction"] or 0.0)
    layer, head = best.layer, best.head
    about = f"{len(trace.tokens):,} tokens of the Apache License. {_described(trace, layer, head)}"
    return _example(trace, "document", "A long document", about, (layer, head), MODEL, text=text)


def _example(
    trace: Trace,
    name: str,
    title: str,
    about: str,
    place: tuple[int, int],
    model: str,
    **params: str,
) -> ExampleView:
    layer, head = place
    return ExampleView(
        name=name,
        title=title,
        about=about,
        page="explore",
        params={"model": model, **params, "layer": str(layer), "head": str(head)},
        weights=map_view(trace, layer, head, THUMBNAIL),
        image=None,
    )


def _most_structured(trace: Trace) -> tuple[int, int]:
    uniform = [one for heads in all_baselines(trace).values() for one in heads]
    best = most_structured(head_metrics(trace), uniform)
    assert best is not None
    return best.layer, best.head


def _described(trace: Trace, layer: int, head: int) -> str:
    (metrics,) = (one for one in head_metrics(trace) if (one.layer, one.head) == (layer, head))
    return describe(metrics, baselines(trace, layer)[head]).sentence


def training() -> TrainingView:
    """The induction task, trained at its defaults: each head's induction metric over the steps."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ATTNVIZ_JOBS"] = folder
        job = jobs.submit(settings_for(find("induction")))
        while job.status.is_active:
            time.sleep(0.5)
        found = [snapshots.read(path) for path in job.snapshots()]
    heads: dict[str, list[int]] = {}
    for snapshot in found:
        for one in head_metrics(snapshot.trace):
            value = one.values["induction"] or 0.0
            heads.setdefault(f"L{one.layer} H{one.head}", []).append(round(1000 * value))
    return TrainingView(steps=[snapshot.step for snapshot in found], heads=heads)


if __name__ == "__main__":
    text = json.dumps(compute(), ensure_ascii=False, separators=(",", ":"))
    # one line for each part, so that a change can be read
    KEPT.write_text(re.sub(r',"(layers|examples|training)":', r',\n"\1":', text) + "\n", "utf-8")
    print(f"{KEPT}: {KEPT.stat().st_size / 1e3:.0f} kB")
