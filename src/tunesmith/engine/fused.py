"""The llama-shaped decoder with forward and backward written by hand, for float32 on the CPU.

One operation a layer, so that nothing is kept for backward that can be had again for a few passes
over memory, gradients are added in place into the flat arena, residual sums ride on matrix
products, and q, k and v are one product. The numbers are those of transformers' modules
(tests/unit/engine/test_fused.py).

With LoRA the layer computes with W + scale * B A, formed once a micro-batch in scratch memory: the
same mathematics as two skinny products behind every linear layer, for a thousandth of the work. A
quantised W is unpacked there first.

Shapes: T tokens, D hidden, F feed-forward width, K key-value heads, G query heads a key-value head,
E head width, R adapter rank.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tunesmith.engine.arena import join_rows, joined
from tunesmith.engine.attention import Documents, attend_backward, attend_forward
from tunesmith.engine.methods.adaption import has_vectors_beside
from tunesmith.engine.methods.prompts import has_vectors
from tunesmith.engine.methods.quantised import is_quantised
from tunesmith.engine.methods.vocabulary import TrainedRows, rows_of
from tunesmith.engine.offload import Offload

FAMILIES = ("llama", "qwen2", "qwen3", "mistral")


# ---------------------------------------------------------------- elementwise parts


def rms_norm(x_TD: Tensor, weight_D: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """(normalised and scaled rows, inverse root mean square [.., 1])."""
    inverse = torch.linalg.vector_norm(x_TD, dim=-1, keepdim=True)
    inverse.square_().div_(x_TD.shape[-1]).add_(epsilon).rsqrt_()
    return torch.mul(x_TD, inverse).mul_(weight_D), inverse


def rms_norm_backward(
    grad_TD: Tensor, x_TD: Tensor, inverse_T1: Tensor, weight_D: Tensor, weight_grad: Tensor | None
) -> Tensor:
    """Gradient of x; adds the gradient of the weight into `weight_grad`.

    With n = x * inverse and g = grad * weight: dx = inverse * (g - n * mean(g * n)).
    """
    product = torch.mul(grad_TD, x_TD).mul_(inverse_T1)  # grad * n
    width = x_TD.shape[-1]
    mean = torch.mv(product.view(-1, width), weight_D).view(inverse_T1.shape).div_(width)
    if weight_grad is not None:
        weight_grad.add_(product.view(-1, width).sum(0))
    coefficient = mean.mul_(inverse_T1).mul_(inverse_T1).neg_()
    out = torch.mul(grad_TD, weight_D, out=product).mul_(inverse_T1)
    return out.addcmul_(x_TD, coefficient)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Rotary position embedding of x [T, K, G, E] into `out` of the same shape and any strides.

    `cos` and `sin` are [T, 1, 1, E/2]; with -sin it is its own inverse, hence its own backward.
    """
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    torch.mul(first, cos, out=out[..., :half]).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out[..., half:]).addcmul_(first, sin)


@dataclass(frozen=True)
class Rotation:
    """Cosines and sines of a micro-batch, [T, 1, 1, E/2].

    Those of the queries carry the scale of the scores, so that q k^T comes out scaled at no cost.
    """

    query: tuple[Tensor, Tensor]
    key: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, cos_1TE: Tensor, sin_1TE: Tensor, scale: float) -> Rotation:
        """From what transformers' rotary embedding returns; both halves of E are the same."""
        half = cos_1TE.shape[-1] // 2
        cos, sin = (x[0, :, None, None, :half].contiguous() for x in (cos_1TE, sin_1TE))
        return cls((cos * scale, sin * scale), (cos, sin))


# ---------------------------------------------------------------- matrix products


@dataclass
class LowRank:
    """The adapter of some rows of a product: rows [start, end) get scale * B A."""

    start: int
    end: int
    scale: float
    a_RD: nn.Parameter
    b_OR: nn.Parameter


