"""Chinese texts of errors that have several forms: `code.form`, and `code` for any other."""

from __future__ import annotations

from typing import Final

FORMS: Final[dict[str, tuple[str, str]]] = {
    "deployment_failed": (
        "部署 {name} 已失败，不能回答。",
        "部署详情（ID {id}）中有失败的原因；处理后请重新启动。",
    ),
    "model_without_weights": (
        "模型没有 safetensors 权重。",
        "请下载完整的模型，或选择含 model.safetensors 的版本。",
    ),
    "model_without_weights.hub": (
        "模型仓库中的 {name} 没有 safetensors 权重，未下载任何内容。",
        "请选择含 model.safetensors 的模型。",
    ),
    "model_without_weights.folder": (
        "模型目录中没有权重文件 {file}。",
        "请下载完整的模型，或填写含有权重的目录。",
    ),
    "model_without_weights.incomplete": (
        "模型的 {total} 个权重文件缺少 {missing} 个：{files}。",
        "请重新下载模型，将从中断处继续。",
    ),
    "expands_too_far": ("文件解压后过大。", "请拆分文件。"),
    "expands_too_far.packed": (
        "文件解压后超过 {gib} GiB，是压缩文件的 {ratio} 倍。",
        "上限为 {most_gib} GiB 和 {most_ratio} 倍；请拆分文件。",
    ),
    "expands_too_far.parquet": (
        "Parquet 文件解压后为 {gib} GiB，上限为 {most_gib} GiB。",
        "请拆分文件。",
    ),
    "expands_too_far.sheet": (
        "电子表格过大，无法读取。",
        "请将工作表另存为 CSV，CSV 可以逐段读取。",
    ),
    "no_usable_rows": (
        "文件的 {rows} 行都无法使用，未导入任何内容。",
        "请检查列名、格式和编码；数据检查会列出每类问题及其行号。",
    ),
    "hub_dataset_not_found": (
        "未能从模型仓库获取数据集 {name}。",
        "请检查 ID、版本和网络（可用 HF_ENDPOINT 指定镜像）；私有数据集需在服务器上设置 HF_TOKEN。",
    ),
    "hub_dataset_not_found.model_not_found": (
        "仓库中没有数据集 {name} 或该版本，或者它是私有的。",
        "请检查 ID 和版本；私有数据集需在服务器上设置 HF_TOKEN。",
    ),
    "hub_dataset_not_found.model_gated": (
        "数据集 {name} 需要先接受其许可协议。",
        "请在仓库网站上接受协议，并在服务器上设置 HF_TOKEN。",
    ),
    "hub_dataset_not_found.hub_unreachable": (
        "无法访问仓库，未能获取数据集 {name}。",
        "请检查网络；可用 HF_ENDPOINT 指定镜像。",
    ),
    "download_failed.damaged": (
        "{name} 的文件 {file} 下载后已损坏（SHA-256 不符），已删除。",
        "请重新导入；其他文件已保留。",
    ),
    "tokenizer_not_found.late": (
        "{name} 的分词器在 {seconds} 秒内没有取得。",
        "请先导入该模型，或在模型仓库可访问时重试。",
    ),
    "invalid_validation_file.overlap": (
        "验证文件有误：其中 {count} 条样本也在训练文件中；第一处是验证文件的第 {first} 条，"
        "即训练文件的第 {there} 条。",
        "请从其中一个文件中删除这些样本，然后重新上传。",
    ),
    "bad_condition.name": (
        "条件 `{source}` 使用了名称 {name}，而第 {row} 行没有这个值。",
        '可用的名称：{names}；其他列请写作 col("列名")。',
    ),
    "bad_condition.long": (
        "条件 `{source}` 过长：最多 {most} 个字符。",
        '例如：answer_length > 20 and not contains(question, "test")',
    ),
    "bad_condition.syntax": (
        "条件 `{source}` 书写有误，无法读取。",
        '例如：answer_length > 20 and not contains(question, "test")',
    ),
    "bad_condition.part": (
        "条件 `{source}` 中不能使用 `{part}`。",
        '例如：answer_length > 20 and not contains(question, "test")',
    ),
    "bad_condition.function": (
        "条件 `{source}` 使用了不存在的函数 {function}；可用的函数：{known}。",
        '例如：answer_length > 20 and not contains(question, "test")',
    ),
    "bad_condition.takes": (
        "条件 `{source}` 有误：函数 {function} 需要 {takes} 个值。",
        '例如：answer_length > 20 and not contains(question, "test")',
    ),
    "bad_condition.pattern": (
        "条件 `{source}` 在第 {row} 行遇到有误的正则表达式。",
        '例如：answer_length > 20 and not contains(question, "test")',
    ),
    "bad_condition.row": (
        "条件 `{source}` 不适用于第 {row} 行：该行的值不能这样比较或计算。",
        '例如：answer_length > 20 and not contains(question, "test")',
    ),
    "oidc_refused": ("登录未成功。", "请从登录页重新开始。"),
    "oidc_refused.other_provider": (
        "登录未成功：应答来自另一个身份提供方。",
        "请从登录页重新开始。",
    ),
    "oidc_refused.said_no": ("登录未成功：身份提供方拒绝了登录。", "请从登录页重新开始。"),
    "oidc_refused.no_code": ("登录未成功：应答中没有授权码。", "请从登录页重新开始。"),
    "oidc_refused.no_id_token": (
        "登录未成功：身份提供方没有发送 id token。",
        "请从登录页重新开始；如果再次出现，请联系管理员。",
    ),
    "oidc_refused.code_not_accepted": (
        "登录未成功：授权码未被接受（{word}）。",
        "请从登录页重新开始。",
    ),
    "oidc_refused.id_token_not_valid": (
        "登录未成功：id token 无效（{word}）。",
        "请从登录页重新开始；如果再次出现，请联系管理员。",
    ),
    "oidc_refused.nobody": (
        "登录未成功：id token 中没有用户。",
        "请联系管理员检查身份提供方的设置。",
    ),
    "oidc_invalid": ("登录未完成。", "请从登录页重新开始。"),
    "oidc_invalid.not_begun": (
        "登录未完成：此浏览器没有开始登录，或时间过久。",
        "请从登录页重新开始。",
    ),
    "oidc_invalid.too_late": ("登录未完成：用时过长。", "请从登录页重新开始。"),
    "oidc_invalid.other_sign_in": ("登录未完成：应答属于另一次登录。", "请从登录页重新开始。"),
    "oidc_invalid.used_before": ("登录未完成：该应答已被使用过。", "请从登录页重新开始。"),
}
