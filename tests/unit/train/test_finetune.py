"""Fine-tuning end to end, on tiny random models of every family."""

from __future__ import annotations

import json
import string
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from transformers import PreTrainedModel

import attnviz
from attnviz.errors import AttnVizError
from attnviz.nn import TransformerConfig, TransformerForCausalLM, TransformerForMaskedLM
from attnviz.train import jobs
from attnviz.train.attention_change import attention_change, weight_divergence
from attnviz.train.estimate import estimate
from attnviz.train.finetune.objectives import supported_objectives
from attnviz.train.finetune.trainable import lora_targets, n_trained, select_trainable
from attnviz.train.job import Job
from attnviz.train.model_export import export_forms, export_zip
from attnviz.train.run_job import prepare, run
from attnviz.train.settings import FinetuneWork, JobSettings, Schedule
from attnviz.train.tasks.vocabulary import character_tokenizer

TOKENIZER = character_tokenizer([*string.ascii_lowercase, " "], append_end=True)
TOKENIZER.add_special_tokens({"mask_token": "<mask>", "cls_token": "<s>", "sep_token": "</s>"})
SPECIAL = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
SIZE = {"vocab_size": len(TOKENIZER), "hidden_size": 32, "intermediate_size": 48}
HEADS = {"num_hidden_layers": 3, "num_attention_heads": 4}

MODELS: dict[str, Any] = {
    "llama": lambda: hf.LlamaForCausalLM(
        hf.LlamaConfig(**SIZE, **HEADS, **SPECIAL, num_key_value_heads=2)
    ),
    "gpt2": lambda: hf.GPT2LMHeadModel(  # its linear maps are of a class of its own
        hf.GPT2Config(vocab_size=len(TOKENIZER), n_embd=32, n_layer=3, n_head=4, **SPECIAL)
    ),
    "ours": lambda: TransformerForCausalLM(
        TransformerConfig(vocab_size=len(TOKENIZER), d_model=32, n_layers=3, **SPECIAL)
    ),
    "our encoder": lambda: TransformerForMaskedLM(
        TransformerConfig(
            vocab_size=len(TOKENIZER),
            d_model=32,
            n_layers=3,
            architecture="encoder",
            mask="none",
            **SPECIAL,
        )
    ),
    "bert": lambda: hf.BertForMaskedLM(hf.BertConfig(**SIZE, **HEADS, pad_token_id=0)),
    "t5": lambda: hf.T5ForConditionalGeneration(
        hf.T5Config(
            vocab_size=len(TOKENIZER),
            d_model=32,
            d_kv=8,
            d_ff=48,
            num_layers=3,
            num_heads=4,
            decoder_start_token_id=0,
            **SPECIAL,
        )
    ),
}
WORDS = "the cat sat on the mat and the dog sat on the log "


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    for name, build in MODELS.items():
        module: PreTrainedModel = build()
        module.save_pretrained(root / name)
        TOKENIZER.save_pretrained(root / name)
    return {name: root / name for name in MODELS}


def data_of(objective: str, folder: Path) -> Path:
    path = folder / ("data.txt" if objective in ("causal", "masked") else "data.csv")
    if objective == "classify":
        rows = [f"the {w} sat,{w}" for w in ("cat", "dog") for _ in range(10)]
        path.write_text("\n".join(["text,label", *rows]))
    elif objective == "seq2seq":
        rows = [f"{w} {w},{w}" for w in ("cat", "dog", "mat", "log") for _ in range(5)]
        path.write_text("\n".join(["source,target", *rows]))
    else:
        path.write_text(WORDS * 12)
    return path


def settings(model: Path, objective: str, method: str, data: Path, **numbers: Any) -> JobSettings:
    values = {"steps": 10, "batch_size": 4, "learning_rate": 1e-2, "warmup": 1, "evaluations": 1}
    schedule = Schedule(**{**values, "checkpoints": 2, "snapshots": 1, **numbers})
    work = FinetuneWork(
        str(model),
        str(data),
        objective,
        method,
        length=24,
        rank=4,
        last_layers=1,  # type: ignore[arg-type]
    )
    return JobSettings("tuned", work, schedule)


