"""A model that answers: loading a run or a model for use, and generating. Read `Answerer` first.

Prompts are rendered by the renderer of the training data, so a model is asked in the very tokens
that it was trained on. Generation is transformers' own, with its key-value cache.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tunesmith.data.conversation import Conversation
from tunesmith.data.prepare import build_renderer
from tunesmith.data.renderer import Renderer
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.engine.methods.prefix import continued_behind_prefix, is_prefix
from tunesmith.engine.methods.prompts import (
    are_on,
    continued_behind,
    has_vectors,
    num_vectors,
    vectors_off,
)
from tunesmith.engine.methods.put_on import put_on
from tunesmith.engine.methods.rope import rope_of_adapter
from tunesmith.engine.methods.vocabulary import grown_tokenizer
from tunesmith.engine.model_sources import (
    OnProgress,
    recipe_of_result,
    resolve_adapter,
    resolve_name,
)
from tunesmith.engine.models import (
    base_of_adapter,
    cache_directory,
    context_length,
    decide_dtype,
    load_model,
    load_tokenizer_files,
)
from tunesmith.errors import InputError
from tunesmith.models.files import kind_of
from tunesmith.recipe import Recipe

if TYPE_CHECKING:
    from transformers import GenerationConfig

BATCH_ROWS = 32
# Settings of a model's own generation_config.json that decide how it is sampled.
SAMPLING = ("do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty")


@dataclass(frozen=True)
class Settings:
    """How an answer is generated. A temperature of None takes what the model's authors advise."""

    max_tokens: int = 512
    temperature: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Answer:
    """One answer and why it ended: `stop` (the model was done), `length` or `interrupted`."""

    text: str
    num_tokens: int
    finish: str


