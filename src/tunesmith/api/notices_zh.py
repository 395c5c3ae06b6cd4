"""What a server has to say of a recipe or of itself, in Chinese, by the code of the notice.

Text and hint; `{field}` is where, other names are values of the notice. Notices of the recipe
itself have their texts in both languages in `recipe/notice_texts.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tunesmith.api.texts import translated_problem
from tunesmith.recipe import Notice, Problem
from tunesmith.schemas.recipes import NoticeRead

NOTICES: Final[dict[str, tuple[str, str]]] = {
    "output_place": (
        "{field} 不会生效：平台将每次训练保存在自己的位置。",
        "任务的结果是一个模型：任务成功后可下载它的文件。",
    ),
    "device_not_used": (
        "training.device 不会生效：在哪里计算由任务的算力规格决定。",
        "请选择所需设备类型的算力规格。",
    ),
    "base_is_here": (
        "{field} 不会生效：基座模型是本平台已有的模型。",
        "如需其他版本，请重新导入该模型。",
    ),
    "tracker_of_worker": (
        "{field}：曲线会发送到工作节点上配置的账号；没有配置时，任务照常进行。",
        "任务的曲线在本平台上始终可见。",
    ),
    "no_worker_running": (
        "没有正在运行的工作节点拥有所需的设备；任务会排队等待。",
        "请启动工作节点，或联系管理员。",
    ),
    "few_rows_a_step": (
        "每个设备在每一步至少需要一条数据，该任务一步的数据条数不足以使用更多设备。",
        "增大 training.batch_size 后可使用更多设备。",
    ),
    "few_rows": (
        "该任务的训练数据条数不足以使用更多设备。",
        "请增加数据，或选择较少的设备。",
    ),
    "one_size": (
        "该设备在此处只有一种规格。",
        "设备数由规格决定。",
    ),
    "running_jobs_limit": (
        "受用户限额约束而等待：正在运行 {running} 个任务，同时最多 {most} 个。",
        "有任务结束后即会开始；管理员可以提高限额。",
    ),
    "device_hours_limit": (
        "受用户限额约束而等待：30 天内的设备时长已用完。",
        "较早的用量超过 30 天后即会开始；管理员可以提高限额。",
    ),
    "storage_limit": (
        "受用户限额约束而等待：已保存的内容超出存储限额。",
        "请删除不需要的文件、检查点或模型；管理员可以提高限额。",
    ),
    "worker_killed": (
        "本机有工作节点的进程已不存在，且并非正常结束；它的训练仍在进行，重新启动后会继续接管。",
        "请重新启动：tunesmith worker。在服务器上运行 `tunesmith doctor` 可查看是哪个节点。",
    ),
    "worker_silent": (
        "有工作节点近期没有心跳。",
        "在服务器上运行 `tunesmith doctor` 可查看是哪些节点。",
    ),
    "flavour_without_device": (
        "设置 flavours 中写了工作节点都没有的设备。",
        "在服务器上运行 `tunesmith doctor` 可查看名称。",
    ),
    "device_without_flavour": (
        "有工作节点的设备未在设置 flavours 中列出，因此不计费，而其他规格有价格。",
        "在服务器上运行 `tunesmith doctor` 可查看名称。",
    ),
}


def told(notices: Sequence[Notice], language: str) -> list[NoticeRead]:
    """Notices as an answer has them, in the language of the caller."""
    spoken = (in_language(each, language) for each in notices)
    return [
        NoticeRead(code=each.code, message=each.message, hint=each.hint, field=each.path)
        for each in spoken
    ]


def in_language(notice: Notice, language: str) -> Notice:
    """The notice in the language of the caller; in English where there is no other text."""
    if language != "zh":
        return notice
    problem = notice.values.get("problem")
    if isinstance(problem, Problem):
        spoken = translated_problem(problem, language)
        place = f"{spoken.path}：" if spoken.path else ""
        return replace(notice, message=f"{place}{spoken.message}", hint=spoken.hint)
    if notice.code not in NOTICES or "field" in notice.values:
        return notice.in_language(language)
    known = {**notice.values, "field": notice.path}
    message, hint = (text.format_map(known) for text in NOTICES[notice.code])
    return replace(notice, message=message, hint=hint)
