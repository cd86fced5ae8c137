"""GGUF: the header check against hostile files, the conversion, the cache."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from attnviz.errors import AttnVizError
from attnviz.models import catalog, gguf
from attnviz.models.gguf_header import read_header
from attnviz.models.loaded_model import LoadedModel
from attnviz.models.loader import load

ROOT = Path(__file__).parents[3]
UINT32, STRING, ARRAY = 4, 8, 9


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATTNVIZ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gguf"


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def array(kind: int, count: int, values: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + values


def tensor(name: str, shape: list[int], kind: int = 0, offset: int = 0) -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + sizes + struct.pack("<IQ", kind, offset)


def header(
    entries: list[bytes],
    tensors: list[bytes],
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    n_tensors: int | None = None,
    n_entries: int | None = None,
) -> bytes:
    counts = struct.pack(
        "<IQQ",
        version,
        len(tensors) if n_tensors is None else n_tensors,
        len(entries) if n_entries is None else n_entries,
    )
    return magic + counts + b"".join(entries) + b"".join(tensors)


LLAMA = entry("general.architecture", STRING, text("llama"))
ONE = tensor("a", [4])

HOSTILE = {
    "empty": (b"", "is not a GGUF file"),
    "magic": (header([], [ONE], magic=b"GGML"), "is not a GGUF file"),
    "version": (header([], [ONE], version=99), "GGUF version 99"),
    "big endian": (b"GGUF" + struct.pack(">IQQ", 3, 1, 0), "GGUF version"),
    "tensor count": (header([], [], n_tensors=2**60), "declares 1,152,921,504,606,846,976 tensors"),
    "entry count": (header([], [], n_entries=2**40), "metadata entries, which it cannot hold"),
    "counts only": (header([], [], n_entries=60_000), "ends inside its header"),
    "huge array": (
        header([entry("x", ARRAY, array(UINT32, 2**60))], [ONE]),
        "array of 1,152,921,504,606,846,976 elements",
    ),
    "array past the end": (
        header([entry("x", ARRAY, array(UINT32, 10_000))], [ONE]),
        "array of 10,000 elements",
    ),
    "strings past the end": (
        header([entry("x", ARRAY, array(STRING, 3, struct.pack("<3Q", 2**50, 0, 0)))], [ONE]),
        "ends inside its header",
    ),
    "array of arrays": (header([entry("x", ARRAY, array(ARRAY, 1))], [ONE]), "array of arrays"),
    "long key": (header([struct.pack("<Q", 2**62)], [ONE]), "declares a text of"),
    "long string": (
        header([entry("x", STRING, struct.pack("<Q", 2**62))], [ONE]),
        "declares a text of",
    ),
    "value type": (header([entry("x", 77, b"")], [ONE]), "unknown value type 77"),
    "array type": (header([entry("x", ARRAY, array(77, 1))], [ONE]), "unknown value type 77"),
    "twice": (header([LLAMA, LLAMA], [ONE]), "names a metadata entry twice"),
    "no tensors": (header([LLAMA], []), "holds no tensors"),
    "dimensions": (
        header([LLAMA], [text("a") + struct.pack("<I", 2**31)]),
        "2,147,483,648 dimensions",
    ),
    "huge tensor": (header([LLAMA], [tensor("a", [2**40, 2**40])]), "too big a tensor 'a'"),
    "far tensor": (header([LLAMA], [tensor("a", [1], offset=2**60)]), "too big a tensor 'a'"),
    "format": (header([LLAMA], [tensor("a", [4], kind=999)]), "unknown format 999"),
    "no data": (header([LLAMA], [tensor("a", [8])]), "is cut short"),
    "alignment": (
        header([LLAMA, entry("general.alignment", UINT32, struct.pack("<I", 3))], [ONE]),
        "no power of two",
    ),
    "layers": (
        header(
            [LLAMA, entry("llama.block_count", UINT32, struct.pack("<I", 10**9))],
            [ONE],
        )
        + bytes(64),
        "block_count is 1,000,000,000",
    ),
    "width": (
        header(
            [LLAMA, entry("llama.embedding_length", UINT32, struct.pack("<I", 10**9))],
            [ONE],
        )
        + bytes(64),
        "embedding_length is 1,000,000,000",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_are_refused_before_any_reader_sees_them(
    case: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, said = HOSTILE[case]
    path = tmp_path / "hostile.gguf"
    path.write_bytes(content)
    forbid_processes(monkeypatch)
    began = time.process_time()
    with pytest.raises(AttnVizError, match=said) as caught:
        load(str(path), device="cpu")
    # the readers of GGUF take hours over some of these; the check needs milliseconds
    assert time.process_time() - began < 1
    assert str(caught.value).startswith("hostile.gguf ")
    assert not cache.exists()


@given(data=st.data())
def test_no_change_of_a_header_does_more_than_be_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = header([LLAMA, entry("x", ARRAY, array(STRING, 2, text("a") + text("b")))], [ONE])
    content = bytearray(whole + bytes(96))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    path = tmp_path_factory.getbasetemp() / "changed.gguf"
    path.write_bytes(content[:cut])
    try:
        found = read_header(path)
    except AttnVizError:
        return
    assert found.n_elements * 4 <= len(content) * 8  # no more than the bytes can hold


def test_a_sound_header(tiny_gguf: Path, tiny_llama: LlamaForCausalLM) -> None:
    found = read_header(tiny_gguf)
    assert found.architecture == "llama"
    assert found.n_elements == sum(p.numel() for p in tiny_llama.parameters())


def test_a_truncated_gguf(tiny_gguf: Path, cache: Path) -> None:
    tiny_gguf.write_bytes(tiny_gguf.read_bytes()[:-40])
    with pytest.raises(AttnVizError, match="is cut short"):
        load(str(tiny_gguf), device="cpu")


def test_a_converted_model_computes_what_the_original_does(
    tiny_gguf: Path,
    tiny_llama: LlamaForCausalLM,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    loaded = load(str(tiny_gguf), device="cpu")
    ids = torch.arange(0, 200, 7)[None]
    with torch.no_grad():
        ours, theirs = loaded.module(ids).logits, tiny_llama(ids).logits
    assert torch.equal(ours, theirs)  # float32 in, float32 out
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.decode(loaded.tokenizer("héllo")["input_ids"]) == "héllo"

    # From here on no process may start: the second load, and one of a copy elsewhere.
    forbid_processes(monkeypatch)
    again = load(str(tiny_gguf), device="cpu")
    copy = tmp_path / "elsewhere.gguf"
    copy.write_bytes(tiny_gguf.read_bytes())
    assert load(str(copy), device="cpu").revision == again.revision == loaded.revision


def test_what_lies_beside_a_gguf_does_not_change_it(
    tiny_gguf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alone = load(str(tiny_gguf), device="cpu")
    crowded = tmp_path / "crowded"
    crowded.mkdir()
    beside = {
        "adapter_config.json": {"peft_type": "LORA", "base_model_name_or_path": "nosuch/model"},
        "tokenizer_config.json": {"model_max_length": 7, "add_prefix_space": True},
        "config.json": {"model_type": "gpt2"},
        "generation_config.json": {"max_new_tokens": 3},
        "chat_template.jinja": "something else",
    }
    for name, values in beside.items():
        (crowded / name).write_text(json.dumps(values))
    (crowded / "tiny.gguf").write_bytes(tiny_gguf.read_bytes())
    monkeypatch.setenv("ATTNVIZ_CACHE", str(tmp_path / "other"))
    among = load(str(crowded / "tiny.gguf"), device="cpu")
    assert among.revision == alone.revision
    one, other = (root / "gguf" / alone.revision for root in (cache.parent, tmp_path / "other"))
    files = {path.name: path.read_bytes() for path in one.iterdir()}
    assert {path.name: path.read_bytes() for path in other.iterdir()} == files


def test_another_content_is_another_model(
    tiny_gguf: Path,
    tiny_llama: LlamaForCausalLM,
    gguf_writer: Callable[..., None],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = gguf._key(tiny_gguf)
    with torch.no_grad():
        tiny_llama.model.norm.weight[0] += 1
    gguf_writer(tiny_gguf, tiny_llama)
    assert gguf._key(tiny_gguf) != before


def test_a_file_that_changes_while_it_is_read_is_kept_under_no_name(
    tiny_gguf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = tmp_path / "replaced.gguf"
    source.write_bytes(tiny_gguf.read_bytes())
    run = gguf._run

    def meanwhile(*args: Any) -> None:
        with source.open("ab") as file:
            file.write(b"one more")
        run(*args)

    monkeypatch.setattr(gguf, "_run", meanwhile)
    with pytest.raises(AttnVizError, match=r"replaced\.gguf changed while it was read"):
        load(str(source), device="cpu")
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_a_damaged_cache_is_made_again(
    tiny_gguf: Path, tiny_llama: LlamaForCausalLM, cache: Path
) -> None:
    target = cache / gguf._key(tiny_gguf)
    tiny_llama.save_pretrained(target)
    weights = target / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert gguf.to_safetensors(tiny_gguf) == target
    load(str(target), device="cpu")


def test_two_processes_convert_the_same_file_at_once(tiny_gguf: Path, cache: Path) -> None:
    code = "import sys; from pathlib import Path; from attnviz.models import gguf\n"
    code += "print(gguf.to_safetensors(Path(sys.argv[1])))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tiny_gguf)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1]
    load(said[0], device="cpu")
    assert sorted(path.name for path in cache.iterdir() if path.is_dir()) == [Path(said[0]).name]


def test_an_architecture_that_is_unknown_is_named(
    tiny_llama: LlamaForCausalLM, gguf_writer: Callable[..., None], tmp_path: Path, cache: Path
) -> None:
    path = tmp_path / "odd.gguf"
    gguf_writer(path, tiny_llama, architecture="nosuch")
    with pytest.raises(AttnVizError, match=r"odd\.gguf could not be read.*nosuch") as caught:
        load(str(path), device="cpu")
    assert "\n" not in str(caught.value)
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_the_reader_is_ended_past_its_time(tiny_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(AttnVizError, match="more than 1 seconds"):
        gguf._run(tiny_gguf, tmp_path / "out", 2**31, 1, tmp_path / "log.txt")
    assert not (tmp_path / "out").exists()


def test_the_reader_cannot_take_more_memory_than_it_was_given(
    tiny_gguf: Path, tmp_path: Path
) -> None:
    with pytest.raises(AttnVizError, match=r"tiny\.gguf (could not be read|was stopped)"):
        gguf._run(tiny_gguf, tmp_path / "out", 2**10, 120, tmp_path / "log.txt")


def test_what_killed_conversions_left_is_removed(
    tiny_gguf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, young = cache / "tmp-old", cache / "tmp-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    gguf._remove_abandoned(cache)
    assert not old.exists()
    assert young.exists()


def test_a_cache_that_cannot_be_written_is_one_error_message(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ATTNVIZ_CACHE", str(tmp_path / "file"))
    with pytest.raises(AttnVizError, match=r"cache folder .* cannot be written"):
        gguf.to_safetensors(tiny_gguf)


def test_the_packaged_gguf_is_converted_once(
    smollm: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = next(e.source for e in catalog.entries() if e.name == "smollm2-135m")
    forbid_processes(monkeypatch)
    assert gguf.to_safetensors(source).name == smollm.revision


def test_smollm2_splits_digits_as_it_was_trained(smollm: LoadedModel) -> None:
    pieces = smollm.tokenizer.convert_ids_to_tokens(smollm.tokenizer("in  2023")["input_ids"])
    assert pieces == ["in", "ĠĠ", "2", "0", "2", "3"]


def forbid_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
