"""Why fields of a recipe cannot stand together, by code; see `problem_texts.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tunesmith.recipe.words import Text

KEEP_ONE: Final = ("Keep one of them.", "请只保留其中一个。")

CLASHES: Final[Mapping[str, Text]] = {
    "batch_below_row": Text(
        "training.batch_tokens ({tokens}) is smaller than data.max_length ({longest}): the longest "
        "rows would not fit.",
        "Raise training.batch_tokens to {longest} or more, or lower data.max_length.",
        "training.batch_tokens（{tokens}）小于 data.max_length（{longest}）：最长的数据放不下。",
        "请将 training.batch_tokens 增大到 {longest} 以上，或减小 data.max_length。",
    ),
    "smoothing_of_another_loss": Text(
        "stage.label_smoothing has no part in stage.loss: {loss}.",
        "Write stage.loss: sigmoid or robust, or remove stage.label_smoothing.",
        "stage.loss: {loss} 不使用 stage.label_smoothing。",
        "请填写 stage.loss: sigmoid 或 robust，或删去 stage.label_smoothing。",
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
        KEEP_ONE[0],
        "model.new_tokens 与 model.new_special_tokens 中都有 {value}。",
        KEEP_ONE[1],
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
    "gradients_are_small": Text(
        "training.update_in_backward saves memory of gradients, but what adapter.kind {method} "
        "trains is small, and so are its gradients.",
        "Remove training.update_in_backward, or train the weights themselves (adapter.kind: full).",
        "training.update_in_backward 用于节省梯度的显存，但 adapter.kind 为 {method} 时训练的参数"
        "很少，梯度也很小。",
        "请删去 training.update_in_backward，或直接训练模型参数（adapter.kind: full）。",
    ),
    "updates_of_another_stage": Text(
        "training.update_in_backward is offered for learning from texts, not for stage.kind "
        "{stage}.",
        "Write stage.kind: sft or pt, or training.update_in_backward: false.",
        "training.update_in_backward 仅支持从文本学习的训练，不支持 stage.kind {stage}。",
        "请填写 stage.kind: sft 或 pt，或 training.update_in_backward: false。",
    ),
    "norm_known_too_late": Text(
        "training.max_grad_norm is {norm}, but with training.update_in_backward the norm of the "
        "gradients is known only when the weights have moved.",
        "Write training.max_grad_norm: 0, or training.update_in_backward: false.",
        "training.max_grad_norm 为 {norm}，而 training.update_in_backward 在参数更新之后才能得到"
        "梯度的范数，无法裁剪。",
        "请填写 training.max_grad_norm: 0，或 training.update_in_backward: false。",
    ),
    "optimizer_not_by_layer": Text(
        "training.update_in_backward updates layer by layer, which training.optimizer.kind "
        "{optimizer} is not made for.",
        "Write training.optimizer.kind: adamw or adamw_8bit, or training.update_in_backward: "
        "false.",
        "training.update_in_backward 逐层更新参数，而 training.optimizer.kind 为 {optimizer} 时"
        "不支持。",
        "请填写 training.optimizer.kind: adamw 或 adamw_8bit，或"
        " training.update_in_backward: false。",
    ),
    "updates_not_taken_back": Text(
        "model.dtype is float16, whose steps are left out when gradients become too large; with "
        "training.update_in_backward the weights have moved by then.",
        "Write model.dtype: bfloat16 or float32, or training.update_in_backward: false.",
        "model.dtype 为 float16 时，梯度溢出的步会被跳过；而使用 training.update_in_backward 时参数"
        "此时已经更新。",
        "请填写 model.dtype: bfloat16 或 float32，或 training.update_in_backward: false。",
    ),
    "layers_passed_again": Text(
        "model.attention is {attention}, which computes one document after the other and so passes "
        "through every layer several times a step; training.update_in_backward needs one pass.",
        "Write model.attention: flat, or training.update_in_backward: false.",
        "model.attention 为 {attention} 时逐条计算，每步会多次经过各层，而"
        " training.update_in_backward 要求只经过一次。",
        "请填写 model.attention: flat，或 training.update_in_backward: false。",
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
        "Write training.activation_checkpointing: off, or model.attention: flat.",
        "training.activation_checkpointing 会重复计算各层，而 model.attention 为 {attention} 时，"
        "adapter.kind prefix 的键值存放在缓存中，只能使用一次。",
        "请填写 training.activation_checkpointing: off，或 model.attention: flat。",
    ),
    "offload_needs_gpu": Text(
        "training.activation_offload moves activations from a GPU to main memory, but the device "
        "is {device}, which computes in main memory itself.",
        "Write training.activation_offload: false; training.activation_checkpointing: full saves "
        "memory there.",
        "training.activation_offload 把激活值从 GPU 移到主内存，而设备 {device} 本身就在主内存中"
        "计算。",
        "请填写 training.activation_offload: false；在该设备上可用 "
        "training.activation_checkpointing: full 节省内存。",
    ),
    "vectors_not_merged": Text(
        "export.merge is true, but the vectors that adapter.kind {method} learns are no part of "
        "any weight.",
        "Write export.merge: false, or adapter.kind: lora.",
        "export.merge 为 true，但 adapter.kind {method} 学习的是向量，不属于任何权重，无法合并。",
        "请填写 export.merge: false，或 adapter.kind: lora。",
    ),
    "last_layers_alone": Text(
        "adapter.layers is {layers}, but the vectors of adapter.kind adapter stand in the last "
        "layers of a model.",
        "Write in how many of them, such as 30; a model with fewer has vectors in all.",
        "adapter.layers 为 {layers}，但 adapter.kind adapter 的向量位于模型的最后若干层。",
        "请填写层数，例如 30；模型层数不足时为全部层。",
    ),
    "no_place_for_score": Text(
        "stage.kind rm trains a new score with the adapter, for which the files of adapter.kind "
        "{method} have no place.",
        "Write adapter.kind: lora.",
        "stage.kind rm 会同时训练新的评分层，而 adapter.kind {method} 的结果文件无法保存它。",
        "请填写 adapter.kind: lora。",
    ),
    "gates_stay_closed": Text(
        "training.optimizer.kind is adafactor, which moves a weight by a share of its own size; "
        "the gates of adapter.kind adapter begin at zero and would hardly open.",
        "Write training.optimizer.kind: adamw, or adapter.kind: lora.",
        "training.optimizer.kind 为 adafactor，它按权重自身的大小更新，而 adapter.kind adapter 的"
        "门控从零开始，几乎不会打开。",
        "请填写 training.optimizer.kind: adamw，或 adapter.kind: lora。",
    ),
    "method_of_other_families": Text(
        "adapter.kind {method} changes the attention of a layer, which is known of these families "
        "alone: {known}. This model is of the family {family}.",
        "Write adapter.kind: prefix, which learns vectors in every layer too, or lora.",
        "adapter.kind {method} 会改动各层的注意力，只支持以下模型系列：{known}。该模型属于"
        " {family} 系列。",
        "请填写 adapter.kind: prefix（同样在每一层学习向量）或 lora。",
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
        KEEP_ONE[0],
        "{field}.stratify_by 与 {field}.group_by 都是 {column}：同一列不能既保持完整又按比例拆分。",
        KEEP_ONE[1],
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
        KEEP_ONE[0],
        "{field}.share（{share}）与 {field}.sampling_rate（{rate}）都决定抽取的行数。",
        KEEP_ONE[1],
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
}
