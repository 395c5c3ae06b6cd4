"""The llama-shaped decoder for serving: one forward for all prompts and next tokens of a step.

All tokens of a step lie behind each other in one flat sequence, as in training, so every weight is
read once a step. Only attention goes row by row: next tokens of neighbouring slots by one batched
product, prompts one by one.

The weights are the model's own in another order: q, k and v are one matrix, gate and up another.
The two halves of a head that the rotary embedding turns together lie side by side there, so turning
is one multiplication of complex numbers. Scores of attention are sums over a head, so its order
does not matter.

Shapes: T tokens, D hidden, H query heads, K key-value heads, E head width, F feed-forward width,
L keys, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tunesmith.models.adapters import is_in_front
from tunesmith.serving.cache import CacheShape, KeyValues, rounded
from tunesmith.serving.decoder import Piece
from tunesmith.serving.front import FrontAdapter, read_learned
from tunesmith.serving.lora import Adapter, Joint, Lineup, Mix, Pair, read_pairs
from tunesmith.serving.runs import Run, plan_runs

QKV, OUT, GATE_UP, DOWN = range(4)
PRODUCTS = 4  # a layer
_PARTS = {
    QKV: ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    OUT: ("self_attn.o_proj",),
    GATE_UP: ("mlp.gate_proj", "mlp.up_proj"),
    DOWN: ("mlp.down_proj",),
}


@dataclass(frozen=True)
class Heads:
    """Sizes of attention, the same in all layers."""

    query: int
    kv: int
    width: int
    scale: float


@dataclass
class Attended:
    """A prompt, or a part of one: tokens [first, last) of the step, of the row in `slot`."""

    first: int
    last: int
    slot: int
    start: int  # tokens of the row before them
    masks: dict[int | None, Tensor | None] = field(default_factory=dict[int | None, Any])

    @property
    def end(self) -> int:
        return self.start + self.last - self.first


@dataclass
class Step:
    """What all layers need to know about the tokens that come now; next tokens come first."""

    ids_T: Tensor
    turn_T1C: Tensor  # rotary embedding as complex numbers
    write: Tensor
    runs: list[Run]
    prompts: list[Attended]
    mix: Mix | None
    wanted: Tensor | None  # places whose scores are wanted; None for all


# ---------------------------------------------------------------- layers


class Product:
    """y = x W^T + bias, plus what adapters add."""

    def __init__(self, number: int, weight_OD: Tensor, bias_O: Tensor | None) -> None:
        self.number = number
        self._weight_DO = weight_OD.t()
        self._bias_O = bias_O

    def __call__(self, x_TD: Tensor, mix: Mix | None, residual_TO: Tensor | None = None) -> Tensor:
        if residual_TO is not None:
            out = torch.addmm(residual_TO, x_TD, self._weight_DO)
        elif self._bias_O is not None:
            out = torch.addmm(self._bias_O, x_TD, self._weight_DO)
        else:
            out = x_TD @ self._weight_DO
        if mix is not None:
            mix.add(out, x_TD, self.number)
        return out


class Norm:
    """Root mean square norm, in float32 inside as transformers has it."""

    def __init__(self, weight_D: Tensor, epsilon: float) -> None:
        self._weight_D, self._epsilon = weight_D, epsilon
        self._shape = tuple(weight_D.shape)

    def __call__(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float32:
            return F.rms_norm(x, self._shape, self._weight_D, self._epsilon)
        exact = x.float()
        exact = exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + self._epsilon)
        return self._weight_D * exact.to(x.dtype)


class Layer:
    """One decoder layer on its packed weights."""

    def __init__(self, layer: Any, number: int, heads: Heads) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        first = number * PRODUCTS
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        turned = (heads.query, heads.kv, 0)
        weights = [
            side_by_side(part.weight.data, count, heads.width)
            for part, count in zip(parts, turned, strict=True)
        ]
        biases = [
            side_by_side(part.bias.data, count, heads.width)
            for part, count in zip(parts, turned, strict=True)
            if part.bias is not None
        ]
        self.qkv = Product(first + QKV, torch.cat(weights), torch.cat(biases) if biases else None)
        self.out = Product(first + OUT, attention.o_proj.weight.data, None)
        self.gate_up = Product(
            first + GATE_UP, torch.cat([mlp.gate_proj.weight.data, mlp.up_proj.weight.data]), None
        )
        self.down = Product(first + DOWN, mlp.down_proj.weight.data, None)
        self.norms = (_norm(layer.input_layernorm), _norm(layer.post_attention_layernorm))
        self.head_norms = None
        if getattr(attention, "q_norm", None) is not None:
            self.head_norms = (
                _norm(attention.q_norm, heads.width),
                _norm(attention.k_norm, heads.width),
            )
        # Mistral's attention reads its window from the configuration, others keep their own.
        owner = attention.config if attention.config.model_type == "mistral" else attention
        self.window: int | None = getattr(owner, "sliding_window", None)
        self.heads = heads

    def __call__(self, x_TD: Tensor, step: Step, cache: Tensor) -> Tensor:
        heads = self.heads
        qkv = self.qkv(self.norms[0](x_TD), step.mix).view(len(x_TD), -1, heads.width)
        qk = qkv[:, : heads.query + heads.kv]
        if self.head_norms is not None:
            qk[:, : heads.query] = self.head_norms[0](qk[:, : heads.query])
            qk[:, heads.query :] = self.head_norms[1](qk[:, heads.query :])
        turn(qk, step.turn_T1C)
        kv = qkv[:, heads.query :].reshape(-1, heads.width)
        cache.view(-1, heads.width).index_copy_(0, step.write, kv)
        attended = attend(qkv[:, : heads.query], cache, step, heads, self.window)
        middle = self.out(attended, step.mix, residual_TO=x_TD)
        gate, up = self.gate_up(self.norms[1](middle), step.mix).chunk(2, -1)
        return self.down(F.silu(gate).mul_(up), step.mix, residual_TO=middle)


def side_by_side(value: Tensor, num_heads: int, width: int) -> Tensor:
    """Rows of heads with the two halves of each head interleaved: 0, E/2, 1, E/2 + 1, ...

    Other rows, with `num_heads` 0, stay as they are.
    """
    if not num_heads:
        return value
    halves = value.view(num_heads, 2, width // 2, *value.shape[1:])
    return halves.transpose(1, 2).reshape(value.shape)


def halves_together(keys: Tensor) -> Tensor:
    """The numbers of each head (the last axis) in the order that `side_by_side` gives them."""
    return keys.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)


def _norm(module: Any, width: int | None = None) -> Norm:
    weight = module.weight.data
    return Norm(
        weight if width is None else side_by_side(weight, 1, width), module.variance_epsilon
    )


def turn(x_THE: Tensor, turn_T1C: Tensor) -> None:
    """Rotary position embedding, in place."""
    if x_THE.dtype == torch.float32:
        torch.view_as_complex(x_THE.unflatten(-1, (-1, 2))).mul_(turn_T1C)
        return
    exact = torch.view_as_complex(x_THE.float().unflatten(-1, (-1, 2))) * turn_T1C
    x_THE.copy_(torch.view_as_real(exact).flatten(-2))


# ---------------------------------------------------------------- attention


def attend(q_THE: Tensor, cache: Tensor, step: Step, heads: Heads, window: int | None) -> Tensor:
    """[T, H*E]: each token attends to the tokens of its row up to itself."""
    parts = [_attend_next(q_THE, cache, run, heads, window) for run in step.runs]
    parts += [_attend_prompt(q_THE, cache, prompt, heads, window) for prompt in step.prompts]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _attend_next(
    q_THE: Tensor, cache: Tensor, run: Run, heads: Heads, window: int | None
) -> Tensor:
    """Next tokens of neighbouring slots, against as many keys as the longest of them has."""
    slots = slice(run.slot, run.slot + run.count)
    query = q_THE[run.first : run.first + run.count]
    keys, values = cache[0, slots, :, : run.length], cache[1, slots, :, : run.length]
    mask = run.mask(window, query)
    if query.device.type != "cpu":
        out = F.scaled_dot_product_attention(
            query[:, :, None],
            keys,
            values,
            attn_mask=None if mask is None else mask[:, None, None, :],
            scale=heads.scale,
            enable_gqa=heads.query != heads.kv,
        )
        return out.reshape(run.count, -1)
    groups = query.reshape(run.count * heads.kv, -1, heads.width)
    keys, values = keys.flatten(0, 1), values.flatten(0, 1)  # views: slots are neighbours
    if mask is None:
        scores = torch.bmm(groups, keys.transpose(1, 2)).mul_(heads.scale)
    else:
        each = mask[:, None, None, :].expand(-1, heads.kv, -1, -1).reshape(len(groups), 1, -1)
        scores = torch.baddbmm(each, groups, keys.transpose(1, 2), alpha=heads.scale)
    return torch.bmm(torch.softmax(scores, -1), values).view(run.count, -1)


def _attend_prompt(
    q_THE: Tensor, cache: Tensor, prompt: Attended, heads: Heads, window: int | None
) -> Tensor:
    query = q_THE[prompt.first : prompt.last].transpose(0, 1)
    keys, values = (cache[part, prompt.slot, :, : prompt.end] for part in (0, 1))
    mask = _prompt_mask(prompt, window, query.device)
    out = F.scaled_dot_product_attention(
        query[None],
        keys[None],
        values[None],
        attn_mask=mask,
        is_causal=mask is None,
        scale=heads.scale,
        enable_gqa=heads.query != heads.kv,
    )
    return out[0].transpose(0, 1).reshape(prompt.last - prompt.first, -1)


def _prompt_mask(prompt: Attended, window: int | None, device: torch.device) -> Tensor | None:
    """True where a token may look; None where plain causal attention says the same."""
    if window is not None and prompt.end <= window:
        window = None
    if window is None and prompt.start == 0:
        return None
    if window not in prompt.masks:
        own = torch.arange(prompt.start, prompt.end, device=device)[:, None]
        distance = own - torch.arange(prompt.end, device=device)[None, :]
        seen = distance >= 0
        prompt.masks[window] = seen if window is None else seen & (distance < window)
    return prompt.masks[window]


# ---------------------------------------------------------------- the decoder


class FastDecoder:
    """A llama-shaped model of transformers, taken apart: `model` is not usable afterwards."""

    loads_beside = True

    def __init__(self, model: Any, *, budget: int, context: int) -> None:
        decoder = model.get_decoder()
        config = decoder.config
        width = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        self.heads = Heads(
            config.num_attention_heads,
            config.num_key_value_heads,
            width,
            float(decoder.layers[0].self_attn.scaling),
        )
        self._linears = _linear_shapes(decoder)
        self._embedding = decoder.embed_tokens.weight.data
        self._head_DV = model.get_output_embeddings().weight.data.t()
        self._norm = _norm(decoder.norm)
        self._rotary = decoder.rotary_emb
        self.layers: list[Layer] = []
        for number in range(len(decoder.layers)):
            self.layers.append(Layer(decoder.layers[number], number, self.heads))
            decoder.layers[number] = torch.nn.Identity()  # its unpacked weights go at once
        shape = CacheShape(
            len(self.layers),
            self.heads.kv,
            width,
            self._embedding.dtype,
            self._embedding.device,
        )
        self.cache = KeyValues(shape, budget=budget, context=context)
        self.context: int | None = self.cache.context
        self._turns = self._turn_table(0)
        self._lineup: Lineup | None = None

    # ------------------------------------------------------------ one step

    def forward(self, pieces: Sequence[Piece]) -> Tensor:
        """Scores [wanted of all pieces, V], in the order of the pieces."""
        order = _order(pieces)
        step = self._step([pieces[number] for number in order])
        hidden = self._embedding[step.ids_T]
        for layer, cache in zip(self.layers, self.cache.layers, strict=True):
            hidden = layer(hidden, step, cache)
        if step.wanted is not None:
            hidden = hidden[step.wanted]
        scores = self._norm(hidden) @ self._head_DV
        back = _places_of(pieces, order)
        return scores if back is None else scores[back]

    def _step(self, pieces: Sequence[Piece]) -> Step:
        """`pieces` has next tokens first, by slot."""
        self.cache.reserve(
            max(piece.slot for piece in pieces) + 1, max(piece.end for piece in pieces)
        )
        slots = [piece.slot for piece in pieces for _ in piece.ids]
        places = [place for piece in pieces for place in range(piece.start, piece.end)]
        device = self._embedding.device
        places_T = torch.tensor(places, device=device)
        for piece in pieces:
            if piece.begins and piece.start:
                self.cache.begin(piece.slot, piece.adapter.kept)
        if self.cache.capacity > len(self._turns):
            self._turns = self._turn_table(self.cache.capacity)
        num_next = sum(_is_next(piece) for piece in pieces)
        return Step(
            ids_T=torch.tensor([i for piece in pieces for i in piece.ids], device=device),
            turn_T1C=self._turns[places_T],
            write=self.cache.write_index(slots, places),
            runs=plan_runs([(piece.slot, piece.end) for piece in pieces[:num_next]]),
            prompts=_prompts(pieces, num_next),
            mix=self._mix(pieces),
            wanted=_wanted(pieces, device),
        )

    def _turn_table(self, length: int) -> Tensor:
        """cos + i sin of each place, [C, 1, E/2]."""
        places = torch.arange(length, device=self._embedding.device)
        cos, sin = self._rotary(self._embedding[:1].float()[None], places[None])
        half = self.heads.width // 2
        return torch.complex(cos[0, :, :half].float(), sin[0, :, :half].float())[:, None, :]

    def _mix(self, pieces: Sequence[Piece]) -> Mix | None:
        # What stands in front of a text lies in the cache, and adds to no product.
        own = [piece.adapter if isinstance(piece.adapter, Adapter) else None for piece in pieces]
        used = {id(adapter): adapter for adapter in own if adapter is not None}
        if not used:
            return None
        adapters = [*used.values()]
        if self._lineup is None or not self._lineup.has(adapters):
            self._lineup = Lineup(adapters)
        lineup = self._lineup
        numbers = [
            lineup.number(adapter)
            for adapter, piece in zip(own, pieces, strict=True)
            for _ in piece.ids
        ]
        return Mix(lineup, numbers, self._embedding)

    # ------------------------------------------------------------ rows

    def fits(self, num_rows: int, longest: int) -> bool:
        """Whether the cache may hold so many rows of this length."""
        return self.cache.fits(num_rows, longest)

    def move(self, source: int, target: int, length: int) -> None:
        """Bring a row into another slot."""
        self.cache.copy(source, target, length)

    def forget(self, slot: int) -> None:
        """Nothing to do: what a slot holds is written over."""

    # ------------------------------------------------------------ adapters

    def load_adapter(self, directory: Path) -> Adapter | FrontAdapter:
        """Read a PEFT folder."""
        if is_in_front(directory):
            return self._load_front(directory)
        pairs = read_pairs(directory, self._linears)
        joints: dict[int, Joint] = {}
        for layer in range(len(self.layers)):
            for part, names in _PARTS.items():
                own = [pairs.get(f"model.layers.{layer}.{name}") for name in names]
                if any(pair is not None for pair in own):
                    joints[layer * PRODUCTS + part] = self._joint(layer, names, own)
        size = sum(j.a_RD.nbytes + j.b_RO.nbytes for j in joints.values())
        return Adapter(directory, joints, size)

    def _joint(self, layer: int, names: Sequence[str], pairs: Sequence[Pair | None]) -> Joint:
        """Adapters on parts of a product as one: A's behind each other, B's on the diagonal."""
        turned = {"self_attn.q_proj": self.heads.query, "self_attn.k_proj": self.heads.kv}
        outputs = [self._linears[f"model.layers.{layer}.{name}"][0] for name in names]
        ranks = sum(len(pair.a_RD) for pair in pairs if pair is not None)
        b_RO = torch.zeros(ranks, sum(outputs))
        row = column = 0
        for name, pair, width in zip(names, pairs, outputs, strict=True):
            if pair is not None:
                b_OR = side_by_side(pair.b_OR, turned.get(name, 0), self.heads.width)
                b_RO[row : row + len(pair.a_RD), column : column + width] = b_OR.t()
                row += len(pair.a_RD)
            column += width
        a_RD = torch.cat([pair.a_RD for pair in pairs if pair is not None])
        return Joint(a_RD.to(self._embedding), b_RO.to(self._embedding))

    @torch.no_grad()
    def _load_front(self, directory: Path) -> FrontAdapter:
        width = self._embedding.shape[1]
        learned = read_learned(directory, self.cache.shape, width, self.context)
        if learned.is_prefix:
            kept = learned.vectors.clone()
            kept[:, 0] = halves_together(kept[:, 0])
        else:
            kept = self._kept_of(learned.vectors)
        return FrontAdapter(directory, learned.num_places, kept.nbytes, kept)

    def _kept_of(self, inputs_ND: Tensor) -> Tensor:
        """Keys and values [L, 2, K, N, E] of a row of inputs, in memory of their own.

        So this may be computed in another thread, beside the steps.
        """
        count = len(inputs_ND)
        shape = self.cache.shape
        row = KeyValues(shape, budget=rounded(count) * shape.token_bytes, context=count)
        row.reserve(1, count)
        step = Step(
            ids_T=inputs_ND.new_empty(0, dtype=torch.long),
            turn_T1C=self._turn_table(count),
            write=row.write_index([0] * count, range(count)),
            runs=[],
            prompts=[Attended(0, count, 0, 0)],
            mix=None,
            wanted=None,
        )
        hidden = inputs_ND
        for layer, cache in zip(self.layers, row.layers, strict=True):
            hidden = layer(hidden, step, cache)
        return torch.stack([cache[:, 0, :, :count] for cache in row.layers])

    def unload_adapter(self, adapter: Adapter | FrontAdapter) -> None:
        """Let go of an adapter that no row has."""
        if self._lineup is not None and adapter in self._lineup.adapters:
            self._lineup = None


def _is_next(piece: Piece) -> bool:
    return len(piece.ids) == 1 and piece.start > 0


def _order(pieces: Sequence[Piece]) -> list[int]:
    """Next tokens by slot, then prompts."""
    return sorted(range(len(pieces)), key=lambda n: (not _is_next(pieces[n]), pieces[n].slot))


def _prompts(pieces: Sequence[Piece], num_next: int) -> list[Attended]:
    found: list[Attended] = []
    first = num_next
    for piece in pieces[num_next:]:
        last = first + len(piece.ids)
        found.append(Attended(first, last, piece.slot, piece.start))
        first = last
    return found


def _wanted(pieces: Sequence[Piece], device: torch.device) -> Tensor | None:
    places: list[int] = []
    end = 0
    for piece in pieces:
        end += len(piece.ids)
        places += range(end - piece.wanted, end)
    return None if len(places) == end else torch.tensor(places, dtype=torch.long, device=device)


def _places_of(pieces: Sequence[Piece], order: Sequence[int]) -> Tensor | None:
    """Where the scores of each piece are, once pieces stood in another order."""
    if list(order) == list(range(len(pieces))):
        return None
    starts: dict[int, int] = {}
    at = 0
    for number in order:
        starts[number] = at
        at += pieces[number].wanted
    places = [starts[n] + i for n, piece in enumerate(pieces) for i in range(piece.wanted)]
    return torch.tensor(places, dtype=torch.long)


def _linear_shapes(decoder: Any) -> dict[str, tuple[int, int]]:
    """(outputs, inputs) of every layer that an adapter may be on, by its name in the model."""
    return {
        f"model.{name}": (module.weight.shape[0], module.weight.shape[1])
        for name, module in decoder.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
