"""How much memory a training takes, in closed form: no torch, for the engine and for servers.

The terms are those of a decoder with grouped-query attention and a gated feed-forward part, in
bytes: weights, gradients and optimizer state by parameter; activations kept for backward by token
and layer; one chunk of logits. Constant parts (libraries, kernels) are measured, not guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from tunesmith.errors import TunesmithError
from tunesmith.models.files import read_json
from tunesmith.recipe import Recipe
from tunesmith.recipe.adapters import ALL_LINEAR, Adapter, Oft
from tunesmith.recipe.capabilities import checkpointing_to_try
from tunesmith.recipe.prompts import AdapterTuning, InFront, Prefix

CPU_MICRO_BATCH: Final = 2048  # tokens: larger ones fall out of the processor's cache
CUDA_MICRO_BATCH: Final = 16384  # tokens: enough to fill a GPU with matrix products
SHARE_OF_FREE: Final = 0.9
# A micro-batch of a sixteenth of the wanted one: below it a GPU waits for its weights (1,000 tokens
# are 1,000 products for each weight that is read), which costs more than computing layers twice.
LEAST_SHARE: Final = 16
FITS: Final = 0.95  # share of free memory that an estimate may take
# As engine/head.py takes them; a test compares.
LOGITS_CHUNK_BYTES: Final = 16 << 20
LEAST_CHUNK_ROWS: Final = 256
# Families whose decoder the engine computes itself on a CPU, as engine/fused.py says.
FUSED_FAMILIES: Final = frozenset({"llama", "qwen2", "qwen3", "mistral"})
# Bytes of one packed weight. NF4: 4 bits, a byte for the scale of 64 of them, and 4 bytes for those
# of 256 such blocks. Int8: a byte; the 4 of a whole row are added by its width.
PACKED_BYTES: Final = {"nf4": 0.5 + 1 / 64 + 4 / (64 * 256), "int8": 1.0}


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder that memory and time depend on."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    feed_forward: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Read a transformers configuration; families name some sizes differently."""
        text = config.get_text_config()
        hidden, heads = int(text.hidden_size), int(text.num_attention_heads)
        return cls(
            hidden=hidden,
            layers=int(text.num_hidden_layers),
            heads=heads,
            kv_heads=int(getattr(text, "num_key_value_heads", None) or heads),
            head_width=int(getattr(text, "head_dim", None) or hidden // heads),
            feed_forward=int(getattr(text, "intermediate_size", None) or 4 * hidden),
            vocabulary=int(text.vocab_size),
        )

    @classmethod
    def read(cls, folder: Path) -> Shape | None:
        """The sizes that config.json of a model folder tells; None where it does not."""
        try:
            tree: dict[str, Any] = read_json(folder / "config.json")
            text = SimpleNamespace(**{**tree, **(tree.get("text_config") or {})})
            text.get_text_config = lambda: text
            return cls.of(text)
        except (OSError, AttributeError, TypeError, ValueError, TunesmithError):
            return None

    @classmethod
    def like(cls, parameters: int) -> Shape:
        """The sizes that a decoder of so many weights usually has, where nobody tells them."""
        layers = max(4, round(4.5 * math.log2(max(parameters, 2**20) / 2**20) - 14))
        vocabulary = 32_000 if parameters > 2e7 else 4096
        # 4 matrices of attention and 3 of 2.75 h: about 12 h h a layer, and two tables of words.
        hidden = _solved(12.25 * layers, 2.0 * vocabulary, parameters)
        heads = max(1, hidden // 128)
        return cls(
            hidden=hidden,
            layers=layers,
            heads=heads,
            kv_heads=heads,
            head_width=max(1, hidden // heads),
            feed_forward=round(2.75 * hidden),
            vocabulary=vocabulary,
        )


@dataclass(frozen=True)
class Trained:
    """The weights that a training changes, and the rule that changes them."""

    weights: int
    inside: int  # those of matrices within the layers: neither tables of words nor vectors
    narrow: int  # the shorter side of these matrices
    edges: int  # rows and columns of all matrices, and the vectors
    optimizer: str = "adamw"
    projection_rank: int = 0  # galore and apollo
    without_gradient: int = 0  # those whose gradients lie where others were (update_in_backward)

    @property
    def state_bytes(self) -> int:
        """What the rule remembers, in float32 but for adamw_8bit."""
        outside = self.weights - self.inside
        match self.optimizer:
            case "adamw_8bit":  # two bytes, and two scales for each block of 256
                return round(self.weights * (2 + 8 / 256))
            case "adafactor":  # a number for each row and each column
                return 4 * self.edges
            case "adam_mini":  # one moment, and a number for each row
                return 4 * self.weights + round(4 * self.weights / self.narrow)
            case "muon":
                return 4 * self.inside + 8 * outside
            case "galore" | "apollo":  # two moments of the image, and the projection
                rank = min(self.projection_rank, self.narrow)
                return round(12 * rank / self.narrow * self.inside) + 8 * outside
            case _:
                return 8 * self.weights


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes above the level right after imports."""

    weights: int
    optimizer: int  # gradients, moments, exact copies of rounded weights
    activations: int
    logits: int
    in_main_memory: int = 0  # activations that wait there (activation_offload), not on the device

    @property
    def total(self) -> int:
        """All parts that are on the device."""
        return self.weights + self.optimizer + self.activations + self.logits


@dataclass(frozen=True)
class Room:
    """Bytes that are free before a model is loaded."""

    device: int
    main_memory: int

    def fits(self, memory: MemoryEstimate) -> bool:
        """Whether an estimate leaves a margin."""
        on_device = memory.total <= FITS * self.device
        return on_device and memory.in_main_memory <= FITS * self.main_memory


def with_checkpointing(
    recipe: Recipe, estimate: Callable[[Recipe], MemoryEstimate], room: Room | None
) -> Recipe:
    """The recipe with training.activation_checkpointing decided.

    `auto` becomes the first of off, selective and full whose estimate fits; where none does, the
    last; off where nobody knows the room.
    """
    tried = recipe
    for kind in checkpointing_to_try(recipe):
        changes = {"activation_checkpointing": kind}
        tried = recipe.model_copy(update={"training": recipe.training.model_copy(update=changes)})
        if room is None or room.fits(estimate(tried)):
            break
    return tried


@dataclass(frozen=True)
class Places:
    """Learned vectors in front of the documents of one micro-batch."""

    number: int = 0  # of all documents together
    is_prefix: bool = False  # they take part in attention alone

    @classmethod
    def of(cls, recipe: Recipe, micro_batch_tokens: int) -> Places:
        """As many as the rows of an update have, or those that the micro-batch has room for."""
        adapter, training = recipe.adapter, recipe.training
        if not isinstance(adapter, InFront) or not micro_batch_tokens:
            return cls()
        # With batch_tokens, rows are taken to have a quarter of the longest length.
        documents = -(-4 * micro_batch_tokens // recipe.data.max_length)
        if training.batch_tokens is None:
            sides = 2 if recipe.stage.kind in _IN_PAIRS else 1
            documents = min(training.batch_size * sides, micro_batch_tokens)
        return cls(adapter.virtual_tokens * documents, isinstance(adapter, Prefix))

    def bytes(self, shape: Shape, per_token: int, bytes_per_value: int, layers: int) -> int:
        """What of them is kept for backward: as of tokens, or queries, keys and values alone."""
        if not self.is_prefix:
            return self.number * per_token
        values = 2 * shape.head_width * (shape.heads + shape.kv_heads)
        return self.number * layers * values * bytes_per_value


_IN_PAIRS: Final = frozenset({"dpo", "simpo", "orpo", "cpo"})


def estimate_memory(
    shape: Shape,
    *,
    parameters: int,
    trained: Trained,
    micro_batch_tokens: int,
    bytes_per_value: int,
    fused: bool,
    checkpointing: int,
    quantised: int = 0,
    quantization: str = "none",
    beside: int = 0,
    master_weights: bool = True,
    places: Places | None = None,
    offload: bool = False,
) -> MemoryEstimate:
    """Memory of a training, from its sizes alone.

    Args:
        checkpointing: Activations of every n-th layer are computed twice; 0: of none.
        master_weights: Whether rounded weights that are trained have an exact copy.
        quantised: How many of the parameters are packed.
        beside: Further values of a token that a layer keeps, as `kept_beside` counts them.
        places: Learned vectors in front of the documents of a micro-batch.
        offload: Whether activations of layers wait in main memory.
    """
    kept = 1 if checkpointing or offload else shape.layers
    of_model = trained.weights == parameters or trained.optimizer == "badam"
    is_copied = master_weights and bytes_per_value < 4 and of_model
    exact_copy = 4 if is_copied else 0
    all_per_token, per_token = (
        activation_bytes(
            shape,
            bytes_per_value=bytes_per_value,
            fused=fused,
            checkpointing=checkpointing,
            beside=beside,
            offload=away,
        )
        for away in (False, offload)
    )
    chunk = max(LEAST_CHUNK_ROWS, LOGITS_CHUNK_BYTES // (4 * shape.vocabulary))
    return MemoryEstimate(
        weights=(parameters - quantised) * bytes_per_value
        + packed_bytes(shape, quantised, quantization, bytes_per_value),
        optimizer=4 * (trained.weights - trained.without_gradient)
        + exact_copy * trained.weights
        + trained.state_bytes,
        activations=micro_batch_tokens * per_token
        + (places or Places()).bytes(shape, per_token, bytes_per_value, kept),
        logits=2 * 4 * shape.vocabulary * min(chunk, micro_batch_tokens),
        in_main_memory=micro_batch_tokens * (all_per_token - per_token),
    )


def activation_bytes(
    shape: Shape,
    *,
    bytes_per_value: int,
    fused: bool,
    checkpointing: int,
    beside: int = 0,
    offload: bool = False,
) -> int:
    """Bytes a token that are kept on the device for backward, over all layers.

    What an adapter keeps `beside` the layer is in float32.

    Fused: input, middle, attention output, q, k, v, gate and up. Through modules: PERFORMANCE's
    count of 16 h + 4 heads + 4 kv + 8 f + ... bytes in bfloat16, twice that in float32.
    """
    query, kv = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    if fused:
        values = 2 * shape.hidden + 2 * query + 2 * kv + 2 * shape.feed_forward + 2
        layer = 4 * values
    else:
        half = 16 * shape.hidden + 4 * query + 4 * kv + 8 * shape.feed_forward + 4 * shape.heads + 8
        layer = half * bytes_per_value // 2 + 4 * beside
    # Above the layers: embeddings, final norm, hidden states at labels and their gradients.
    above = 6 * shape.hidden * bytes_per_value
    all_layers = shape.layers * layer + above
    if checkpointing:
        recomputed = -(-shape.layers // checkpointing)
        kept = shape.layers - recomputed
        # Beside the inputs of layers to compute again: one of these layers while it is.
        all_layers = recomputed * shape.hidden * bytes_per_value + (kept + 1) * layer
    # What waits elsewhere is on the device for the layer that is computed.
    return min(all_layers, layer + above) if offload else all_layers


def packed_bytes(shape: Shape, weights: int, quantization: str, bytes_per_value: int) -> int:
    """Bytes of packed weights and their constants, and of the largest matrix while it is used."""
    if not weights or quantization == "none":
        return 0
    each = PACKED_BYTES[quantization] + (4 / shape.hidden if quantization == "int8" else 0)
    largest = shape.hidden * max(shape.feed_forward, shape.heads * shape.head_width)
    return round(weights * each) + largest * bytes_per_value


def linear_weights(shape: Shape) -> int:
    """Weights of the linear layers between embeddings and head."""
    query, kv = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    return shape.layers * shape.hidden * (2 * query + 2 * kv + 3 * shape.feed_forward)


def lora_parameters(shape: Shape, rank: int, targets: str | Collection[str]) -> int:
    """Weights of the adapters of one rank on these layers."""
    return shape.layers * rank * sum(map(sum, _chosen(shape, targets)))


def oft_parameters(
    shape: Shape, block_size: int, targets: str | Collection[str], *, shared: bool
) -> int:
    """Weights of the rotations: a block has as many as stand above its diagonal."""
    blocks = [1 if shared else inputs // block_size for inputs, _ in _chosen(shape, targets)]
    return shape.layers * sum(blocks) * (block_size * (block_size - 1) // 2)


def kept_beside(adapter: Adapter, shape: Shape) -> int:
    """Values of a token that a layer keeps for its adapter, in the mean of all layers.

    OFT turns the inputs of matrices; learned vectors are asked with queries of their own, and
    answer with a share of each.
    """
    if isinstance(adapter, Oft):
        return sum(inputs for inputs, _ in _chosen(shape, adapter.targets))
    if isinstance(adapter, AdapterTuning):
        values = shape.heads * (shape.head_width + 2 * adapter.virtual_tokens)
        return values * min(adapter.layers, shape.layers) // shape.layers
    return 0


def _chosen(shape: Shape, targets: str | Collection[str]) -> list[tuple[int, int]]:
    """Inputs and outputs of the matrices of a layer with these names."""
    hidden, wide = shape.hidden, shape.feed_forward
    query, kv = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    sides = {
        "q_proj": (hidden, query),
        "k_proj": (hidden, kv),
        "v_proj": (hidden, kv),
        "o_proj": (query, hidden),
        "gate_proj": (hidden, wide),
        "up_proj": (hidden, wide),
        "down_proj": (wide, hidden),
    }
    return [size for name, size in sides.items() if targets == ALL_LINEAR or name in targets]


def choose_micro_batch(wanted: int, longest_row: int, free: int, fixed: int, per_token: int) -> int:
    """Tokens of a micro-batch: the wanted number, or what memory leaves room for.

    A row is never split, so the longest row is the least.
    """
    fitting = max(0, int(free * SHARE_OF_FREE) - fixed) // max(per_token, 1)
    return max(longest_row, min(wanted, fitting))


def _solved(square: float, linear: float, total: float) -> int:
    """The width for which square * h * h + linear * h is the total, in steps of 64."""
    width = (-linear + math.sqrt(linear * linear + 4 * square * total)) / (2 * square)
    return max(64, 64 * round(width / 64))
