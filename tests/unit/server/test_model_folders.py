"""Folders of models that somebody sends: what is refused, with its reason, and that nothing runs.

FAULTS 23 and 29. Each folder is the starter model with one thing made bad.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import ModelError
from tunesmith.runs.manifest import verify_manifest
from tunesmith.server.errors import NotFound
from tunesmith.server.model_folders import (
    copy_folder,
    examine,
    find_folder,
    list_folders,
    publish,
)
from tunesmith.starter import starter_directory

Change = Callable[[Path, Path], None]  # (folder, canary)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound model."""
    return Path(shutil.copytree(starter_directory(), tmp_path / "model"))


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that exists once something of a folder has run."""
    return tmp_path / "canary"


class Touch:
    """What a pickle does when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


def set_json(folder: Path, name: str, **changes: Any) -> None:
    file = folder / name
    content = json.loads(file.read_bytes()) if file.exists() else {}
    file.write_text(json.dumps(content | changes))


def write_weights(folder: Path, header: Any, data: bytes = b"", claim: int | None = None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = struct.pack("<Q", len(text) if claim is None else claim)
    (folder / "model.safetensors").write_bytes(size + text + data)


def entry(begin: int, end: int, shape: list[int] | None = None) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape or [(end - begin) // 4], "data_offsets": [begin, end]}


def pickle_weights(folder: Path, canary: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(canary)))


def pickle_beside(folder: Path, canary: Path) -> None:
    (folder / "optimizer.pt").write_bytes(pickle.dumps(Touch(canary)))


def hidden_pickle(folder: Path, canary: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "x.PKL").write_bytes(pickle.dumps(Touch(canary)))


def own_code(folder: Path, canary: Path) -> None:
    (folder / "modeling.py").write_text(f"import os\nos.mkdir({str(canary)!r})\n")
    set_json(folder, "config.json", auto_map={"AutoModelForCausalLM": "modeling.Model"})


def code_elsewhere(folder: Path, canary: Path) -> None:
    del canary
    set_json(folder, "config.json", auto_map={"AutoModelForCausalLM": "other/repo--modeling.Model"})


def nested_code(folder: Path, canary: Path) -> None:
    del canary
    set_json(folder, "config.json", text_config={"auto_map": {"AutoModel": "m.M"}})


def tokenizer_code(folder: Path, canary: Path) -> None:
    del canary
    set_json(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["tok.Tok", None]})


def custom_pipeline(folder: Path, canary: Path) -> None:
    del canary
    set_json(folder, "config.json", custom_pipelines={"x": {"impl": "pipe.Pipe"}})


def library(folder: Path, canary: Path) -> None:
    del canary
    (folder / "kernel.so").write_bytes(b"\x7fELF")


def huge_header(folder: Path, canary: Path) -> None:
    del canary
    write_weights(folder, b"{}", claim=200 * 1000 * 1000)


def endless_header(folder: Path, canary: Path) -> None:
    del canary
    write_weights(folder, b"{}", claim=2**64 - 1)


def overlapping(folder: Path, canary: Path) -> None:
    del canary
    write_weights(folder, {"a": entry(0, 8), "b": entry(4, 12)}, bytes(12))


def beyond_end(folder: Path, canary: Path) -> None:
    del canary
    write_weights(folder, {"a": entry(0, 4000)}, bytes(16))


def wrong_shape(folder: Path, canary: Path) -> None:
    del canary
    write_weights(folder, {"a": entry(0, 8, [10**6, 10**6])}, bytes(8))


def negative_offsets(folder: Path, canary: Path) -> None:
    del canary
    write_weights(folder, {"a": entry(-8, 0, [2])}, bytes(8))


def doubled_name(folder: Path, canary: Path) -> None:
    del canary
    one = json.dumps(entry(0, 8))
    write_weights(folder, f'{{"a": {one}, "a": {one}}}'.encode(), bytes(8))


def too_many_tensors(folder: Path, canary: Path) -> None:
    del canary
    write_weights(folder, {f"t{n}": entry(0, 0, [0]) for n in range(200_001)})


def deep_header(folder: Path, canary: Path) -> None:
    del canary
    write_weights(folder, b'{"a":' + b"[" * 100_000)


def linked_weights(folder: Path, canary: Path) -> None:
    target = canary.with_name("elsewhere.safetensors")
    shutil.move(folder / "model.safetensors", target)
    (folder / "model.safetensors").symlink_to(target)


def linked_secret(folder: Path, canary: Path) -> None:
    del canary
    (folder / "README.md").symlink_to("/etc/passwd")


def linked_folder(folder: Path, canary: Path) -> None:
    del canary
    (folder / "more").symlink_to("/etc")


