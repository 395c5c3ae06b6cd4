"""One thread owns the model and steps over all rows together; rows join and leave at any step.

    submit -> waits -> joins a step with its prompt -> a token a step -> last piece to its listener

Read `Engine._step` first. Other threads only put orders and commands into a list; everything else
happens in the engine's thread, so nothing here needs a lock.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

import torch

from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.errors import TunesmithError
from tunesmith.serving.decoder import Decoder, Piece, places_in_front
from tunesmith.serving.errors import GenerationFailed, NotReady, QueueFull, UnknownModel
from tunesmith.serving.forced import Expected
from tunesmith.serving.order import Delta, Finish, Listener, Order, Scored
from tunesmith.serving.sampling import draw, draw_of, scored
from tunesmith.serving.scheduler import Limits, plan_step
from tunesmith.serving.text import AnswerText
from tunesmith.serving.tokens import text_bytes
from tunesmith.serving.vocabulary import Ints, vocabulary_of

log = logging.getLogger("tunesmith.serving")
Result = TypeVar("Result")
Deliver = Callable[[Sequence[tuple[Listener, Delta]]], None]
MOST_FAILURES = 3  # steps in a row, then the model is given up
STEP_SECONDS = 0.4  # that a step with a prompt may take
LEAST_PROMPT = 32  # tokens, however slow
SCORED_AT_ONCE = 64  # rows of log probabilities, each as wide as the vocabulary


@dataclass(eq=False)
class Row:
    """One answer on its way."""

    number: int
    order: Order
    listener: Listener
    text: AnswerText
    tokens: list[int]
    submitted: float
    front: int = 0  # places in front of its tokens
    cached: int = 0  # places that lie in the cache; those in front do from the beginning
    slot: int = -1
    cancelled: bool = False
    first_token: float | None = None
    prompt_scored: list[Scored] = field(default_factory=list[Scored])
    expected: Expected | None = None  # what must come next, if anything must

    @property
    def num_places(self) -> int:
        return self.front + len(self.tokens)

    @property
    def pending(self) -> int:
        return self.num_places - self.cached

    @property
    def num_said(self) -> int:
        return len(self.tokens) - len(self.order.prompt)

    @property
    def said(self) -> list[int]:
        return self.tokens[len(self.order.prompt) :]


@dataclass
class Counts:
    """What a step changed, for the metrics; only ever added to by the engine's thread."""

    steps: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    finished: int = 0
    cancelled: int = 0
    refused: int = 0
    preempted: int = 0
    failed_steps: int = 0
    step_seconds: float = 0.0


