"""New tokens: a tokenizer that has them, tables with their rows, and the training of these rows.

A new row begins as the mean of the rows of all tokens that were known before: its logit is then
about the usual one, so that the probabilities of all other tokens hardly change (Hewitt 2021,
"Initializing New Word Embeddings for Pretrained Language Models"). Beside adapters the new rows
alone are trained, as PEFT's `trainable_token_indices`. While they are, the frozen tables hold them
rounded to the model's own numbers (`publish`), so that whoever reads a table reads them too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tunesmith.errors import ModelError, RecipeError

_SETTINGS = "tokenizer_config.json"
_COPIED = (
    *(_SETTINGS, "special_tokens_map.json", "chat_template.jinja"),
    *("tokenizer.model", "vocab.json", "merges.txt"),
)
OnWarning = Callable[[str, str, str], None]


# ---------------------------------------------------------------- the tokenizer


def grown_tokenizer(
    directory: Path, words: Mapping[str, bool], cache: Path, on_warning: OnWarning | None = None
) -> Path:
    """A folder whose tokenizer has these words as tokens: a copy in `cache`, made once.

    It is `directory` itself where all words are tokens already. `words` says which are special.
    """
    if not words:
        return directory
    from tokenizers import AddedToken, Tokenizer

    core = Tokenizer.from_file(str(directory / "tokenizer.json"))
    known = [word for word in words if core.token_to_id(word) is not None]
    if known and on_warning is not None:
        on_warning(
            "token_known",
            f"The tokenizer has {', '.join(known[:5])} already; "
            f"{'it is' if len(known) == 1 else 'they are'} left as before.",
            "Leave known tokens out of model.new_tokens.",
        )
    new = [word for word in words if word not in known]
    if not new:
        return directory
    target = cache / "tokenizers" / _fingerprint(directory, {word: words[word] for word in new})
    if not (target / "tokenizer.json").is_file():
        # Found in the text as it is, before anything is split or normalised.
        tokens = [AddedToken(word, special=words[word], normalized=False) for word in new]
        core.add_tokens(tokens)
        _write(directory, target, core, {word: words[word] for word in new})
    return target


def _write(directory: Path, target: Path, core: Any, new: Mapping[str, bool]) -> None:
    """All files at once: another training may look for the same folder now."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".growing-") as place:
        draft = Path(place) / target.name
        draft.mkdir()
        for name in _COPIED:
            if (directory / name).is_file():
                shutil.copyfile(directory / name, draft / name)
        core.save(str(draft / "tokenizer.json"))
        _tell_settings(draft / _SETTINGS, core, new)
        try:
            draft.rename(target)
        except OSError:
            if not (target / "tokenizer.json").is_file():
                raise  # nobody else was there before