def index_outside(folder: Path, canary: Path) -> None:
    del canary
    (folder / "model.safetensors").unlink()
    weights = {"weight_map": {"a": "../../secret.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(weights))


def pipe(folder: Path, canary: Path) -> None:
    del canary
    (folder / "generation_config.json").unlink()
    os.mkfifo(folder / "generation_config.json")


def template(source: str) -> Change:
    def change(folder: Path, canary: Path) -> None:
        text = source.replace("CANARY", str(canary))
        (folder / "chat_template.jinja").write_text(text, encoding="utf-8")

    return change


def template_in_config(folder: Path, canary: Path) -> None:
    del canary
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    named = [{"name": "default", "template": "ok"}, {"name": "tool_use", "template": loop}]
    set_json(folder, "tokenizer_config.json", chat_template=named)


def foreign_tokenizer(folder: Path, canary: Path) -> None:
    del canary
    content = json.loads((folder / "tokenizer.json").read_bytes())
    content["added_tokens"].append({"id": 999_999, "content": "<eos>", "special": True})
    (folder / "tokenizer.json").write_text(json.dumps(content))
    set_json(folder, "tokenizer_config.json", eos_token="<eos>")


def broken_tokenizer(folder: Path, canary: Path) -> None:
    del canary
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {"a": "x"}}}')


def no_config(folder: Path, canary: Path) -> None:
    del canary
    (folder / "config.json").unlink()


def encoder(folder: Path, canary: Path) -> None:
    del canary
    set_json(folder, "config.json", architectures=["BertModel"])


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
REACH = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
REACH_BY_FILTER = "{{ (messages | attr('__class__')) }}"
REACH_GLOBALS = "{{ raise_exception.__globals__['os'].mkdir('CANARY') }}"
MEMORY = "{{ ('a' * 1000000000) ~ ('b' * 1000000000) }}"
BADS: dict[str, tuple[Change, str, str]] = {
    "pickle": (pickle_weights, "model_is_pickle", "pytorch_model.bin is a pickle; convert to safe"),
    "pickle beside": (pickle_beside, "model_is_pickle", "optimizer.pt is a pickle"),
    "pickle hidden": (hidden_pickle, "model_is_pickle", "more/x.PKL is a pickle"),
    "own code": (own_code, "model_has_code", "own code (auto_map)"),
    "code elsewhere": (code_elsewhere, "model_has_code", "config.json asks to run"),
    "nested code": (nested_code, "model_has_code", "auto_map"),
    "tokenizer code": (tokenizer_code, "model_has_code", "tokenizer_config.json asks to run"),
    "pipeline": (custom_pipeline, "model_has_code", "custom_pipelines"),
    "library": (library, "model_has_code", "kernel.so is program code"),
    "huge header": (
        huge_header,
        "model_file_broken",
        "200,000,000 bytes, the limit is 100,000,000",
    ),
    "endless header": (endless_header, "model_file_broken", "the limit is 100,000,000"),
    "overlap": (overlapping, "model_file_broken", "tensors a and b overlap"),
    "beyond end": (beyond_end, "model_file_broken", "cut short"),
    "wrong shape": (wrong_shape, "model_file_broken", "does not fill bytes 0 to 8"),
    "negative": (negative_offsets, "model_file_broken", "does not fill"),
    "doubled name": (doubled_name, "model_file_broken", "a name occurs twice"),
    "too many": (too_many_tensors, "model_file_broken", "the limit is 200,000"),
    "deep header": (deep_header, "model_file_broken", "not valid JSON"),
    "linked weights": (linked_weights, "model_link_leaves_folder", "a link that leaves the model"),
    "linked secret": (linked_secret, "model_link_leaves_folder", "README.md is a link"),
    "linked folder": (linked_folder, "model_link_leaves_folder", "more is a link"),
    "index outside": (
        index_outside,
        "model_link_leaves_folder",
        "no safetensors file of the folder",
    ),
    "pipe": (pipe, "model_file_odd", "generation_config.json is a pipe"),
    "loop": (template(LOOP), "chat_template_refused", "did not end within 2 seconds"),
    "loop in config": (template_in_config, "chat_template_refused", "chat_template 1"),
    "reach": (template(REACH), "chat_template_refused", "reaches for __"),
    "reach by filter": (template(REACH_BY_FILTER), "chat_template_refused", "__class__"),
    "reach globals": (template(REACH_GLOBALS), "chat_template_refused", "__globals__"),
    "memory": (template(MEMORY), "chat_template_refused", "more memory"),
    "long text": (template("{{ 'a' * 9000000 }}"), "chat_template_refused", "9,000,000 characters"),
    "mistake": (template("{% for %}"), "chat_template_refused", "line 1 has a mistake"),
    "foreign tokenizer": (foreign_tokenizer, "tokenizer_mismatch", "1,000,000 tokens, the model's"),
    "broken tokenizer": (broken_tokenizer, "tokenizer_broken", "no tokenizer"),
    "no config": (no_config, "invalid_model", "has no config.json"),
    "encoder": (encoder, "model_not_causal", "BertModel"),
}


