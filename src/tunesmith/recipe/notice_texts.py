"""What to know about a recipe that is accepted, by code, in both languages: message and hint.

    notice("many_epochs", "training.epochs", value="20", most=10)

The same design as `problem_texts.py`: both languages name the same values, and `field` is where.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tunesmith.recipe.words import Text

TEXTS: Final[Mapping[str, Text]] = {
    "high_rate_small_data": Text(
        "training.learning_rate is {rate}, and there are only {rows}: the model may learn them by "
        "heart.",
        "Try training.learning_rate: {safer}.",
        "training.learning_rate 为 {rate}，而数据只有{rows}：模型可能会死记硬背。",
        "建议 training.learning_rate: {safer}。",
    ),
    "context_shorter": Text(
        "data.max_length is {length}, but the model reads {context} tokens at once: longer rows "
        "count as too long.",
        "Write data.max_length: {context} or less, or model.rope_scaling.",
        "data.max_length 为 {length}，而模型一次最多读取 {context} 个 token：更长的数据按超长"
        "处理。",
        "请将 data.max_length 设为不超过 {context}，或设置 model.rope_scaling。",
    ),
    "length_below_every_row": Text(
        "data.max_length is {length}, and the shortest row has {shortest} tokens: every row is "
        "cut.",
        "Raise data.max_length to {shortest} or more.",
        "data.max_length 为 {length}，而最短的一条数据有 {shortest} 个 token：每条都会被截断。",
        "请将 data.max_length 增大到 {shortest} 以上。",
    ),
    "remote_code": Text(
        "model.trust_remote_code is on: code that comes with {base} may do anything on this "
        "machine.",
        "Pin model.revision to a commit that you have read.",
        "model.trust_remote_code 已开启：{base} 自带的代码可以在该机器上做任何事。",
        "请将 model.revision 固定为您审阅过的提交号。",
    ),
    "many_epochs": Text(
        "training.epochs is {epochs}: above {most}, models recite their data more than they "
        "understand it.",
        "Judge by the loss: 0.7 to 1.4 is a good end.",
        "training.epochs 为 {epochs}：超过 {most} 轮后，模型更多是背诵，而不是理解数据。",
        "请以损失判断：0.7 到 1.4 是较好的终点。",
    ),
    "zero_rate": Text(
        "training.learning_rate is 0: the weights will not change.",
        "1e-4 is usual for LoRA, 1e-5 to 5e-5 for full tuning.",
        "学习率（training.learning_rate）为 0：权重不会改变。",
        "LoRA 常用 1e-4，全量微调常用 1e-5 到 5e-5。",
    ),
    "validation_off": Text(
        "data.validation is none: nobody will see whether the model overfits, and the result is "
        "the last step, not the best one.",
        "Write data.validation: {{kind: split, fraction: 0.1}}.",
        "没有验证集（data.validation 为 none）：无法发现过拟合，结果取最后一步而不是最好的一步。",
        "建议写 data.validation: {{kind: split, fraction: 0.1}}。",
    ),
    "value_not_used": Text(
        "{what} is not used: {because}.",
        "",
        "{what}不会生效：{because}。",
        "",
    ),
    "many_repeats": Text(
        "{field} is {rate}: each of its rows is seen so many times an epoch, and the training "
        "takes longer.",
        "1 to {most} is usual.",
        "{field} 为 {rate}：每条数据在一轮中会重复这么多次，训练时间更长。",
        "通常取 1 到 {most}。",
    ),
    "batch_size_recorded": Text(
        "batch_size is {product}: {rows} rows per device x {steps} accumulation x {devices}.",
        "",
        "batch_size 为 {product}：每卡 {rows} 条 × 累积 {steps} 步 × {devices}。",
        "",
    ),
    "packing": Text(
        "packing becomes training.batch_tokens: {tokens}, the tokens of a batch of full sequences. "
        "Rows never see each other.",
        "Rows of one update are packed anyway; without it the batch size stays exact.",
        "packing 换算为 training.batch_tokens: {tokens}，即一个批次填满时的 token 数；"
        "不同数据之间互不可见。",
        "一次更新内的数据总会打包；不写它则批量大小保持准确。",
    ),
    "learning_rate_recorded": Text(
        "learning_rate is {rate}: {multiplier} times the recommended one.",
        "",
        "learning_rate 为 {rate}：推荐值的 {multiplier} 倍。",
        "",
    ),
    "minimum_hardware": Text(
        "Minimum hardware of this preset: RAM of at least 32 GB, one V100 GPU, at least 24 GB of "
        "GPU memory.",
        "On less, lower data.max_length or training.micro_batch_tokens.",
        "该预设的最低硬件要求：内存不少于 32 GB，一块 V100 GPU，显存不少于 24 GB。",
        "不足时请减小 data.max_length 或 training.micro_batch_tokens。",
    ),
    "output_place": Text(
        "{field} is not used: the place of a run is not part of its recipe.",
        "Give it on the command line: --run {place}",
        "{field} 不会生效：训练目录不属于配方。",
        "请在命令行中给出：--run {place}",
    ),
    "task_type": Text(
        "{field} is not used: a recipe says how to train, whatever the task.",
        "Choose the method with adapter.kind.",
        "{field} 不会生效：配方只说明如何训练，与任务类型无关。",
        "请用 adapter.kind 选择训练方式。",
    ),
}