class Product:
    """y = x W^T + bias, where W may be trained, or frozen with adapters on some of its rows."""

    def __init__(self, linears: list[Any]) -> None:
        bases = [getattr(linear, "base_layer", linear) for linear in linears]
        self._quantised = bases if any(is_quantised(base) for base in bases) else []
        weights = [] if self._quantised else [base.weight for base in bases]
        self.weight_OD = join_rows(weights) if len(weights) > 1 else None
        if len(weights) == 1:
            self.weight_OD = weights[0].data
        self.grad_OD = _joined_gradient(weights) if weights else None
        biases = [base.bias for base in bases if base.bias is not None]
        self.bias_O = torch.cat([b.data for b in biases]) if biases else None
        self._biases = biases
        self.adapters = _adapters(linears)
        self._joined_a = joined([a.a_RD.data for a in self.adapters]) if self.adapters else None
        grads = [a.a_RD.grad for a in self.adapters if a.a_RD.grad is not None]
        self._joined_a_grad = joined(grads) if grads else None
        self.adapters_off = False  # only where nothing is kept for backward

    def effective_weight(self) -> Tensor:
        """W, or W + scale * B A in fresh memory where there are adapters."""
        is_plain = not self.adapters or self.adapters_off
        if self.weight_OD is None:
            weight = self._unpacked()
        else:
            weight = self.weight_OD if is_plain else self.weight_OD.clone()
        for adapter in () if is_plain else self.adapters:
            rows = weight[adapter.start : adapter.end]
            rows.addmm_(adapter.b_OR.data, adapter.a_RD.data, alpha=adapter.scale)
        return weight

    def _unpacked(self) -> Tensor:
        """A quantised W, in fresh memory."""
        parts = [base.weight.detach() for base in self._quantised]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def refresh(self) -> None:
        """Read the biases again after an update (they are not neighbours in memory)."""
        if self._biases and self._biases[0].requires_grad:
            self.bias_O = torch.cat([b.data for b in self._biases])

    def forward(self, x_TD: Tensor, residual_TO: Tensor | None = None) -> Tensor:
        """x W^T, plus the bias or the residual."""
        weight = self.effective_weight()
        if residual_TO is not None:
            return torch.addmm(residual_TO, x_TD, weight.t())
        if self.bias_O is not None:
            return torch.addmm(self.bias_O, x_TD, weight.t())
        return x_TD @ weight.t()

    def backward(self, grad_TO: Tensor, x_TD: Tensor, into: Tensor | None = None) -> Tensor:
        """Gradient of x (added to `into` in place, where given); adds the parameters' gradients."""
        self.add_gradients(grad_TO, x_TD)
        weight = self.effective_weight()
        return grad_TO @ weight if into is None else into.addmm_(grad_TO, weight)

    def add_gradients(self, grad_TO: Tensor, x_TD: Tensor) -> None:
        """Add the gradients of weight, bias and adapters."""
        if self.grad_OD is not None:
            self.grad_OD.addmm_(grad_TO.t(), x_TD)
        start = 0
        for bias in self._biases:
            end = start + bias.shape[0]
            if bias.grad is not None:
                bias.grad.add_(grad_TO[:, start:end].sum(0))
            start = end
        if self.adapters:
            self._add_adapter_gradients(grad_TO, x_TD)

    def _add_adapter_gradients(self, grad_TO: Tensor, x_TD: Tensor) -> None:
        # dB = s dY^T (x A^T), dA = s (dY B)^T x; products with x are made for all adapters at once.
        stacked_a = self._joined_a
        if stacked_a is None:
            stacked_a = torch.cat([a.a_RD.data for a in self.adapters])
        inner_TR = x_TD @ stacked_a.t()
        grad_inner_TR = torch.empty_like(inner_TR)
        column = 0
        for adapter in self.adapters:
            ranks = slice(column, column + adapter.a_RD.shape[0])
            grad = grad_TO[:, adapter.start : adapter.end]
            assert adapter.b_OR.grad is not None
            grad_b = inner_TR[:, ranks].t() @ grad  # [R, O] runs faster than [O, R]
            adapter.b_OR.grad.add_(grad_b.t(), alpha=adapter.scale)
            grad_inner_TR[:, ranks] = grad @ (adapter.b_OR.data * adapter.scale)
            column = ranks.stop
        if self._joined_a_grad is not None:
            self._joined_a_grad.addmm_(grad_inner_TR.t(), x_TD)
            return
        grad_a, column = grad_inner_TR.t() @ x_TD, 0
        for adapter in self.adapters:
            ranks = slice(column, column + adapter.a_RD.shape[0])
            assert adapter.a_RD.grad is not None
            adapter.a_RD.grad.add_(grad_a[ranks])
            column = ranks.stop


def _joined_gradient(weights: list[nn.Parameter]) -> Tensor | None:
    if not weights[0].requires_grad:
        return None
    grads = [w.grad for w in weights if w.grad is not None]
    whole = joined(grads) if len(grads) == len(weights) else None
    assert whole is not None, "trained weights must lie in the arena"
    return whole


