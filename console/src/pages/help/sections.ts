/** The sections of the help, and where a parameter is explained. */

export const SECTIONS = ["basics", "stages", "methods", "data", "parameters", "curves", "memory"] as const;
export type Section = (typeof SECTIONS)[number];

/** Parameters that have a place of their own; the others have their short help in the form. */
const PLACES: Record<string, string> = {
  "adapter.kind": "methods",
  "model.quantization": "methods#qlora",
  "data.general_ratio": "data#data.general_ratio",
  "data.validation.fraction": "data#data.validation",
  "adapter.rslora": "methods#lora",
  "adapter.dora": "methods#lora",
  "adapter.init": "methods#lora",
  "adapter.virtual_tokens": "methods#prompt",
  "adapter.encoder_width": "methods#prompt",
  "adapter.block_size": "methods#oft",
  "adapter.block_share": "methods#oft",
  "adapter.exact_rotation": "methods#oft",
  "adapter.layers": "methods#freeze",
  "adapter.modules": "methods#freeze",
  "stage.kind": "stages",
  "stage.gamma": "stages#simpo",
  "stage.desirable_weight": "stages#kto",
  "stage.undesirable_weight": "stages#kto",
  "stage.center": "stages#rm",
  "stage.rewards": "stages#grpo",
  "stage.group_size": "stages#grpo",
};
const EXPLAINED = new Set([
  "training.learning_rate",
  "training.epochs",
  "training.batch_size",
  "training.micro_batch_tokens",
  "training.max_grad_norm",
  "training.schedule.kind",
  "training.schedule.warmup_ratio",
  "training.schedule.min_ratio",
  "training.optimizer.weight_decay",
  ...["stage.beta", "stage.loss", "stage.ftx", "stage.reference", "stage.label_smoothing", "stage.neftune_alpha"],
  "adapter.rank",
  "adapter.alpha",
  "adapter.dropout",
  "adapter.loraplus_lr_ratio",
  "data.max_length",
  "model.dtype",
  "training.checkpoint.every_steps",
  "training.checkpoint.keep",
  "training.stop.patience",
]);

/** The address of the help on a parameter, such as /help/parameters#adapter.rank; null without one. */
export function placeOf(path: string): string | null {
  const place = PLACES[path] ?? (EXPLAINED.has(path) ? `parameters#${path}` : null);
  return place === null ? null : `/help/${place}`;
}
