from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest
import torch

from attnviz.errors import AttnVizError
from attnviz.train.evaluation import IGNORE_INDEX
from attnviz.train.settings import JobSettings
from attnviz.train.tasks import TASKS, find
from attnviz.train.tasks.brackets import FIRST_ID, bracket_prefixes, missing_brackets
from attnviz.train.tasks.digits import as_image, load_images
from attnviz.train.tasks.task import prepare, settings_for
from attnviz.train.training_setup import Batch, ProbeExample, TrainingSetup

TEXTS = [name for name in TASKS if name != "digits"]


def setup(name: str) -> TrainingSetup:
    return prepare(find(name), settings_for(find(name)))


def written(made: TrainingSetup, batch: Batch, row: int) -> str:
    return str(made.tokenizer.decode(batch["input_ids"][row], skip_special_tokens=True))


@pytest.mark.parametrize("name", TASKS)
def test_a_place_in_the_order_always_holds_the_same(name: str) -> None:
    first, second = setup(name), setup(name)
    places = list(range(640, 656))
    a, b = first.get_batch(places), second.get_batch(places)
    assert all(torch.equal(a[key], b[key]) for key in a)
    other = first.get_batch(list(range(656, 672)))
    assert any(a[k].shape != other[k].shape or not torch.equal(a[k], other[k]) for k in a)


@pytest.mark.parametrize("name", ["copy", "reverse", "sort", "induction", "brackets", "modular"])
def test_what_is_held_out_is_never_trained_on(name: str) -> None:
    made = setup(name)
    held_out = {written(made, b, i) for b in made.held_out for i in range(len(b["labels"]))}
    seen = set()
    for start in range(0, 64 * 60, 64):
        batch = made.get_batch(list(range(start, start + 64)))
        seen |= {written(made, batch, i) for i in range(64)}
    assert len(held_out) > 100
    assert not held_out & seen


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_written_is_what_the_tokenizer_reads(name: str) -> None:
    made = setup(name)
    batch = made.held_out[0]
    text = written(made, batch, 0)
    ids = made.tokenizer(text)["input_ids"]
    padding = made.tokenizer.pad_token_id
    assert ids == [i for i in batch["input_ids"][0].tolist() if i != padding]
    assert made.tokenizer.unk_token_id not in ids


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("copy", lambda words: words),
        ("reverse", lambda words: words[::-1]),
        ("sort", lambda words: "".join(sorted(words))),
    ],
)
def test_answers_are_right_and_alone_are_learned(name: str, answer: Callable[[str], str]) -> None:
    made = setup(name)
    batch = made.held_out[1]
    question, written_answer = written(made, batch, 3).split(">")
    assert written_answer == answer(question) + "."
    learned = batch["labels"][3] != IGNORE_INDEX
    assert int(learned.sum()) == len(written_answer)
    assert bool(learned[-len(written_answer) :].all())


def test_induction_repeats_letters_that_are_all_different() -> None:
    made = setup("induction")
    words = written(made, made.held_out[0], 0)
    half = len(words) // 2
    assert words[:half] == words[half:]
    assert len(set(words[:half])) == half


def test_brackets_close_what_is_open() -> None:
    ids = bracket_prefixes(torch.Generator().manual_seed(0), 50, 9, 2)
    for row in ids.tolist():
        text = "".join("([)]"[i - FIRST_ID] for i in [*row, *missing_brackets(row, 2)])
        while text:
            shorter = text.replace("()", "").replace("[]", "")
            assert shorter != text
            text = shorter


def test_modular_sums() -> None:
    made = setup("modular")
    for batch in made.held_out:
        a, _, b, _, c = (batch["input_ids"][:, i] - 6 for i in range(5))
        assert torch.equal((a + b) % 59, c)


def test_dates_are_the_same_day_in_both_ways() -> None:
    made = setup("dates")
    batch = made.held_out[0]
    names = [datetime.date(2000, m, 1).strftime("%B") for m in range(1, 13)]
    ways = set()
    for i in range(len(batch["labels"])):
        source = written(made, batch, i)
        target = str(
            made.tokenizer.decode(batch["labels"][i].clamp(min=0), skip_special_tokens=True)
        )
        words, iso = (source, target) if " " in source else (target, source)
        day, month, year = words.split(" ")
        assert datetime.date.fromisoformat(iso) == datetime.date(
            int(year), names.index(month) + 1, int(day)
        )
        ways.add(" " in source)
    assert ways == {True, False}