CASES = [
    ("llama", "causal", "lora"),
    ("gpt2", "causal", "lora"),
    ("ours", "causal", "lora"),
    ("ours", "causal", "full"),
    ("llama", "causal", "last"),
    ("bert", "masked", "lora"),
    ("bert", "masked", "full"),
    ("bert", "classify", "lora"),
    ("bert", "classify", "last"),
    ("gpt2", "classify", "lora"),
    ("ours", "classify", "full"),
    ("our encoder", "classify", "lora"),
    ("our encoder", "masked", "full"),
    ("t5", "seq2seq", "lora"),
    ("t5", "seq2seq", "last"),
]


@pytest.mark.parametrize(("name", "objective", "method"), CASES)
def test_it_learns_and_opens_everywhere(
    name: str, objective: str, method: str, models: dict[str, Path], tmp_path: Path
) -> None:
    before = (models[name] / "model.safetensors").read_bytes()
    data = data_of(objective, tmp_path)
    # what a random base lets an adapter of its attention learn is little, but it is learned
    job = jobs.create(settings(models[name], objective, method, data, steps=40, learning_rate=2e-2))
    assert run(job) == 0, (job.status.sentence, job.events()[-1])
    losses = [e["loss"] for e in job.events() if e["event"] == "step"]
    assert np.mean(losses[-5:]) < 0.97 * np.mean(losses[:5])
    assert (models[name] / "model.safetensors").read_bytes() == before  # a copy was trained
    found = attention_change(job)
    changed = found.divergence
    assert changed.shape[0] == len(found.after.trace.layers)
    assert np.nanmax(changed) > 1e-6
    assert 0 <= np.nanmin(changed) <= np.nanmax(changed) <= 1
    assert found.most_changed(1)[0] == np.unravel_index(np.nanargmax(changed), changed.shape)
    if method == "last" and objective == "causal":
        assert np.nanmax(changed[:-1]) < 1e-6  # frozen layers attend as before
    assert job.model is not None
    model = attnviz.load(str(job.model))
    probe = found.after.trace.tokens
    live = model.trace(inputs=_inputs(model, probe, found.after.trace.target_tokens))
    a, b = live.attention(0, 1).weights(), found.after.trace.attention(0, 1).weights()
    assert torch.allclose(a, b, atol=1e-4)  # what was learned is in what opens, merged or not
    assert export_forms(job) == (("model", "adapter") if method == "lora" else ("model",))


def _inputs(model: Any, tokens: Any, target: Any) -> dict[str, torch.Tensor]:
    inputs = {"input_ids": torch.tensor([[t.id for t in tokens]])}
    if target:
        inputs["decoder_input_ids"] = torch.tensor([[t.id for t in target]])
    return inputs


def test_a_zip_holds_what_other_programs_open(models: dict[str, Path], tmp_path: Path) -> None:
    data = data_of("causal", tmp_path)
    job = jobs.create(settings(models["llama"], "causal", "lora", data, steps=2))
    assert run(job) == 0
    for form, weights in (("model", "model.safetensors"), ("adapter", "adapter_model.safetensors")):
        path = export_zip(job, form, tmp_path / f"{form}.zip")  # type: ignore[arg-type]
        with zipfile.ZipFile(path) as packed:
            names = [name.split("/", 1)[1] for name in packed.namelist()]
            packed.extractall(tmp_path / form)
        assert weights in names
        assert not [name for name in names if name.startswith("training")]
    from peft import PeftModel

    base = hf.AutoModelForCausalLM.from_pretrained(models["llama"])
    adapted = PeftModel.from_pretrained(base, tmp_path / "adapter" / job.name).merge_and_unload()
    whole = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "model" / job.name)
    ids = torch.arange(4, 20)[None]
    assert torch.allclose(adapted(ids).logits, whole(ids).logits, atol=1e-5)


def test_an_adapter_killed_and_resumed_goes_on(models: dict[str, Path], tmp_path: Path) -> None:
    data = data_of("causal", tmp_path)
    whole = jobs.create(settings(models["llama"], "causal", "lora", data))
    assert run(whole) == 0
    job = jobs.create(settings(models["llama"], "causal", "lora", data))
    _run_until(job, 6)
    assert job.checkpoint is not None
    assert job.checkpoint.name == "step-0000005"
    assert run(job) == 0
    assert _losses(job) == pytest.approx(_losses(whole), abs=1e-5)


