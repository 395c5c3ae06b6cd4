"""Chinese texts that wrap an English sentence, and why each may: message, hint, reason.

Every other code has a text of its own in `texts_zh.py`. A new entry needs a reason as good.
"""

from __future__ import annotations

from typing import Final

WRAPPED: Final[dict[str, tuple[str, str, str]]] = {
    "invalid_body": (
        "请求内容有误：{message}。",
        "请修正列出的字段；未做任何更改。",
        "the message is composed in the language of the caller",
    ),
    "invalid_recipe": (
        "配方有误：{message}",
        "{hint}",
        "only for a job of an earlier version, whose problems have no codes",
    ),
    "invalid_input": (
        "输入有误：{message}",
        "{hint}",
        "the command line and the engine say it in many forms",
    ),
    "invalid_data": (
        "数据有误：{message}",
        "{hint}",
        "readers of files name place and cause in many forms",
    ),
    "invalid_model": (
        "该模型无法使用：{message}",
        "{hint}",
        "files of models are wrong in many ways",
    ),
    "plan_failed": (
        "无法完成预估：{message}",
        "请检查配方中的模型和数据。",
        "the engine or the hub says it, in many forms",
    ),
    "scoring_failed": (
        "未能计算困惑度：{message}",
        "请检查模型，然后重试。",
        "the engine or the hub says it, in many forms",
    ),
    "tokenizer_not_found": (
        "无法取得 {name} 的分词器：{message}",
        "请先导入该模型，或在模型仓库可访问时重试。",
        "the engine or the hub says it, in many forms",
    ),
    "download_failed": (
        "模型下载失败：{message}",
        "请重新导入，将从中断处继续。",
        "the engine or the hub says it, in many forms",
    ),
    "bad_database_url": (
        "数据库地址无法使用：{message}",
        "请写成 sqlite:///文件 或 postgresql://用户:密码@主机/库名。",
        "told where a server is started, in English like its log",
    ),
    "database_unreachable": (
        "无法连接数据库：{message}",
        "请启动数据库，或检查主机、端口和网络。",
        "told where a server is started, in English like its log",
    ),
    "database_login_refused": (
        "数据库拒绝登录：{message}",
        "请修正 TUNESMITH_DATABASE_URL 中的用户和密码。",
        "told where a server is started, in English like its log",
    ),
    "database_missing": (
        "没有所写的数据库：{message}",
        "请先创建它，或填写其他数据库。",
        "told where a server is started, in English like its log",
    ),
    "database_damaged": (
        "数据库文件已损坏或不是数据库：{message}",
        "请用 `tunesmith restore` 恢复。",
        "told where a server is started, in English like its log",
    ),
    "backup_refused": (
        "无法按要求备份或恢复：{message}",
        "{hint}",
        "told where a server is started, in English like its log",
    ),
    "backup_failed": (
        "备份未完成或已损坏：{message}",
        "{hint}",
        "told where a server is started, in English like its log",
    ),
    "bad_templates": (
        "问法模板有误：{message}",
        "每组一个名称，下列两种以上的问法。",
        "names the place and the cause in rows of users, in many forms",
    ),
    "bad_dataset_info": (
        "dataset_info.json 有误：{message}",
        "请修改后重新上传。",
        "names the place and the cause in rows of users, in many forms",
    ),
    "invalid_training_file": (
        "训练文件不能使用：{message}",
        "请修改后重新上传，并创建新任务。",
        "names the place and the cause in rows of users, in many forms",
    ),
    "invalid_validation_file": (
        "验证文件不能使用：{message}",
        "请修改后重新上传。",
        "names the place and the cause in rows of users, in many forms",
    ),
    "invalid_grader": (
        "评分器有误：{message}",
        "请修正列出的部分。",
        "parts of a formula or a program, in many forms",
    ),
}