def _adapters(linears: list[Any]) -> list[LowRank]:
    adapters: list[LowRank] = []
    start = 0
    for linear in linears:
        end = start + _rows(linear)
        for name in getattr(linear, "active_adapters", []):
            if name in linear.lora_A:
                a, b = linear.lora_A[name].weight, linear.lora_B[name].weight
                adapters.append(LowRank(start, end, float(linear.scaling[name]), a, b))
        start = end
    return adapters


# ---------------------------------------------------------------- the layer


class FusedLayer:
    """One decoder layer: references to its weights, forward and backward."""

    def __init__(self, layer: Any, head_width: int) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.qkv = Product([attention.q_proj, attention.k_proj, attention.v_proj])
        self.out = Product([attention.o_proj])
        self.gate, self.up = Product([mlp.gate_proj]), Product([mlp.up_proj])
        self.down = Product([mlp.down_proj])
        self.norms = (layer.input_layernorm, layer.post_attention_layernorm)
        self.q_norm = getattr(attention, "q_norm", None)
        self.k_norm = getattr(attention, "k_norm", None)
        self.scale = float(attention.scaling)
        # Mistral's attention reads its window from the configuration, others keep their own.
        owner = attention.config if attention.config.model_type == "mistral" else attention
        self.window = getattr(owner, "sliding_window", None)
        self.head_width = head_width
        self.num_kv = _rows(attention.k_proj) // head_width
        self.groups = _rows(attention.q_proj) // head_width // self.num_kv
        self.is_trained = any(parameter.requires_grad for parameter in layer.parameters())
        self.watch_input = getattr(layer, "watch_input", None)  # see in_backward.py

    def refresh(self) -> None:
        """Call after an optimizer step."""
        self.qkv.refresh()

    def products(self) -> tuple[Product, ...]:
        """All of the layer."""
        return self.qkv, self.out, self.gate, self.up, self.down

    def split(self, qkv_TO: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Views of q [T, K, G, E], k [T, K, 1, E] and v [T, K, 1, E]."""
        num_kv, groups, width = self.num_kv, self.groups, self.head_width
        heads = qkv_TO.view(-1, num_kv * (groups + 2), width)
        q, k, v = heads.split([num_kv * groups, num_kv, num_kv], dim=1)
        return q.unflatten(1, (num_kv, groups)), k.unsqueeze(2), v.unsqueeze(2)


def _rows(linear: Any) -> int:
    return int(getattr(linear, "base_layer", linear).out_features)


def _grad_of(module: Any) -> Tensor | None:
    return module.weight.grad if module.weight.requires_grad else None


def _head_major(x_TKGE: Tensor) -> Tensor:
    """Empty [K, T, G, E] memory, seen as [T, K, G, E]."""
    tokens, num_kv, groups, width = x_TKGE.shape
    return x_TKGE.new_empty(num_kv, tokens, groups, width).transpose(0, 1)


def _flat_heads(x_TKGE: Tensor) -> Tensor:
    """The [K, T*G, E] form of memory made by `_head_major`."""
    return x_TKGE.transpose(0, 1).flatten(1, 2)


def _rotated(
    layer: FusedLayer, qkv_TO: Tensor, rotation: Rotation
) -> tuple[Tensor, Tensor, Tensor]:
    """q [K, T*G, E], k and v [K, T, E]; q and k normalised where the family does, and rotated."""
    q, k, v = layer.split(qkv_TO)
    if layer.q_norm is not None and layer.k_norm is not None:
        q, _ = rms_norm(q, layer.q_norm.weight.data, layer.q_norm.variance_epsilon)
        k, _ = rms_norm(k, layer.k_norm.weight.data, layer.k_norm.variance_epsilon)
    rotated_q, rotated_k, copied_v = _head_major(q), _head_major(k), _head_major(v)
    rotate(q, *rotation.query, rotated_q)
    rotate(k, *rotation.key, rotated_k)
    copied_v.copy_(v)
    return _flat_heads(rotated_q), _flat_heads(rotated_k), _flat_heads(copied_v)


def _rotated_backward(
    layer: FusedLayer, grads: tuple[Tensor, ...], qkv_TO: Tensor, rotation: Rotation
) -> Tensor:
    """Gradient of `_rotated` in the layout of the product, [T, (G+2)*K*E]."""
    grad_qkv = torch.empty_like(qkv_TO)
    q, k, _ = layer.split(qkv_TO)
    into_q, into_k, into_v = layer.split(grad_qkv)
    tokens = qkv_TO.shape[0]
    grad_q, grad_k, grad_v = (
        grad.view(layer.num_kv, tokens, -1, layer.head_width).transpose(0, 1) for grad in grads
    )
    for grad, (cos, sin), into in (
        (grad_q, rotation.query, into_q),
        (grad_k, rotation.key, into_k),
    ):
        rotate(grad, cos, -sin, into)
    into_v.copy_(grad_v)
    for norm, x, into in ((layer.q_norm, q, into_q), (layer.k_norm, k, into_k)):
        if norm is not None:
            rows, grad = x.reshape(-1, layer.head_width), into.reshape(-1, layer.head_width)
            _, inverse = rms_norm(rows, norm.weight.data, norm.variance_epsilon)
            back = rms_norm_backward(grad, rows, inverse, norm.weight.data, _grad_of(norm))
            into.copy_(back.view(into.shape))
    return grad_qkv


def _merge_heads(layer: FusedLayer, out_KRE: Tensor) -> Tensor:
    """[K, T*G, E] -> [T, K*G*E]."""
    tokens = out_KRE.shape[1] // layer.groups
    heads = out_KRE.view(layer.num_kv, tokens, layer.groups, layer.head_width)
    return heads.transpose(0, 1).reshape(tokens, -1)


def _split_heads(layer: FusedLayer, grad_TO: Tensor) -> Tensor:
    """[T, K*G*E] -> [K, T*G, E]."""
    heads = grad_TO.view(-1, layer.num_kv, layer.groups, layer.head_width)
    return heads.transpose(0, 1).reshape(layer.num_kv, -1, layer.head_width)


class _LayerFunction(torch.autograd.Function):
    """hidden -> hidden; the parameters' gradients go straight into the arena."""

    @staticmethod
    def forward(
        ctx: Any,
        x_TD: Tensor,
        anchor: Tensor,  # empty; makes autograd call backward where x itself needs no gradient
        layer: FusedLayer,
        rotation: Rotation,
        documents: Documents,
    ) -> Tensor:
        del anchor
        norm1, norm2 = layer.norms
        normed, inverse1 = rms_norm(x_TD, norm1.weight.data, norm1.variance_epsilon)
        qkv = layer.qkv.forward(normed)
        q, k, v = _rotated(layer, qkv, rotation)
        kept: list[Tensor] = []
        attended = attend_forward(q, k, v, documents, window=layer.window, keep=kept)
        merged = _merge_heads(layer, attended)
        middle = layer.out.forward(merged, residual_TO=x_TD)
        normed, inverse2 = rms_norm(middle, norm2.weight.data, norm2.variance_epsilon)
        gate, up = layer.gate.forward(normed), layer.up.forward(normed)
        product = torch.nn.functional.silu(gate).mul_(up)
        out = layer.down.forward(product, residual_TO=middle)
        kept_qkv = qkv if layer.q_norm is not None else qkv.new_empty(0)
        ctx.save_for_backward(
            x_TD, inverse1, q, k, v, merged, middle, inverse2, gate, up, kept_qkv, *kept
        )
        ctx.layer, ctx.documents, ctx.rotation = layer, documents, rotation
        ctx.qkv_shape = qkv.shape
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, inverse1, q, k, v, merged, middle, inverse2, gate, up, qkv, *kept = ctx.saved_tensors
        layer: FusedLayer = ctx.layer
        grad_middle = _mlp_backward(layer, grads[0], middle, inverse2, gate, up)
        grad_heads = _split_heads(layer, layer.out.backward(grad_middle, merged))
        grad_q, grad_k, grad_v = attend_backward(
            grad_heads, q, k, v, ctx.documents, window=layer.window, kept=kept
        )
        if layer.q_norm is None:
            qkv = x.new_empty(ctx.qkv_shape)  # only its shape is read
        grad_qkv = _rotated_backward(layer, (grad_q, grad_k, grad_v), qkv, ctx.rotation)
        norm = layer.norms[0]
        normed = torch.mul(x, inverse1).mul_(norm.weight.data)
        into_norm = _grad_of(norm)
        if not ctx.needs_input_grad[0] and into_norm is None:  # everything below is frozen
            layer.qkv.add_gradients(grad_qkv, normed)
            return (None,) * 5
        grad_normed = layer.qkv.backward(grad_qkv, normed)
        grad_x = rms_norm_backward(grad_normed, x, inverse1, norm.weight.data, into_norm)
        needed = ctx.needs_input_grad[0]
        return grad_x.add_(grad_middle) if needed else None, None, None, None, None


def _mlp_backward(
    layer: FusedLayer, grad: Tensor, middle: Tensor, inverse: Tensor, gate: Tensor, up: Tensor
) -> Tensor:
    """Gradient of the hidden state before the feed-forward part, its residual included."""
    norm = layer.norms[1]
    silu = torch.nn.functional.silu(gate)
    grad_product = layer.down.backward(grad, silu * up)
    grad_up = silu.mul_(grad_product)
    grad_gate = torch.ops.aten.silu_backward(grad_product.mul_(up), gate)
    normed = torch.mul(middle, inverse).mul_(norm.weight.data)
    grad_normed = layer.up.backward(grad_up, normed)
    grad_normed = layer.gate.backward(grad_gate, normed, into=grad_normed)
    back = rms_norm_backward(grad_normed, middle, inverse, norm.weight.data, _grad_of(norm))
    return back.add_(grad)


class _Embed(torch.autograd.Function):
    """Rows of the embedding; the gradient is added in place, never as a whole second matrix."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, ids_T: Tensor, weight: nn.Parameter) -> Tensor:
        del anchor
        ctx.save_for_backward(ids_T)
        ctx.weight = weight
        return weight.data[ids_T]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.weight.grad is not None:
            ctx.weight.grad.index_add_(0, ctx.saved_tensors[0], grads[0])
        return None, None, None


class _EmbedSome(torch.autograd.Function):
    """Rows of a frozen table, some of which are trained by themselves."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, ids_T: Tensor, rows: TrainedRows) -> Tensor:
        del anchor
        ctx.save_for_backward(ids_T)
        ctx.rows = rows
        return rows.table.weight.data[ids_T]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows: TrainedRows = ctx.rows
        places_T, is_new_T = rows.places(ctx.saved_tensors[0])
        if rows.values_ND.grad is not None:
            rows.values_ND.grad.index_add_(0, places_T[is_new_T], grads[0][is_new_T])
        return None, None, None


class _FinalNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, norm: Any) -> Tensor:
        out, inverse = rms_norm(x_TD, norm.weight.data, norm.variance_epsilon)
        ctx.save_for_backward(x_TD, inverse)
        ctx.norm = norm
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, inverse = ctx.saved_tensors
        weight = ctx.norm.weight.data
        return rms_norm_backward(grads[0], x, inverse, weight, _grad_of(ctx.norm)), None


