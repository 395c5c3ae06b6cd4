"""Runs tasks of lm-eval against an address: `python harness.py ORDER.json RESULT.json`.

Tasks whose answers are generated are asked as chats, in the template of the model; tasks that weigh
given answers need log probabilities of a prompt, which only completions have.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson


def main(order_file: str, result_file: str) -> int:
    """Exit code 3 with one line for a task that cannot be found or loaded."""
    order: dict[str, Any] = orjson.loads(Path(order_file).read_bytes())
    os.environ["OPENAI_API_KEY"] = order["key"] or "none"
    tasks: Any = import_module("lm_eval.tasks")  # not installed where types are checked
    manager = tasks.TaskManager(include_path=order["include_path"])
    chats, texts = _kinds(order["tasks"], manager)
    found: dict[str, Any] = {"results": {}, "versions": {}, "n-samples": {}, "samples": {}}
    for tasks, is_chat in ((chats, True), (texts, False)):
        if tasks:
            told = _evaluate(order, tasks, manager, is_chat=is_chat)
            for part in found:
                found[part] |= told.get(part) or {}
    found["asked_as"] = dict.fromkeys(chats, "chat") | dict.fromkeys(texts, "completions")
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    Path(result_file).write_bytes(orjson.dumps(found, default=str, option=options))
    return 0


def _kinds(names: list[str], manager: Any) -> tuple[list[str], list[str]]:
    """Tasks and groups that only generate, and the others."""
    get_task_dict: Any = import_module("lm_eval.tasks").get_task_dict
    chats: list[str] = []
    texts: list[str] = []
    for name in names:
        try:
            leaves = list(_leaves(get_task_dict([name], manager)))
        except Exception as error:  # whatever a task's own settings, code and data may raise
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            sys.stderr.write(f"\nTASK {name}: {line}\n")
            raise SystemExit(3) from error
        kinds = {str(leaf.OUTPUT_TYPE) for leaf in leaves}
        (chats if kinds == {"generate_until"} else texts).append(name)
    return chats, texts


def _leaves(tree: Mapping[Any, Any]) -> Iterator[Any]:
    for value in tree.values():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        else:
            yield value[1] if isinstance(value, tuple) else value


def _evaluate(
    order: dict[str, Any], tasks: list[str], manager: Any, *, is_chat: bool
) -> dict[str, Any]:
    simple_evaluate: Any = import_module("lm_eval").simple_evaluate
    place = "chat/completions" if is_chat else "completions"
    settings: dict[str, Any] = {
        "model": order["model"],
        "base_url": f"{order['url']}/{place}",
        "num_concurrent": order["parallel"],
        "max_retries": 5,
        "max_length": order["context"],
    }
    if not is_chat and order["tokenizer"]:
        settings["tokenizer"] = order["tokenizer"]
        settings["tokenizer_backend"] = "huggingface"
    found = simple_evaluate(
        model="local-chat-completions" if is_chat else "local-completions",
        model_args=settings,
        tasks=tasks,
        num_fewshot=order["few_shot"],
        limit=order["limit"],
        use_cache=f"{order['cache']}-{place.partition('/')[0]}",
        task_manager=manager,
        apply_chat_template=is_chat,
        fewshot_as_multiturn=is_chat,
        bootstrap_iters=1000,
    )
    return dict(found or {})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