class Engine:
    """Rows of one model.

    `deliver` gets the pieces of each step in the engine's thread; it must not take long.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: TextTokenizer,
        *,
        limits: Limits | None = None,
        max_waiting: int = 256,
        deliver: Deliver | None = None,
    ) -> None:
        self.decoder = decoder
        self.limits = limits or Limits()
        self.counts = Counts()
        self.gave_up: Exception | None = None
        self.on_gave_up: Callable[[Exception], None] = lambda _: None
        self._tokenizer = tokenizer
        self._max_waiting = max_waiting
        self._deliver = deliver or _tell_directly
        self._numbers = itertools.count(1)
        self._wake = threading.Condition()
        # Guarded by `_wake`; the thread takes what is there at the beginning of a step.
        self._arrived: list[Row] = []
        self._commands: list[Callable[[], None]] = []
        self._gone: WeakSet[Any] = WeakSet()  # adapters that no more orders may have
        self._num_open = 0  # rows that wait or will, as `submit` sees them
        self._closing = self._stopping = False
        # The thread's own.
        self._waiting: deque[Row] = deque()
        self._running: list[Row] = []  # by arrival
        self._slots: list[Row] = []  # the same rows by slot
        self._outbox: list[tuple[Listener, Delta]] = []
        self._failures = 0
        self._retiring: list[Any] = []
        self._pace = 0.0  # seconds a token of steps with prompts
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    # ------------------------------------------------------------ from any thread

    def start(self) -> None:
        """Begin to step."""
        self._thread.start()

    def submit(self, orders: Sequence[tuple[Order, Listener]]) -> list[Row]:
        """Take some answers, all or none; QueueFull where too many wait."""
        now = time.monotonic()
        rows = [self._row(order, listener, now) for order, listener in orders]
        with self._wake:
            if self._closing or self.gave_up is not None:
                raise NotReady("The server is ending; it takes no more requests.")
            if any(row.order.adapter in self._gone for row in rows if row.order.adapter):
                raise UnknownModel("The adapter was unloaded a moment ago.", param="model")
            self._refuse_if_full(len(rows))
            self._num_open += len(rows)
            self._arrived += rows
            self._wake.notify()
        return rows

    def check_room(self, count: int) -> None:
        """QueueFull where so many more answers would be refused: before a prompt costs anything."""
        with self._wake:
            self._refuse_if_full(count)

    def _refuse_if_full(self, count: int) -> None:
        # A request that is larger than the whole queue may go when nobody else waits.
        if self._num_open and self._num_open + count > self._max_waiting + self._free():
            self.counts.refused += 1
            raise QueueFull(
                f"{self._num_open} answers run or wait already; at most {self._max_waiting} wait.",
                hint="Send it again in a moment.",
                retry_after=self._patience(),
            )

    def _free(self) -> int:
        return self.limits.max_rows

    def _patience(self) -> int:
        """Seconds after which another try makes sense."""
        return max(1, min(30, self._num_open // (4 * self.limits.max_rows)))

    def cancel(self, rows: Sequence[Row]) -> None:
        """Nobody waits for these any more; their slots are free with the next step."""
        for row in rows:
            row.cancelled = True
        with self._wake:
            self._wake.notify()

    def call(self, function: Callable[[], Result]) -> Future[Result]:
        """Run something in the engine's thread between two steps."""
        future: Future[Result] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        with self._wake:
            if self._stopping or self.gave_up is not None:
                raise NotReady("The server is ending.")
            self._commands.append(run)
            self._wake.notify()
        return future

    def close(self, grace: float) -> bool:
        """Take nothing more, finish what is there within `grace` seconds; True where all was."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(grace)
        finished = not self._thread.is_alive()
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(5)
        return finished

    @property
    def num_running(self) -> int:
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        return max(self._num_open - len(self._running), 0)

    def load_adapter(self, directory: Path) -> Any:
        """Read an adapter: beside the steps where the decoder allows it, else between two."""
        if self.decoder.loads_beside:
            return self.decoder.load_adapter(directory)
        return self.call(lambda: self.decoder.load_adapter(directory)).result()

    def retire(self, adapter: Any) -> None:
        """Take no more orders for an adapter, and unload it once its last answer has ended."""
        with self._wake:
            self._gone.add(adapter)
        self.call(lambda: self._retiring.append(adapter))

    # ------------------------------------------------------------ the thread

    @torch.inference_mode()
    def _run(self) -> None:
        while self._gather():
            try:
                self._step()
                self._failures = 0
            except Exception as error:
                self._fail(error)
            self._flush()
        self._end_all(NotReady("The server ended before the answer was complete."))
        self._flush()

    def _gather(self) -> bool:
        """Wait for something to do and take it; False at the end."""
        with self._wake:
            # With an adapter to unload there is one more round behind its last row.
            while not (
                self._arrived or self._commands or self._waiting or self._running or self._retiring
            ):
                if self._closing or self._stopping:
                    return False
                self._wake.wait()
            if self._stopping or self.gave_up is not None:
                return False
            arrived, self._arrived = self._arrived, []
            commands, self._commands = self._commands, []
        self._waiting.extend(arrived)
        for command in commands:
            command()
        if self._retiring:
            self._unload()
        return True

    def _unload(self) -> None:
        """Let go of adapters that were retired and that no row has any more."""
        used = {id(row.order.adapter) for row in [*self._waiting, *self._running]}
        for adapter in [each for each in self._retiring if id(each) not in used]:
            self._retiring.remove(adapter)
            self.decoder.unload_adapter(adapter)

    def _step(self) -> None:
        """One forward of everything that may come now, and a token for each complete row."""
        self._drop_cancelled()
        self._make_room()
        pieces, rows = self._plan()
        if not pieces:
            return
        started = time.perf_counter()
        logits = self.decoder.forward(pieces)
        self._take_prompt_scores(pieces, rows, logits)
        for row, piece in zip(rows, pieces, strict=True):
            row.cached += len(piece.ids)
        self._take_tokens(*_complete(pieces, rows, logits))
        seconds = time.perf_counter() - started
        self.counts.steps += 1
        self.counts.step_seconds += seconds
        num_tokens = sum(len(piece.ids) for piece in pieces)
        if num_tokens >= LEAST_PROMPT:
            self._pace = seconds / num_tokens

    # ------------------------------------------------------------ who runs

    def _plan(self) -> tuple[list[Piece], list[Row]]:
        plan = plan_step(
            [(row.cached, row.pending) for row in self._running],
            [(row.cached, row.pending) for row in self._first_waiting()],
            self._limits(),
            self.decoder.fits,
        )
        counts = [*plan.running, *plan.joining]
        for _ in plan.joining:
            self._join(self._waiting.popleft())
        chosen = [(row, count) for row, count in zip(self._running, counts, strict=True) if count]
        return [self._piece(row, count) for row, count in chosen], [row for row, _ in chosen]

    def _first_waiting(self) -> Iterable[Row]:
        return itertools.islice(self._waiting, self.limits.max_rows)

    def _limits(self) -> Limits:
        """As many prompt tokens as the last steps say can be read in STEP_SECONDS.

        So next tokens come often, and whoever leaves is noticed soon, on a slow machine too.
        """
        if not self._pace:
            return self.limits
        most = max(int(STEP_SECONDS / self._pace), LEAST_PROMPT)
        return replace(self.limits, prompt_tokens=min(most, self.limits.prompt_tokens))

    def _join(self, row: Row) -> None:
        row.slot = len(self._slots)
        self._slots.append(row)
        self._running.append(row)

    def _piece(self, row: Row, count: int) -> Piece:
        first = row.cached - row.front
        is_prompt = first < len(row.order.prompt) or first == 0
        if is_prompt:
            self.counts.prompt_tokens += count
        wanted = int(count == row.pending)
        if row.order.prompt_logprobs and not row.num_said:
            wanted = count
        ids = row.tokens[first : first + count]
        return Piece(row.slot, row.cached, ids, wanted, row.order.adapter)

    def _leave(self, row: Row) -> None:
        """Free a row's slot; the last slot's row takes its place, so slots have no holes."""
        self._running.remove(row)
        last = self._slots.pop()
        if last is not row:
            self.decoder.move(last.slot, row.slot, last.cached)
            self._slots[row.slot] = last
            self.decoder.forget(last.slot)
            last.slot = row.slot
        else:
            self.decoder.forget(row.slot)
        row.slot = -1

    def _make_room(self) -> None:
        """Send the youngest rows back where memory does not hold the next tokens of all."""
        while len(self._running) > 1:
            longest = max(row.num_places for row in self._running)
            if self.decoder.fits(len(self._running), longest):
                return
            row = self._running[-1]
            self._leave(row)
            row.cached = row.front  # what it said so far becomes part of its prompt
            self._waiting.appendleft(row)
            self.counts.preempted += 1

    def _drop_cancelled(self) -> None:
        for row in [row for row in self._running if row.cancelled]:
            self._leave(row)
            self._count_end(cancelled=True)
        if any(row.cancelled for row in self._waiting):
            gone = [row for row in self._waiting if row.cancelled]
            self._waiting = deque(row for row in self._waiting if not row.cancelled)
            for _ in gone:
                self._count_end(cancelled=True)

    def _count_end(self, *, cancelled: bool = False) -> None:
        with self._wake:
            self._num_open -= 1
        if cancelled:
            self.counts.cancelled += 1
        else:
            self.counts.finished += 1

    # ------------------------------------------------------------ tokens

    def _take_tokens(self, rows: Sequence[Row], logits_NV: torch.Tensor) -> None:
        """Draw, score and tell the next token of each complete row."""
        wants = [row.order.max_tokens > 0 for row in rows]
        tokens = _draw_all(rows, logits_NV, self._tokenizer)
        facts = _score_all(rows, logits_NV, tokens)
        for row, token, fact, wanted in zip(rows, tokens, facts, wants, strict=True):
            self._accept(row, token if wanted else None, fact)

    def _accept(self, row: Row, token: int | None, fact: Scored | None) -> None:
        """One more token of a row; None where only its prompt was to be scored."""
        row.first_token = row.first_token or time.monotonic()
        prompt = (
            tuple(row.prompt_scored) if row.order.prompt_logprobs and not row.num_said else None
        )
        if token is None or token in row.order.stop_ids:
            self._finish(row, "" if token is None else row.text.finish(), prompt, token is not None)
            return
        row.tokens.append(token)
        self.counts.answer_tokens += 1
        text = row.text.push(token)
        finish = self._why_done(row)
        if finish is not None:
            text += row.text.finish()
            finish = "stop" if row.text.stopped else finish
        known = (fact,) if fact is not None else ()
        self._outbox.append((row.listener, Delta(text, 1, known, prompt, finish)))
        if finish is not None:
            self._leave(row)
            self._count_end()

    def _finish(
        self, row: Row, text: str, prompt: tuple[Scored, ...] | None, stopped: bool
    ) -> None:
        finish: Finish = "stop" if stopped else "length"
        self._outbox.append((row.listener, Delta(text, 0, (), prompt, finish)))
        self._leave(row)
        self._count_end()

    def _why_done(self, row: Row) -> Finish | None:
        if row.text.stopped or (row.expected is not None and row.expected.done):
            return "stop"
        limit = self.decoder.context
        is_full = limit is not None and row.num_places >= limit
        return "length" if row.num_said >= row.order.max_tokens or is_full else None

    def _take_prompt_scores(
        self, pieces: Sequence[Piece], rows: Sequence[Row], logits_NV: torch.Tensor
    ) -> None:
        """Log probabilities of the prompt's own tokens, for those who asked."""
        at = 0
        for piece, row in zip(pieces, rows, strict=True):
            if row.order.prompt_logprobs and not row.num_said:
                if piece.begins:
                    row.prompt_scored = [Scored(row.tokens[0], None)]
                follow = row.tokens[piece.start - row.front + 1 : piece.end - row.front + 1]
                many = row.order.logprobs or 0
                for first in range(0, len(follow), SCORED_AT_ONCE):
                    some = follow[first : first + SCORED_AT_ONCE]
                    part = logits_NV[at + first : at + first + len(some)]
                    row.prompt_scored += scored(part, some, [many] * len(some))
            at += piece.wanted

    # ------------------------------------------------------------ ends

    def _fail(self, error: Exception) -> None:
        """A step went wrong: those who were in it hear of it, the others go on."""
        log.exception("a step of the model failed")
        self.counts.failed_steps += 1
        self._failures += 1
        told = error if isinstance(error, TunesmithError) else _as_failure(error)
        rows, self._running, self._slots = self._running, [], []
        for row in rows:
            self.decoder.forget(row.slot)
            self._count_end()
            self._outbox.append((row.listener, Delta(error=told)))
        if self._failures >= MOST_FAILURES:
            self.gave_up = error
            self.on_gave_up(error)

    def _end_all(self, error: Exception) -> None:
        with self._wake:
            self._stopping = True
            rows = [*self._running, *self._waiting, *self._arrived]
            commands, self._commands = self._commands, []
            self._running, self._slots, self._arrived = [], [], []
            self._waiting.clear()
        for command in commands:
            command()
        for row in rows:
            self._count_end()
            self._outbox.append((row.listener, Delta(error=error)))

    def _flush(self) -> None:
        if self._outbox:
            sent, self._outbox = self._outbox, []
            self._deliver(sent)

    def _row(self, order: Order, listener: Listener, now: float) -> Row:
        tokenizer = order.tokenizer or self._tokenizer
        text = AnswerText(tokenizer, order.stops, skip_special=not order.keep_special)
        front = places_in_front(order.adapter)
        return Row(
            next(self._numbers),
            order,
            listener,
            text,
            list(order.prompt),
            now,
            front=front,
            cached=front,
            expected=order.expected,
        )


