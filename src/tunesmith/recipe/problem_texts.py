"""What can be wrong with a recipe, by code, in both languages: message and hint of each.

    "missing": Text("is missing.", "Write {example}.", "缺少该字段。", "请填写 {example}。")

The field and the line stand before a message. Both languages name the same values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tunesmith.recipe.clash_texts import CLASHES, KEEP_ONE
from tunesmith.recipe.words import Text

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
        KEEP_ONE[0],
        "写了两次：第 {first} 行和第 {second} 行。",
        KEEP_ONE[1],
    ),
    "not_an_override": Text(
        "is no override.",
        "Write field=value, such as epochs=3.",
        "不是有效的覆盖写法。",
        "请写成 字段=值，例如 epochs=3。",
    ),
    "given_twice": Text(
        "is given twice on the command line.",
        KEEP_ONE[0],
        "在命令行中写了两次。",
        KEEP_ONE[1],
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
        KEEP_ONE[0],
        "{one}的值是 {first}，{other}的值是 {second}；两者是同一个字段。",
        KEEP_ONE[1],
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
        KEEP_ONE[0],
        "{one}和{other}都设置了学习率。",
        KEEP_ONE[1],
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
    **CLASHES,
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
    "base_of_vectors": Text(
        "it holds learned vectors in front of the text, and no weights to train on.",
        "Write the model below it, {below}.",
        "该模型只包含文本之前的向量，没有可以继续训练的权重。",
        "请填写其基座模型 {below}。",
    ),
    "not_on_this_base": Text(
        "the base cannot be trained so. {reason}",
        "Choose another method, or another base.",
        "该基座模型不支持此方式。{reason}",
        "请选择其他训练方式或其他基座模型。",
    ),
    "no_such_layer": Text(
        "the base has no layer named {unknown}.",
        "It has {existing}. `all-linear` takes all but the head.",
        "基座模型没有名为 {unknown} 的层。",
        "现有 {existing}。all-linear 表示除输出层外的全部线性层。",
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
