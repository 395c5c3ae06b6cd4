"""Chinese texts of errors by code: message and hint. `{name}` is a detail of the error.

A test finds every code that the server and the API raise and asks for its text here.
"""

from __future__ import annotations

from typing import Final

from tunesmith.api.forms_zh import FORMS

TEXTS: Final[dict[str, tuple[str, str]]] = {
    "not_found": ("没有找到所请求的内容。", "请检查名称或 ID；列表显示您可以查看的全部内容。"),
    "conflict": ("当前状态不允许此操作。", "请刷新后查看其当前状态。"),
    "illegal_transition": (
        "任务当前状态为 {status}，不能执行此操作。",
        "请查看任务的当前状态；任务详情列出可执行的操作。",
    ),
    "job_finished": ("任务已结束（{status}），不会再改变。", "请克隆或重试，生成新的任务。"),
    "stale_attempt": (
        "该任务的这次尝试已经失效（任务当前状态为 {status}），未做任何更改。",
        "请结束旧尝试的进程。",
    ),
    "events_missing": (
        "第 {attempt} 次尝试的事件不连续，未记录任何内容。",
        "请按文件顺序从 `offset` 起发送事件。",
    ),
    "bad_name": (
        "“{name}”不能作为数据集名称，未做任何更改。",
        "可使用文字和数字，中间可用“-”“_”“.”，最多 100 个字符。",
    ),
    "unknown_format": (
        "{file}：无法判断哪些列是问题和回答。列为：{columns}。",
        "请在上传表单中指定列，或使用 prompt_field 和 response_field。",
    ),
    "idempotency_key_reused": (
        "这个 Idempotency-Key 已用于另一个请求，未提交任何内容。",
        "新任务请使用新的键。",
    ),
    "exceeded_quota": ("已达到您的配额上限。", "请删除不需要的内容，或联系管理员。"),
    "evaluation_not_found": ("没有评测 {id}。", "评测列表显示您可以查看的全部评测。"),
    "model_programs_not_allowed": (
        "`code` 评分会运行模型写的程序，管理员尚未允许，未开始评估。",
        "请联系管理员开启 model_programs，或去掉该评分。",
    ),
    "evaluation_running": (
        "评测 {id} 正在进行，未删除任何内容。",
        "请先取消其后台任务 {task_id}。",
    ),
    "evaluation_unfinished": (
        "评测 {id} 还没有结果：后台任务状态为 {status}。",
        "GET /api/v1/tasks/ID 显示其进度或失败原因。",
    ),
    "not_trained_here": (
        "{model} 不是由本平台的任务训练得到的，因此不知道它的训练行。",
        "请选择在这里训练、且任务仍然存在的模型的评测。",
    ),
    "changed_and_removed": (
        "第 {row} 行同时被修改和删除。",
        "请只在 `changes` 或 `removals` 之一中列出该行。",
    ),
    "not_learned_from": (
        "任务 {name} 没有使用数据集 {id} 训练。",
        "请修改查找结果中列出的数据集的行。",
    ),
    "nothing_newer": (
        "没有任何修改，训练所用的数据也没有更新的版本。",
        "请修改或删除查找结果中列出的行。",
    ),
    "changes_nothing": (
        "对数据集 {name} 的修改与原有内容相同。",
        "请修改文本，或不要列出这一行。",
    ),
    "reward_model_writes_nothing": (
        "{model} 是奖励模型：它给回答打分，不会写回答。",
        "请在偏好数据上评估它，或在 grpo 训练中把它用作奖励。",
    ),
    "attention_not_served": (
        "{model} 的各层在文本之外还关注学习的向量（adapter tuning），不支持提供服务。",
        "请用 `tunesmith chat` 提问，或改用 adapter.kind: lora 训练。",
    ),
    "no_base_to_compare": (
        "{model} 没有基础模型，无从比较。",
        "请指定 base，或将 compares 设为 false。",
    ),
    "rows_unclear": (
        "测试行应来自数据集或带有测试行的任务，二者选一。",
        "请只填写 dataset 或 job_id。",
    ),
    "no_test_rows": (
        "任务 {name} 没有留出测试行。",
        "请指定数据集，或在配方中设置 data.test 后训练。",
    ),
    "gate_closed": (
        "模型 {name} 未通过评测：{evaluation_id} 的结论为 {verdict}，不能部署。",
        "请查看评测报告；项目管理员可以强制部署。",
    ),
    "deployment_not_found": ("没有部署 {id}。", "部署列表显示您可以使用的全部部署。"),
    "deployment_not_ready": (
        "模型目前不能回答。",
        "部署列表显示其状态；请稍后再试，或启动该部署。",
    ),
    "deployment_starting": (
        "模型正在启动，所需时间超过了一次请求的等待时间。",
        "请稍后再问；部署列表显示其状态。",
    ),
    "deployment_stopped": ("部署 {name} 已停止，且不会自动启动。", "请启动它，或允许它自动启动。"),
    "deployment_lost": ("回答问题的进程已中断，正在重新启动。", "请稍后再问。"),
    "model_is_preset": ("{name} 是预置模型，没有可删除的内容。", "只能删除导入的模型和训练结果。"),
    "model_deployed": ("模型正在部署中，未删除任何内容。", "请先停止其部署。"),
    "database_unavailable": (
        "数据库被锁定或无法连接；未做任何更改，正在运行的任务不受影响。",
        "请几秒后重试。",
    ),
    "database_refused": (
        "此版本的程序不能使用该数据库。",
        "请按服务器日志中的提示处理，或联系管理员。",
    ),
    "wrong_revision": (
        "数据库版本与程序不一致。",
        "请先启动一次本版本的 `tunesmith serve` 进行升级。",
    ),
    "unknown_revision": (
        "数据库版本 {revision} 比本程序新，未做任何更改。",
        "请启动较新的版本，或恢复备份。",
    ),
    "data_directory_in_use": (
        "{host} 上的进程 {pid} 自 {since} 起正在使用数据目录 {path}，未受影响。",
        "请使用那个服务器，或用 --data-dir 选择其他目录。",
    ),
    "other_installation": (
        "数据目录 {path} 与数据库不属于同一个安装，未启动任何内容，也未做任何更改。",
        "请用 --data-dir 与 --database（或相应的环境变量）指定属于同一安装的目录和数据库。",
    ),
    "data_directory_read_only": (
        "数据目录自 {since} 起只读；已保存的内容完好，读取照常，任务等待。",
        "请使其可写，之后会自动继续。",
    ),
    "invalid_settings": ("设置有误，未启动任何内容。", "请修正后重新启动。"),
    "storage_full": (
        "磁盘已满，本次更改未保存；已保存的内容完好，正在运行的任务不受影响。",
        "请释放空间后重试。",
    ),
    "storage_refused": (
        "数据目录不可写，更改未保存。",
        "请使数据目录可写；读取不受影响，已保存的内容完好。",
    ),
    "invalid_token": ("令牌无效。", "请使用 Authorization: Bearer 令牌，或重新登录。"),
    "no_token": ("请求没有携带令牌。", "请使用 Authorization: Bearer 令牌，或登录。"),
    "token_revoked": ("令牌已被吊销。", "请重新登录，或生成新的令牌。"),
    "token_expired": ("令牌已过期。", "请重新登录，或生成新的令牌。"),
    "user_disabled": ("该用户已被停用。", "请联系管理员重新启用。"),
    "wrong_password": ("用户名或密码错误。", "请检查大小写和输入法；忘记密码请联系管理员重设。"),
    "permission_denied": ("没有权限执行此操作。", "请联系项目管理员。"),
    "role_too_low": (
        "此操作需要在项目 {project_id} 中的角色 {needed}，您的角色是 {has}。",
        "请联系项目管理员。",
    ),
    "admins_only": ("只有本系统的管理员可以执行此操作。", "请联系管理员，或以管理员身份登录。"),
    "scope_missing": ("令牌没有权限范围 {scope}。", "请生成带有该权限范围的令牌。"),
    "rate_limited": ("请求过于频繁。", "请在 {retry_after} 秒后重试。"),
    "sign_in_paused": (
        "登录失败次数过多，{retry_after} 秒后才能再试。",
        "请稍候，或请管理员重设密码。已有的令牌不受影响。",
    ),
    "too_large": ("发送的内容超过 {limit} 字节的上限，未保留任何内容。", "请拆分后发送。"),
    "body_too_large": ("请求体超过 {limit} 字节的上限，未保存任何内容。", "请以文件形式发送数据。"),
    "host_not_allowed": ("不接受对主机 {host} 的请求。", "请将其加入 TUNESMITH_ALLOWED_HOSTS。"),
    "origin_not_allowed": ("带 Cookie 的修改请求必须来自本站页面。", "程序请使用令牌。"),
    "body_too_deep": ("请求体嵌套过深，无法读取。", "请减少列表和对象的层数；未做任何更改。"),
    "body_not_utf8": ("请求体不是 UTF-8 文本。", "请发送 UTF-8 编码的 JSON；未做任何更改。"),
    "no_such_route": ("没有地址 {path}。", "地址列表见 /api/v1/openapi.json。"),
    "method_not_allowed": (
        "地址 {path} 不支持请求方法 {method}。",
        "支持的方法见 /api/v1/openapi.json。",
    ),
    "server_error": ("服务器发生了意外错误。", "请把请求编号告知管理员；服务器日志中有详细记录。"),
    "project_not_found": ("没有项目 {id}，或您不在该项目中。", "项目列表显示您所在的全部项目。"),
    "user_not_found": ("没有用户 {id}。", "请检查用户 ID；管理员可以查看用户列表。"),
    "member_not_found": ("用户 {id} 不在该项目中。", "请先将该用户加入项目。"),
    "token_not_found": ("没有令牌 {id}。", "令牌列表显示您的全部令牌。"),
    "name_taken": ("名称 {name} 已被使用，未做任何更改。", "请换一个名称。"),
    "email_taken": ("邮箱 {name} 已属于其他用户，未做任何更改。", "请使用其他邮箱。"),
    "last_admin": ("这是最后一位管理员，未做任何更改。", "请先指定另一位管理员。"),
    "password_too_short": ("密码至少需要 {shortest} 个字符，未做任何更改。", "请使用更长的密码。"),
    "task_not_found": ("没有后台任务 {id}。", "任务列表显示您的全部后台任务。"),
    "task_died": (
        "该后台任务的进程意外结束（{cause}，共尝试 {tries} 次），未保留任何内容。",
        "原因可查看服务器日志，也可能是内存不足。",
    ),
    "task_stuck": (
        "该后台任务卡在同一步超过 {cause}，已被结束（共尝试 {tries} 次），未保留任何内容。",
        "请检查是否有回溯过多的正则表达式，或某一行数据过大。",
    ),
    "task_ended_by_force": (
        "任务已取消；其进程没有自行结束，已被强制结束，未保留任何内容。",
        "无需处理；如有需要请重新提交。",
    ),
    "validation_died": (
        "无法检查该任务的文件：检查进程 {tries} 次意外结束。文件已保留。",
        "请重新提交任务；如再次失败请联系管理员。",
    ),
    "task_finished": ("后台任务已经结束（{status}）。", "其结果可在后台任务中查看。"),
    "job_not_found": ("没有任务 {id}。", "任务列表显示您可以查看的全部任务。"),
    "dataset_version_not_found": (
        "没有数据集版本 {id}，未提交任何内容。",
        "数据集页面列出其各个版本。",
    ),
    "worker_not_found": ("没有这个工作进程。", "请重新注册。"),
    "no_step_yet": (
        "任务还没有完成第一步，没有可保存的内容。",
        "请在第一步之后暂停，或取消任务。",
    ),
    "being_cancelled": ("任务正在取消。", "请等待取消完成。"),
    "not_queued": (
        "任务当前状态为 {status}；只有排队中的任务可以调整顺序。",
        "请改用优先级，或等待任务重新排队。",
    ),
    "gone": ("所请求的内容已不存在。", "请重新创建，或使用其他内容。"),
    "locked": ("另一个请求正在修改它，本请求未做任何更改。", "请稍后重试。"),
    "checksum_mismatch": ("收到的内容与声明的校验和不符，已丢弃。", "请重新发送。"),
    "unknown_protocol": ("请求使用的协议版本不受支持。", "请使用文档中的协议版本。"),
    "unsupported_media_type": ("该地址不接受这种类型的请求体。", "请检查 Content-Type。"),
    "exceeded_storage_quota": (
        "存储配额不足（需要 {wanted} 字节，剩余 {left} 字节），未保存任何内容。",
        "请删除不需要的文件、数据集、检查点或模型，或联系管理员。",
    ),
    "too_many_uploads": (
        "未完成的上传太多，未开始新的上传。",
        "请完成或结束其中一些；未完成的上传到期后会自动结束。",
    ),
    "disk_full": (
        "磁盘已满，未保存本次内容；之前保存的内容完好。",
        "请删除不需要的文件、数据集或模型，或通知管理员。",
    ),
    "file_too_large": (
        "文件超过 {limit} 字节的上限，未保存任何内容。",
        "512 MB 以内的文件可一次发送，更大的请使用 /uploads。",
    ),
    "file_not_found": ("没有文件 {id}。", "文件列表显示您可以使用的全部文件。"),
    "file_bytes_missing": (
        "数据目录中缺少文件 {id} 的内容。",
        "请从备份恢复，或删除该文件后重新上传。",
    ),
    "invalid_form": (
        "无法读取表单（{reason}），未保存任何内容。",
        "请发送 multipart/form-data，其中包含一个文件。",
    ),
    "bad_header": (
        "请求头 {param} 的内容无效，应为 {wanted}；未做任何更改。",
        "请修正该请求头后重新发送。",
    ),
    "unknown_tus_version": (
        "该地址使用 tus 1.0.0，而请求没有声明它。",
        "请发送请求头 Tus-Resumable: 1.0.0。",
    ),
    "not_offset_octets": (
        "上传的内容须为 application/offset+octet-stream，未接收任何内容。",
        "请设置 Content-Type: application/offset+octet-stream。",
    ),
    "upload_not_found": ("没有上传 {id}。", "请开始新的上传。"),
    "upload_locked": (
        "另一个请求正在向该上传发送内容，本请求的内容未被接收。",
        "请等待其结束，查询偏移量后继续。",
    ),
    "upload_offset_conflict": (
        "偏移量不符：该上传已有 {offset} 字节，本请求的内容未被接收。",
        "请用 HEAD 查询偏移量，从那里继续。",
    ),
    "upload_too_long": (
        "收到的内容超过声明的 {limit} 字节，超出部分未被接收。",
        "请按文件的实际大小开始上传。",
    ),
    "upload_completed": ("该上传已完成，未添加内容。", "它的文件是 {file_id}。"),
    "upload_cancelled": ("该上传已取消，内容已丢弃。", "请开始新的上传。"),
    "upload_expired": ("该上传已过期，内容已丢弃。", "请开始新的上传。"),
    "upload_size_mismatch": (
        "各部分共 {actual} 字节，而声明的是 {expected} 字节；上传仍可继续。",
        "请补充缺少的部分，或取消后重新开始。",
    ),
    "invalid_part_ids": ("部分列表有误；上传仍可继续。", "请按文件顺序列出每个部分各一次。"),
    "dataset_not_found": ("没有数据集 {id}。", "数据集列表显示您可以使用的全部数据集。"),
    "version_not_found": ("数据集 {name} 没有版本 {version}。", "现有版本：{there}。"),
    "dataset_locked": ("该数据集正在进行另一项修改，本次修改未执行。", "请稍后重试。"),
    "dataset_changed": (
        "数据集已更新到版本 {newest}，而本次修改针对版本 {base}；未做任何更改。",
        "请查看最新版本，再在其上修改。",
    ),
    "dataset_in_use": (
        "数据集 {name} 正被使用：任务 {jobs}，模型 {models}。未删除任何内容。",
        "请先取消这些任务或删除这些模型。",
    ),
    "dataset_too_large": (
        "文件总大小超过 {limit} 字节的上限。",
        "请拆成多个数据集，在配方中混合；或只选择部分文件。",
    ),
    "version_broken": ("{name} 无法读取。", "请使用其他版本，或重新导入数据。"),
    "no_rows_yet": ("数据集 {name} 还没有数据。", "请先导入文件。"),
    "report_not_found": ("数据集 {name} 的版本 {version} 还没有该报告。", "请先进行检查或统计。"),
    "unknown_row": (
        "该版本没有行 {rows}，未做任何更改。",
        "行按编号指明，编号在各版本中保持不变。",
    ),
    "unknown_column": ("没有列 “{column}”。", "现有的列：{columns}。"),
    "unknown_field": (
        "不能修改行的 “{field}”。",
        "可修改：question、answer、system、text、record，以及其他列。",
    ),
    "too_many_to_sort": (
        "该版本有 {rows} 行；最多可对 {most} 行排序。",
        "请先筛选成单独的数据集，或按原有顺序查看。",
    ),
    "bad_condition": ("条件 `{source}` 无法使用。", "可用的列和函数见数据文档。"),
    "pattern_not_allowed": (
        "查看数据时不能使用正则表达式。",
        "请使用 contains、startswith 或 endswith；修改数据集时可以使用 matches。",
    ),
    "bad_mapping": ("列的对应关系有误，{field}：{told}。", "请修正该项后重试；未开始导入。"),
    "encoding_not_named": ("自动猜测编码需要读取整个文件；请在此指明编码。", "例如 gb18030。"),
    "unknown_file_type": (
        "无法读取 {name} 这种类型的文件，未开始导入。",
        "支持 csv、json、jsonl、ndjson、parquet、tsv、txt、xls、xlsx；文本可压缩为 .gz 或 .zst。",
    ),
    "md5_mismatch": (
        "合并后的 MD5 是 {actual}，而不是 {expected}；未生成文件，上传仍可继续。",
        "请检查各部分的顺序，或取消后重新开始。",
    ),
    "sha256_mismatch": (
        "收到内容的 SHA-256 是 {actual}，而不是声明的 {expected}，已丢弃。",
        "请核对文件后重新发送。",
    ),
    "piece_checksum_mismatch": (
        "从 {offset} 开始的内容与声明的校验和不符，已丢弃；之前的内容已保留。",
        "请从同一偏移量重新发送。",
    ),
    "unknown_name": ("找不到所写的名称。", "请检查名称；列表显示您可以使用的全部内容。"),
    "unknown_flavour": ("没有名为 {name} 的算力规格，未提交任何内容。", "可用规格见规格列表。"),
    "flavour_size": (
        "规格 {name} 有 {has} 个设备，与所填的设备数不一致。",
        "请去掉其中一项，或选择相应大小的规格。",
    ),
    "no_such_size": (
        "没有 {num_devices} 个设备的算力规格（设备类型：{device}），未提交任何内容。",
        "可用的设备数：{sizes}。",
    ),
    "idle_devices": (
        "{num_devices} 个设备对该任务过多：一步的数据只够 {most} 个设备使用，未提交任何内容。",
        "请最多选择 {most} 个设备，或增大 training.batch_size、增加数据。",
    ),
    "too_many_devices": (
        "没有工作节点拥有 {num_devices} 个合适的设备（最大的有 {most} 个），未提交任何内容。",
        "请减少设备数，或添加更大的工作节点。",
    ),
    "flavour_unavailable": (
        "规格 {name} 暂不可用：{reason}",
        "请选择其他规格，或不指定规格，使用最先空闲的设备。",
    ),
    "insufficient_credit": (
        "账户欠费或余额不足以支付该任务：余额 {credit_cents} 分，"
        "任务每小时 {price_cents_per_hour} 分；"
        "未开始训练。",
        "请充值；余额用尽时任务可能中断。计费规则：{billing_url}",
    ),
    "unknown_parameter": (
        "没有名为 {param} 的查询参数；未查询也未改动任何内容。",
        "可用的参数：{known}。",
    ),
    "unknown_series": ("没有曲线 {name}。", "该任务的曲线：{known}。"),
    "bad_cursor": (
        "after 的值不是此列表中条目的编号。",
        "请填写上一页最后一个条目的编号（以 {prefix} 开头），或不填 after。",
    ),
    "too_many_streams": ("打开的事件流过多。", "请关闭一些；一个页面只需要一个总事件流。"),
    "bad_event_id": ("Last-Event-ID 不是事件编号。", "请填写已收到的最后一个事件的编号，或不填。"),
    "no_log": ("任务 {id} 还没有日志。", "任务开始运行后才会有日志。"),
    "checkpoint_not_found": ("没有检查点 {id}。", "任务的检查点列表显示现有的检查点。"),
    "checkpoint_deleted": (
        "第 {step} 步的检查点已被删除。",
        "任务只保留最新和最好的检查点；可增大 training.checkpoint.keep。",
    ),
    "checkpoint_is_model": (
        "第 {step} 步的检查点已经是模型 {name}（{model_id}），未做任何更改。",
        "请直接使用该模型，或先将其删除：检查点的文件会保留。",
    ),
    "fixed_in_branch": (
        "分支任务不能修改 {field}：权重来自该检查点。",
        "如需其他权重，请克隆任务重新开始。",
    ),
    "job_active": ("任务当前状态为 {status}；只能删除已结束或已暂停的任务。", "请先取消任务。"),
    "not_finished": ("任务当前状态为 {status}，尚不能重试。", "请等待其结束，或克隆该任务。"),
    "address_not_allowed": (
        "策略不允许该地址（规则 {rule}），未发送任何内容。",
        "请使用公网 https 地址；管理员可用 TUNESMITH_ALLOWED_NETWORKS 放行网络。",
    ),
    "address_failed": ("该地址没有正常响应（{reason}）。", "请检查地址，以及服务器能否访问它。"),
    "bad_notice_address": (
        "{param} 不符合该通知渠道的格式，未保存任何内容。",
        "请填写邮箱、带国家代码的电话号码，或该产品给出的机器人地址。",
    ),
    "unknown_channel": (
        "没有通知渠道 {channel}，未保存任何内容。",
        "可用渠道：mail、sms、wecom、dingtalk、feishu、slack、webhook。",
    ),
    "channel_not_set_up": (
        "本系统没有为 {channel} 配置网关，未保存任何内容。",
        "请管理员设置 TUNESMITH_MAIL_URL 或 TUNESMITH_SMS_URL。",
    ),
    "unknown_event": ("没有事件 {event}，未保存任何内容。", "可用事件：{events}。"),
    "unknown_language": ("通知没有语言 {language}，未保存任何内容。", "可用语言：en、zh。"),
    "subscription_not_found": ("没有订阅 {id}。", "订阅列表显示项目的全部订阅。"),
    "seal_broken": (
        "无法读取通知地址或密钥：它是用另一个密钥加密的。",
        "请在 TUNESMITH_SECRET_KEY 中补上旧密钥、恢复 `secret` 文件，或重新填写地址。",
    ),
    "subscription_disabled": ("该订阅已停用，未发送任何内容。", "请先重新启用。"),
    "not_a_webhook": ("渠道 {channel} 没有可更换的签名密钥。", "只有 webhook 订阅有签名密钥。"),
    "too_many_subscriptions": ("项目的订阅已达上限 {limit} 个。", "请删除不再需要的订阅。"),
    # rows of datasets
    "nothing_left": ("这样会删去全部数据，没有生成新版本。", "请放宽条件。"),
    "column_missing": ("数据中没有列 {column}。", "现有的列：{columns}。"),
    "too_few_labels": (
        "列 {column} 标为好的有 {good} 行，标为差的有 {bad} 行；训练分类器每类至少需要 {least"
        "} 行。",
        "请标注更多行：好的填 true，差的填 false。",
    ),
    "bad_label": (
        "第 {row} 行：{column} 的值 {value} 无法识别。",
        "好的填 true、1、yes，差的填 false、0、no。",
    ),
    "hub_dataset_without_data": (
        "数据集 {name} 中没有符合条件的数据文件。",
        "请用 files 指明文件；数据集的加载脚本不会运行。",
    ),
    "dataset_info_missing": (
        "文件中没有 dataset_info.json。",
        "请与数据文件一起上传，或打包为一个 zip。",
    ),
    "too_many_datasets": ("一次最多导入 {limit} 个数据集。", "请用 only 选择其中一部分。"),
    "archive_too_large": (
        "压缩包 {name} 解压后超过上限 {limit}，未导入任何内容。",
        "请直接上传数据文件，或分成多个压缩包。",
    ),
    "archive_unsafe_name": (
        "压缩包 {name} 中的文件名指向压缩包之外，未导入任何内容。",
        "请用相对路径重新打包。",
    ),
    "archive_without_data": (
        "压缩包 {name} 中没有可用的数据文件。",
        "支持 csv、json、jsonl、ndjson、parquet、tsv、txt、xls、xlsx。",
    ),
    "archive_damaged": ("压缩包 {name} 无法解压，可能已损坏或不完整。", "请重新打包后上传。"),
    "archive_encrypted": ("压缩包 {name} 设有密码，未导入任何内容。", "请不带密码重新打包。"),
    "archive_not_shown": ("该压缩包只能在导入时解压，无法提前预览。", "请直接导入。"),
    # models
    "model_not_found.named": ("没有模型 {id}。", "模型列表中列出了您可以使用的全部模型。"),
    "model_not_found": ("没有所请求的模型。", "模型列表中列出了您可以使用的全部模型。"),
    "model_in_use": (
        "模型 {name} 仍被 {users} 使用，未删除任何内容。",
        "请先等待或取消相关任务，并删除依赖它的模型。",
    ),
    "model_not_trainable": (
        "{name} 不能在此训练。",
        "模型列表中标有可训练的模型；请选择其中之一。",
    ),
    "not_a_default": ("{param} 不是模型可以推荐的参数，未做任何更改。", "可填写的字段：{fields}。"),
    "hub_not_allowed": ("模型 {name} 尚未导入，本平台的任务不会自行下载模型。", "请先导入该模型。"),
    "model_files_gone": ("模型 {name} 的文件已不存在。", "请重新导入或重新训练。"),
    "model_file_not_found": ("模型 {model} 没有文件 {path}。", "模型的文件列表显示全部文件。"),
    "model_file_not_text": ("{path} 不是文本，无法预览。", "请下载后查看。"),
    "model_not_causal": (
        "拒绝导入：{architecture} 不是自左向右生成文本的语言模型。",
        "请选择 config.json 中架构名以 ForCausalLM 结尾的模型。",
    ),
    "import_folder_not_found": (
        "没有可导入的目录 {name}。",
        "请将其放入数据目录的 import 文件夹，或 TUNESMITH_IMPORT_ROOTS 所列的目录之下；目录列"
        "表显示已有的目录。",
    ),
    "import_running": ("{name} 正在导入中。", "请等待该任务完成。"),
    "not_a_hub_id": (
        "{name} 不是仓库的 ID。",
        "ID 的格式如 Qwen/Qwen3-0.6B（模型）或 someone/questions（数据集）。",
    ),
    "not_a_github_name": (
        "{name} 不是 GitHub 上的仓库。",
        "请写成 所有者/仓库，或 所有者/仓库/目录。",
    ),
    "github_not_found": (
        "GitHub 上没有 {name} 的标签、分支或提交 {revision}，或该仓库是私有的。",
        "请检查拼写；私有仓库需由管理员设置 TUNESMITH_GITHUB_TOKEN。",
    ),
    "github_unreachable": (
        "GitHub 没有正常响应，{name} 未下载完；已下载的内容已保留。",
        "请检查服务器的网络，然后重新导入，将从中断处继续。",
    ),
    "github_refused": (
        "GitHub 拒绝了请求（状态码 {status}）；已下载的内容已保留。",
        "没有令牌时每小时只能请求 60 次：请稍后再试，或由管理员设置 TUNESMITH_GITHUB_TOKEN。",
    ),
    "github_without_model": (
        "{name} 在 {revision} 处没有 config.json 和 model.safetensors（发布附件和文件中都没有），"
        "未下载任何内容。",
        "请用 revision 写明标签；模型在目录中时请写 所有者/仓库/目录。",
    ),
    "github_too_many_files": (
        "{name} 的模型文件超过 {limit} 个，未下载任何内容。",
        "请写明单个模型的目录：所有者/仓库/目录。",
    ),
    "model_is_lfs_pointer": (
        "拒绝导入：{file} 是 Git LFS 的指针，而不是文件本身。",
        "请将文件附到一个发布（release）并写明其标签，或从 Hugging Face、ModelScope 导入，"
        "或用 `git lfs pull` 取得文件后从目录导入。",
    ),
    "download_damaged": (
        "{name} 的 {file} 下载后校验和不符，已删除。",
        "请重新导入；其他文件已保留。",
    ),
    "adapter_base_unknown": (
        "该适配器是在 {base} 上训练的，而此平台上没有该模型。",
        "请先导入基座模型，或用 base 指定它。",
    ),
    "model_is_pickle": (
        "拒绝导入：{file} 是 pickle 文件，加载它会执行其中的代码。",
        "请改用 safetensors 格式的版本。",
    ),
    "model_has_code": (
        "拒绝导入：{file} 要求运行模型自带的代码。",
        "请选择无需自带代码的版本（名称常以 -hf 结尾）；管理员可按仓库和提交号放行。",
    ),
    "unknown_score": ("没有评分 {score}。", "可用的评分：{known}。"),
    "model_file_broken": (
        "拒绝导入：{file} 不是完好的 safetensors 文件。",
        "请重新下载或复制；来源不明时请勿使用。",
    ),
    "model_file_odd": ("拒绝导入：{file} 是管道、套接字或设备文件。", "模型目录中只能有普通文件。"),
    "model_link_leaves_folder": ("拒绝导入：{file} 指向模型目录之外。", "请用文件副本替换该链接。"),
    "chat_template_refused": (
        "拒绝导入：{file} 中的对话模板不安全。",
        "请换用官方仓库中的模板，或删去它并在 data.chat_template 中指定内置模板。",
    ),
    "tokenizer_mismatch": (
        "分词器与模型不匹配：分词器 {tokenizer_size} 个 Token，模型词表 {model_vocabulary} 行。",
        "请使用该模型自己的分词器文件。",
    ),
    "tokenizer_broken": ("分词器文件 {file} 已损坏。", "请重新下载或复制该文件。"),
    "hub_unreachable": (
        "无法连接模型仓库，只能使用本地模型。",
        "恢复网络后重新导入，将从中断处继续。",
    ),
    "model_gated": ("该模型需要先在其页面上接受许可协议。", "接受后请设置 HF_TOKEN。"),
    "modelscope_missing": ("服务器未安装 modelscope。", "请联系管理员安装。"),
    # sign-in at an identity provider
    "oidc_off": ("本平台未配置 OIDC 登录。", "请使用用户名和密码登录。"),
    "oidc_unreachable": (
        "无法使用身份提供方。",
        "请稍后重试；管理员可检查 TUNESMITH_OIDC_ISSUER。",
    ),
    "oidc_domain_not_allowed": ("只有特定域名且已验证的邮箱可以登录本平台。", "请联系管理员。"),
    "oidc_no_user": ("您在本平台还没有账号。", "请联系管理员为您创建。"),
    # the OpenAI API
    "not_offered": ("此版本不提供 {path}。", "支持的地址见 /v1/openapi.json 和文档。"),
    "invalid_query": (
        "查询参数 {param} 无法使用。",
        "每个参数只写一次：name=value、name[key]=value 或 name[]=value；metadata 须写成 metad"
        "ata[key]=value 或 metadata=null。",
    ),
    "hyperparameters_given_twice": (
        "hyperparameters 与 method 不能同时填写，未提交任何内容。",
        "请只写在 method.{method}.hyperparameters 中。",
    ),
    "wrong_purpose": (
        "文件 {id} 上传时的用途是 {purpose}，不是 fine-tune。",
        "请以 fine-tune 用途重新上传。",
    ),
    "file_of_other_project": (
        "两个文件属于不同的项目，未提交任何内容。",
        "请将验证文件重新上传到训练文件所在的项目。",
    ),
    "data_given_twice": (
        "data.train 就是训练文件，未提交任何内容。",
        "要混合的其他数据集请写在 `datasets` 中。",
    ),
    "model_given_twice": ("基座模型填写了两次，未提交任何内容。", "请只写在 `model` 中。"),
    "files_not_accepted": (
        "任务在文件通过检查之前就已结束，重试也会被拒绝。",
        "请修改文件后重新上传，并提交新任务。",
    ),
    "task_of_job": ("该后台任务属于任务 {job_id}，不能单独取消。", "请取消该任务。"),
    "permission_not_found": ("该检查点没有权限 {id}。", "请查看该检查点的权限列表。"),
    "invalid_n_examples": (
        "{param} 只有 {rows} 条数据，至少需要 {least} 条。",
        "请增加数据后重新上传。",
    ),
    "exceeded_quota.storage": (
        "您保存的文件超出上限 {above} 字节。",
        "请删除不需要的文件、检查点或模型。",
    ),
    "exceeded_quota.device_hours": (
        "您最近 30 天的设备时长已用完。",
        "请等待，或向管理员申请更多时长。",
    ),
    "unreadable_body": (
        "无法读取请求体：内容与其 Content-Type 不符。",
        "请发送 JSON，并设置 Content-Type: application/json。",
    ),
    "job_not_found.queue": (
        "任务 {id} 不在同一队列中以相同的优先级等待。",
        "请填写同一队列中以相同优先级等待的任务。",
    ),
    "no_such_route.openai": ("没有地址 {path}。", "地址列表见 /v1/openapi.json。"),
    "method_not_allowed.openai": (
        "{path} 不接受 {method} 方法。",
        "各地址接受的方法见 /v1/openapi.json。",
    ),
    "unknown_event.after": (
        "{event} 不是该任务的事件。",
        "请填写上一页最后一个事件的 ID。",
    ),
    **FORMS,
}