@dataclass
class Answerer:
    """A model with its tokenizer, its renderer and, where it is known, the base to compare with."""

    name: str
    model: Any
    renderer: Renderer
    device: torch.device
    advised: dict[str, Any]
    is_plain: bool = False  # trained on plain text: a prompt is continued as it is
    base_name: str | None = None  # of the base that `as_base` or `load_base` gives
    load_base: Callable[[], Answerer] | None = None

    @property
    def tokenizer(self) -> TextTokenizer:
        return self.renderer.tokenizer

    def prompt_ids(self, conversation: Conversation) -> list[int]:
        """The tokens that the answer follows."""
        if not self.is_plain:
            return self.renderer.prompt_ids(conversation)
        ids = self.tokenizer.encode("".join(m.content for m in conversation.messages))
        bos = self.tokenizer.bos_id
        return [bos, *ids] if bos is not None and self.tokenizer.adds_bos else ids

    def stop_ids(self) -> list[int]:
        """Tokens that end an answer."""
        if not self.is_plain:
            return self.renderer.stop_ids
        return [] if self.tokenizer.eos_id is None else [self.tokenizer.eos_id]

    def answer(
        self,
        conversation: Conversation,
        settings: Settings,
        *,
        on_text: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Answer:
        """Answer one conversation; `on_text` hears the text as it is written."""
        prompt = self.prompt_ids(conversation)
        writer = _Writer(self.tokenizer, frozenset(self.stop_ids()), on_text)
        output = self._generate(
            [prompt], self._room(prompt, settings), streamer=writer, should_stop=should_stop
        )
        ids, finish = self._cut(output[0][len(prompt) :])
        writer.finish()
        interrupted = should_stop is not None and should_stop() and finish == "length"
        return Answer(self._text(ids), len(ids), "interrupted" if interrupted else finish)

    def answer_all(
        self,
        conversations: Sequence[Conversation],
        settings: Settings,
        *,
        on_progress: Callable[[int, int], None] | None = None,
        batch_rows: int = BATCH_ROWS,
    ) -> list[Answer]:
        """Answer many conversations, those of similar length together; results are in order."""
        prompts = [self.prompt_ids(conversation) for conversation in conversations]
        order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
        answers: dict[int, Answer] = {}
        for start in range(0, len(order), batch_rows):
            chosen = order[start : start + batch_rows]
            longest = max((prompts[number] for number in chosen), key=len)
            room = self._room(longest, settings)
            batch = [prompts[number] for number in chosen]
            for number, output in zip(chosen, self._batch(batch, room), strict=True):
                ids, finish = self._cut(output)
                answers[number] = Answer(self._text(ids), len(ids), finish)
            if on_progress is not None:
                on_progress(len(answers), len(prompts))
        return [answers[number] for number in range(len(prompts))]

    def _batch(self, prompts: list[list[int]], settings: Settings) -> list[list[int]]:
        """New tokens of some prompts; a batch that does not fit into memory is halved."""
        try:
            outputs = self._generate(prompts, settings)
        except torch.OutOfMemoryError:
            if len(prompts) == 1:
                raise
            half = len(prompts) // 2
            return [*self._batch(prompts[:half], settings), *self._batch(prompts[half:], settings)]
        width = max(map(len, prompts))
        return [output[width:] for output in outputs]

    @torch.inference_mode()
    def _generate(
        self,
        prompts: list[list[int]],
        settings: Settings,
        *,
        streamer: _Writer | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[list[int]]:
        """Prompts, padded on the left, with what the model adds to them."""
        with _seeded(settings.seed):
            return continued(
                self.model,
                prompts,
                self._pad_id(),
                self.device,
                generation_config=self._generation_config(settings),
                streamer=streamer,
                stopping_criteria=_stopping(should_stop),
            )

    def _generation_config(self, settings: Settings) -> GenerationConfig:
        from transformers import GenerationConfig

        sampling: dict[str, Any] = self.advised
        if settings.temperature is not None:
            sampling = {"do_sample": settings.temperature > 0}
            if settings.temperature > 0:
                sampling["temperature"] = settings.temperature
        return GenerationConfig(
            max_new_tokens=settings.max_tokens,
            eos_token_id=self.stop_ids() or None,
            pad_token_id=self._pad_id(),
            use_cache=True,
            **sampling,
        )

    def _pad_id(self) -> int:
        pad = self.tokenizer.pad_id
        return pad if pad is not None else next(iter(self.stop_ids()), 0)

    def _room(self, prompt: list[int], settings: Settings) -> Settings:
        """As many tokens as the context still holds."""
        if not prompt:
            raise InputError("There is nothing to answer: the prompt is empty.")
        limit = context_length(self.model.config)
        if limit is None:
            return settings
        limit -= num_vectors(self.model)
        if len(prompt) >= limit:
            raise InputError(
                f"The conversation has {len(prompt):,} tokens; the model's context is {limit:,}.",
                hint="Start a new conversation (/new), or shorten the question.",
                code="context_exceeded",
            )
        return replace(settings, max_tokens=min(settings.max_tokens, limit - len(prompt)))

    def _cut(self, ids: list[int]) -> tuple[list[int], str]:
        """The tokens before the first stop token, and whether there was one."""
        stops = frozenset(self.stop_ids())
        end = next((index for index, token in enumerate(ids) if token in stops), None)
        return (ids, "length") if end is None else (ids[:end], "stop")

    def _text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    @contextlib.contextmanager
    def as_base(self) -> Generator[Answerer]:
        """The same without what was trained: adapters off, or the base model loaded once."""
        if hasattr(self.model, "disable_adapter"):
            with (
                vectors_off(self.model) if has_vectors(self.model) else self.model.disable_adapter()
            ):
                yield replace(self, name=self.base_name or "base")
            return
        if self.load_base is None:
            raise InputError(
                f"{self.name} has no base to compare with.",
                hint="Give a run, or a base model with --adapter.",
                code="nothing_to_compare",
            )
        yield self.load_base()


# ---------------------------------------------------------------- pieces of generation


def continued(
    model: Any, prompts: Sequence[list[int]], pad: int, device: torch.device, **how: Any
) -> list[list[int]]:
    """Prompts, padded on the left, with what `model.generate` adds to them; `how` is for it."""
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    if has_vectors(model):
        if are_on(model):
            go_on = continued_behind_prefix if is_prefix(model) else continued_behind
            return go_on(model, ids, mask, **how)
        model = model.get_base_model()
    return model.generate(input_ids=ids, attention_mask=mask, **how).tolist()


class _Writer:
    """Receives tokens one by one from `generate` and passes on whole characters."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        stop_ids: frozenset[int],
        on_text: Callable[[str], None] | None,
    ) -> None:
        self._tokenizer = tokenizer
        self._stop_ids = stop_ids
        self._on_text = on_text
        self._ids: list[int] = []
        self._begin = self._told = 0
        self._is_prompt = True

    def put(self, value: torch.Tensor) -> None:
        """Called by transformers, first with the prompt."""
        if self._is_prompt or self._on_text is None:
            self._is_prompt = False
            return
        self._ids += [token for token in value.flatten().tolist() if token not in self._stop_ids]
        self._tell(final=False)

    def end(self) -> None:
        """Called by transformers; `finish` does the work, after an interruption too."""

    def finish(self) -> None:
        """Pass on what is left, an incomplete character included."""
        if self._on_text is not None:
            self._tell(final=True)

    def _tell(self, *, final: bool) -> None:
        # A character may need several tokens, and a token's text may depend on the one before it:
        # so the text is decoded from a token on that is told already.
        before = self._decode(self._ids[self._begin : self._told])
        text = self._decode(self._ids[self._begin :])
        if len(text) <= len(before) or (text.endswith("\ufffd") and not final):
            return
        self._begin, self._told = self._told, len(self._ids)
        assert self._on_text is not None
        self._on_text(text[len(before) :])

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True)


def _stopping(should_stop: Callable[[], bool] | None) -> Any:
    if should_stop is None:
        return None
    from transformers import StoppingCriteria, StoppingCriteriaList

    class Interrupted(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> Any:
            del scores
            return torch.full((len(input_ids),), should_stop(), device=input_ids.device)

    return StoppingCriteriaList([Interrupted()])


@contextlib.contextmanager
def _seeded(seed: int | None) -> Generator[None]:
    if seed is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


# ---------------------------------------------------------------- loading


@dataclass(frozen=True)
class Target:
    """What a name stands for: a folder, perhaps an adapter on it, perhaps the recipe of a run."""

    directory: Path
    adapter: Path | None = None
    recipe: Recipe | None = None
    base_name: str | None = None


def load_for_inference(
    target: str,
    *,
    adapter: str | None = None,
    device: str = "auto",
    compare: bool = False,
    on_progress: OnProgress | None = None,
) -> Answerer:
    """A run, a model folder, `starter` or a hub id, ready to answer.

    With `compare` an adapter stays beside its base, so that it can be switched off; otherwise it is
    merged, which answers faster.
    """
    from tunesmith.engine.setup import choose_device

    found = find_target(target, adapter, on_progress)
    place = choose_device(device)
    model = _load(found, place, keep_adapter=compare)
    renderer, is_plain = renderer_of(found)
    advised = take_advice(model)
    loader = None
    if compare and found.adapter is None and found.base_name is not None:
        loader = _once(lambda: _load_base(found, device, on_progress))
    return Answerer(
        name=target,
        model=model,
        renderer=renderer,
        device=place,
        advised=advised,
        is_plain=is_plain,
        base_name=found.base_name,
        load_base=loader,
    )


def find_target(
    name: str, adapter: str | None = None, on_progress: OnProgress | None = None
) -> Target:
    """Resolve a name; a run brings its recipe and says what its base was."""
    directory = resolve_name(name, on_progress=on_progress)
    recipe = recipe_of_result(directory)
    base_name = None if recipe is None else recipe.model.base
    if adapter is not None:
        tuned = resolve_adapter(adapter, on_progress=on_progress)
        recipe = recipe_of_result(tuned) or recipe
        return Target(directory, tuned, recipe, base_name=name)
    if kind_of(directory) == "adapter":
        base = base_of_adapter(directory)
        return Target(base, directory, recipe, base_name or str(base))
    return Target(directory, None, recipe, base_name)


def renderer_of(found: Target) -> tuple[Renderer, bool]:
    """The renderer of the training, and whether prompts are plain text to go on with."""
    tokenizer = TextTokenizer.load(tokenizer_files(found))
    is_plain = (
        found.recipe is not None
        and found.recipe.stage.kind == "pt"
        and tokenizer.chat_template is None
    )
    return _renderer(found.recipe, tokenizer), is_plain


def _load(found: Target, device: torch.device, *, keep_adapter: bool) -> Any:
    from transformers.utils import logging

    logging.set_verbosity_error()
    wanted = "auto" if found.recipe is None else found.recipe.model.dtype
    dtype = decide_dtype(wanted, device)
    rope = None if found.adapter is None else rope_of_adapter(found.adapter)
    model: Any = load_model(
        found.directory, dtype=dtype, attention="auto", device=device, rope=rope
    )
    if found.adapter is not None:
        model = put_on(model, found.adapter)
        if not keep_adapter and hasattr(model.base_model, "merge_and_unload"):
            model = model.merge_and_unload()  # learned vectors have nowhere to go
    return model.eval()


def _tokenizer_folder(found: Target) -> Path:
    """An adapter's own tokenizer files come first: they hold the template it was trained with."""
    if found.adapter is not None and (found.adapter / "tokenizer.json").is_file():
        return found.adapter
    return found.directory


def tokenizer_files(found: Target) -> Path:
    """The folder with the tokenizer of a target; checkpoints of a run have that of its recipe."""
    folder = load_tokenizer_files(_tokenizer_folder(found), cache_directory())
    words = {} if found.recipe is None else found.recipe.model.new_words
    return grown_tokenizer(folder, words, cache_directory())


def _load_base(found: Target, device: str, on_progress: OnProgress | None) -> Answerer:
    assert found.base_name is not None
    base = load_for_inference(found.base_name, device=device, on_progress=on_progress)
    # Both are asked in the same words, those of the training.
    return replace(base, renderer=_renderer(found.recipe, base.tokenizer))


def _renderer(recipe: Recipe | None, tokenizer: TextTokenizer) -> Renderer:
    """The renderer of the training; the template itself lies in the tokenizer's folder."""
    if recipe is None:
        return Renderer(tokenizer)
    data = recipe.data
    if tokenizer.chat_template is not None:
        data = data.model_copy(update={"chat_template": None})
    return build_renderer(data, recipe.stage, tokenizer, base_dir=Path())


def take_advice(model: Any) -> dict[str, Any]:
    """How the model's authors sample it; then the model keeps no settings of its own."""
    from transformers import GenerationConfig

    settings = getattr(model, "generation_config", None)
    advised = {
        name: value for name in SAMPLING if (value := getattr(settings, name, None)) is not None
    }
    model.generation_config = GenerationConfig()
    return advised if advised.get("do_sample") else {"do_sample": False}


def _once(build: Callable[[], Answerer]) -> Callable[[], Answerer]:
    made: list[Answerer] = []

    def get() -> Answerer:
        if not made:
            made.append(build())
        return made[0]

    return get