def _run_until(job: Job, step: int) -> None:
    """Stops without a last checkpoint, as a kill would."""
    from attnviz.train.trainer import JobTrainer

    setup = prepare(job.settings, job.folder)
    trainer = JobTrainer(job.folder, job.settings, setup)
    plain = trainer.training_step

    def breaking(*arguments: Any) -> Any:
        if trainer.state.global_step == step:
            raise KeyboardInterrupt
        return plain(*arguments)

    trainer.training_step = breaking  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.train()


def _losses(job: Job) -> dict[int, float]:
    return {e["step"]: e["loss"] for e in job.events() if e["event"] == "step"}


@pytest.mark.parametrize(
    ("name", "objective", "words"),
    [
        ("bert", "causal", "does not generate text"),
        ("llama", "seq2seq", "no encoder and decoder"),
        ("llama", "masked", "does not predict"),
    ],
)
def test_an_unsupported_objective_is_reported(
    name: str, objective: str, words: str, models: dict[str, Path], tmp_path: Path
) -> None:
    job = jobs.create(settings(models[name], objective, "lora", data_of(objective, tmp_path)))
    assert run(job) == 1
    assert words in job.status.sentence


def test_supported_objectives(models: dict[str, Path]) -> None:
    supported = {
        name: supported_objectives(attnviz.load(str(path))) for name, path in models.items()
    }
    assert supported == {
        "llama": ("causal", "classify"),
        "gpt2": ("causal", "classify"),
        "ours": ("causal", "classify"),
        "our encoder": ("masked", "classify"),
        "bert": ("masked", "classify"),
        "t5": ("seq2seq",),
    }


def test_data_is_copied_to_the_jobs_folder_and_its_errors_are_reported(
    models: dict[str, Path],
) -> None:
    made = settings(models["bert"], "classify", "full", Path("mine.csv"))
    job = jobs.create(made, b"text,label\na cat,x\n\xff,y\n")
    assert (job.folder / "data.csv").is_file()
    assert run(job) == 1
    assert "Line 3 of data.csv is not UTF-8" in job.status.sentence


def test_too_little_text(models: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "the cat"}))
    job = jobs.create(settings(models["llama"], "causal", "full", path))
    run(job)
    assert "too few for two examples of 24" in job.status.sentence


@pytest.mark.parametrize("name", MODELS)
def test_lora_finds_the_attention_of_each_family(name: str) -> None:
    module = MODELS[name]()
    targets = lora_targets(module)
    assert targets
    assert all("att" in target.lower() for target in targets)
    work = FinetuneWork("m", "d", method="lora", rank=4)
    expected = n_trained(module, work)
    parameters = list(select_trainable(module, work, ()).parameters())
    learn = sum(p.numel() for p in parameters if p.requires_grad)
    assert learn == expected < sum(p.numel() for p in parameters)


def test_an_estimate_grows_with_the_work(models: dict[str, Path], tmp_path: Path) -> None:
    module = MODELS["llama"]()
    small = settings(models["llama"], "causal", "lora", tmp_path / "d")
    large = settings(models["llama"], "causal", "full", tmp_path / "d", steps=10_000)
    a, b = estimate(module, small, 24), estimate(module, large, 24)
    assert b.seconds > a.seconds
    assert b.n_trainable == b.n_parameters > a.n_trainable
    assert b.memory > a.memory
    assert a.fits
    assert "trainable parameters" in str(a)


def test_divergence_of_known_weights() -> None:
    class Rows:
        n_q = 2

        def __init__(self, w: list[list[float]]) -> None:
            self.w = torch.tensor(w)

        def weights(self, rows: slice) -> torch.Tensor:
            return self.w[rows]

    apart = weight_divergence(Rows([[1, 0], [1, 0]]), Rows([[0, 1], [1, 0]]))  # type: ignore[arg-type]
    assert apart == pytest.approx(0.5)  # one bit in one of two rows
    sink = weight_divergence(Rows([[1, 0], [1, 0]]), Rows([[0, 0], [0, 0]]))  # type: ignore[arg-type]
    assert sink == pytest.approx(1.0)
    with pytest.raises(AttnVizError, match="two snapshots"):
        attention_change(Job(Path("nowhere")))
