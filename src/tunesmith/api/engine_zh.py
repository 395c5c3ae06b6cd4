"""Chinese texts of what ends a job, by the code of the engine: message and hint.

`{name}` is a detail of the error, which a job keeps beside the English text.
"""

from __future__ import annotations

from typing import Final

ENGINE: Final[dict[str, tuple[str, str]]] = {
    "out_of_memory.start": (
        "第一步之前显存或内存不足。",
        "请选择较小的模型或使用适配器，或减小 training.micro_batch_tokens、data.max_length。",
    ),
    "out_of_memory": (
        "第 {step} 步显存或内存不足。",
        "请减小 data.max_length 或 training.micro_batch_tokens，开启 "
        "training.activation_checkpointing: full，或改用 adapter.kind: lora 或较小的模型。",
    ),
    "out_of_memory.at_once": (
        "第 {step} 步显存或内存不足；training.update_in_backward 要求每步一次算完。",
        "请减小 training.batch_size 或 data.max_length，开启 "
        "training.activation_checkpointing: full，或选择较小的模型。",
    ),
    "step_in_pieces": (
        "training.update_in_backward 要求每步一次算完，而第 {step} 步有 {tokens} 个 token，"
        "training.micro_batch_tokens 为 {limit}。",
        "请填写 training.micro_batch_tokens: auto，或减小 training.batch_size，或填写 "
        "training.update_in_backward: false。",
    ),
    "update_in_one_process": (
        "training.update_in_backward 只支持单进程，而此次训练有 {processes} 个进程。",
        "请使用单个设备，或填写 training.update_in_backward: false。",
    ),
    "layers_not_in_turn": (
        "该模型的各层不是依次计算的，无法在反向计算中逐层更新。",
        "请填写 training.update_in_backward: false。",
    ),
    "loss_not_finite": (
        "第 {step} 步的损失或梯度不再是有限的数值。该步的数据：{places}。",
        "请降低 training.learning_rate（可先取十分之一）或 training.max_grad_norm，增大 "
        "training.schedule.warmup_ratio，并检查这些数据。",
    ),
    "too_few_rows": (
        "训练数据只有 {rows} 条，至少需要 {least} 条。",
        "请增加数据；如需用更少的数据训练，请设置 data.allow_small: true。",
    ),
    "no_trainable_rows": (
        "{rows} 条训练数据中没有任何可训练的 token。",
        "数据检查会列出每条数据被舍弃的原因。",
    ),
    "no_rows": ("{name} 中没有可读取的数据。", "数据检查会列出有问题的行。"),
    "one_class_only": (
        "用于训练的 {rows} 条回答都标为同一类；kto 学习的是好与差的区别。",
        "请补充另一类回答；只有好的回答时请使用 stage.kind: sft。",
    ),
    "overlong_rows": (
        "有 {rows} 条数据超过 {limit} 个 token，而 data.overlong 为 error。",
        "请增大 data.max_length，或将 data.overlong 设为 truncate 或 drop。",
    ),
    "row_beyond_exact_context": (
        "最长的一条数据有 {longest} 个 token。超过该模型原有的上下文 {limit} 后，"
        "结果会随微批次的大小而变。",
        "请将 data.max_length 设为不超过 {limit}。",
    ),
    "data_changed": (
        "训练开始后数据已被修改，未做任何更改；继续训练会混用两份数据。",
        "请恢复原来的文件，或重新开始训练。",
    ),
    "device_missing": (
        "所要求的设备 {device} 在工作节点上不可用。",
        "请选择其他算力规格，或由管理员运行 `tunesmith doctor`。",
    ),
    "unknown_target_module": (
        "adapter.targets：模型没有名为 {unknown} 的层。",
        "现有：{existing}。all-linear 表示除输出层外的全部线性层。",
    ),
    "unknown_module": (
        "{field}：模型没有名为 {unknown} 的模块。",
        "现有：{existing}。",
    ),
    "too_many_layers": (
        "adapter.layers 为 {layers}，而模型只有 {existing} 层。",
        "请减小层数，或训练全部权重（adapter.kind: full）。",
    ),
    "blocks_do_not_divide": (
        "adapter.blocks 为 {blocks}，不能整除模型的 {existing} 层。",
        "可选：{fitting}。",
    ),
    "cannot_expand": (
        "该模型的层结构不支持插入新层（需要 o_proj 和 down_proj）。",
        "请改用 adapter.kind: freeze 或 lora。",
    ),
    "quantisation_missing": (
        "model.quantization 需要 {library}，而工作节点的 Python 中未安装。",
        "请在该节点上运行 pip install 'tunesmith[quantization]'，或填写 model.quantization: none。",
    ),
    "nothing_to_quantise": (
        "{field}：模型在输出层和 adapter.modules_to_save 之外没有可量化的线性层。",
        "请填写 model.quantization: none。",
    ),
    "offload_needs_gpu": (
        "training.activation_offload 把激活值从 GPU 移到主内存，而设备 {device} 本身就在主内存中"
        "计算。",
        "请填写 training.activation_offload: false；在该设备上可用 "
        "training.activation_checkpointing: full 节省内存。",
    ),
    "quantised_not_on_mps": (
        "设备 mps 不支持在量化权重上训练。",
        "请填写 training.device: cpu，或 model.quantization: none。",
    ),
    "layer_not_turned": (
        "adapter.kind 为 oft，但 PEFT 的 OFT 不支持 {module} 这类层。",
        "请填写 adapter.kind: lora。",
    ),
    "uneven_blocks": (
        "adapter.block_size 为 {block_size}，不能整除所选各层的输入维数。",
        "最接近的可用值是 {nearest}。",
    ),
    "no_even_blocks": (
        "adapter.block_size 为 {block_size}，不能整除所选各层的输入维数。",
        "请减少 adapter.targets 中的层，或使用 adapter.kind: lora。",
    ),
    "layers_without_prefix": (
        "adapter.kind 为 prefix，但 {family} 系列的模型各层的键值形状不一，无法使用学习的键值。",
        "请填写 adapter.kind: prompt 或 lora。",
    ),
    "method_of_other_families": (
        "adapter.kind {method} 会改动各层的注意力，只支持以下模型系列：{known}。该模型属于"
        " {family} 系列（{field}）。",
        "请填写 adapter.kind: prefix（同样在每一层学习向量）或 lora。",
    ),
    "attention_without_vectors": (
        "{field} 为 adapter，但该模型的注意力结构特殊，PEFT 无法在其中加入学习的向量。",
        "请填写 adapter.kind: prefix（同样在每一层学习向量）或 lora。",
    ),
    "merged_not_plain": (
        "{adapter} 不是普通的 LoRA 适配器，不能在训练前合并。",
        "请先合并它（tunesmith export --format merged），将结果填入 model.base，并从 "
        "adapter.merge_first 中去掉它。",
    ),
    "merged_of_another_base": (
        "{adapter} 与基座不符：{module} 的形状不同或不存在。",
        "adapter.merge_first 中只能填写属于该基座的适配器。",
    ),
    "merged_below_dora": (
        "继续训练的适配器是 DoRA，不能与 adapter.merge_first 中的适配器保存在一起。",
        "请去掉其中之一，或用 tunesmith export --format merged 合并。",
    ),
    "reward_model_of_labels": (
        "所选分类模型有 {labels} 个标签；奖励模型只有一个，即分数。",
        "请以 stage.kind: rm 训练一个，或选择只有一个标签的序列分类模型。",
    ),
    "reward_model_missing": (
        "stage.rewards：找不到奖励模型 {name}。",
        "请填写 stage.kind: rm 训练的结果，或模型中心上只有一个标签的序列分类模型。",
    ),
    "adapter_of_reward_model": (
        "所选适配器属于奖励模型：它为回答打分，而此训练阶段学习写出回答。",
        "请更换 adapter.continue_from，或使用 stage.kind: rm。",
    ),
    "packing_not_read": (
        "该模型以 {method} 量化，但其位数或格式不受支持。",
        "请选择未量化的模型，或 GPTQ（2、4、8 位）、AWQ（gemm，4 位）量化的模型。",
    ),
    "packing_not_read.experts": (
        "该混合专家模型的专家权重已量化，不受支持。",
        "请选择未量化的模型。",
    ),
    "packed_base_needs_adapter": (
        "基座已由 {method} 量化，权重位数太少，不能直接训练（{field}）。",
        "请填写 adapter.kind: lora，或将未量化的模型填入 model.base。",
    ),
    "packed_twice": (
        "基座已由 {method} 量化，{field} 会使权重再次舍入。",
        "请填写 model.quantization: none，或将未量化的模型填入 model.base。",
    ),
    "reward_base_is_packed": (
        "该模型已量化；奖励模型须从完整模型开始。",
        "请选择未量化的模型。",
    ),
    "vectors_not_merged": (
        "该适配器只包含学习的向量（Prompt、Prefix、P-Tuning 或 adapter tuning），不能合并到权重"
        "中。",
        "请用 `tunesmith chat` 提问，或用 peft 与基座一起加载；除 adapter tuning 外，也可以用 "
        "`tunesmith serve-model` 提供服务。需要合并时，请用 adapter.kind: lora 训练。",
    ),
    "tied_module_to_save": (
        "adapter.modules_to_save：{module} 与模型另一端共用权重，不能单独训练。",
        "请去掉 {module}，或用 adapter.kind: freeze 和 adapter.extra_modules 训练它。",
    ),
    "tokens_with_head_bias": (
        "model.new_tokens：该模型的输出层带有偏置，与适配器一起训练 token 时 PEFT 会将其遗漏。",
        "请训练全部参数（adapter.kind: full）。",
    ),
    "continued_tokens": (
        "该适配器带有自己训练的 token，不能在其上继续训练。",
        "请将那次训练的完整模型填入 model.base，并删去 adapter.continue_from。",
    ),
    "rope_scaled_already": (
        "model.rope_scaling：该模型的位置编码已扩展过（{kind}）。",
        "请填写 model.rope_scaling: none。",
    ),
    "rope_not_offered": (
        "model.rope_scaling：{family} 系列的模型没有可以这样扩展的旋转位置编码。",
        "请填写 model.rope_scaling: none，并选择上下文更长的模型。",
    ),
    "tied_target_module": (
        "adapter.targets：{module} 与词嵌入共用权重，其上的适配器无法合并。",
        "请去掉 {module}，或训练全部权重（adapter.kind: full）。",
    ),
    "model_weights_incomplete": (
        "模型缺少 {count} 个权重，或其形状不符。",
        "config.json 与权重不是一套；请重新导入该模型。",
    ),
    "tokenizer_missing": (
        "模型没有分词器文件。",
        "请连同 tokenizer.json 和 tokenizer_config.json 重新导入模型。",
    ),
    "reference_needs_new_adapter": (
        "stage.reference 为 adapter_off，而训练前的模型已带有适配器或训练全部权重。",
        "请填写 stage.reference: cached 或 auto。",
    ),
    "rewards_failed": (
        "第 {step} 步：最近 {answers} 条回答中有 {skipped} 条没有奖励，最多允许 20 %。最后一次："
        "{why}",
        "请修正 stage.rewards 中的该来源：每条回答都须及时得到有限的数值。",
    ),
    "not_a_reward_model": (
        "{name} 不是奖励模型，不能给文本打分。",
        "请用 stage.kind: rm 训练一个，或填写单标签的序列分类模型。",
    ),
    "temperature_with_cap": (
        "stage.temperature 不为 1，而该模型对分数做截断，无法计算其他温度下的概率。",
        "请填写 stage.temperature: 1。",
    ),
    "internal_error": (
        "引擎发生了意外错误：{message}",
        "任务的日志中有完整记录。",
    ),
}
