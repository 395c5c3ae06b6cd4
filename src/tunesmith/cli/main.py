"""`tunesmith COMMAND ...`: find the command, load it, run it, and say errors in plain words.

Commands are loaded one by one, so `tunesmith --help` imports none of them.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from tunesmith.cli.terminal import complain, say, say_json, use_utf8
from tunesmith.errors import InputError, TunesmithError

if TYPE_CHECKING:
    from tunesmith.runs.launch import Standby


@dataclass(frozen=True)
class Command:
    """A command: the module with its typer `app`, and what it does in a line."""

    module: str
    en: str
    zh: str
    needs_engine: bool = False


COMMANDS: dict[str, Command] = {
    "demo": Command(
        "tunesmith.cli.demo",
        "Watch a small model learn: answers before, training, answers after.",
        "演示：训练前的回答、训练过程、训练后的回答。",
    ),
    "train": Command(
        "tunesmith.cli.train",
        "Train a model as a recipe says, or go on with a paused run.",
        "按配方训练模型，或继续已暂停的训练。",
        needs_engine=True,
    ),
    "plan": Command(
        "tunesmith.cli.plan",
        "Say memory, time, steps and rows of a recipe before anything runs.",
        "在运行之前估算显存、时间、步数和数据行数。",
    ),
    "data": Command(
        "tunesmith.cli.data",
        "Bring data in, check it, see what the model will see, mend it, take it out.",
        "导入数据、检查、预览模型实际看到的内容、修复、导出。",
    ),
    "chat": Command(
        "tunesmith.cli.chat",
        "Talk to a run or a model; --compare puts base and tuned side by side.",
        "与训练结果或模型对话；--compare 并排对比训练前后。",
    ),
    "recipe": Command(
        "tunesmith.cli.recipe",
        "Show what a recipe comes to, and every field that can be written in one.",
        "查看配方的完整内容，以及配方中可填写的所有字段。",
    ),
    "convert": Command(
        "tunesmith.cli.convert",
        "Turn a LLaMA-Factory YAML into a recipe, with a verdict on every key.",
        "将 LLaMA-Factory 的 YAML 转换为配方，并逐项说明。",
    ),
    "doctor": Command(
        "tunesmith.cli.doctor",
        "Check this machine: versions, devices, disk, hub access.",
        "检查本机：版本、设备、磁盘、模型仓库访问。",
    ),
}

_USAGE = """\
{title}

{usage}
  tunesmith COMMAND [OPTIONS]      tunesmith COMMAND --help

{commands}
{list}

{options}
  --version    {version}
  --debug      {debug}
  --help, -h   {help}

{start}
  tunesmith demo
  tunesmith train recipe.yaml training.epochs=2 --run runs/first
"""

_TEXTS = {
    "en": {
        "title": "tunesmith: fine-tune language models, and see whether they got better.",
        "usage": "Usage:",
        "commands": "Commands:",
        "options": "Options:",
        "version": "Show the version.",
        "debug": "Show a full traceback when something goes wrong.",
        "help": "Show this text.",
        "start": "Start here:",
    },
    "zh": {
        "title": "tunesmith：微调大语言模型，并看清它是否变好了。",
        "usage": "用法：",
        "commands": "命令：",
        "options": "选项：",
        "version": "显示版本。",
        "debug": "出错时显示完整的调用栈。",
        "help": "显示本帮助。",
        "start": "从这里开始：",
    },
}


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 done, 1 failed, 2 wrong use, 75 paused.

    >>> run(["--version"])
    """
    use_utf8()
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get("TUNESMITH_DEBUG", "") not in ("", "0")
    if debug:
        os.environ["TUNESMITH_DEBUG"] = "1"  # the engine hears of it too
    sys.exit(_guarded([word for word in given if word != "--debug"], debug=debug))


def overview() -> str:
    """The text of `tunesmith --help`."""
    language = "zh" if os.environ.get("TUNESMITH_LANG", "").lower().startswith("zh") else "en"
    width = max(len(name) for name in COMMANDS)
    lines = [f"  {name:<{width}}  {getattr(c, language)}" for name, c in COMMANDS.items()]
    return _USAGE.format(list="\n".join(lines), **_TEXTS[language])


def _guarded(arguments: list[str], *, debug: bool) -> int:
    """Run and turn every error into one screen of text and an exit code."""
    try:
        return _dispatch(arguments)
    except TunesmithError as error:
        if debug:
            raise
        if "--json" in arguments:
            say_json({"error": error.to_dict()})
        complain(error.message, error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        say(to=sys.stderr)
        return 1
    except BrokenPipeError:  # `tunesmith ... | head`: nobody reads on, and nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            raise
        complain(*_unexpected(error))
        return 1


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        say(overview().rstrip())
        return 0
    if arguments[0] in ("--version", "-V"):
        from tunesmith import __version__

        say(f"tunesmith {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        raise _unknown(name)
    if not COMMANDS[name].needs_engine or {"--help", "-h"} & set(rest):
        return _run_app(name, rest, standby=None)
    # Torch takes seconds to import: let the engine begin with that while the input is checked.
    from tunesmith.runs.launch import Standby

    with Standby() as standby:
        return _run_app(name, rest, standby)


def _run_app(name: str, arguments: list[str], standby: Standby | None) -> int:
    app = import_module(COMMANDS[name].module).app
    from typer.main import get_command

    try:
        get_command(app).main(arguments, prog_name=f"tunesmith {name}", obj=standby)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _unknown(name: str) -> InputError:
    near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    guess = f"Did you mean `tunesmith {near[0]}`? " if near else ""
    kind = "option" if name.startswith("-") else "command"
    return InputError(
        f"There is no {kind} {name!r}.",
        hint=f"{guess}`tunesmith --help` lists all commands.",
        code="unknown_command",
    )


def _unexpected(error: Exception) -> tuple[str, str]:
    """A short message, and where the whole story was written."""
    from tunesmith.cli.crash import write_crash_report
    from tunesmith.runs.files import explain_storage_error

    if isinstance(error, OSError) and error.filename:
        explained = explain_storage_error(error, error.filename)
        if explained is not None:
            return explained.message, explained.hint
    path = write_crash_report(error)
    return (
        f"Something happened that tunesmith did not expect: {type(error).__name__}: {error}",
        f"The full traceback is in {path}. Please add it to a report; --debug shows it here.",
    )
