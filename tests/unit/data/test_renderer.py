"""The loss mask in every template family: exactly what the model must produce at inference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.data.conversation import Conversation, Message, Role, Text, ToolCall
from tunesmith.data.renderer import EncodedRow, Renderer
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.data.turns import RenderedRow
from tunesmith.errors import DataError

TokenizerOf = Callable[[str], TextTokenizer]


def chat(*contents: str, system: str | None = None) -> Conversation:
    """Questions and answers in turn."""
    roles: tuple[Role, Role] = ("user", "assistant")
    turns = [Message(roles[at % 2], content) for at, content in enumerate(contents)]
    return Conversation((*([Message("system", system)] if system else []), *turns))


def marked(row: RenderedRow) -> str:
    """The text with supervised parts in double brackets."""
    return "".join(f"[[{piece}]]" if learned else piece for piece, learned in row.pieces())


def rendered(tokenizer: TextTokenizer, conversation: Conversation, **options: str) -> list[str]:
    return [marked(row) for row in Renderer(tokenizer, **options).render(conversation).rows]


TWO_TURNS = {
    "chatml": [
        "<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\n[[a1<|im_end|>]]\n"
        "<|im_start|>user\nq2<|im_end|>\n<|im_start|>assistant\n[[a2<|im_end|>]]\n"
    ],
    # The first answer has its empty think block only while it is the last: a row of its own.
    "qwen3": [
        "<|im_start|>user\nq1<|im_end|>\n"
        "<|im_start|>assistant\n[[<think>\n\n</think>\n\na1<|im_end|>]]\n",
        "<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\na1<|im_end|>\n"
        "<|im_start|>user\nq2<|im_end|>\n"
        "<|im_start|>assistant\n[[<think>\n\n</think>\n\na2<|im_end|>]]\n",
    ],
    "closed_think": [
        "<|im_start|>user\nq1<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n[[a1<|im_end|>]]\n"
        "<|im_start|>user\nq2<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n[[a2<|im_end|>]]\n"
    ],
    "llama3": [
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nq1<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n[[a1<|eot_id|>]]"
        "<|start_header_id|>user<|end_header_id|>\n\nq2<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n[[a2<|eot_id|>]]"
    ],
    "mistral": ["<s>[INST] q1 [/INST][[ a1</s>]][INST] q2 [/INST][[ a2</s>]]"],
    "mistral_moving": ["<s>[INST] q1[/INST][[ a1</s>]][INST] q2[/INST][[ a2</s>]]"],
    "gemma": [
        "<bos><start_of_turn>user\nq1<end_of_turn>\n"
        "<start_of_turn>model\n[[a1<end_of_turn>]]\n"
        "<start_of_turn>user\nq2<end_of_turn>\n"
        "<start_of_turn>model\n[[a2<end_of_turn>]]\n"
    ],
    # No end-of-turn token: the next role ends a turn, the last turn gets the end of text.
    "glm4": [
        "[gMASK]<sop><|user|>\nq1<|assistant|>[[\na1<|user|>]]\nq2<|assistant|>"
        "[[\na2<|endoftext|>]]"
    ],
    "alpaca": [
        "### Instruction:\nq1\n\n### Response:\n[[a1</s>]]"
        "### Instruction:\nq2\n\n### Response:\n[[a2</s>]]"
    ],
    # Nothing delimits a turn: each must learn to stop by itself.
    "undelimited": ["Q: q1\nA: [[a1\n</s>]]", "Q: q1\nA: a1\nQ: q2\nA: [[a2\n</s>]]"],
}


@pytest.mark.parametrize("name", TWO_TURNS)
def test_every_answer_is_supervised_from_the_prompt_through_its_end_of_turn(
    name: str, tokenizer_of: TokenizerOf
) -> None:
    assert rendered(tokenizer_of(name), chat("q1", "a1", "q2", "a2")) == TWO_TURNS[name]


def test_the_law_of_the_mask_holds_for_every_template(any_tokenizer: TextTokenizer) -> None:
    """Each trained turn has one span, behind its own inference prompt, that ends with a stop."""
    renderer = Renderer(any_tokenizer)
    conversation = chat("How are you?", "Fine.\n\nYou?", "我也好", "那就好。", "Bye", "See you")
    rows = renderer.render(conversation).rows
    spans = [(row, start, end) for row in rows for start, end in row.spans]
    assert len(spans) == 3
    for index in (1, 3, 5):
        prompt = renderer.prompt_text(Conversation(conversation.messages[:index]))
        found = [row.text[start:end] for row, start, end in spans if row.text[:start] == prompt]
        assert len(found) == 1
        assert conversation.messages[index].content in found[0]
        assert any_tokenizer.encode(found[0])[-1] in renderer.stop_ids


def test_targets_are_exactly_the_tokens_of_the_spans(any_tokenizer: TextTokenizer) -> None:
    renderer = Renderer(any_tokenizer)
    conversation = chat("1 + 1?", "它是 2 🙂", "sure?", "yes")
    rows = renderer.render(conversation).rows
    encoded = renderer.encode([conversation])
    for row, (ids, targets) in zip(rows, map(_arrays, encoded), strict=True):
        assert ids.tolist() == any_tokenizer.encode(row.text)
        learned = "".join(piece for piece, supervised in row.pieces() if supervised)
        assert any_tokenizer.decode(ids[targets == 1].tolist()) == learned
        assert targets[0] == 0


def _arrays(row: EncodedRow) -> tuple[np.ndarray, np.ndarray]:
    return row.ids, row.targets


def test_a_token_across_the_border_of_prompt_and_answer_is_not_supervised(
    tokenizer_folder: Callable[..., Path],
) -> None:
    tokenizer = TextTokenizer.load(tokenizer_folder("chatml", merges=(("Ċ", "Ċ"),)))
    row = Renderer(tokenizer).encode([chat("q", "\n\nA")])[0]
    texts = [tokenizer.decode([token]) for token in row.ids[row.targets == 1].tolist()]
    assert texts == ["\n", "A", "<|im_end|>"]  # the first newline was merged into the prompt's
    assert "\n\n" in [tokenizer.decode([token]) for token in row.ids.tolist()]


def test_a_byte_of_a_character_is_supervised_with_its_character(
    tokenizer_of: TokenizerOf,
) -> None:
    tokenizer = tokenizer_of("chatml")
    row = Renderer(tokenizer).encode([chat("q", "好")])[0]
    assert int(row.targets.sum()) == len("好".encode()) + 1


def test_the_system_text_moves_with_the_prompt_that_inference_would_see(
    tokenizer_of: TokenizerOf,
) -> None:
    """Mistral v0.3 writes the system text only into the last user turn while it is last."""
    conversation = chat("q1", "a1", "q2", "a2", system="S")
    assert rendered(tokenizer_of("mistral_moving"), conversation) == [
        "<s>[INST] S\n\nq1[/INST][[ a1</s>]]",
        "<s>[INST] q1[/INST] a1</s>[INST] S\n\nq2[/INST][[ a2</s>]]",
    ]


def test_reasoning_is_learned_where_the_prompt_leaves_room_for_it(
    tokenizer_of: TokenizerOf,
) -> None:
    turns = (Message("user", "q"), Message("assistant", "a", reasoning="hm"))
    assert rendered(tokenizer_of("qwen3"), Conversation(turns)) == [
        "<|im_start|>user\nq<|im_end|>\n"
        "<|im_start|>assistant\n[[<think>\nhm\n</think>\n\na<|im_end|>]]\n"
    ]
    assert rendered(tokenizer_of("closed_think"), Conversation(turns)) == [
        "<|im_start|>user\nq<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n[[hm\n</think>\n\na<|im_end|>]]\n"
    ]


def test_steps_of_one_tool_use_share_a_row_when_they_agree(tokenizer_of: TokenizerOf) -> None:
    """With reasoning, Qwen3 renders a tool call alike before and after the tool answered."""
    turns = (
        Message("user", "time?"),
        Message("assistant", "", (ToolCall("clock", {"zone": "utc"}),), reasoning="look"),
        Message("tool", "12:00"),
        Message("assistant", "noon", reasoning="so"),
    )
    assert rendered(tokenizer_of("qwen3"), Conversation(turns)) == [
        "<|im_start|>user\ntime?<|im_end|>\n<|im_start|>assistant\n"
        "[[<think>\nlook\n</think>\n\n"
        '\n<tool_call>\n{"name": "clock", "arguments": {"zone": "utc"}}\n</tool_call><|im_end|>]]\n'
        "<|im_start|>tool\n12:00<|im_end|>\n<|im_start|>assistant\n"
        "[[<think>\nso\n</think>\n\nnoon<|im_end|>]]\n"
    ]


def test_loss_on_the_last_turn_supervises_only_the_last_answer(
    any_tokenizer: TextTokenizer,
) -> None:
    renderer = Renderer(any_tokenizer, loss_on="last_turn")
    rows = renderer.render(chat("q1", "a1", "q2", "a2")).rows
    assert [len(row.spans) for row in rows] == [1]
    assert "a2" in next(piece for piece, learned in rows[0].pieces() if learned)


def test_a_turn_with_weight_0_is_context(tokenizer_of: TokenizerOf) -> None:
    turns = (
        Message("user", "q1"),
        Message("assistant", "a1", weight=0),
        Message("user", "q2"),
        Message("assistant", "a2", weight=1),
    )
    assert rendered(tokenizer_of("gemma"), Conversation(turns)) == [
        TWO_TURNS["gemma"][0].replace("[[a1<end_of_turn>]]", "a1<end_of_turn>")
    ]


def test_a_greeting_before_any_question_is_context_and_counted(tokenizer_of: TokenizerOf) -> None:
    turns = (Message("assistant", "hello"), *chat("q", "a").messages)
    result = Renderer(tokenizer_of("chatml")).render(Conversation(turns))
    assert result.untrained == 1
    assert [len(row.spans) for row in result.rows] == [1]


def test_a_conversation_that_the_template_refuses_says_why(tokenizer_of: TokenizerOf) -> None:
    turns = (Message("user", "q1"), Message("user", "q2"), Message("assistant", "a"))
    result = Renderer(tokenizer_of("gemma")).render(Conversation(turns))
    assert result.rows == ()
    assert result.refused is not None
    assert "alternate" in result.refused


def test_stop_ids_are_the_learned_ends_of_turns_and_the_end_of_text(
    tokenizer_of: TokenizerOf,
) -> None:
    def stops(name: str) -> set[str]:
        tokenizer = tokenizer_of(name)
        return {tokenizer.decode([number]) for number in Renderer(tokenizer).stop_ids}

    assert stops("qwen3") == {"<|im_end|>"}
    assert stops("llama3") == {"<|eot_id|>"}
    assert stops("mistral") == {"</s>"}
    assert stops("gemma") == {"<end_of_turn>", "<eos>"}
    assert stops("glm4") == {"<|user|>", "<|observation|>", "<|endoftext|>"}
    assert stops("undelimited") == {"</s>"}


def test_prompt_ids_are_what_a_row_begins_with(any_tokenizer: TextTokenizer) -> None:
    renderer = Renderer(any_tokenizer)
    row = renderer.encode([chat("question", "answer")])[0]
    prompt = renderer.prompt_ids(chat("question"))
    assert row.ids[: len(prompt)].tolist() == prompt
    assert row.targets[: len(prompt)].sum() == 0
    assert row.targets[len(prompt)] == 1


def test_texts_around_questions_and_answers_are_part_of_the_turns(
    tokenizer_of: TokenizerOf,
) -> None:
    """C3: prefix, instruction_template and response_template."""
    options = {
        "prefix": "You sell tea.\n",
        "instruction_template": "Q: {instruction}?",
        "response_template": "A: ",
    }
    tokenizer = tokenizer_of("chatml")
    assert rendered(tokenizer, chat("why", "so"), **options) == [
        "<|im_start|>user\nYou sell tea.\nQ: why?<|im_end|>\n"
        "<|im_start|>assistant\n[[A: so<|im_end|>]]\n"
    ]
    prompt = Renderer(tokenizer, **options).prompt_text(chat("why", "A: so", "and"))
    assert prompt.endswith(
        "assistant\nA: so<|im_end|>\n<|im_start|>user\nYou sell tea.\nQ: and?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_plain_text_is_learned_whole_and_ends_with_the_end_of_text(
    tokenizer_of: TokenizerOf,
) -> None:
    row = Renderer(tokenizer_of("alpaca")).render(Text("once")).rows[0]
    assert marked(row) == "[[once</s>]]"


def test_a_model_without_a_template_gets_a_named_default(tokenizer_of: TokenizerOf) -> None:
    bare = tokenizer_of("chatml")
    without = TextTokenizer(bare._raw, {**bare.config, "chat_template": None}, None)
    assert Renderer(without).template_source == "default chatml"
    assert Renderer(bare, chat_template="alpaca").template_source == "built-in alpaca"


def test_a_template_with_a_mistake_names_its_line(
    tokenizer_of: TokenizerOf, tmp_path: Path
) -> None:
    (tmp_path / "t.jinja").write_text("{% for m in messages %}\n{{ m.content }}", "utf-8")
    renderer = Renderer(tokenizer_of("chatml"), chat_template="t.jinja", base_dir=tmp_path)
    with pytest.raises(DataError, match="mistake in line 2"):
        renderer.render(chat("q", "a"))


def test_a_template_cannot_reach_outside_its_sandbox(
    tokenizer_of: TokenizerOf, tmp_path: Path
) -> None:
    (tmp_path / "t.jinja").write_text("{{ messages.__class__.__mro__ }}", "utf-8")
    renderer = Renderer(tokenizer_of("chatml"), chat_template="t.jinja", base_dir=tmp_path)
    assert "unsafe" in (renderer.render(chat("q", "a")).refused or "")


# The fast way must equal the exact way, whatever the contents.

NASTY = [
    "",
    " ",
    "\n",
    "user",
    "assistant",
    "<think>",
    "</think>",
    "<think>\nwhy\n</think>\n\nbecause",
    "<|im_end|>",
    "</s>",
    "<|user|>",
    "100%s %d {{ x }} {% y %}",
    "  padded\n",
    "\n\nnewlines\n",
    "Qz0000zQ",
    "好的。\u3000",
    "e\u0301\u200b🙂",
]
contents = st.one_of(st.sampled_from(NASTY), st.text(max_size=12), st.sampled_from(["a", "b c"]))
conversations = st.builds(
    lambda turns, system: chat(*turns, system=system),
    st.lists(contents, min_size=1, max_size=5),
    st.one_of(st.none(), contents),
)
_renderers: dict[str, tuple[Renderer, Renderer]] = {}


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(conversation=conversations)
def test_the_fast_way_renders_what_the_exact_way_renders(
    any_tokenizer: TextTokenizer, conversation: Conversation
) -> None:
    """One renderer a template for all examples, so that its shapes have been learned."""
    key = any_tokenizer.fingerprint + str(any_tokenizer.chat_template)
    if key not in _renderers:
        exact = Renderer(any_tokenizer)
        exact._fast.rows = lambda *_: None  # type: ignore[method-assign]
        _renderers[key] = Renderer(any_tokenizer), exact
    renderer, exact = _renderers[key]
    renderer.render(conversation)
    assert renderer.render(conversation) == exact.render(conversation)


def test_ordinary_rows_take_the_fast_way(any_tokenizer: TextTokenizer) -> None:
    renderer = Renderer(any_tokenizer)
    for number in range(10):
        renderer.render(chat(f"question {number}", f"answer {number}"))
    calls: list[object] = []
    renderer.exact.rows = lambda *call: calls.append(call)  # type: ignore[method-assign,assignment]
    renderer.render(chat("the user's question\n\nin lines", "an answer\nfor a user."))
    assert calls == []


def test_a_shape_that_breaks_its_prediction_is_rendered_exactly_from_then_on(
    tokenizer_of: TokenizerOf, tmp_path: Path
) -> None:
    """A template that looks at contents in a way no probe can foresee."""
    (tmp_path / "t.jinja").write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{{ m.content | replace(('x' ~ 'yz'), '!') }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        "utf-8",
    )
    renderer = Renderer(tokenizer_of("chatml"), chat_template="t.jinja", base_dir=tmp_path)
    texts = [renderer.render(chat(f"q{n}", "xyz")).rows[0].text for n in range(12)]
    assert all("assistant\n!<|im_end|>" in text for text in texts)


def test_all_roles_are_known_to_every_template_that_takes_tools(
    tokenizer_of: TokenizerOf,
) -> None:
    assert set(get_args(Role)) == {"system", "user", "assistant", "tool"}
    turns = (*chat("q").messages, Message("tool", "t"), Message("assistant", "a"))
    assert "ipython" in rendered(tokenizer_of("llama3"), Conversation(turns))[0]
    assert "<|observation|>" in rendered(tokenizer_of("glm4"), Conversation(turns))[0]