@pytest.mark.parametrize("name", BADS)
def test_a_bad_folder_is_refused_with_the_reason_and_nothing_in_it_runs(
    folder: Path, canary: Path, name: str
) -> None:
    change, code, told = BADS[name]
    change(folder, canary)
    with pytest.raises(ModelError) as caught:
        examine(folder)
    assert (caught.value.code, told in caught.value.message) == (code, True), caught.value.message
    assert not canary.exists()
    assert str(folder) not in f"{caught.value.message} {caught.value.hint}"
    assert "trust_remote_code" not in caught.value.hint


@pytest.mark.parametrize("name", ["pickle", "own code", "overlap", "linked weights", "reach"])
def test_the_checks_do_not_rest_on_assert(folder: Path, canary: Path, name: str) -> None:
    change, code, _ = BADS[name]
    change(folder, canary)
    script = (
        "import sys, pathlib\n"
        "from tunesmith.errors import ModelError\n"
        "from tunesmith.server.model_folders import examine\n"
        "try:\n    examine(pathlib.Path(sys.argv[1]))\n"
        "except ModelError as error:\n    print(error.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-O", "-c", script, str(folder)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == code


def test_a_sound_folder_is_described(folder: Path) -> None:
    facts = examine(folder)
    assert (facts.kind, facts.family, facts.context) == ("model", "llama", 1024)
    assert (facts.vocabulary, facts.chat_template, facts.dtype) == (4096, True, "F16")
    assert facts.parameters == 1_926_560


def test_a_template_that_refuses_some_dialogues_may_be_used(folder: Path, canary: Path) -> None:
    source = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
        "{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    template(source)(folder, canary)
    assert examine(folder).chat_template


def test_code_is_let_through_only_where_it_is_trusted(folder: Path, canary: Path) -> None:
    own_code(folder, canary)
    assert examine(folder, trust_remote_code=True).family == "llama"
    assert not canary.exists()


def test_a_copy_holds_files_and_no_links(folder: Path, tmp_path: Path) -> None:
    (folder / "real.json").write_text("{}")
    (folder / "linked.json").symlink_to("real.json")
    (folder / "notes.xyz").write_text("of no use")
    seen: list[tuple[int, int]] = []
    copy_folder(folder, tmp_path / "draft", lambda done, total: seen.append((done, total)))
    names = {path.name for path in (tmp_path / "draft").iterdir()}
    assert {"config.json", "model.safetensors", "linked.json"} <= names
    assert "notes.xyz" not in names
    assert not any(path.is_symlink() for path in (tmp_path / "draft").iterdir())
    assert seen[-1][0] == seen[-1][1] > 3_000_000
    assert examine(tmp_path / "draft") == examine(folder)


def test_what_is_published_has_a_manifest_that_verifies(folder: Path, tmp_path: Path) -> None:
    copy_folder(folder, tmp_path / "draft", lambda *_: None)
    publish(tmp_path / "draft", tmp_path / "kept", facts={"family": "llama"})
    manifest = verify_manifest(tmp_path / "kept")
    assert manifest.extra["facts"] == {"family": "llama"}
    assert not (tmp_path / "draft").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "a/../../secret",
        "/etc",
        "",
        ".",
        "nothing",
        "a\0b",
        "link",
        "data1",
        "a/./../..",
    ],
)
def test_no_name_leads_out_of_the_roots(tmp_path: Path, name: str) -> None:
    root = tmp_path / "import"
    (root / "model").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "import1" / "data1").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(NotFound):
        find_folder(name, [root])
    assert find_folder("model", [root]) == (root / "model").resolve()


def test_an_absolute_name_counts_below_a_root_only(tmp_path: Path) -> None:
    root = tmp_path / "import"
    (root / "model").mkdir(parents=True)
    assert find_folder(str(root / "model"), [root]) == (root / "model").resolve()
    with pytest.raises(NotFound):
        find_folder(str(tmp_path), [root])


def test_folders_that_look_like_models_are_listed(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "import"
    shutil.copytree(folder, root / "team" / "one")
    (root / "empty").mkdir()
    (root / "loop").symlink_to(root)
    assert list(list_folders(root)) == ["team/one"]
