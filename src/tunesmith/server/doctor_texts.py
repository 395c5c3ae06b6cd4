"""What the checks of an installation say, in both languages: a finding and its mend by code."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Status = Literal["ok", "warning", "error"]


class Text(NamedTuple):
    """What was looked at, how it is, and detail and mend in English, then in Chinese."""

    name: str
    status: Status
    detail: str
    mend: str
    detail_zh: str
    mend_zh: str


TEXTS: Final[dict[str, Text]] = {
    "settings_wrong": Text(
        "settings", "error", "{problems}", "Correct them: docs/operating.md.",
        "{problems}", "请修正，参见 docs/operating.zh.md。",
    ),
    "settings_unknown": Text(
        "settings", "warning", "{names} is no setting and has no effect",
        "Unset it, or see docs/operating.md.",
        "{names} 不是设置项，不会生效", "请取消该变量，或参见 docs/operating.zh.md。",
    ),
    "settings_open": Text(
        "settings", "warning", "{file} holds secrets and everybody on this machine may read it",
        "chmod 600 {file}",
        "{file} 含有密钥，而本机所有用户都能读取", "chmod 600 {file}",
    ),
    "settings": Text(
        "settings", "ok", "{source}; {count} set{names}", "",
        "{source}；已设置 {count} 项{names}", "",
    ),
    "data_not_possible": Text(
        "data", "error", "{root} cannot be made",
        "Make {root} writable for this user, or set TUNESMITH_DATA_DIR.",
        "无法创建 {root}", "请让当前用户可以写入 {root}，或设置 TUNESMITH_DATA_DIR。",
    ),
    "data_to_be": Text(
        "data", "ok", "{root} is made at the first start", "", "{root} 将在首次启动时创建", "",
    ),
    "data_refused": Text(
        "data", "error", "{root} is read-only for this user", "{hint}",
        "当前用户只能读取 {root}", "请让当前用户可以写入（重新挂载文件系统，或更改所有者）。",
    ),
    "data_full": Text(
        "data", "error", "{root} has no room left: nothing can be written", "{hint}",
        "{root} 所在的磁盘已满，无法写入", "请腾出空间；`tunesmith clean` 列出可以删除的内容。",
    ),
    "data_low": Text(
        "data", "error", "{root}, {free} free",
        "Free some space: `tunesmith clean` says what may go.",
        "{root}，剩余 {free}", "请腾出空间；`tunesmith clean` 列出可以删除的内容。",
    ),
    "data_little": Text(
        "data", "warning", "{root}, {free} free",
        "`tunesmith clean` says what may go; a checkpoint of a 7 B model needs 15 GiB.",
        "{root}，剩余 {free}",
        "`tunesmith clean` 列出可以删除的内容；7 B 模型的一个检查点需要 15 GiB。",
    ),
    "data": Text("data", "ok", "{root}, {free} free", "", "{root}，剩余 {free}", ""),
    "open_to_all": Text(
        "privacy", "warning", "everybody on this machine may look into {root}", "chmod 700 {root}",
        "本机所有用户都能查看 {root}", "chmod 700 {root}",
    ),
    "secret_open": Text(
        "secret", "error", "others may read {path} (mode {mode})", "chmod 600 {path}",
        "其他用户可以读取 {path}（权限 {mode}）", "chmod 600 {path}",
    ),
    "foreign_owner": Text(
        "owner", "warning", "{names} in {root} belongs to another user",
        "Start tunesmith as that user, or: chown -R {user} {root}",
        "{root} 中的 {names} 属于其他用户",
        "请以该用户启动 tunesmith，或运行：chown -R {user} {root}",
    ),
    "database_to_be": Text(
        "database", "ok", "SQLite, made at the first start: {file}", "",
        "SQLite，将在首次启动时创建：{file}", "",
    ),
    "database_error": Text(
        "database", "error", "{message}", "{hint}", "{message}",
        "{hint}",
    ),
    "database_old": Text(
        "database", "warning", "{kind}, revision {revision}, {ms} ms; newest {newest}",
        "`tunesmith serve` upgrades it, after a copy in backups/.",
        "{kind}，版本 {revision}，{ms} 毫秒；最新版本为 {newest}",
        "`tunesmith serve` 启动时会升级，升级前在 backups/ 中备份。",
    ),
    "database_slow": Text(
        "database", "warning", "{kind}, revision {revision}, {ms} ms: slow",
        "Move it nearer: every request asks it several times.",
        "{kind}，版本 {revision}，{ms} 毫秒，偏慢",
        "请将数据库移近：每个请求都要查询多次。",
    ),
    "database": Text(
        "database", "ok", "{kind}, revision {revision}, {ms} ms", "",
        "{kind}，版本 {revision}，{ms} 毫秒", "",
    ),
    "sqlite_affected": Text(
        "sqlite", "warning",
        "{version} can damage a database in WAL mode (3.7.0 to 3.51.2 can), so the slower rollback "
        "journal is used: nothing is at risk",
        "Use a Python with SQLite 3.51.3 or newer (or 3.50.7, 3.44.6), or PostgreSQL, and more "
        "people can write at once.",
        "{version} 的 WAL 模式可能损坏数据库（3.7.0 至 3.51.2 均受影响），因此使用较慢的回滚日志，"
        "数据没有风险",
        "使用带 SQLite 3.51.3 或更高版本（或 3.50.7、3.44.6）的 Python，或改用 PostgreSQL，"
        "可支持更多人同时写入。",
    ),
    "sqlite": Text("sqlite", "ok", "{version}", "", "{version}", ""),
    "journal_damaging": Text(
        "journal", "error",
        "journal mode {used}, {size}: SQLite {version} can damage a database in this mode",
        "Start `tunesmith serve`: it changes the mode. Or install SQLite 3.51.3 or newer.",
        "日志模式 {used}，{size}：SQLite {version} 在该模式下可能损坏数据库",
        "请启动 `tunesmith serve`，它会更改模式；或安装 SQLite 3.51.3 或更高版本。",
    ),
    "journal": Text(
        "journal", "ok", "journal mode {used}, {size}", "", "日志模式 {used}，{size}", "",
    ),
    "no_worker": Text(
        "workers", "warning", "none runs{wait}",
        "Start one: tunesmith serve, or tunesmith worker on a machine with the devices.",
        "没有正在运行的工作节点{wait}",
        "请启动：tunesmith serve，或在有设备的机器上运行 tunesmith worker。",
    ),
    "workers": Text("workers", "ok", "{names} running", "", "{names} 正在运行", ""),
    "worker_killed": Text(
        "worker", "error",
        "the process of {name} is gone without having said so; last heard of {ago} ago",
        "Start it again: tunesmith worker --name {quoted}; its log in logs/ and the kernel's log "
        "say why. Its trainings go on, and it takes them over.",
        "{name} 的进程已不存在，且并非正常结束；上次心跳在 {ago}前",
        "请重新启动：tunesmith worker --name {quoted}；原因见 logs/ 中它的日志和内核日志。"
        "它的训练仍在进行，重新启动后会继续接管。",
    ),
    "worker_silent": Text(
        "worker", "warning", "{name} was last heard of {ago} ago ({seen} UTC)",
        "Start it again: tunesmith worker --name {quoted}; its log says why it ended. One that is "
        "gone for good is forgotten after a week.",
        "{name} 上次心跳在 {ago}前（{seen} UTC）",
        "请重新启动：tunesmith worker --name {quoted}；结束的原因见它的日志。不再使用的节点"
        "一周后不再列出。",
    ),
    "flavours": Text("flavours", "ok", "{names}", "", "{names}", ""),
    "flavours_unseen": Text(
        "flavours", "ok", "{names}; no worker has told of a device yet", "",
        "{names}；还没有工作节点报告过设备", "",
    ),
    "flavour_without_device": Text(
        "flavours", "warning", "{message}", "{hint}",
        "设置 flavours 中的设备 {device}，工作节点都没有；现有设备：{devices}。",
        "请修正 TUNESMITH_FLAVOURS 或设置文件中的 flavours，然后重新启动；如果写法无误，"
        "请启动有该设备的工作节点。",
    ),
    "device_without_flavour": Text(
        "flavours", "warning", "{message}", "{hint}",
        "工作节点的设备 {device} 未在设置 flavours 中列出，因此不计费，而其他规格有价格。",
        "请修正 TUNESMITH_FLAVOURS 或设置文件中的 flavours，然后重新启动；免费的设备请以价格 0 "
        "列出。",
    ),
    "clocks_agree": Text(
        "", "ok", "{whose} and this machine agree within {seconds} s", "",
        "{whose}与本机相差不到 {seconds} 秒", "",
    ),
    "clocks_differ": Text(
        "", "warning", "the clock of {whose} is {seconds} s {side} this machine",
        "Let both set their clocks by NTP: times that people see are wrong otherwise.",
        "{whose}的时钟比本机{side} {seconds} 秒",
        "请让两者通过 NTP 校时，否则显示的时间有误。",
    ),
    "any_port": Text("port", "ok", "any free one", "", "任意空闲端口", ""),
    "port_ours": Text(
        "port", "ok", "{where}: this installation serves, process {pid} since {since}", "",
        "{where}：由本平台使用，进程 {pid}，自 {since}", "",
    ),
    "port_taken": Text(
        "port", "warning", "{where} is in use by {who}",
        "End it, or choose another port: tunesmith serve --port P.",
        "{where} 已被{who}占用", "请结束它，或换一个端口：tunesmith serve --port P。",
    ),
    "port_refused": Text(
        "port", "error", "{where} cannot be used: {reason}",
        "Choose another address with --host, or another port with --port.",
        "{where} 无法使用：{reason}", "请用 --host 换一个地址，或用 --port 换一个端口。",
    ),
    "port_served_elsewhere": Text(
        "port", "ok", "{where} is free; process {pid} serves this directory on another port", "",
        "{where} 空闲；进程 {pid} 在另一端口使用该目录", "",
    ),
    "port": Text("port", "ok", "{where} is free", "", "{where} 空闲", ""),
    "sandbox": Text(
        "sandbox", "ok", "programs of models run in {name}, without network", "",
        "模型写的程序在 {name} 中运行，没有网络", "",
    ),
    "sandbox_missing": Text(
        "sandbox", "warning", "model_programs is set, and no sandbox works: {tried}",
        "Install bubblewrap and allow user namespaces; until then the score `code` fails.",
        "已设置 model_programs，但没有可用的沙箱：{tried}",
        "请安装 bubblewrap 并允许用户命名空间；在此之前 `code` 评分会失败。",
    ),
}  # fmt: skip
