/** Names of parameters. The recipe schema has helps and the names of other systems; here stands what
 * a Chinese form calls a field that no other system has named. */
import type { Field } from "../logic/draft";
import { currentLanguage } from "./language";

const ZH: Record<string, string> = {
  "model.source": "模型来源",
  "model.revision": "模型版本",
  "model.dtype": "计算精度",
  "model.quantization": "量化（QLoRA）",
  "model.new_tokens": "新增词",
  "model.new_special_tokens": "新增特殊标记",
  "model.rope_scaling": "上下文扩展（RoPE）",
  "model.rope_factor": "上下文扩展倍数",
  "model.attention": "注意力实现",
  "model.trust_remote_code": "信任远程代码",
  "adapter.kind": "训练方式",
  "adapter.rank": "LoRA 秩",
  "adapter.alpha": "LoRA alpha",
  "adapter.dropout": "LoRA dropout",
  "adapter.targets": "LoRA 目标层",
  "adapter.loraplus_lr_ratio": "LoRA+ 学习率倍数",
  "adapter.continue_from": "继续训练的结果",
  "stage.kind": "训练类型",
  "stage.beta": "约束强度 beta",
  "stage.loss": "损失形式",
  "stage.ftx": "监督损失权重",
  "stage.gamma": "目标间隔 gamma",
  "stage.reference": "参考概率来源",
  "stage.label_smoothing": "标签平滑",
  "stage.neftune_alpha": "NEFTune 噪声",
  "stage.desirable_weight": "好回答权重",
  "stage.undesirable_weight": "坏回答权重",
  "stage.center": "分数居中权重",
  "stage.rewards": "奖励",
  "stage.group_size": "每组回答数",
  "stage.max_answer_tokens": "回答最大长度",
  "stage.temperature": "采样温度",
  "stage.top_p": "Top p",
  "stage.top_k": "Top k",
  "stage.advantage": "优势估计",
  "stage.scale_rewards": "奖励缩放",
  "stage.clip_low": "裁剪下限",
  "stage.clip_high": "裁剪上限",
  "stage.delta": "双侧裁剪上限",
  "stage.ratio": "概率比方式",
  "stage.iterations": "每批迭代次数",
  "stage.mask_truncated": "忽略被截断的回答",
  "stage.show_rollouts": "展示回答数",
  "training.stop.metric": "评估指标",
  "stage.loss_on": "计算损失的轮次",
  "data.validation.max_rows": "验证集最大行数",
  "data.validation.fraction": "验证集比例",
  "data.test.fraction": "测试集比例",
  "data.test.max_rows": "测试集最大行数",
  "data.test.dataset": "测试数据集",
  "data.max_length": "最大长度",
  "data.overlong": "超长处理",
  "data.allow_small": "允许少于 100 行",
  "data.prefix": "前缀",
  "data.instruction_template": "指令模板",
  "data.response_template": "回答模板",
  "data.chat_template": "对话模板",
  "training.max_steps": "最大步数",
  "training.batch_tokens": "每步词元数",
  "training.optimizer.weight_decay": "权重衰减",
  "training.schedule.warmup_ratio": "预热比例",
  "training.optimizer.beta1": "Adam beta1",
  "training.optimizer.beta2": "Adam beta2",
  "training.optimizer.epsilon": "Adam epsilon",
  "training.micro_batch_tokens": "微批次词元数",
  "training.log_every_steps": "日志间隔",
  "training.activation_checkpointing": "激活重计算",
  "training.activation_offload": "激活值放在主内存",
  "training.device": "设备类型",
  "training.stop.patience": "早停耐心",
  "training.stop.target_loss": "目标损失",
  "training.stop.restore_best": "保留最优结果",
  "training.checkpoint.keep": "保留检查点个数",
  "export.merge": "合并导出",
  "report.tensorboard": "TensorBoard 日志",
  "adapter.rslora": "rsLoRA",
  "adapter.dora": "DoRA",
  "adapter.init": "适配器初始化",
  "adapter.pissa_iterations": "PiSSA 迭代次数",
  "adapter.modules_to_save": "完整训练的模块",
  "adapter.rank_pattern": "分层设置秩",
  "adapter.alpha_pattern": "分层设置 alpha",
  "adapter.virtual_tokens": "向量个数",
  "adapter.encoder_width": "编码网络宽度",
  "adapter.projection": "由小网络生成",
  "adapter.merge_first": "先合并的适配器",
  "adapter.loftq_iterations": "LoftQ 轮数",
  "training.master_weights": "保留精确权重",
  "training.update_in_backward": "反向中更新参数",
  "training.loss_scale.initial": "初始损失缩放",
  "training.loss_scale.growth_steps": "缩放增长间隔",
  "training.optimizer.block_switch_steps": "每层训练步数",
  "training.optimizer.block_order": "层的顺序",
  "adapter.block_size": "旋转块大小",
  "adapter.block_share": "共用旋转",
  "adapter.exact_rotation": "精确旋转",
  "adapter.layers": "训练的层数",
  "adapter.modules": "训练的模块",
  "adapter.extra_modules": "额外训练的模块",
  "training.optimizer.projection_rank": "梯度投影秩",
  "training.optimizer.projection_gap": "投影更新间隔",
  "training.optimizer.projection_scale": "投影更新缩放",
  "gate.confidence": "置信水平",
  "report.wandb": "Weights & Biases",
  "report.wandb_project": "W&B 项目",
  "report.wandb_entity": "W&B 团队",
  "report.wandb_name": "W&B 运行名称",
  "report.wandb_tags": "W&B 标签",
  "report.mlflow": "MLflow",
  "report.swanlab": "SwanLab",
};
/** Names of fields that validation and test data have alike. */
const ZH_LEAVES: Record<string, string> = {
  format: "数据格式",
  prompt_field: "问题列",
  response_field: "回答列",
  history_field: "历史列",
  system_field: "系统提示列",
  context_field: "补充内容列",
  messages_field: "对话列",
  tools_field: "工具列",
  chosen_field: "较好回答列",
  rejected_field: "较差回答列",
  label_field: "好坏标记列",
  role_tag: "说话人键",
  content_tag: "内容键",
  user_tag: "用户名称",
  assistant_tag: "助手名称",
  system_tag: "系统名称",
  function_tag: "工具调用名称",
  observation_tag: "工具结果名称",
  max_samples: "最多行数",
};
/** Names that read better than the words of their path. */
const EN: Record<string, string> = {
  "adapter.rslora": "rsLoRA",
  "adapter.dora": "DoRA",
  "stage.ftx": "Weight of the usual loss",
  "stage.center": "Centring of scores",
  "report.wandb": "Weights & Biases",
  "report.wandb_project": "W&B project",
  "report.wandb_entity": "W&B team",
  "report.wandb_name": "W&B name of the run",
  "report.wandb_tags": "W&B tags",
  "report.mlflow": "MLflow",
  "report.swanlab": "SwanLab",
  "report.tensorboard": "TensorBoard",
};
export const CHINESE = /[\u4e00-\u9fff]/;
const TOO_SHORT = new Set(["kind", "every_steps", "keep", "fraction", "max_rows", "dataset", "format"]);

/** training.learning_rate -> Learning rate; schedule.kind -> Schedule */
export function nameOf(field: Pick<Field, "path" | "aliases">): string {
  if (currentLanguage() === "zh") {
    const known = ZH[field.path] ?? field.aliases.find((each) => CHINESE.test(each));
    const leaf = field.path.startsWith("data.") ? ZH_LEAVES[field.path.split(".").at(-1) ?? ""] : undefined;
    if (known ?? leaf) return (known ?? leaf) as string;
  }
  const named = EN[field.path];
  if (named) return named;
  const parts = field.path.split(".");
  const last = parts.at(-1) ?? "";
  const section = parts.at(-2) ?? "";
  if (last === "kind") return sentence(section);
  return sentence(TOO_SHORT.has(last) ? `${section} ${last}` : last);
}

function sentence(words: string): string {
  const text = words.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
