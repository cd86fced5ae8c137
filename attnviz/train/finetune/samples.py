"""Small data to try fine-tuning with: a text, rated sentences, dates."""

from __future__ import annotations

import csv
import datetime
import io
import random
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from attnviz.train.settings import Objective
from attnviz.train.tasks.dates import spelled_out
from attnviz.train.tasks.own_text import DEFAULT
from attnviz.train.tasks.sequences import LETTERS

N_DATES = 60
N_REPETITIONS = 60

_RATED = (
    ("The food was wonderful and the staff were kind.", "good"),
    ("I waited an hour and the soup was cold.", "bad"),
    ("A warm, funny film that I will watch again.", "good"),
    ("The plot makes no sense and the jokes fall flat.", "bad"),
    ("Fast delivery, and the lamp looks even better at home.", "good"),
    ("It broke on the second day.", "bad"),
    ("Clear explanations and great exercises.", "good"),
    ("The manual is useless and nobody answers the phone.", "bad"),
    ("Quiet rooms and a beautiful view of the lake.", "good"),
    ("The room was dirty and smelled of smoke.", "bad"),
    ("These shoes are light and very comfortable.", "good"),
    ("The seams came apart after one wash.", "bad"),
    ("She sings with so much joy.", "good"),
    ("The concert was far too loud and started late.", "bad"),
    ("An elegant book, full of ideas.", "good"),
    ("I gave up after fifty dull pages.", "bad"),
    ("Our guide was patient and knew everything.", "good"),
    ("The bus never came and we missed the tour.", "bad"),
    ("Setting it up took two minutes and it just works.", "good"),
    ("The app crashes whenever I open the map.", "bad"),
    ("Fresh bread every morning, and friendly people.", "good"),
    ("Overpriced, and the coffee tasted burnt.", "bad"),
    ("The battery lasts for days.", "good"),
    ("The screen scratched at once.", "bad"),
)


@dataclass(frozen=True)
class Sample:
    """Data to try an objective with.

    Attributes:
        name: of the file, whose suffix is its format. says: what it holds, in a few words.
    """

    name: str
    data: bytes
    says: str


def sample(objective: Objective, tokenizer: PreTrainedTokenizerBase | None) -> Sample:
    """Data for an objective, of tokens that the model knows where there are such data."""
    if objective == "classify":
        return Sample(
            "sample.csv",
            _csv(("text", "label"), _RATED),
            f"{len(_RATED)} sentences, rated good or bad",
        )
    if objective == "seq2seq":
        return Sample(
            "sample.csv", _csv(("source", "target"), _dates()), f"{N_DATES} dates in two formats"
        )
    texts = (
        Sample("sample.txt", DEFAULT.encode(), "a short text about a cat, a dog and a hen"),
        Sample("sample.txt", _repetitions().encode(), "letters that repeat"),
    )
    return next((one for one in texts if _is_known(one, tokenizer)), texts[0])


def _is_known(text: Sample, tokenizer: PreTrainedTokenizerBase | None) -> bool:
    if tokenizer is None or tokenizer.unk_token_id is None:
        return True
    ids = tokenizer(text.data.decode()[:400], add_special_tokens=False)["input_ids"]
    return tokenizer.unk_token_id not in ids


def _csv(columns: tuple[str, str], rows: tuple[tuple[str, str], ...]) -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([columns, *rows])
    return file.getvalue().encode()


def _dates() -> tuple[tuple[str, str], ...]:
    first = datetime.date(1990, 1, 1)
    days = [first + datetime.timedelta(days=211 * i) for i in range(N_DATES)]
    return tuple((spelled_out(day), day.isoformat()) for day in days)


def _repetitions() -> str:
    """Random letters, each run of them twice."""
    chance = random.Random(0)
    runs = ("".join(chance.sample(LETTERS[:26], 12)) for _ in range(N_REPETITIONS))
    return "".join(run + run for run in runs)