# ---------------------------------------------------------------- the decoder


class FusedDecoder:
    """Token ids of a flat sequence -> final hidden states, on a transformers model's weights."""

    def __init__(
        self,
        decoder: Any,
        rows: Sequence[TrainedRows] = (),
        *,
        checkpointing: int = 0,
        offload: Offload | None = None,
    ) -> None:
        config = decoder.config
        self._checkpointing, self._offload = checkpointing, offload
        width = getattr(config, "head_dim", None)
        self._head_width = width or config.hidden_size // config.num_attention_heads
        self._decoder = decoder
        self._rows = rows
        self.rebind()
        self._anchor = torch.zeros(0, requires_grad=True)
        self._still = torch.zeros(0)  # the anchor of a layer in which nothing is trained

    def rebind(self) -> None:
        """Call after weights or gradients have moved in memory, or others are trained."""
        self._layers = [FusedLayer(layer, self._head_width) for layer in self._decoder.layers]

    def refresh(self) -> None:
        """Call after an optimizer step."""
        for layer in self._layers:
            layer.refresh()
        for rows in self._rows:
            rows.publish()

    @contextmanager
    def adapters_off(self) -> Generator[None]:
        """Compute as the base model, without gradients."""
        products = [product for layer in self._layers for product in layer.products()]
        for product in products:
            product.adapters_off = True
        try:
            yield
        finally:
            for product in products:
                product.adapters_off = False

    def __call__(self, ids_T: Tensor, positions_T: Tensor, documents: Documents) -> Tensor:
        """Hidden states [T, D] behind the final norm."""
        hidden = self._embedded(ids_T)
        noise = getattr(self._decoder.embed_tokens, "row_noise", None)
        if noise is not None:
            hidden = noise(hidden)
        cos, sin = self._decoder.rotary_emb(hidden[None], positions_T[None])
        rotation = Rotation.of(cos, sin, self._layers[0].scale)
        every = self._checkpointing if torch.is_grad_enabled() else 0
        for number, layer in enumerate(self._layers):
            if layer.watch_input is not None:
                layer.watch_input(hidden)
            anchor = self._anchor if layer.is_trained else self._still
            arguments = (hidden, anchor, layer, rotation, documents)
            with self._keeping_elsewhere(number):
                if every and number % every == 0:
                    hidden = checkpoint(_LayerFunction.apply, *arguments, use_reentrant=False)
                else:
                    hidden = _LayerFunction.apply(*arguments)
        return _FinalNorm.apply(hidden, self._decoder.norm)

    def _keeping_elsewhere(self, number: int) -> AbstractContextManager[None]:
        """Around a layer whose activations wait elsewhere; around any other, nothing."""
        if self._offload is None:
            return nullcontext()
        return self._offload.within(self._decoder.layers[number])

    def _embedded(self, ids_T: Tensor) -> Tensor:
        """Rows of the table; all of them are trained, some, or none."""
        rows = rows_of(self._decoder.embed_tokens)
        if rows is not None and torch.is_grad_enabled():
            return _EmbedSome.apply(self._anchor, ids_T, rows)
        table = self._decoder.embed_tokens if rows is None else rows.table
        if table.weight.requires_grad and torch.is_grad_enabled():
            return _Embed.apply(self._anchor, ids_T, table.weight)
        return table.weight.data[ids_T]


