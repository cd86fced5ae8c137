"""The film of a training: its frames are the backend's numbers, and none is sent twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import attnviz
from attnviz.analysis.overviews import thumbnails
from attnviz.canvas import wire
from attnviz.canvas.codecs import SignificantDigits
from attnviz.canvas.film import NOTHING_SENT, FilmFrame, FilmPayload, Sent, film_payload
from attnviz.canvas.memo import uncached
from attnviz.train.events import Event
from attnviz.train.job_scores import HeadScores, Scorer
from attnviz.train.payoff import ScoreHistory
from tests.browser.apps.canvas_app import model_of, text_of, tokenizer

N = 12
STEPS = (0, 40, 80)
SCORER = Scorer("Score", "a rule", "a head", "", lambda _: HeadScores({}, {}))
EVENTS: tuple[Event, ...] = (
    {"event": "step", "step": 20, "loss": 3.0},
    {"event": "step", "step": 40, "loss": 2.0},
    {"event": "evaluation", "step": 40, "loss": 2.5, "accuracy": 0.5, "exact": 0.25},
    {"event": "step", "step": 80, "loss": None},
)


def frames() -> list[FilmFrame]:
    """Traces of one text by a model whose weights change."""
    module = model_of("decoder", N)
    made = []
    for step in STEPS:
        model = attnviz.wrap(module, tokenizer=tokenizer())
        made.append(FilmFrame((step, 1.5), model.trace(text_of(N)), uncached))
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(1.3)
    return made


FRAMES = frames()
HEADS = [(0, 0), (0, 1), (1, 0)]
SCORES = {head: (0.1, 0.2 + 0.1 * i, 0.9) for i, head in enumerate(HEADS)}
HISTORY = ScoreHistory(SCORER, STEPS, SCORES, dict.fromkeys(HEADS, 0.1))


def film(n: int = 3, sent: Sent = NOTHING_SENT, **options: Any) -> FilmPayload:
    history = ScoreHistory(
        SCORER, STEPS[:n], {h: v[:n] for h, v in SCORES.items()}, HISTORY.uniform
    )
    given = {"id": "run", "last": 80, "selected": (1, 2), **options}
    return film_payload(FRAMES[:n], history, EVENTS, sent=sent, **given)


def unpacked(payload: FilmPayload) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    return wire.unpack(payload.encode(height=400))


def test_the_selected_heads_map_at_each_step_is_the_backends() -> None:
    header, arrays = unpacked(film())
    assert header["steps"] == list(STEPS)
    assert arrays["codes"].shape == (3, N, N)
    for i, frame in enumerate(FRAMES):
        weights = frame.trace.attention(1, 2).weights().numpy()
        shown = np.nan_to_num(SignificantDigits().decode(arrays["codes"][i]))
        assert shown == pytest.approx(weights, rel=6e-4, abs=1e-7)
        assert arrays["rowMax"][i] == pytest.approx(weights.max(axis=1))
    # the color scale is that of all steps, so that none is clipped and none jumps
    assert header["map"]["top"] == pytest.approx(float(arrays["rowMax"].max()))


def test_every_heads_thumbnail_at_each_step_is_the_backends() -> None:
    header, arrays = unpacked(film())
    for i, frame in enumerate(FRAMES):
        for layer in header["layers"]:
            small = thumbnails(frame.trace, layer["index"])
            masked = frame.trace.attention(layer["index"], 0).masked()  # in squares of one cell
            hidden = None if masked is None else np.broadcast_to(masked, small.shape)
            codes = SignificantDigits().encode(small.numpy(), hidden) >> 8
            part = arrays["cells"][i][layer["at"] : layer["at"] + codes.size]
            assert (part == codes.ravel()).all()


def test_curves_and_scores() -> None:
    header, arrays = unpacked(film())
    assert arrays["lossSteps"].tolist() == [20, 40, 80]
    np.testing.assert_equal(arrays["losses"], np.array([[3, 2, np.nan], [np.nan, 2.5, np.nan]]))
    assert header["accuracies"] == ["tokens", "full answers"]
    assert arrays["accuracies"].tolist() == [[0.5], [0.25]]
    assert arrays["scores"] == pytest.approx(np.array(list(SCORES.values())).T)
    assert [one["name"] for one in header["heads"]] == ["L0 H0", "L0 H1", "L1 H0"]
    assert header["emerged"] == [[0, 80], [1, 80], [2, 80]]


def test_what_was_sent_is_left_out() -> None:
    first = film(2)
    header, arrays = unpacked(film(3, first.sent))
    whole = unpacked(film())[1]
    assert (header["firstThumbs"], header["firstMap"]) == (2, 2)
    assert (arrays["codes"] == whole["codes"][2:]).all()
    assert (arrays["cells"] == whole["cells"][2:]).all()
    nothing = unpacked(film(3, film(3, first.sent).sent))[1]
    assert len(nothing["codes"]) == len(nothing["cells"]) == 0
    assert len(film(3, film(3).sent).encode()) < len(film().encode()) - arrays["codes"].nbytes


def test_of_another_head_only_the_map_is_new() -> None:
    header, _ = unpacked(film(3, film().sent, selected=(0, 1)))
    assert (header["firstThumbs"], header["firstMap"]) == (3, 0)
    back = film(3, film(3, film().sent, selected=(0, 1)).sent)
    assert back.header["firstMap"] == 3


def test_a_step_that_was_recorded_again_is_sent_again() -> None:
    sent = film().sent
    again = [*FRAMES[:2], FilmFrame((80, 9.0), FRAMES[2].trace, uncached)]
    payload = film_payload(again, HISTORY, EVENTS, id="run", last=80, selected=(1, 2), sent=sent)
    assert (payload.header["firstThumbs"], payload.header["firstMap"]) == (0, 0)


def test_a_probe_without_scores_is_shown_all_the_same() -> None:
    history = ScoreHistory(SCORER, STEPS, {}, {})
    payload = film_payload(FRAMES, history, (), id="run", last=80, selected=(0, 0))
    header, arrays = wire.unpack(payload.encode())
    assert header["heads"] == []
    assert arrays["scores"].shape == (3, 0)
    assert arrays["lossSteps"].size == 0
