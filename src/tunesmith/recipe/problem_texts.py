"""What can be wrong with a recipe, by code, in both languages: message and hint of each.

    "missing": Text("is missing.", "Write {example}.", "缺少该字段。", "请填写 {example}。")

The field and the line stand before a message. Both languages name the same values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Text(NamedTuple):
    """A message and its hint: English, Chinese."""

    en: str
    en_hint: str
    zh: str
    zh_hint: str

    def of(self, language: str) -> tuple[str, str]:
        """Message and hint in a language."""
        return (self.zh, self.zh_hint) if language == "zh" else (self.en, self.en_hint)


_KEEP_ONE: Final = ("Keep one of them.", "请只保留其中一个。")

TEXTS: Final[Mapping[str, Text]] = {
    # the text of a recipe
    "not_a_recipe": Text(
        "this is no recipe: it holds {what}, not fields.",
        "Write fields such as `model: starter`.",
        "这不是配方：内容是{what}，而不是字段。",
        "请写成字段，例如 `model: starter`。",
    ),
    "recipe_too_large": Text(
        "it is too long or too deeply nested for a recipe.",
        "A recipe has some dozen lines; remove what does not belong there.",
        "内容过长或嵌套过深，不是配方。",
        "配方通常只有几十行；请删去不属于配方的内容。",
    ),
    "recipe_too_deep": Text(
        "it is nested too deeply to be a recipe.",
        "Sections are two or three deep, such as training.schedule.kind.",
        "嵌套过深，不是配方。",
        "配方的层级最多两三层，例如 training.schedule.kind。",
    ),
    "too_many_values": Text(
        "this is no valid YAML: it has more than {most} values.",
        "Write out what anchors (&, *) stand for.",
        "不是有效的 YAML：其中的值超过 {most} 个。",
        "请直接写出锚点（&、*）所代表的内容。",
    ),
    "unknown_tag": Text(
        "this is no valid YAML: line {at} has the unknown tag {tag}.",
        "Remove the tag; texts, numbers, lists and sections need none.",
        "不是有效的 YAML：第 {at} 行有未知标签 {tag}。",
        "请删去该标签；文本、数值、列表和小节都不需要标签。",
    ),
    "yaml_tab": Text(
        "this is no valid YAML: a tab stands where spaces are needed.",
        "{shown}",
        "不是有效的 YAML：缩进使用了制表符，应使用空格。",
        "{shown}",
    ),
    "yaml_two_colons": Text(
        "this is no valid YAML: a `name: value` stands where none can be.",
        "{shown} Put texts with a colon in quotes; fields of one section begin in one column.",
        "不是有效的 YAML：此处不应出现 `名称: 值`。",
        "{shown}含冒号的文本请加引号；同一小节的字段应左对齐。",
    ),
    "yaml_no_colon": Text(
        "this is no valid YAML: the colon behind a name is missing.",
        "{shown} Write `name: value`, with a space behind the colon.",
        "不是有效的 YAML：名称后面缺少冒号。",
        "{shown}请写成 `名称: 值`，冒号后留一个空格。",
    ),
    "yaml_unclosed": Text(
        "this is no valid YAML: a bracket or a quote is not closed, or a comma is missing.",
        "{shown}",
        "不是有效的 YAML：括号或引号没有闭合，或缺少逗号。",
        "{shown}",
    ),
    "yaml_indent": Text(
        "this is no valid YAML: a line is not indented like those above it.",
        "{shown} Fields of one section begin in one column.",
        "不是有效的 YAML：有一行的缩进与上面不一致。",
        "{shown}同一小节的字段应左对齐。",
    ),
    "yaml_character": Text(
        "this is no valid YAML: a value begins with a character that has to stand in quotes.",
        "{shown}",
        "不是有效的 YAML：值以特殊字符开头，需要加引号。",
        "{shown}",
    ),
    "yaml_alias": Text(
        "this is no valid YAML: `*` refers to an anchor that is not there.",
        "{shown} Put a text that begins with * in quotes.",
        "不是有效的 YAML：`*` 所引用的锚点不存在。",
        "{shown}以 * 开头的文本请加引号。",
    ),
    "yaml_unprintable": Text(
        "this is no valid YAML: it holds a character that cannot be printed.",
        "Save the file as UTF-8 text without control characters.",
        "不是有效的 YAML：包含不可打印的字符。",
        "请存为不含控制字符的 UTF-8 文本。",
    ),
    "yaml_several": Text(
        "this is no valid YAML: it holds several documents (`---`).",
        "Keep one of them.",
        "不是有效的 YAML：其中有多个文档（`---`）。",
        "请只保留其中一个。",
    ),
    "yaml_invalid": Text(
        "this is no valid YAML.",
        "{shown}",
        "不是有效的 YAML。",
        "{shown}",
    ),
    "json_invalid": Text(
        "this is no valid JSON from column {column} on.",
        "{shown}",
        "从第 {column} 列起不是有效的 JSON。",
        "{shown}",
    ),
    "written_twice": Text(
        "is written twice, in line {first} and in line {second}.",
        _KEEP_ONE[0],
        "写了两次：第 {first} 行和第 {second} 行。",
        _KEEP_ONE[1],
    ),
    "not_an_override": Text(
        "is no override.",
        "Write field=value, such as epochs=3.",
        "不是有效的覆盖写法。",
        "请写成 字段=值，例如 epochs=3。",
    ),
    "given_twice": Text(
        "is given twice on the command line.",
        _KEEP_ONE[0],
        "在命令行中写了两次。",
        _KEEP_ONE[1],
    ),
    # names
    "unknown_field": Text(
        "unknown field.",
        "{guess}{known}",
        "没有这个字段。",
        "{guess}{known}",
    ),
    "field_elsewhere": Text(
        "unknown here; {name} is {places}.",
        "Move it to {places}.",
        "此处没有这个字段；{name} 应为 {places}。",
        "请移到 {places}。",
    ),
    "ambiguous_name": Text(
        "can mean {places}.",
        "Write the full name.",
        "可以指 {places}。",
        "请写完整的名称。",
    ),
    "conflicting_names": Text(
        "{one} says {first} and {other} says {second}; both mean the same field.",
        _KEEP_ONE[0],
        "{one}的值是 {first}，{other}的值是 {second}；两者是同一个字段。",
        _KEEP_ONE[1],
    ),
    "unknown_profile": Text(
        "there is no profile {name}.",
        "{guess}Known: {known}.",
        "没有名为 {name} 的配置档。",
        "{guess}可选：{known}。",
    ),
    "unknown_preset": Text(
        "there is no preset {name}.",
        "{guess}Known: {known}.",
        "没有名为 {name} 的预设。",
        "{guess}可选：{known}。",
    ),
    "no_such_source": Text(
        "no such dataset; {there}.",
        "Number the datasets of data.train from 0.",
        "没有这一项数据集；{there}。",
        "data.train 中的数据集从 0 开始编号。",
    ),
    "section_not_value": Text(
        "is a section, not a value; {value} was given.",
        "Its fields are {inside}.",
        "是一个小节，不能填写值；现填写的是 {value}。",
        "它的字段：{inside}。",
    ),
    # values
    "missing": Text(
        "is missing.",
        "Write {example}. {help}",
        "缺少该字段。",
        "请填写 {example}。{help}",
    ),
    "missing_in_profile": Text(
        "is missing: the profile {profile} has no default for it.",
        "Write {expected}.",
        "缺少该字段：配置档 {profile} 没有它的默认值。",
        "请填写：{expected}。",
    ),
    "bad_value": Text(
        "{value} is not {expected}{alias}.",
        "{default}",
        "{value} 无效{alias}；应为：{expected}。",
        "{default}",
    ),
    "empty_value": Text(
        "is empty; it takes {expected}{alias}.",
        "{default}",
        "不能为空{alias}；应为：{expected}。",
        "{default}",
    ),
    "unreadable_value": Text(
        "{value} cannot be read here.",
        "`tunesmith recipe fields` and the documentation list what a field takes.",
        "{value} 无法用于此处。",
        "各字段的取值见 `tunesmith recipe fields` 和文档。",
    ),
    "not_a_count": Text(
        "{value} is not a whole number of at least 1.",
        "Write a number such as 8.",
        "{value} 不是不小于 1 的整数。",
        "请填写整数，例如 8。",
    ),
    "outside_profile": Text(
        "{value} is outside the profile {profile}, which takes {expected}{alias}.",
        "Change it, or choose another profile, such as profile: default.",
        "{value} 不在配置档 {profile} 允许的范围内{alias}；应为：{expected}。",
        "请修改取值，或选择其他配置档，例如 profile: default。",
    ),
    "entry_of_unknown_kind": Text(
        "entry {entry} has kind {value}, which is not one of {kinds}.",
        "Write one of {kinds}.",
        "第 {entry} 项的 kind 为 {value}；可选：{kinds}。",
        "请填写其中之一：{kinds}。",
    ),
    "entry_with_unknown": Text(
        "entry {entry} has a field {field}, which its kind does not know.",
        "docs/reinforcement.md lists what each kind takes.",
        "第 {entry} 项含有该 kind 没有的字段 {field}。",
        "各种 kind 可用的字段见 docs/reinforcement.zh.md。",
    ),
    "entry_without": Text(
        "entry {entry} lacks {field}.",
        "Write {field} into it.",
        "第 {entry} 项缺少 {field}。",
        "请补充 {field}。",
    ),
    "entry_with_bad_value": Text(
        "entry {entry} has {value} for {field}, which it does not take.",
        "docs/reinforcement.md lists what each kind takes.",
        "第 {entry} 项的 {field} 不能是 {value}。",
        "各项的取值见 docs/reinforcement.zh.md。",
    ),
    "unknown_kind": Text(
        "{value} is not one of {kinds}.",
        "Write one of {kinds}.",
        "{value} 无效；可选：{kinds}。",
        "请填写其中之一：{kinds}。",
    ),
    "field_of_other_kind": Text(
        "belongs to {kind_path} {others}, but {kind_path} is {kind}{at}.",
        "Remove {name}, or write {kind_path}: {others}.",
        "属于 {kind_path} {others}，而 {kind_path} 为 {kind}{at}。",
        "请删去 {name}，或填写 {kind_path}: {others}。",
    ),
    # names of other systems
    "accumulation_alone": Text(
        "says nothing without per_device_train_batch_size.",
        "Write both, or training.batch_size: the rows of one weight update.",
        "没有 per_device_train_batch_size 时不起作用。",
        "请两项都填写，或填写 training.batch_size（一次参数更新的条数）。",
    ),
    "batch_sizes_differ": Text(
        "{one} says {stated} and {others} comes to {product}.",
        "Keep one of them; batch_size counts the rows of one weight update.",
        "{one}为 {stated}，而 {others}等于 {product}。",
        "请只保留其中一种；batch_size 是一次参数更新的条数。",
    ),
    "two_learning_rates": Text(
        "{one} and {other} both set it.",
        _KEEP_ONE[0],
        "{one}和{other}都设置了学习率。",
        _KEEP_ONE[1],
    ),
    "not_a_multiplier": Text(
        "{value} is not a number.",
        "Write 1 for the recommended rate, 2 for twice of it.",
        "{value} 不是数值。",
        "1 表示推荐的学习率，2 表示其两倍。",
    ),
    "validation_rows_not_share": Text(
        "{value} is a number of rows; validation is split off as a share of the rows.",
        "Write data.validation: {{kind: split, fraction: 0.1, max_rows: 100}}.",
        "{value} 是行数；验证集按比例拆分。",
        "请写 data.validation: {{kind: split, fraction: 0.1, max_rows: 100}}。",
    ),
    "not_a_switch": Text(
        "{value} is neither true nor false.",
        "Write model.dtype: auto, float32 or bfloat16.",
        "{value} 既不是 true 也不是 false。",
        "请填写 model.dtype：auto、float32 或 bfloat16。",
    ),
    "not_true_or_false": Text(
        "{value} is neither true nor false.",
        "Write true or false.",
        "{value} 既不是 true 也不是 false。",
        "请填写 true 或 false。",
    ),
    "unknown_tracker": Text(
        "{value} is not supported.",
        "Choose among {known}.",
        "不支持 {value}。",
        "可选：{known}。",
    ),
    "other_bits": Text(
        "{value} is no number of bits that weights are quantised to here.",
        "Write 4 (model.quantization: nf4), 8 (int8), or remove it.",
        "此处不支持量化为 {value} 位。",
        "请填写 4（model.quantization: nf4）、8（int8），或删去该项。",
    ),
    "other_quantisation": Text(
        "{value} is not offered: weights of 4 bits are quantised as nf4, with double quantisation, "
        "by bitsandbytes.",
        "Remove it, and write model.quantization: nf4 or int8.",
        "不支持 {value}：4 位权重由 bitsandbytes 以 nf4 量化，并使用双重量化。",
        "请删去该项，并填写 model.quantization: nf4 或 int8。",
    ),
    "warmup_steps_not_share": Text(
        "warm-up is a share of the training here.",
        "Write training.schedule.warmup_ratio: steps of warm-up / steps in all.",
        "此处的预热按训练总步数的比例填写。",
        "请填写 training.schedule.warmup_ratio：预热步数 / 总步数。",
    ),
    # fields that contradict each other
    "batch_below_row": Text(
        "training.batch_tokens ({tokens}) is smaller than data.max_length ({longest}): the longest "
        "rows would not fit.",
        "Raise training.batch_tokens to {longest} or more, or lower data.max_length.",
        "training.batch_tokens（{tokens}）小于 data.max_length（{longest}）：最长的数据放不下。",
        "请将 training.batch_tokens 增大到 {longest} 以上，或减小 data.max_length。",
    ),
    "patience_without_validation": Text(
        "training.stop.patience ({patience}) counts evaluations, but data.validation.kind is none.",
        "Write data.validation.kind: split, or remove training.stop.patience.",
        "training.stop.patience（{patience}）按评估次数计算，而 data.validation.kind 为 none。",
        "请填写 data.validation.kind: split，或删去 training.stop.patience。",
    ),
    "reference_needs_new_adapter": Text(
        "stage.reference is adapter_off, but {what}: the model before training is not the base "
        "with its adapter switched off.",
        "Write stage.reference: cached, or auto.",
        "stage.reference 为 adapter_off，但{what}：关闭适配器得不到训练前的模型。",
        "请填写 stage.reference: cached 或 auto。",
    ),
    "nothing_trained": Text(
        "adapter.layers is 0, so nothing would be trained.",
        "Write 2 for the last two layers, or -2 for the first two.",
        "adapter.layers 为 0，没有可训练的层。",
        "请填写层数：2 表示最后两层，-2 表示最前两层。",
    ),
    "not_a_pattern": Text(
        "{field}: {value} is not written as name=number.",
        "Write the name of a layer and a number of at least 1, such as q_proj=8.",
        "{field}：{value} 不是 名称=数值 的形式。",
        "请填写层的名称和不小于 1 的整数，例如 q_proj=8。",
    ),
    "continued_has_its_start": Text(
        "adapter.init is {init}, but an earlier adapter is gone on with, which begins as it is.",
        "Remove adapter.init, or adapter.continue_from.",
        "adapter.init 为 {init}，但将在已有适配器上继续训练，其初始值就是它自身。",
        "请删去 adapter.init 或 adapter.continue_from。",
    ),
    "quantised_needs_lora": Text(
        "model.quantization keeps the weights of the layers as they are, but adapter.kind {method} "
        "trains them.",
        "Write adapter.kind: lora, or model.quantization: none.",
        "model.quantization 使各层权重保持不变，而 adapter.kind 为 {method} 时要训练它们。",
        "请填写 adapter.kind: lora，或 model.quantization: none。",
    ),
    "loftq_needs_quantised": Text(
        "adapter.init is loftq, which begins as what model.quantization rounds off, but that is "
        "none.",
        "Write model.quantization: nf4 or int8, or adapter.init: zero or pissa.",
        "adapter.init 为 loftq，它取 model.quantization 舍去的部分，而该字段为 none。",
        "请填写 model.quantization: nf4 或 int8，或 adapter.init: zero 或 pissa。",
    ),
    "quantised_pissa": Text(
        "adapter.init is pissa, which takes a part out of the weights, but model.quantization "
        "packs them: what is left would be rounded anew.",
        "Write adapter.init: loftq or zero, or model.quantization: none.",
        "adapter.init 为 pissa，它会从权重中取出一部分，而 model.quantization 已量化权重，余下的"
        "部分会再次舍入。",
        "请填写 adapter.init: loftq 或 zero，或 model.quantization: none。",
    ),
    "quantised_not_on_mps": Text(
        "Training on quantised weights is not offered on the device mps.",
        "Write training.device: cpu, or model.quantization: none.",
        "设备 mps 不支持在量化权重上训练。",
        "请填写 training.device: cpu，或 model.quantization: none。",
    ),
    "not_a_token": Text(
        "{field}: {value!r} cannot become a token.",
        "Write each one once, with at most {most} characters, not only blanks.",
        "{field}：{value!r} 不能成为 token。",
        "每个词只写一次，不超过 {most} 个字符，且不能只含空白。",
    ),
    "token_in_both": Text(
        "model.new_tokens and model.new_special_tokens both hold {value}.",
        _KEEP_ONE[0],
        "model.new_tokens 与 model.new_special_tokens 中都有 {value}。",
        _KEEP_ONE[1],
    ),
    "tokens_not_trained": Text(
        "model.new_tokens needs vectors that are trained, but adapter.kind {method} leaves those "
        "of words as they are.",
        "Write adapter.kind: lora or full, or leave the new tokens out.",
        "model.new_tokens 的向量需要训练，而 adapter.kind 为 {method} 时词的向量保持不变。",
        "请填写 adapter.kind: lora 或 full，或删去新增的 token。",
    ),
    "tokens_stay_frozen": Text(
        "model.new_tokens needs vectors that are trained, but adapter.kind: freeze leaves the "
        "tables of words as they are.",
        "Write adapter.kind: lora, or name the tables: adapter.extra_modules: [embed_tokens, "
        "lm_head].",
        "model.new_tokens 的向量需要训练，而 adapter.kind: freeze 使词表保持不变。",
        "请填写 adapter.kind: lora，或写明词表：adapter.extra_modules: [embed_tokens, lm_head]。",
    ),
    "merged_below_dora": Text(
        "adapter.merge_first is saved together with what is trained, which adapter.dora, with "
        "lengths of its own, does not allow.",
        "Write adapter.dora: false, or merge them yourself (tunesmith export --format merged) and "
        "write the result as model.base.",
        "adapter.merge_first 会与训练结果保存在一起，而 adapter.dora 另有长度参数，无法这样保存。",
        "请填写 adapter.dora: false，或自行合并（tunesmith export --format merged）后将结果填入"
        " model.base。",
    ),
    "merged_twice": Text(
        "{name} would be added to the base twice (adapter.merge_first, adapter.continue_from).",
        "Name it once.",
        "{name} 会被加到基座上两次（adapter.merge_first、adapter.continue_from）。",
        "请只填写一次。",
    ),
    "tokens_of_old_adapter": Text(
        "model.new_tokens adds vectors, but adapter.continue_from goes on with an adapter that has "
        "none for them.",
        "Merge that adapter (tunesmith export --format merged), write the result as model.base, "
        "and leave out adapter.continue_from.",
        "model.new_tokens 会新增向量，而 adapter.continue_from 指定的适配器没有这些向量。",
        "请先合并该适配器（tunesmith export --format merged），将结果填入 model.base，并删去"
        " adapter.continue_from。",
    ),
    "tokens_in_whole_table": Text(
        "adapter.modules_to_save names {module}, but the vectors of model.new_tokens are trained "
        "and saved by themselves.",
        "Leave {module} out of adapter.modules_to_save, or train all weights (adapter.kind: full).",
        "adapter.modules_to_save 中有 {module}，而 model.new_tokens 的向量会单独训练和保存。",
        "请从 adapter.modules_to_save 中去掉 {module}，或训练全部参数（adapter.kind: full）。",
    ),
    "factor_without_scaling": Text(
        "model.rope_factor is {factor}, but model.rope_scaling is none.",
        "Write model.rope_scaling: yarn, or leave model.rope_factor out.",
        "model.rope_factor 为 {factor}，而 model.rope_scaling 为 none。",
        "请填写 model.rope_scaling: yarn，或删去 model.rope_factor。",
    ),
    "factor_of_one": Text(
        "model.rope_scaling is {kind}, but model.rope_factor 1 stretches nothing.",
        "Write model.rope_factor: 2, or auto, or model.rope_scaling: none.",
        "model.rope_scaling 为 {kind}，而 model.rope_factor 为 1，不会扩展上下文。",
        "请填写 model.rope_factor: 2 或 auto，或 model.rope_scaling: none。",
    ),
    "dynamic_needs_factor": Text(
        "model.rope_scaling: dynamic acts when the result is used, so the length of the rows does "
        "not tell its factor.",
        "Write model.rope_factor: 2, or model.rope_scaling: yarn to train on longer rows.",
        "model.rope_scaling: dynamic 在使用时才起作用，无法由数据长度得出倍数。",
        "请填写 model.rope_factor: 2；如需在更长的数据上训练，请用 model.rope_scaling: yarn。",
    ),
    "scaling_of_method": Text(
        "The files of adapter.kind {method} cannot say that positions were scaled "
        "(model.rope_scaling).",
        "Write adapter.kind: lora or full, or model.rope_scaling: none.",
        "adapter.kind 为 {method} 时，结果文件无法记录位置扩展（model.rope_scaling）。",
        "请填写 adapter.kind: lora 或 full，或 model.rope_scaling: none。",
    ),
    "projection_of_adapters": Text(
        "training.optimizer.kind is {optimizer}, which makes the gradients of whole matrices "
        "small; the adapters of {method} are small already.",
        "Write training.optimizer.kind: adamw, or train all weights (adapter.kind: full).",
        "training.optimizer.kind 为 {optimizer}，它用于压缩完整矩阵的梯度，而 {method} 的适配器本身"
        "已经很小。",
        "请填写 training.optimizer.kind: adamw，或训练全部参数（adapter.kind: full）。",
    ),
    "muon_needs_matrices": Text(
        "training.optimizer.kind is muon, which evens out the directions of matrices; {method} "
        "trains lists of vectors that have nothing to do with each other.",
        "Write training.optimizer.kind: adamw, or adapter.kind: lora.",
        "training.optimizer.kind 为 muon，它均衡矩阵的各个方向，而 {method} 训练的是互不相关的"
        "向量。",
        "请填写 training.optimizer.kind: adamw，或 adapter.kind: lora。",
    ),
    "blocks_of_all_weights": Text(
        "training.optimizer.kind is badam, which trains all layers of the model in turn; "
        "adapter.kind {method} trains other weights, or few layers.",
        "Write adapter.kind: full, or training.optimizer.kind: adamw.",
        "training.optimizer.kind 为 badam，它轮流训练模型的所有层；而 adapter.kind 为 {method} 时"
        "训练的是其他参数或少数几层。",
        "请填写 adapter.kind: full，或 training.optimizer.kind: adamw。",
    ),
    "blocks_without_score": Text(
        "training.optimizer.kind is badam, which trains layers only; the new score head of "
        "stage.kind rm would never learn.",
        "Write training.optimizer.kind: galore or adamw_8bit.",
        "training.optimizer.kind 为 badam，它只训练各层；而 stage.kind 为 rm 时新建的评分头将得不到"
        "训练。",
        "请填写 training.optimizer.kind: galore 或 adamw_8bit。",
    ),
    "blocks_without_words": Text(
        "training.optimizer.kind is badam, which trains layers only; the vectors of "
        "model.new_tokens would never learn.",
        "Write training.optimizer.kind: galore or adamw_8bit, or leave the new tokens out.",
        "training.optimizer.kind 为 badam，它只训练各层；而 model.new_tokens 的向量将得不到训练。",
        "请填写 training.optimizer.kind: galore 或 adamw_8bit，或去掉新增的词。",
    ),
    "adapters_are_exact": Text(
        "training.master_weights is off, but what adapter.kind {method} trains is small and always "
        "kept in float32: there is no copy to save.",
        "Remove training.master_weights, or train the weights themselves (adapter.kind: full).",
        "training.master_weights 已关闭，但 adapter.kind 为 {method} 时训练的参数很少，始终以"
        " float32 保存，没有可省的副本。",
        "请删去 training.master_weights，或直接训练模型参数（adapter.kind: full）。",
    ),
    "rounding_of_bfloat16": Text(
        "training.master_weights is off, which is for weights in bfloat16; model.dtype is {dtype}.",
        "Write model.dtype: bfloat16, or training.master_weights: true.",
        "training.master_weights 已关闭，这仅适用于 bfloat16 参数；而 model.dtype 为 {dtype}。",
        "请填写 model.dtype: bfloat16，或 training.master_weights: true。",
    ),
    "optimizer_needs_masters": Text(
        "training.optimizer.kind {optimizer} updates exact float32 weights, which "
        "training.master_weights: false leaves out.",
        "Write training.optimizer.kind: adamw or adamw_8bit, or training.master_weights: true.",
        "training.optimizer.kind 为 {optimizer} 时更新的是 float32 精确参数，而"
        " training.master_weights: false 不保存它们。",
        "请填写 training.optimizer.kind: adamw 或 adamw_8bit，或 training.master_weights: true。",
    ),
    "vectors_of_another_stage": Text(
        "adapter.kind {method} learns vectors in front of the text, which stage.kind {stage} is "
        "not computed with.",
        "Write adapter.kind: lora.",
        "adapter.kind {method} 学习文本之前的向量，stage.kind {stage} 不支持。",
        "请填写 adapter.kind: lora。",
    ),
    "prefix_not_checkpointed": Text(
        "training.activation_checkpointing computes layers twice, but with model.attention "
        "{attention} the keys of adapter.kind prefix stand in a cache that holds them once.",
        "Write training.activation_checkpointing: false, or model.attention: flat.",
        "training.activation_checkpointing 会重复计算各层，而 model.attention 为 {attention} 时，"
        "adapter.kind prefix 的键值存放在缓存中，只能使用一次。",
        "请填写 training.activation_checkpointing: false，或 model.attention: flat。",
    ),
    "vectors_not_merged": Text(
        "export.merge is true, but the vectors in front of the text that adapter.kind {method} "
        "learns are no part of any weight.",
        "Write export.merge: false, or adapter.kind: lora.",
        "export.merge 为 true，但 adapter.kind {method} 学习的是文本之前的向量，不属于任何权重，"
        "无法合并。",
        "请填写 export.merge: false，或 adapter.kind: lora。",
    ),
    "metric_of_another_stage": Text(
        "training.stop.metric is {metric}, which stage.kind {kind} does not measure.",
        "It measures {known}.",
        "training.stop.metric 为 {metric}，而 stage.kind {kind} 不计算该指标。",
        "可选：{known}。",
    ),
    "no_rewards": Text(
        "stage.kind grpo has no rewards: nothing says which answers are good.",
        "Name at least one, such as stage.rewards: [{{kind: json}}].",
        "stage.kind grpo 没有奖励：无从判断回答好坏。",
        "请至少填写一项，例如 stage.rewards: [{{kind: json}}]。",
    ),
    "no_room_for_questions": Text(
        "stage.max_answer_tokens ({answer}) leaves no room for a question within data.max_length "
        "({longest}).",
        "Raise data.max_length, or lower stage.max_answer_tokens.",
        "stage.max_answer_tokens（{answer}）占满了 data.max_length（{longest}），问题没有余地。",
        "请增大 data.max_length，或减小 stage.max_answer_tokens。",
    ),
    "delta_below_clip": Text(
        "stage.delta ({delta}) is not above 1 + stage.clip_high, so it would cut good answers.",
        "Raise stage.delta, or leave it empty.",
        "stage.delta（{delta}）不大于 1 + stage.clip_high，会裁剪好的回答。",
        "请增大 stage.delta，或留空。",
    ),
    "kl_without_reference": Text(
        "training.stop.metric is kl, but stage.beta is 0, so no KL to a reference is measured.",
        "Write stage.beta above 0, or training.stop.metric: reward.",
        "training.stop.metric 为 kl，但 stage.beta 为 0，不计算与参考模型的 KL。",
        "请将 stage.beta 设为大于 0，或填写 training.stop.metric: reward。",
    ),
    "format_against_stage": Text(
        "{field} is {format}, which holds {holds}, but stage.kind {kind} learns {learns}.",
        "Write stage.kind: {other}, or another format.",
        "{field} 为 {format}，内容是{holds}，而 stage.kind {kind} 学习的是{learns}。",
        "请填写 stage.kind: {other}，或改用其他格式。",
    ),
    "held_out_twice": Text(
        "{field} and {other} are both {dataset}: nothing would be left to {use} on.",
        "Write data.{part}.kind: split to hold out a part of the training data.",
        "{field} 与 {other} 都是 {dataset}：没有单独的数据可用于{use}。",
        "请填写 data.{part}.kind: split，从训练数据中拆出一部分。",
    ),
    "nothing_to_train_on": Text(
        "data.validation.fraction ({validation}) and data.test.fraction ({test}) leave nothing to "
        "train on.",
        "Lower one of them; 0.1 each is usual.",
        "data.validation.fraction（{validation}）与 data.test.fraction（{test}）之后没有数据可供训"
        "练。",
        "请减小其中一个；通常各为 0.1。",
    ),
    "whole_and_divided": Text(
        "{field}.stratify_by and {field}.group_by are both {column}: its values cannot stay whole "
        "and be divided at once.",
        _KEEP_ONE[0],
        "{field}.stratify_by 与 {field}.group_by 都是 {column}：同一列不能既保持完整又按比例拆分。",
        _KEEP_ONE[1],
    ),
    "shares_missing": Text(
        "{given} of {all} datasets have a share; missing: {lacking}.",
        "Give every dataset a share, all of them together 100, or none of them one.",
        "{all} 个数据集中有 {given} 个填写了配比；缺少：{lacking}。",
        "请为所有数据集填写配比（合计 100），或都不填写。",
    ),
    "shares_not_100": Text(
        "The shares of the datasets sum to {sum} %, not 100 % ({parts}).",
        "Change data.train.*.share so that they come to 100.",
        "各数据集的配比合计为 {sum} %，而不是 100 %（{parts}）。",
        "请修改 data.train.*.share，使合计为 100。",
    ),
    "share_and_rate": Text(
        "{field}.share ({share}) and {field}.sampling_rate ({rate}) both say how many rows are "
        "drawn.",
        _KEEP_ONE[0],
        "{field}.share（{share}）与 {field}.sampling_rate（{rate}）都决定抽取的行数。",
        _KEEP_ONE[1],
    ),
    "only_general": Text(
        "Every dataset has role: general, but data.general_ratio counts general rows for each row "
        "of the others.",
        "Remove the role of the dataset that the model shall learn.",
        "所有数据集都是 role: general，而 data.general_ratio 是每条业务数据搭配的通用数据条数。",
        "请删去模型要学习的数据集的 role。",
    ),
    "general_with_rate": Text(
        "{field}.sampling_rate is {rate}, but its role is general: data.general_ratio says how "
        "many of its rows are drawn.",
        "Set data.general_ratio, or remove the role to draw by the rate.",
        "{field}.sampling_rate 为 {rate}，而其 role 为 general：抽取行数由 data.general_ratio "
        "决定。",
        "请设置 data.general_ratio；如需按采样率抽取，请删去 role。",
    ),
    # jobs of LLaMA-Factory
    "not_a_llamafactory_job": Text(
        "this is no LLaMA-Factory job: it holds no keys.",
        "Name the YAML or JSON file that was given to `llamafactory-cli train`.",
        "这不是 LLaMA-Factory 的任务：没有任何键。",
        "请提供 `llamafactory-cli train` 所用的 YAML 或 JSON 文件。",
    ),
    "no_training_data_left": Text(
        "no usable training data is left: {asked}.",
        "See the report of each dataset, or give a dataset_info.json (--dataset-info FILE).",
        "没有可用的训练数据：{asked}。",
        "请查看各数据集的报告，或提供 dataset_info.json（--dataset-info 文件）。",
    ),
    "not_in_dataset_info": Text(
        "{key} names {name}, which is not in {file}.",
        "Known there: {known}.",
        "{key} 中的 {name} 不在 {file} 中。",
        "其中有：{known}。",
    ),
    "stage_not_offered": Text(
        "stage {value} is not part of this version.",
        "Supported are sft (answers), pt (plain text), rm, dpo and kto (judged answers).",
        "此版本不支持 stage {value}。",
        "支持 sft（问答）、pt（纯文本）以及 rm、dpo、kto（偏好数据）。",
    ),
    "method_not_offered": Text(
        "finetuning_type {value} is not part of this version.",
        "Supported are lora, oft, freeze and full.",
        "此版本不支持 finetuning_type {value}。",
        "支持 lora、oft、freeze 和 full。",
    ),
    "dataset_info_too_deep": Text(
        "it is nested too deeply to list datasets.",
        'It looks like {{"name": {{"file_name": "data.json"}}}}.',
        "嵌套过深，无法列出数据集。",
        '格式如 {{"name": {{"file_name": "data.json"}}}}。',
    ),
    "not_a_dataset_info": Text(
        "it lists no datasets: it holds {what}, not an object.",
        'It looks like {{"name": {{"file_name": "data.json"}}}}.',
        "没有列出数据集：内容是{what}，而不是对象。",
        '格式如 {{"name": {{"file_name": "data.json"}}}}。',
    ),
    "entry_not_an_object": Text(
        "the entry of {name} is no object.",
        'Write {{"file_name": "data.json"}}.',
        "{name} 的内容不是对象。",
        '请写成 {{"file_name": "data.json"}}。',
    ),
    # what a platform looks up
    "not_a_dataset_name": Text(
        "{name} is no name or id of a dataset.",
        "Upload the file as a dataset, then write its name (shop, shop@2) or its id.",
        "{name} 不是数据集的名称或 ID。",
        "请先将文件上传为数据集，再填写其名称（shop、shop@2）或 ID。",
    ),
    "dataset_not_here": Text(
        "there is no dataset {name} in this project.",
        "{hint}",
        "此项目中没有数据集 {name}。",
        "{hint}",
    ),
    "no_such_builtin": Text(
        "there is no dataset {name}.",
        "Built in are {known}.",
        "没有数据集 {name}。",
        "内置数据集：{known}。",
    ),
    "dataset_files_gone": Text(
        "the files of dataset {name} (version {version}) are gone.",
        "Import the data again.",
        "数据集 {name}（版本 {version}）的文件已不存在。",
        "请重新导入数据。",
    ),
    "too_few_rows": Text(
        "the datasets have {rows} rows, and a job needs at least {least}.",
        "Add rows, or set data.allow_small: true to train on so few.",
        "数据集共有 {rows} 行，而任务至少需要 {least} 行。",
        "请增加数据，或设置 data.allow_small: true 以少量数据训练。",
    ),
    "tracker_missing": Text(
        "the package {package} is not installed where the run would start.",
        "Install it there (pip install {package}), or turn this field off.",
        "训练所在的机器上没有安装 {package}。",
        "请在该机器上安装（pip install {package}），或关闭该字段。",
    ),
    "not_a_model_name": Text(
        "{name} is no name or id of a model.",
        "Write the name or id of a model, or an id of a hub; folders are imported as models first.",
        "{name} 不是模型的名称或 ID。",
        "请填写模型的名称或 ID，或模型仓库的 ID；目录需先导入为模型。",
    ),
    "no_local_models": Text(
        "a server takes no folders (local).",
        "Write the name or id of a model, or an id of a hub; folders are imported as models first.",
        "服务器不接受目录（local）。",
        "请填写模型的名称或 ID，或模型仓库的 ID；目录需先导入为模型。",
    ),
    "not_a_builtin_template": Text(
        "{name} is no built-in template, and a server takes no files.",
        "Leave it out, or write one of {known}.",
        "{name} 不是内置模板，而服务器不接受文件。",
        "请留空，或填写其中之一：{known}。",
    ),
    "not_a_result_id": Text(
        "{name} is no id of a result.",
        "Write the name or id of a model that a job made here.",
        "{name} 不是训练结果的 ID。",
        "请填写本平台的任务所生成的模型的名称或 ID。",
    ),
    "no_such_adapter": Text(
        "there is no adapter {name}.",
        "Write the name or id of a result of a LoRA job.",
        "没有适配器 {name}。",
        "请填写 LoRA 任务的结果的名称或 ID。",
    ),
    "reward_of_a_file": Text(
        "the reward reads {file}, and a server takes no files of its own disk from a recipe.",
        "Use {{kind: json}}, {{kind: grader}} or {{kind: model}}, or put the script of a database "
        "into the rows (column fixture).",
        "该奖励读取 {file}，而服务器不接受配方指向其本地文件。",
        "请使用 {{kind: json}}、{{kind: grader}} 或 {{kind: model}}，或将数据库脚本写入数据（"
        "fixture 列）。",
    ),
    "reward_program_not_allowed": Text(
        "the reward is a Python program, which an administrator has not allowed here.",
        "Ask for the setting python_graders, or use another kind of reward.",
        "该奖励是 Python 程序，管理员尚未允许。",
        "请联系管理员开启 python_graders，或改用其他奖励。",
    ),
    "reward_grader_not_valid": Text(
        "a grader cannot judge answers here: {why}.",
        "Its fields are those of the graders of the OpenAI API.",
        "该评分器无法在此评判回答：{why}。",
        "其字段与 OpenAI API 的评分器（graders）相同。",
    ),
    "no_such_reward_model": Text(
        "there is no reward model {name}.",
        "Write the name or id of a result of a job with stage rm.",
        "没有奖励模型 {name}。",
        "请填写 rm 阶段任务的结果的名称或 ID。",
    ),
    "remote_code_not_allowed": Text(
        "code of {base} at {revision} is not allowed on this server.",
        "An administrator can allow it: remote_code_repositories, as REPOSITORY@COMMIT.",
        "此服务器不允许运行 {base}（{revision}）的代码。",
        "管理员可以放行：remote_code_repositories，写成 仓库@提交号。",
    ),
}
