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
from typing import TYPE_CHECKING, Any

from tunesmith.cli.language import language, spoken
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
        "Import data, check it, see it as the model does, mend it, export it.",
        "导入数据、检查、预览模型实际看到的内容、修复、导出。",
    ),
    "chat": Command(
        "tunesmith.cli.chat",
        "Talk to a run or model; --compare puts base and tuned side by side.",
        "与训练结果或模型对话；--compare 并排对比训练前后。",
    ),
    "evaluate": Command(
        "tunesmith.cli.evaluate",
        "Let a model answer test rows, and score the answers.",
        "让模型回答测试数据并打分。",
    ),
    "compare": Command(
        "tunesmith.cli.compare",
        "Base and tuned model on the same rows: promote, hold or reject.",
        "在同一批数据上比较训练前后的模型：通过、暂缓或拒绝。",
    ),
    "serve-model": Command(
        "tunesmith.cli.serve_model",
        "Serve a model and its adapters to any OpenAI client.",
        "以 OpenAI 兼容接口提供模型及其适配器服务。",
    ),
    "export": Command(
        "tunesmith.cli.export",
        "Write a model for other programs, with proof that it still answers the same.",
        "导出模型供其他程序使用，并附带与训练结果一致的证明。",
    ),
    "trace": Command(
        "tunesmith.cli.trace",
        "Find the training rows behind wrong answers, edit them, train on.",
        "找到错误回答背后的训练数据，修改后继续训练。",
    ),
    "serve": Command(
        "tunesmith.cli.serve",
        "Start the platform: API, queue and a worker on this machine.",
        "启动平台：API、任务队列和本机工作进程。",
    ),
    "worker": Command(
        "tunesmith.cli.worker",
        "Run the platform's jobs on this machine's devices.",
        "在本机设备上运行平台的训练任务。",
    ),
    "jobs": Command(
        "tunesmith.cli.remote.jobs",
        "Trainings on a server: submit, follow, pause, cancel, clone.",
        "服务器上的训练任务：提交、跟踪、暂停、取消、克隆。",
    ),
    "models": Command(
        "tunesmith.cli.remote.models",
        "Models on a server: presets, imports, results, downloads.",
        "服务器上的模型：预置、导入、训练结果、下载。",
    ),
    "deployments": Command(
        "tunesmith.cli.remote.deployments",
        "Models that answer on a server: start, stop, see what was asked.",
        "服务器上正在回答的模型：启动、停止、查看提问。",
    ),
    "datasets": Command(
        "tunesmith.cli.remote.datasets",
        "Datasets on a server: upload, look, check, edit, export.",
        "服务器上的数据集：上传、查看、检查、编辑、导出。",
    ),
    "notices": Command(
        "tunesmith.cli.remote.notices",
        "Be told of jobs by mail, chat or webhook.",
        "通过邮件、聊天工具或 webhook 接收任务通知。",
    ),
    "users": Command(
        "tunesmith.cli.remote.users",
        "Users of a server, for administrators.",
        "服务器的用户（供管理员使用）。",
    ),
    "projects": Command(
        "tunesmith.cli.remote.projects",
        "Projects of a server and who is in them.",
        "服务器的项目及其成员。",
    ),
    "tokens": Command(
        "tunesmith.cli.remote.tokens",
        "Your API tokens on a server.",
        "您在服务器上的 API 令牌。",
    ),
    "login": Command(
        "tunesmith.cli.remote.login",
        "Sign in to a server, so that jobs, models and datasets find it.",
        "登录服务器，供 jobs、models、datasets 等命令使用。",
    ),
    "logout": Command(
        "tunesmith.cli.remote.logout",
        "Forget the server and its token.",
        "退出登录，删除保存的令牌。",
    ),
    "recipe": Command(
        "tunesmith.cli.recipe",
        "Show what a recipe comes to, and every field that it can have.",
        "查看配方的完整内容，以及配方中可填写的所有字段。",
    ),
    "convert": Command(
        "tunesmith.cli.convert",
        "Turn a LLaMA-Factory YAML into a recipe, with a verdict on each key.",
        "将 LLaMA-Factory 的 YAML 转换为配方，并逐项说明。",
    ),
    "backup": Command(
        "tunesmith.cli.keeping.backup",
        "Copy the platform's database and files, while everything runs.",
        "备份平台的数据库和文件，无需停机。",
    ),
    "restore": Command(
        "tunesmith.cli.keeping.restore",
        "Bring a backup back into an empty data directory.",
        "将备份恢复到空的数据目录。",
    ),
    "clean": Command(
        "tunesmith.cli.keeping.clean",
        "Say what nobody needs any more, and with --yes remove it.",
        "列出不再需要的文件；加 --yes 则删除。",
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
    width = max(len(name) for name in COMMANDS)
    lines = [f"  {name:<{width}}  {getattr(c, language())}" for name, c in COMMANDS.items()]
    return _USAGE.format(list="\n".join(lines), **_TEXTS[language()])


def _guarded(arguments: list[str], *, debug: bool) -> int:
    """Run and turn every error into one screen of text and an exit code."""
    try:
        return _dispatch(arguments)
    except TunesmithError as error:
        if debug:
            raise
        if "--json" in arguments:
            say_json({"error": error.to_dict()})
        complain(*spoken(error))
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
    if not COMMANDS[name].needs_engine or {"--help", "-h", "--remote"} & set(rest):
        return _run_app(name, rest, standby=None)
    # Torch takes seconds to import: let the engine begin with that while the input is checked.
    from tunesmith.runs.launch import Standby

    with Standby() as standby:
        return _run_app(name, rest, standby)


def _run_app(name: str, arguments: list[str], standby: Standby | None) -> int:
    app = import_module(COMMANDS[name].module).app
    from typer.main import get_command

    command = get_command(app)
    _reflow(command)
    try:
        command.main(arguments, prog_name=f"tunesmith {name}", obj=standby)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _reflow(command: Any) -> None:
    """Paragraphs of help as whole lines: the terminal breaks them, not the source."""
    import re
    from inspect import cleandoc

    parts = cleandoc(command.help or "").split("\n\n")
    is_list = re.compile(r"(?m)^[\b\s\-*\d]").search
    command.help = "\n\n".join(part if is_list(part) else part.replace("\n", " ") for part in parts)
    for each in getattr(command, "commands", {}).values():
        _reflow(each)


def _unknown(name: str) -> InputError:
    near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    guess = f"Did you mean `tunesmith {near[0]}`? " if near else ""
    kind = "option" if name.startswith("-") else "command"
    return InputError(
        f"There is no {kind} {name!r}.",
        hint=f"{guess}`tunesmith --help` lists all commands.",
        code="unknown_command",
        name=name,
        guess={"zh": f"是否想写 `tunesmith {near[0]}`？" if near else ""},
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