def _tell_directly(pieces: Sequence[tuple[Listener, Delta]]) -> None:
    for listener, delta in pieces:
        listener(delta)


def _complete(
    pieces: Sequence[Piece], rows: Sequence[Row], logits_NV: torch.Tensor
) -> tuple[list[Row], torch.Tensor]:
    """The rows whose last token was in this step, and the scores behind it."""
    chosen: list[Row] = []
    places: list[int] = []
    end = 0
    for piece, row in zip(pieces, rows, strict=True):
        end += piece.wanted
        if row.pending == 0:
            chosen.append(row)
            places.append(end - 1)
    if len(places) == len(logits_NV):
        return chosen, logits_NV
    return chosen, logits_NV[torch.tensor(places, dtype=torch.long, device=logits_NV.device)]


def _draw_all(rows: Sequence[Row], logits_NV: torch.Tensor, default: TextTokenizer) -> list[int]:
    if not rows:
        return []
    tokens: list[int] = logits_NV.argmax(-1).tolist()
    for number, row in enumerate(rows):
        if row.expected is not None:
            tokens[number] = _draw_expected(row, row.expected, logits_NV[number], default)
        elif not row.order.sampling.is_plain:
            tokens[number] = draw(logits_NV[number], row.order.sampling, row.order.prompt, row.said)
    return tokens