def _tell_settings(file: Path, core: Any, new: Mapping[str, bool]) -> None:
    """transformers takes added tokens from its own list where there is one."""
    if not file.is_file():
        return
    settings = json.loads(file.read_text(encoding="utf-8"))
    listed = settings.get("added_tokens_decoder")
    if not isinstance(listed, dict):
        return
    plain = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized"), False)
    for word, special in new.items():
        listed[str(core.token_to_id(word))] = {"content": word, "special": special, **plain}
    file.write_text(json.dumps(settings, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _fingerprint(directory: Path, new: Mapping[str, bool]) -> str:
    digest = hashlib.sha256(json.dumps(list(new.items())).encode())
    for name in ("tokenizer.json", *_COPIED):
        if (directory / name).is_file():
            digest.update(name.encode() + b"\0" + (directory / name).read_bytes())
    return digest.hexdigest()[:32]


def new_ids(tokenizer_dir: Path, before: Path) -> list[int]:
    """The numbers of the tokens that one tokenizer has and the one before has not."""
    if tokenizer_dir == before:
        return []
    now, then = _added(tokenizer_dir), _added(before)
    return sorted(number for word, number in now.items() if word not in then)


def _added(directory: Path) -> dict[str, int]:
    from tunesmith.data.tokenizer import TextTokenizer

    return TextTokenizer.load(directory).added_tokens


# ---------------------------------------------------------------- the tables


@torch.no_grad()
def grow(model: Any, ids: Sequence[int]) -> None:
    """Give the tables of a model a row for each new token: the mean of the rows before it."""
    if not ids:
        return
    first, rows = min(ids), max(ids) + 1
    if rows > len(model.get_input_embeddings().weight):
        with torch.random.fork_rng(devices=[]):  # what is drawn there is replaced here
            model.resize_token_embeddings(rows, mean_resizing=False)
    chosen = torch.tensor(list(ids))
    for table in _tables(model):
        weight = table.weight.data
        weight[chosen.to(weight.device)] = weight[:first].mean(0, dtype=torch.float32).to(weight)
        bias = getattr(table, "bias", None)
        if bias is not None:
            bias.data[chosen.to(weight.device)] = bias.data[:first].mean(dtype=bias.dtype)


def _tables(model: Any) -> list[Any]:
    """Embeddings and head, once where they are one matrix."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or head.weight is embedding.weight:
        return [embedding]
    return [embedding, head]


def token_rows(model: Any, ids: Sequence[int]) -> dict[str, list[int]] | None:
    """PEFT's `trainable_token_indices`: the rows of each table, by its name; None for none.

    PEFT itself sees to a head that is tied to the embeddings.
    """
    if not ids:
        return None
    tables = _tables(model)
    if any(getattr(table, "bias", None) is not None for table in tables):
        raise RecipeError(
            "model.new_tokens: the head of this model has a bias, which PEFT would leave out beside"
            " trained tokens.",
            hint="Train all weights (adapter.kind: full).",
            code="tokens_with_head_bias",
        )
    return {
        name: list(ids)
        for name, part in model.named_modules()
        if any(part is each for each in tables)
    }


def fit_adapter(model: Any, adapter: Path) -> None:
    """Give a base the rows that an adapter has trained and it lacks, so that PEFT can put it on."""
    size = len(model.get_input_embeddings().weight)
    grow(model, [number for number in trained_ids(adapter) if number >= size])


def trained_ids(adapter: Path) -> list[int]:
    """Numbers of the tokens that an adapter has vectors of its own for."""
    rows: Any = json.loads((adapter / "adapter_config.json").read_bytes())
    rows = rows.get("trainable_token_indices") or []
    parts = rows.values() if isinstance(rows, dict) else [rows]
    return sorted({number for part in parts for number in part})


def refuse_trained_tokens(adapter: Path) -> None:
    """An adapter with tokens of its own is not gone on with: it belongs to a grown base."""
    if trained_ids(adapter):
        raise ModelError(
            f"The adapter in {adapter} has trained tokens of its own; such adapters are not gone "
            "on with.",
            hint="Write the whole model of that run as model.base, and leave out "
            "adapter.continue_from.",
            code="continued_tokens",
        )


# ---------------------------------------------------------------- training some rows


@dataclass(frozen=True)
class TrainedRows:
    """Some rows of a frozen table that are trained. N rows, D wide."""

    ids_N: Tensor
    values_ND: nn.Parameter
    table: Any  # the layer that has the whole matrix

    @torch.no_grad()
    def publish(self) -> None:
        """Write them into the table, in its own numbers."""
        self.table.weight.data[self.ids_N] = self.values_ND.data.to(self.table.weight)

    def places(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Which row each token has, and whether it has one at all."""
        places = torch.searchsorted(self.ids_N, ids).clamp(max=len(self.ids_N) - 1)
        return places, self.ids_N[places] == ids


def rows_of(layer: Any) -> TrainedRows | None:
    """The rows of a layer that are trained, where PEFT has wrapped it for that."""
    adapter = getattr(layer, "token_adapter", None)
    if adapter is None:
        return None
    (name,) = adapter.active_adapters
    values, table = adapter.trainable_tokens_delta[name], adapter.base_layer
    ids = torch.tensor(adapter.token_indices[name], device=table.weight.device)
    return TrainedRows(ids, values, table)


def all_trained_rows(model: Any) -> list[TrainedRows]:
    """Of every table of a model, of tied ones once."""
    found = [rows_of(part) for part in model.modules() if hasattr(part, "token_adapter")]
    return list({id(rows.values_ND): rows for rows in found if rows is not None}.values())


def look_up_in_tables(model: Any) -> None:
    """Let PEFT's layers read the published tables instead of copying them at each call."""
    for part in model.modules():
        rows = rows_of(part) if hasattr(part, "token_adapter") else None
        if rows is not None:
            is_table = isinstance(rows.table, nn.Embedding)
            part.token_adapter.forward = partial(_embedded if is_table else _computed, rows)


def _computed(rows: TrainedRows, hidden: Tensor) -> Tensor:
    """A head; its gradients are made by the chunked loss."""
    return rows.table(hidden)


def _embedded(rows: TrainedRows, ids: Tensor) -> Tensor:
    """What the table says; the gradient goes to the trained rows."""
    found = rows.table(ids)
    if not torch.is_grad_enabled() or not rows.values_ND.requires_grad:
        return found
    places, is_new = rows.places(ids)
    own = F.embedding(places, rows.values_ND)
    nothing = (own - own.detach()) * getattr(rows.table, "embed_scale", 1.0)
    return found + nothing.where(is_new.unsqueeze(-1), 0.0).to(found.dtype)
