"""A GGUF file holds the very weights, numbers and words of the model, and says what it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from tokenizers import Regex, Tokenizer, pre_tokenizers

from tunesmith.data.conversation import Conversation, Message
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.engine.exporting.errors import ExportRefused
from tunesmith.engine.exporting.formats import Choice, format_of
from tunesmith.engine.exporting.gguf.families import laid_out
from tunesmith.engine.exporting.gguf.folder import GgufFolder
from tunesmith.engine.exporting.gguf.vocabulary import SPLITS, read_vocabulary
from tunesmith.engine.exporting.gguf.writing import begins_with_bos
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.exporting.parity.certify import artefact_ids
from tunesmith.engine.exporting.source import Source, find_source, load_tuned

FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3_text")
TEXTS = (
    "Hello there, 12345 apples!",
    "你好，世界",
    "  two  spaces\n\nand\tlines ",
    "naïve 🙂 café",
)


def source_of(folder: Path) -> Source:
    return find_source(str(folder), base=None, on_progress=lambda *_: None)


def gguf_of(source: Source, kind: Any = "f16", *, allow: bool = False) -> GgufFolder:
    written = format_of("gguf", source, Choice(gguf_type=kind, allow_drift=allow))
    assert isinstance(written, GgufFolder)
    return written


def merged_weights(source: Source) -> dict[str, torch.Tensor]:
    return load_tuned(source, dtype=torch.float64).merge_and_unload().state_dict()


@pytest.mark.parametrize("family", FAMILIES)
def test_f16_reads_back_as_the_merged_weights_rounded_to_float16(
    family: str, make_run: Any, tmp_path: Path, narrator: Narrator
) -> None:
    source = source_of(make_run(family))
    written = gguf_of(source)
    written.write(tmp_path, narrator)
    artefact = written.read(tmp_path)
    assert not artefact.problems
    read = artefact.model.state_dict()
    for name, exact in merged_weights(source).items():
        expected = exact.float().half().float() if exact.ndim > 1 else exact.float()
        torch.testing.assert_close(read[name], expected, rtol=0, atol=2e-7, msg=name)


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_q8_0_reads_back_within_half_a_step_of_each_block(
    family: str, make_run: Any, tmp_path: Path, narrator: Narrator
) -> None:
    source = source_of(make_run(family))
    written = gguf_of(source, "q8_0")
    written.write(tmp_path, narrator)
    read = written.read(tmp_path).model.state_dict()
    rounded = 0
    for name, exact in merged_weights(source).items():
        if exact.ndim < 2:
            torch.testing.assert_close(read[name], exact.float(), rtol=0, atol=2e-7)
            continue
        blocks = exact.float().reshape(-1, 32)
        step = blocks.abs().amax(1, keepdim=True) / 127
        error = (read[name].reshape(-1, 32) - blocks).abs()
        # The step itself is kept in float16.
        assert bool((error <= step * 0.5 + blocks.abs() * 2**-10 + 1e-7).all()), name
        rounded += bool(error.max() > 0)
    assert rounded


@pytest.mark.parametrize("family", FAMILIES)
def test_the_file_names_the_sizes_of_the_model(
    family: str, make_run: Any, tmp_path: Path, narrator: Narrator
) -> None:
    source = source_of(make_run(family))
    written = gguf_of(source)
    written.write(tmp_path, narrator)
    reader = GGUFReader(tmp_path / written.file_name)
    architecture = reader.get_field("general.architecture").contents()

    def number(name: str) -> Any:
        return reader.get_field(f"{architecture}.{name}").contents()

    config = source.config
    assert number("block_count") == config.num_hidden_layers
    assert number("attention.head_count_kv") == 2
    assert number("attention.layer_norm_rms_epsilon") == pytest.approx(1e-5)
    assert number("context_length") == (256 if family == "mistral" else 512)
    assert number("vocab_size") == 264
    assert reader.get_field("tokenizer.chat_template").contents() == source.chat_template
    assert reader.get_field("tokenizer.ggml.eos_token_id").contents() == 2
    tied = "output.weight" not in {tensor.name for tensor in reader.tensors}
    assert tied == bool(config.tie_word_embeddings)


def test_a_number_that_the_file_tells_otherwise_is_found(
    make_run: Any, tmp_path: Path, narrator: Narrator
) -> None:
    source = source_of(make_run("qwen3"))
    written = gguf_of(source)
    written.write(tmp_path, narrator)
    with np.errstate(all="ignore"):
        reader = GGUFReader(tmp_path / written.file_name, "r+")
        field = reader.get_field("qwen3.rope.freq_base")
        field.parts[field.data[0]][0] = 12345.0
        reader.data.flush()
    problems = written.read(tmp_path).problems
    assert problems == ("rope.freq_base is 12345.0 in the file, 10000.0 in the model",)


def test_chats_become_the_same_tokens_by_the_words_in_the_file(
    make_run: Any, tmp_path: Path, narrator: Narrator
) -> None:
    source = source_of(make_run("llama"))
    written = gguf_of(source)
    written.write(tmp_path, narrator)
    artefact = written.read(tmp_path)
    for text in TEXTS:
        chat = Conversation((Message("system", "Be brief."), Message("user", text)))
        assert artefact_ids(source, artefact, chat) == source.renderer.prompt_ids(chat)


def test_the_factors_of_llama_3_are_a_tensor_of_the_file(
    make_run: Any, tmp_path: Path, narrator: Narrator
) -> None:
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 128,
    }
    source = source_of(make_run("llama", rope_parameters=rope, hidden_size=64))
    written = gguf_of(source)
    written.write(tmp_path, narrator)
    reader = GGUFReader(tmp_path / written.file_name)
    factors = next(t.data for t in reader.tensors if t.name == "rope_freqs.weight")
    assert len(factors) == 8
    assert factors[0] == pytest.approx(1.0)  # fast ones stay
    assert factors[-1] == pytest.approx(8.0)  # slow ones are slowed down by the factor
    assert not written.read(tmp_path).problems


@pytest.mark.parametrize(
    ("family", "changes", "told"),
    [
        ("gpt2", {}, "family gpt2"),
        ("llama", {"hidden_act": "relu"}, "activation is relu"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
         "scaled by 'dynamic'"),
        ("gemma2", {"query_pre_attn_scalar": 100}, "scaled by 100"),
        ("gemma3_text", {"layer_types": ["full_attention"] * 7}, "6th layer"),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 64}, "sliding window"),
    ],
)  # fmt: skip
def test_what_gguf_cannot_hold_is_refused_by_name(
    family: str, changes: dict[str, Any], told: str, write_model: Any, tmp_path: Path
) -> None:
    source = source_of(write_model(tmp_path / "model", family, **changes))
    with pytest.raises(ExportRefused, match=told) as refused:
        gguf_of(source)
    assert "--format merged" in refused.value.hint


def test_a_number_beyond_float16_is_refused_for_f16_and_kept_in_q8_0(
    write_model: Any, tmp_path: Path, narrator: Narrator
) -> None:
    folder = write_model(tmp_path / "model", "qwen2")
    model = load_tuned(source_of(folder), dtype=torch.float32)
    model.model.layers[0].mlp.up_proj.weight.data[0, 0] = 1e5
    model.save_pretrained(folder)
    with pytest.raises(ExportRefused, match="up_proj"):
        gguf_of(source_of(folder)).write(tmp_path, narrator)


# ---------------------------------------------------------------- tokenizers


def with_rule(folder: Path, rule: pre_tokenizers.PreTokenizer) -> Path:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.pre_tokenizer = rule
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def split_by(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


@pytest.mark.parametrize(("pattern", "name"), list(SPLITS.items()))
def test_known_rules_that_split_texts_are_recognised(
    pattern: str, name: str, write_model: Any, tmp_path: Path
) -> None:
    folder = with_rule(write_model(tmp_path / "model", "llama"), split_by(pattern))
    assert gguf_of(source_of(folder)).plan.vocabulary.pre == name


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (split_by(r"\w+|\s+"), r"\\w\+\|\\s\+"),
        (pre_tokenizers.ByteLevel(add_prefix_space=True), "a space before every text"),
        (pre_tokenizers.Whitespace(), "splits texts by Whitespace"),
    ],
)
def test_an_unknown_rule_is_refused_and_the_nearest_taken_on_request(
    rule: Any, told: str, write_model: Any, tmp_path: Path
) -> None:
    source = source_of(with_rule(write_model(tmp_path / "model", "llama"), rule))
    with pytest.raises(ExportRefused, match=told) as refused:
        gguf_of(source)
    assert refused.value.code == "gguf_tokenizer_unknown"
    nearest = gguf_of(source, allow=True)
    assert nearest.plan.vocabulary.pre == "gpt-2"
    assert "instead" in nearest.notes()[0]


def test_rows_without_a_token_are_named_and_kinds_are_told(make_run: Any) -> None:
    source = source_of(make_run("llama"))
    vocabulary = read_vocabulary(source.renderer.tokenizer, 264, allow_nearest=False)
    assert vocabulary.tokens[:3] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert vocabulary.kinds[:4] == [3, 3, 3, 1]
    assert vocabulary.tokens[-1] == "[PAD263]"
    assert vocabulary.kinds[-1] == 5


def sentencepiece_tokenizer(folder: Path) -> None:
    """A BPE tokenizer as SentencePiece's become: spaces are marked, bytes are the last resort."""
    from tokenizers import AddedToken, decoders, models, normalizers, processors

    letters = ["\u2581", *"abcdehlnorstw"]
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("\u2581", "hello")]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [*letters, *("".join(pair) for pair in merges)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    model = models.BPE(
        vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in pieces[:3]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
        "chat_template": "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}"
        "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def test_sentencepiece_is_written_with_scores_by_the_order_of_its_merges(
    write_model: Any, tmp_path: Path, narrator: Narrator
) -> None:
    folder = write_model(tmp_path / "model", "mistral", vocab_size=288)
    sentencepiece_tokenizer(folder)
    source = source_of(folder)
    written = gguf_of(source)
    vocabulary = written.plan.vocabulary
    scores = dict(zip(vocabulary.tokens, vocabulary.scores, strict=True))
    assert vocabulary.model == "llama"
    assert vocabulary.adds_space
    assert scores["he"] > scores["hell"] > scores["hello"] > scores["a"]
    assert vocabulary.kinds[3:259] == [6] * 256
    assert begins_with_bos(source)
    (tmp_path / "out").mkdir()
    written.write(tmp_path / "out", narrator)
    artefact = written.read(tmp_path / "out")
    ids = artefact.tokenizer("hello the world 你", add_special_tokens=False)["input_ids"]
    assert ids == source.renderer.tokenizer.encode("hello the world 你")


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    from tokenizers import models

    pieces = [("<unk>", 0.0), ("a", -1.0), ("b", -2.0)]
    Tokenizer(models.Unigram(pieces, unk_id=0)).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ExportRefused, match="Unigram"):
        read_vocabulary(TextTokenizer.load(tmp_path), 8, allow_nearest=True)


def test_a_tokenizer_without_merges_is_refused(tiny_model_dir: Any) -> None:
    with pytest.raises(ExportRefused, match="no merges"):
        gguf_of(source_of(tiny_model_dir("llama")))


def test_permuted_rows_are_pairs_of_the_halves_of_a_head(make_run: Any) -> None:
    source = source_of(make_run("llama"))
    family = gguf_of(source).plan.family
    rows = torch.arange(32.0)[:, None]
    laid = laid_out("model.layers.0.self_attn.q_proj.weight", rows, source.config, family)
    assert laid[:8, 0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