def _draw_expected(
    row: Row, expected: Expected, logits_V: torch.Tensor, default: TextTokenizer
) -> int:
    """The next token of those that may come; `row` notes what must come behind it."""
    tokenizer = row.order.tokenizer or default

    def following(token: int) -> Expected | None:
        return expected.after(text_bytes(tokenizer, token))

    def allowed() -> Ints:
        return vocabulary_of(tokenizer).allowed(expected)

    order = row.order
    token = draw_of(logits_V, order.sampling, order.prompt, row.said, following, allowed)
    if token is None:  # nothing in the vocabulary writes such a name: it goes on as it likes
        row.expected = None
        return int(logits_V.argmax())
    row.expected = following(token)
    return token


def _score_all(
    rows: Sequence[Row], logits_NV: torch.Tensor, tokens: Sequence[int]
) -> list[Scored | None]:
    asked = [number for number, row in enumerate(rows) if row.order.logprobs is not None]
    facts: list[Scored | None] = [None] * len(rows)
    if asked:
        found = scored(
            logits_NV[torch.tensor(asked, device=logits_NV.device)],
            [tokens[number] for number in asked],
            [rows[number].order.logprobs or 0 for number in asked],
        )
        for number, fact in zip(asked, found, strict=True):
            facts[number] = fact
    return facts


def _as_failure(error: Exception) -> GenerationFailed:
    if isinstance(error, torch.OutOfMemoryError):
        return GenerationFailed(
            "The device has no memory left for this step.",
            hint="Send fewer or shorter requests, or start the server with less --max-concurrent.",
            code="out_of_memory",
        )
    return GenerationFailed(f"A step of the model failed: {type(error).__name__}: {error}")