def why_not_fused(model: Any, decoder: Any) -> str | None:
    """Why this model takes transformers' own modules; None where the fused decoder serves it."""
    if any(p.dtype != torch.float32 for p in model.parameters()):
        return "a type other than float32"
    if any(p.device.type != "cpu" for p in model.parameters()):
        return "a device other than the CPU"
    if has_vectors(model):
        return "vectors in front of the text"
    return why_not_llama_shaped(decoder)


def why_not_llama_shaped(decoder: Any) -> str | None:
    """What in this decoder the formulas of this module leave out; None where it is all there."""
    config = decoder.config
    checks: list[tuple[bool, str]] = [
        (config.model_type in FAMILIES, f"family {config.model_type}"),
        (getattr(config, "hidden_act", "") == "silu", "another activation"),
        (not getattr(config, "attention_dropout", 0.0), "attention dropout"),
        (not getattr(config, "mlp_bias", False), "biases in the feed-forward part"),
        (_partial_rotary(config) == 1.0, "partial rotary embedding"),
    ]
    for holds, reason in checks:
        if not holds:
            return reason
    for name, module in decoder.named_modules():
        reason = _why_not_module(name, module)
        if reason:
            return reason
    if any(not _learns_as_one(layer.self_attn) for layer in decoder.layers):
        return "only some of q, k and v trained"
    return None


