"""Bad folders: each gives one clear message, and nothing is allocated or run for it."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import time
from pathlib import Path

import psutil
import pytest
import torch
from transformers import SwitchTransformersConfig

from attnviz.errors import AttnVizError
from attnviz.models import loader
from attnviz.models.checkpoint_folder import inspect
from attnviz.models.loader import load
from attnviz.models.model_files import file_stamp


def write_safetensors(path: Path, header: object, n_bytes: int = 0) -> None:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + n_bytes)  # a hole: takes no disk space


def test_a_sound_folder(gpt2_folder: Path) -> None:
    found = inspect(gpt2_folder)
    assert found.config["model_type"] == "gpt2"
    assert [path.name for path in found.weights] == ["model.safetensors"]
    assert found.notes == ()


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(AttnVizError, match=r"is not a model.*config\.json"):
        load(str(tmp_path), device="cpu")


def test_a_folder_with_a_gguf_names_it(tmp_path: Path) -> None:
    (tmp_path / "some.gguf").touch()
    with pytest.raises(AttnVizError, match=r"it has some\.gguf"):
        inspect(tmp_path)


def test_an_adapter_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(AttnVizError, match="an adapter, not a whole model"):
        inspect(tmp_path)


class Trap:
    """What a hostile pickle does when it is opened."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "last.ckpt", "weights.pth"])
@pytest.mark.parametrize("config", [True, False])
def test_a_pickle_is_not_opened(gpt2_folder: Path, tmp_path: Path, name: str, config: bool) -> None:
    (gpt2_folder / "model.safetensors").unlink()
    if not config:
        (gpt2_folder / "config.json").unlink()
        (gpt2_folder / "generation_config.json").unlink()
    (gpt2_folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(AttnVizError, match=f"pickle file .{name}"):
        load(str(gpt2_folder), device="cpu")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_truncated_safetensors(gpt2_folder: Path, cut: int) -> None:
    path = gpt2_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(AttnVizError, match=r"cut short|not a safetensors file"):
        load(str(gpt2_folder), device="cpu")


@pytest.mark.parametrize(
    ("header", "n_bytes", "said"),
    [
        (b"{", 0, "not a safetensors file"),
        (b"[1, 2, 3]", 0, "not the JSON"),
        (b"{" * 20_000, 0, "not the JSON"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, 4, "cut short"),
        ({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 8]}}, 8, "number of bytes"),
        ({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, 8, "invalid description"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}, 8, "number of bytes"),
        ({"a": {"dtype": "F32"}}, 8, "invalid description"),
        ({"a": 7}, 8, "invalid description"),
        ({"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}, 8, "quantized or unknown"),
        ({}, 0, "contain no weights"),
    ],
)
def test_unsound_safetensors(gpt2_folder: Path, header: object, n_bytes: int, said: str) -> None:
    write_safetensors(gpt2_folder / "model.safetensors", header, n_bytes)
    with pytest.raises(AttnVizError, match=said):
        load(str(gpt2_folder), device="cpu")


def test_a_header_longer_than_any_is_not_read(gpt2_folder: Path) -> None:
    path = gpt2_folder / "model.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2**40))
        file.truncate(2**41)
    with pytest.raises(AttnVizError, match="not a safetensors file"):
        inspect(gpt2_folder)


def test_a_model_larger_than_memory(gpt2_folder: Path) -> None:
    n_bytes = 2 * psutil.virtual_memory().total // 4 * 4
    entry = {"dtype": "F32", "shape": [n_bytes // 4], "data_offsets": [0, n_bytes]}
    write_safetensors(gpt2_folder / "model.safetensors", {"wte.weight": entry}, n_bytes)
    before = psutil.Process().memory_info().rss
    with pytest.raises(AttnVizError, match=r"needs about [\d,.]+ GiB of memory, and [\d,.]+ .iB"):
        load(str(gpt2_folder), device="cpu")
    assert psutil.Process().memory_info().rss - before < 2**28


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (b"{not json", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"\xff\xfe", "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b"{}", "no model_type"),
        (b'{"model_type": 7}', "no model_type"),
        (b'{"model_type": "nosuch"}', "knows no model type 'nosuch'"),
        (b'{"model_type": "nosuch", "auto_map": {}}', "needs code that comes with"),
        (
            b'{"model_type": "gpt2", "quantization_config": {"quant_method": "gptq"}}',
            r"quantized \(gptq\)",
        ),
    ],
)
def test_unsound_configs(gpt2_folder: Path, config: bytes, said: str) -> None:
    (gpt2_folder / "config.json").write_bytes(config)
    with pytest.raises(AttnVizError, match=said):
        load(str(gpt2_folder), device="cpu")


@pytest.mark.parametrize("key", ["n_embd", "n_layer", "n_head", "vocab_size", "n_inner"])
def test_impossible_sizes_are_refused_at_once(gpt2_folder: Path, key: str) -> None:
    path = gpt2_folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: 10**9}))
    with pytest.raises(AttnVizError, match=f"{key} is 1,000,000,000"):
        load(str(gpt2_folder), device="cpu")