def test_the_digits_processor_gives_what_is_trained_on() -> None:
    made = setup("digits")
    pixels, labels = load_images()
    assert pixels.shape == (1797, 8, 8)
    given = made.processor(images=as_image(pixels[0]), return_tensors="pt")["pixel_values"][0]
    everything = torch.cat([batch["pixel_values"] for batch in made.held_out])
    assert given.shape == everything[0].shape
    # one of the training images, unmoved, or a held-out one: the same numbers but for rounding
    train = made.get_batch(list(range(1437)))["pixel_values"]
    distance = (torch.cat([everything, train]) - given).abs().amax((1, 2, 3)).min()
    held = distance < 1e-6
    assert held or (int(labels[0]) == 0 and distance < 2.0)


@pytest.mark.parametrize(
    ("name", "options", "model", "words"),
    [
        ("copy", {"symbols": 1}, {}, "symbols is 1"),
        ("copy", {"speed": 1}, {}, "speed"),
        ("copy", {"shortest": 9, "longest": 4}, {}, "lengths"),
        ("copy", {}, {"n_heads": 3}, "heads do not divide"),
        ("copy", {}, {"mask": "none"}, "sees the answer"),
        ("copy", {}, {"architecture": "encoder"}, "encoder alone"),
        ("induction", {"symbols": 8}, {}, "cannot be drawn"),
        ("text", {"text": "short"}, {}, "too few"),
        ("digits", {"patch": 3}, {}, "do not fill"),
        ("digits", {}, {"positions": "rope"}, "no setting 'positions'"),
        ("modular", {"modulus": 2}, {}, "modulus"),
    ],
)
def test_invalid_options_are_reported(
    name: str, options: dict[str, object], model: dict[str, object], words: str
) -> None:
    with pytest.raises(AttnVizError, match=words):
        prepare(find(name), settings_for(find(name), options=options, model=model))


def test_model_options_are_used(tiny: Callable[..., JobSettings]) -> None:
    model = {"n_kv_heads": 1, "positions": "alibi", "mask": "sliding", "window": 5, "sink": True}
    made = prepare(find("copy"), tiny("copy", model=model))
    config = made.base.config
    assert (config.n_kv_heads, config.positions, config.mask, config.sink) == (
        1,
        "alibi",
        "sliding",
        True,
    )


def probe_of(name: str, words: str) -> ProbeExample:
    return prepare(find(name), settings_for(find(name), probe=words)).probe


def test_the_probe_can_be_chosen() -> None:
    assert probe_of("text", "the hen").text == "the hen"
    assert probe_of("dates", "1 May 1999") == ProbeExample("1 May 1999", "1999-05-01")
    assert probe_of("dates", "1999-05-01") == ProbeExample("1999-05-01", "1 May 1999")
    first, third = probe_of("digits", "0").image, probe_of("digits", "2").image
    assert first.tobytes() == setup("digits").probe.image.tobytes()
    assert first.tobytes() != third.tobytes()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("text", "the Hen", "'H', which this task does not know"),
        ("modular", "1 + 99", "'99', which this task does not know"),
        ("dates", "yesterday", "'yesterday' is not a date"),
        ("dates", "31 June 2001", "not a date"),
        ("digits", "360", "Choose 0 to 359"),
    ],
)
def test_an_example_that_cannot_be_read(name: str, text: str, message: str) -> None:
    with pytest.raises(AttnVizError, match=message):
        probe_of(name, text)


def test_an_example_longer_than_the_transformer_reads() -> None:
    settings = settings_for(
        find("copy"), model={"positions": "learned", "max_positions": 40}, probe="ab" * 30
    )
    with pytest.raises(AttnVizError, match="60 tokens, and the transformer reads 40"):
        prepare(find("copy"), settings)


def test_an_unknown_task() -> None:
    with pytest.raises(AttnVizError, match="juggle"):
        find("juggle")
