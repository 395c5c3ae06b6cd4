"""Which rows are trained on, which are held out, and how a row is read and written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunesmith.recipe.fields import Section, field, required, section

Format = Literal["auto", "alpaca", "sharegpt", "messages", "prompt_response", "text"]


class Dataset(Section):
    """One dataset, and how its rows are read."""

    dataset: str = required(
        "A file (jsonl, json, csv, xlsx, parquet, txt), relative to the recipe, or the name of a "
        "dataset. `builtin:general` (general questions and answers) and `builtin:shop` (customer "
        "service) ship with tunesmith, in English and Chinese.",
        "数据文件（jsonl、json、csv、xlsx、parquet、txt），路径相对于配方文件；也可以是数据集名"
        "称。`builtin:general`（通用问答）和 `builtin:shop`（网店客服）随 tunesmith 附带，中英双"
        "语。",
        aliases="file_name path file",
        min_length=1,
    )
    format: Format = field(
        "auto",
        "Shape of the rows. `auto` looks at the first rows and says what it found.",
        "数据格式。`auto` 会检查前几行并说明识别结果。",
        aliases="formatting data_format",
        spellings="openai=messages chatml=messages prompt-response=prompt_response",
    )
    prompt_field: str | None = field(
        None,
        "Column that holds the question. Empty: detected from usual names.",
        "问题所在的列。留空则按常见列名自动识别。",
        aliases="columns.prompt 问题",
    )
    response_field: str | None = field(
        None,
        "Column that holds the answer. Empty: detected from usual names.",
        "答案所在的列。留空则按常见列名自动识别。",
        aliases="columns.response 答案",
    )
    history_field: str | None = field(
        None,
        "Column that holds the earlier turns of a dialogue. Empty: detected from usual names.",
        "多轮对话历史所在的列。留空则按常见列名自动识别。",
        aliases="columns.history",
    )
    system_field: str | None = field(
        None,
        "Column that holds the system message. Empty: detected from usual names.",
        "系统提示所在的列。留空则按常见列名自动识别。",
        aliases="columns.system",
    )
    context_field: str | None = field(
        None,
        "Column put under the question. Empty: `input` of alpaca rows.",
        "接在问题下面的补充内容所在的列。留空时为 alpaca 数据的 `input`。",
        aliases="columns.query",
    )
    messages_field: str | None = field(
        None,
        "Column that holds a whole dialogue as a list of turns. Empty: detected from usual names.",
        "以列表形式保存整段对话的列。留空则按常见列名自动识别。",
        aliases="columns.messages",
    )
    tools_field: str | None = field(
        None,
        "Column that describes the tools that the model may call. Empty: `tools` or `functions` "
        "beside a dialogue.",
        "描述模型可调用工具的列。留空时使用对话旁的 `tools` 或 `functions`。",
        aliases="columns.tools",
    )
    chosen_field: str | None = field(
        None,
        "Column that holds the better of two answers. Empty: detected from usual names where the "
        "rows have no other answer.",
        "两个答案中较好的一个所在的列。留空则在数据没有其他答案时按常见列名自动识别。",
        aliases="columns.chosen",
    )
    rejected_field: str | None = field(
        None,
        "Column that holds the worse of two answers. Empty: detected with `chosen_field`.",
        "两个答案中较差的一个所在的列。留空则与 `chosen_field` 一起识别。",
        aliases="columns.rejected",
    )
    label_field: str | None = field(
        None,
        "Column that says whether the answer is good (true) or bad (false). Empty: `label` or "
        "`kto_tag`, where it holds true and false.",
        "标记答案好（true）坏（false）的列。留空时使用值为 true 和 false 的 `label` 或 `kto_tag`。",
        aliases="columns.kto_tag kto_tag",
    )
    role_tag: str | None = field(
        None,
        "Key of a turn that names its speaker. Empty: `role` or `from`.",
        "对话轮次中表示说话人的键。留空为 `role` 或 `from`。",
        aliases="tags.role_tag",
    )
    content_tag: str | None = field(
        None,
        "Key of a turn that holds its words. Empty: `content` or `value`.",
        "对话轮次中保存内容的键。留空为 `content` 或 `value`。",
        aliases="tags.content_tag",
    )
    user_tag: str | None = field(
        None,
        "Another name of the user as speaker; usual names are known.",
        "说话人“用户”的其他名称；常见名称已内置。",
        aliases="tags.user_tag",
    )
    assistant_tag: str | None = field(
        None,
        "Another name of the assistant as speaker; usual names are known.",
        "说话人“助手”的其他名称；常见名称已内置。",
        aliases="tags.assistant_tag",
    )
    system_tag: str | None = field(
        None,
        "Another name of the system message's speaker; usual names are known.",
        "系统提示的其他说话人名称；常见名称已内置。",
        aliases="tags.system_tag",
    )
    function_tag: str | None = field(
        None,
        "Another name of the speaker of turns that are tool calls; usual names are known.",
        "工具调用轮次的其他说话人名称；常见名称已内置。",
        aliases="tags.function_tag",
    )
    observation_tag: str | None = field(
        None,
        "Another name of the speaker of tool results; usual names are known.",
        "工具返回结果的其他说话人名称；常见名称已内置。",
        aliases="tags.observation_tag",
    )
    max_samples: int | None = field(
        None,
        "At most this many rows of the dataset. Good for a quick try; rows beyond it are counted, "
        "not used.",
        "该数据集最多使用的行数。适合快速试验；超出部分只计数、不使用。",
        aliases="num_samples",
        unit="rows",
        ge=1,
    )


class DataSource(Dataset):
    """A dataset to train on, and how often its rows are drawn."""

    sampling_rate: float = field(
        1.0,
        "How often rows are drawn, at random. Below 1 uses fewer (big or low quality), above 1 "
        "repeats (small or high quality; 1-5 recommended). A larger rate gives more attention and "
        "costs more time and money.",
        "随机抽样比例。小于 1 为欠采样（数据过大或质量低），大于 1 为过采样（数据少或质量高，建议"
        " 1-5）。比例越大越受重视，耗时和费用也越高。",
        aliases="采样率 数据采样率",
        unit="times",
        ge=0.01,
        le=10,
    )
    share: float | None = field(
        None,
        "Percent of the mixture that this dataset makes up, instead of a sampling rate. All "
        "datasets have one, 100 together; rows of all datasets together set the size, so small "
        "ones are repeated and large ones thinned out.",
        "该数据集在混合数据中所占的百分比，用来代替采样率。所有数据集都要填写，合计 100；总行数等"
        "于各数据集行数之和，因此小数据集会重复，大数据集会减少。",
        aliases="配比 数据配比 混合比例 mix_ratio",
        unit="percent",
        gt=0,
        le=100,
    )
    role: Literal["user", "general"] = field(
        "user",
        "`user` is what the model shall learn. `general` keeps its general skills: as many of its "
        "rows are drawn as data.general_ratio says.",
        "`user` 为要学习的业务数据；`general` 为通用语料，用于保持通用能力，抽取行数由 "
        "data.general_ratio 决定。",
        aliases="数据角色",
    )


class Split(Section):
    """Validation rows are taken from the training data at random."""

    kind: Literal["split"] = field(
        "split",
        "Where validation rows come from: `split` off the training data, a `dataset` of its own, "
        "or `none`. Validation rows take no part in weight updates; without them nobody sees "
        "overfitting.",
        "验证数据的来源：`split` 从训练数据拆分，`dataset` 使用单独的数据集，`none` 不验证。"
        "验证数据不参与参数更新；没有验证集就无法发现过拟合。",
        aliases="validation_kind",
    )
    fraction: float = field(
        0.1,
        "Share of the training rows held out for validation, at random; 0.1 recommended. More "
        "gives a steadier measurement and leaves less to learn from.",
        "从训练数据中随机拆出的验证比例，建议 0.1。比例越大评估越稳定，可训练的数据越少。",
        aliases="val_size validation_fraction 从训练数据拆分 拆分 fraction",
        unit="ratio",
        ge=0.01,
        le=0.5,
    )
    max_rows: int = field(
        100,
        "At most this many validation rows: at random from a split, the first ones of a dataset. "
        "More rows make each evaluation slower.",
        "验证数据的最大行数：拆分时随机选取，使用数据集时取前若干行。行数越多，每次评估越慢。",
        aliases="max_eval_samples validation_max_rows max_rows",
        unit="rows",
        changes="result",
        ge=1,
    )
    stratify_by: str | None = field(
        None,
        "Column whose values are held out in proportion, such as a label: each value with two "
        "rows or more gives at least one where there is room. Empty: at random.",
        "按该列的取值等比例拆分（如类别标签）：名额足够时，每个至少有两行的取值至少拆出一行。留空"
        "则完全随机。",
        aliases="stratify 分层字段",
    )
    group_by: str | None = field(
        None,
        "Column whose rows of one value stay together, such as a customer or a document: no value "
        "is in training and held out. Empty: each row by itself.",
        "按该列分组（如客户、文档）：同一取值的数据不会既用于训练又被拆出。留空则逐行拆分。",
        aliases="group 分组字段",
    )


class NamedValidation(Dataset):
    """Validation rows are the first ones of a dataset of their own."""

    kind: Literal["dataset"] = "dataset"
    dataset: str = required(
        "A file, or the name of a dataset, to validate on.",
        "用于验证的数据文件或数据集名称。",
        aliases="eval_dataset validation_file test_data_file 从已有数据导入 指定数据 file_name",
        min_length=1,
    )
    max_rows: int = field(
        100,
        "At most this many validation rows: the first ones of the dataset. More rows make each "
        "evaluation slower.",
        "验证数据的最大行数：取数据集的前若干行。行数越多，每次评估越慢。",
        unit="rows",
        ge=1,
    )


class NoValidation(Section):
    """Nothing is held out: overfitting stays unseen, and no checkpoint is known to be the best."""

    kind: Literal["none"] = "none"


Validation = Annotated[Split | NamedValidation | NoValidation, Field(discriminator="kind")]


class NoTest(Section):
    """No test rows: quality is judged on validation rows, or on a dataset named later."""

    kind: Literal["none"] = field(
        "none",
        "Where test rows come from: `split` off the training data, a `dataset` of its own, or "
        "`none`. The training never looks at them, not even to choose its best step, so they tell "
        "how good the result is.",
        "测试数据的来源：`split` 从训练数据拆分，`dataset` 使用单独的数据集，`none` 不设测试集。"
        "训练全程（包括挑选最佳步数）都不使用测试数据，因此能反映真实效果。",
        aliases="test_kind 测试集",
    )


class TestSplit(Section):
    """Test rows are taken from the training data at random, before the validation rows."""

    __test__ = False  # no test of pytest's

    kind: Literal["split"] = "split"
    fraction: float = field(
        0.1,
        "Share of the training rows set apart for the test, at random.",
        "从训练数据中随机拆出的测试比例。",
        aliases="test_size test_fraction",
        unit="ratio",
        ge=0.01,
        le=0.5,
    )
    max_rows: int = field(
        1000,
        "At most this many test rows: at random from a split, the first ones of a dataset.",
        "测试数据的最大行数：拆分时随机选取，使用数据集时取前若干行。",
        aliases="max_eval_samples test_max_rows",
        unit="rows",
        ge=1,
    )
    stratify_by: str | None = field(
        None,
        "Column whose values are put into the test in proportion, such as a label.",
        "按该列的取值等比例拆分测试集（如类别标签）。",
        aliases="stratify 分层字段",
    )
    group_by: str | None = field(
        None,
        "Column whose rows of one value stay together, such as a customer or a document: no value "
        "is both in the test and outside of it.",
        "按该列分组（如客户、文档）：同一取值的数据不会既在测试集内又在测试集外。",
        aliases="group 分组字段",
    )


class NamedTest(Dataset):
    """Test rows are the first ones of a dataset of their own."""

    kind: Literal["dataset"] = "dataset"
    dataset: str = required(
        "A file, or the name of a dataset, to test on.",
        "用于测试的数据文件或数据集名称。",
        aliases="test_dataset test_file",
        min_length=1,
    )
    max_rows: int = field(
        1000,
        "At most this many test rows: the first ones of the dataset.",
        "测试数据的最大行数：取数据集的前若干行。",
        unit="rows",
        ge=1,
    )


Test = Annotated[TestSplit | NamedTest | NoTest, Field(discriminator="kind")]


class Data(Section):
    """Rows to learn from, rows to check with, and how they become text."""

    train: list[DataSource] = required(
        "Datasets to train on. About 10,000 refined rows are usually enough: quality beats "
        "quantity.",
        "训练数据集。通常约 1 万条精选数据就够了：质量比数量更重要。",
        aliases="dataset train_data_file training_file data_url 训练数据集 数据集版本",
        min_length=1,
    )
    validation: Validation = section(
        Split,
        "Rows held out to measure the model while it learns.",
        "训练过程中用于评估模型的数据。",
    )
    test: Test = section(
        NoTest,
        "Rows set apart to judge the result with.",
        "留出用于评判最终效果的数据。",
    )
    general_ratio: float = field(
        0.2,
        "General rows drawn for each user row: 0.2 is general : user = 1 : 5. Without replacement "
        "where the general datasets are large enough, else in whole passes, 10 at most. Takes "
        "effect where a dataset has `role: general`.",
        "每条业务数据搭配的通用数据条数：0.2 即 通用:业务 = 1:5。通用数据足够多时不重复抽取，否则"
        "整轮重复，最多 10 轮。仅当存在 `role: general` 的数据集时生效。",
        aliases="通用语料配比 general_to_user",
        unit="ratio",
        ge=0.01,
        le=10,
    )
    max_length: int = field(
        1024,
        "Longest row in tokens. A main driver of memory: shorter is faster when rows are short; "
        "too short cuts answers off. Not below the shortest row.",
        "单条数据的最大长度（token）。显存占用的主要因素：数据较短时调小可加速，过小会截断答案。不"
        "应小于最短一条数据的长度。",
        aliases="cutoff_len max_seq_length seq_length seqLen seq_len seq_lenth sequence 序列长度",
        unit="tokens",
        ge=8,
    )
    overlong: Literal["truncate", "drop", "error"] = field(
        "truncate",
        "What happens to a longer row; each one is counted with its line. `truncate` keeps most "
        "of it, `drop` never learns half an answer, `error` stops.",
        "超长数据的处理方式，每条都会计数并记录行号。`truncate` 截断保留大部分，`drop` 丢弃以避免"
        "学到半截答案，`error` 直接停止。",
    )
    allow_small: bool = field(
        False,
        "Train on fewer than 100 rows. A model learns little from so few, and mostly by heart.",
        "允许少于 100 条训练数据。数据太少时模型学到的很有限，容易死记硬背。",
        changes="records",
    )
    prefix: str = field(
        "",
        "Text put before every question.",
        "加在每个问题之前的文本。",
    )
    instruction_template: str = field(
        "",
        "Text around the question; {instruction} stands for it. Empty: the question as it is.",
        "问题的模板，用 {instruction} 表示问题。留空则直接使用问题。",
    )
    response_template: str = field(
        "",
        "Text around the answer; {response} stands for it. Empty: the answer as it is.",
        "答案的模板，用 {response} 表示答案。留空则直接使用答案。",
    )
    chat_template: str | None = field(
        None,
        "A Jinja file or the name of a built-in template. Empty: the model's own, which is nearly "
        "always right.",
        "Jinja 模板文件或内置模板名。留空则使用模型自带的模板，这几乎总是正确的选择。",
    )