def test_sizes_inside_a_nested_config_count_too(gpt2_folder: Path) -> None:
    path = gpt2_folder / "config.json"
    nested = json.loads(path.read_text()) | {"text_config": {"hidden_size": 10**9}}
    path.write_text(json.dumps(nested))
    with pytest.raises(AttnVizError, match="hidden_size is 1,000,000,000"):
        inspect(gpt2_folder)


@pytest.mark.parametrize(
    ("weight_map", "said"),
    [
        ({"a": "../model.safetensors"}, "outside its folder"),
        ({"a": "/etc/passwd"}, "outside its folder"),
        ({"a": "pytorch_model.bin"}, "outside its folder"),
        ({"a": "model-00001-of-00002.safetensors"}, "is missing"),
        ({}, "names no weight files"),
    ],
)
def test_unsound_indexes(gpt2_folder: Path, weight_map: dict[str, str], said: str) -> None:
    (gpt2_folder / "model.safetensors").unlink()
    index = gpt2_folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(AttnVizError, match=said):
        inspect(gpt2_folder)


def changed(folder: Path, **values: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


IMPOSSIBLE: dict[str, tuple[dict[str, object], str]] = {
    "labels": ({"num_labels": 10**8}, "num_labels is 100,000,000"),
    "label names": ({"id2label": {str(i): "x" for i in range(2**17 + 1)}}, "labels is 131,073"),
    "layers": ({"n_layer": 2_000}, "n_layer is 2,000"),
    "layer types": (
        {"model_type": "gpt_neo", "attention_types": [[["global", "local"], 10**10]]},
        "attention_types is 10,000,000,000",
    ),
    "layer types in sum": (
        {"model_type": "gpt_neo", "attention_types": [[["global"], 60]] * 60},
        "attention_types is 3,600",
    ),
    "experts": (
        {"model_type": "mixtral", "num_hidden_layers": 60, "num_local_experts": 10**6},
        "num_local_experts is 1,000,000",
    ),
    "a number without a rule of its own": ({"some_count": 10**7}, "some_count is 10,000,000"),
    "below zero": ({"vocab_size": -(10**9)}, "vocab_size is 1,000,000,000"),
    "positions": ({"n_positions": 2**40}, "n_positions is 1,099,511,627,776"),
    "a long list": ({"block_types": ["x"] * 100_000}, "100,000 entries under block_types"),
    "infinity": ({"n_layer": float("inf")}, "not a sound one"),
    "more weights than stored": ({"n_embd": 4096}, "describes [0-9,]+ weights, and the files"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_config_is_refused_before_anything_is_built_from_it(gpt2_folder: Path, case: str) -> None:
    values, said = IMPOSSIBLE[case]
    folder = changed(gpt2_folder, **values)
    began = time.thread_time()
    with pytest.raises(AttnVizError, match=said):
        load(str(folder), device="cpu")
    # the largest of these files is 2 MB; what they ask for takes from ten seconds to hours
    assert time.thread_time() - began < 2


def test_a_model_of_more_parts_than_the_files_hold_is_not_built(gpt2_folder: Path) -> None:
    """Its numbers may be fine one by one: 60 layers of 200 experts in modules of their own."""
    config = SwitchTransformersConfig(num_layers=60, num_sparse_encoder_layers=60, num_experts=200)
    config.update({"d_model": 8, "d_ff": 8, "d_kv": 4, "num_heads": 2, "vocab_size": 20})
    config.save_pretrained(gpt2_folder)
    began = time.thread_time()
    with pytest.raises(AttnVizError, match="far more parts than the weight files hold"):
        load(str(gpt2_folder), device="cpu")
    assert time.thread_time() - began < 4  # all of it takes a minute


@pytest.mark.parametrize(
    "content",
    [
        b'{"model_type": "gpt2", "x": [' + b"0," * 2**20 + b"0]}",
        b'{"model_type": "gpt2", "x": ' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"model_type": "gpt2", "x": ' + b"9" * 4_000 + b"}",
        b'{"model_type": "gpt2", "x": "' + b"y" * 2**25 + b'"}',
    ],
    ids=["values", "depth", "digits", "bytes"],
)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_json_is_bounded(gpt2_folder: Path, name: str, content: bytes) -> None:
    (gpt2_folder / name).write_bytes(content)
    if name != "config.json":
        (gpt2_folder / "model.safetensors").unlink()
    began = time.thread_time()
    with pytest.raises(AttnVizError, match=rf"{name} is (not a JSON object that is read|too big)"):
        load(str(gpt2_folder), device="cpu")
    assert time.thread_time() - began < 1


@pytest.mark.parametrize("shape", [[9**3000], [2**62] * 16, [1] * 500, [0, 9**30]])
def test_a_header_of_huge_integers_is_refused_at_once(gpt2_folder: Path, shape: list[int]) -> None:
    entry = json.dumps({"dtype": "F32", "shape": shape, "data_offsets": [0, 4]})
    raw = ("{" + ",".join(f'"t{i}": {entry}' for i in range(2_000)) + "}").encode()
    write_safetensors(gpt2_folder / "model.safetensors", raw, 4)
    began = time.thread_time()
    with pytest.raises(
        AttnVizError, match=r"not the JSON|invalid description|number of bytes|not a safetensors"
    ):
        load(str(gpt2_folder), device="cpu")
    assert time.thread_time() - began < 2


def test_a_revision_identifies_the_content(gpt2_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(gpt2_folder, copy)  # with the files' times
    assert inspect(copy).revision == inspect(gpt2_folder).revision
    seen = {inspect(copy).revision}
    config = copy / "config.json"
    times = (config.stat().st_atime_ns, config.stat().st_mtime_ns)
    text = config.read_text()
    assert '"n_layer": 2' in text
    # the same size and time: only the content tells
    config.write_text(text.replace('"layer_norm_epsilon": 1e-05', '"layer_norm_epsilon": 1e-04'))
    os.utime(config, ns=times)
    seen.add(inspect(copy).revision)
    weights = copy / "model.safetensors"
    times = (weights.stat().st_atime_ns, weights.stat().st_mtime_ns)
    header = weights.read_bytes()
    weights.write_bytes(header.replace(b'"format":"pt"', b'"format":"xx"'))
    os.utime(weights, ns=times)
    seen.add(inspect(copy).revision)
    os.utime(weights)
    seen.add(inspect(copy).revision)
    assert len(seen) == 4


def test_a_stamp_changes_with_the_files_and_reads_nothing(
    gpt2_folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(gpt2_folder, copy)
    first = file_stamp(copy)
    assert file_stamp(copy) == first != ()
    weights = copy / "model.safetensors"
    replacement = tmp_path / "other"
    shutil.copy2(weights, replacement)  # same size, same time: another file
    os.replace(replacement, weights)
    assert file_stamp(copy) != first
    assert file_stamp(weights) == tuple(
        entry for entry in file_stamp(copy) if entry[0] == weights.name
    )
    assert file_stamp(tmp_path / "not there") == ()


def test_a_loaded_model_does_not_follow_its_file(gpt2_folder: Path, tmp_path: Path) -> None:
    """safetensors maps the file into memory: written over, the weights changed; cut, the process
    ended with SIGBUS."""
    copy = tmp_path / "copy"
    shutil.copytree(gpt2_folder, copy)
    model = load(str(copy), device="cpu", dtype="float32")
    before = [p.clone() for p in model.module.parameters()]
    weights = copy / "model.safetensors"
    size = weights.stat().st_size
    with weights.open("r+b") as file:
        file.write(b"\0" * size)
    os.truncate(weights, 10)
    for now, then in zip(model.module.parameters(), before, strict=True):
        assert torch.equal(now, then)


def test_files_that_change_while_they_are_read_are_refused(
    gpt2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(gpt2_folder, copy)

    def meanwhile(path: Path) -> tuple[None, tuple[str, ...]]:
        os.utime(copy / "model.safetensors")  # another program rewrites the weights
        return None, ()

    monkeypatch.setattr(loader, "load_image_processor", meanwhile)
    with pytest.raises(AttnVizError, match="changed while they were read"):
        load(str(copy), device="cpu")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_an_unreadable_file_is_an_error_message(gpt2_folder: Path, name: str) -> None:
    """Reading a process's own memory from its start fails for every user."""
    (gpt2_folder / name).unlink()
    (gpt2_folder / name).symlink_to("/proc/self/mem")
    with pytest.raises(AttnVizError, match=r"cannot be read \(Input/output error\)|not a safetens"):
        load(str(gpt2_folder), device="cpu")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("kind", ["loop", "folder", "pipe"])
def test_paths_that_are_not_files_do_not_block(gpt2_folder: Path, name: str, kind: str) -> None:
    path = gpt2_folder / name
    path.unlink(missing_ok=True)
    if kind == "loop":
        path.symlink_to(path)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    if name == "tokenizer.json":
        assert load(str(gpt2_folder), device="cpu").tokenizer is None
    else:
        with pytest.raises(AttnVizError, match=r"has no config|no weights"):
            load(str(gpt2_folder), device="cpu")


@pytest.mark.parametrize("name", ["generation_config.json", "vocab.txt", "added_tokens.json"])
def test_files_beside_the_config_are_bounded_too(gpt2_folder: Path, name: str) -> None:
    with (gpt2_folder / name).open("wb") as file:
        file.truncate(2**28)
    with pytest.raises(AttnVizError, match=f"{name} is too big"):
        load(str(gpt2_folder), device="cpu")


def test_files_that_are_not_read_may_be_of_any_size(gpt2_folder: Path) -> None:
    with (gpt2_folder / "trainer_state.json").open("wb") as file:
        file.truncate(2**28)
    load(str(gpt2_folder), device="cpu")


def test_generation_settings_of_noise_are_left_out(gpt2_folder: Path) -> None:
    (gpt2_folder / "generation_config.json").write_bytes(b"[" * 2**20)
    assert load(str(gpt2_folder), device="cpu").module.generation_config is not None