def _learns_as_one(attention: Any) -> bool:
    """q, k and v are one product here, so all of them are trained, or none."""
    bases = [
        getattr(p, "base_layer", p) for p in (attention.q_proj, attention.k_proj, attention.v_proj)
    ]
    weights = {not is_quantised(base) and base.weight.requires_grad for base in bases}
    biases = {base.bias.requires_grad for base in bases if base.bias is not None}
    return len(weights) == 1 and len(biases) <= 1


def _partial_rotary(config: Any) -> float:
    parameters = getattr(config, "rope_parameters", None) or {}
    return float(parameters.get("partial_rotary_factor", 1.0))


def _why_not_module(name: str, module: Any) -> str | None:
    if name.endswith("o_proj"):
        base = getattr(module, "base_layer", module)
        if base.bias is not None:
            return "a bias behind attention"
    if hasattr(module, "modules_to_save"):
        return f"{name} trained beside adapters"
    if has_vectors_beside(module):
        return f"vectors beside the text in {name}"
    if hasattr(module, "oft_R"):
        return f"rotation of {name}"
    if not hasattr(module, "lora_A"):
        return None
    is_projection = name.rsplit(".", 1)[-1].endswith("_proj")
    if not is_projection or module.lora_variant:
        return f"adapter on {name}"
    dropped = any(getattr(dropout, "p", 0) for dropout in module.lora_dropout.values())
    return "dropout in adapters" if dropped else None


Backbone = Callable[[Tensor, Tensor, Documents], Tensor]
