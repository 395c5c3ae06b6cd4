/** Names of models and of what jobs saved on their way. */

const CHECKPOINT = /^(ft:.*):ckpt-step-\d+$/s;

/** ft:starter:default:shop:01abcdef -> ft:starter:default:shop:01abcdef:ckpt-step-88 */
export function checkpointName(model: string, step: number): string {
  return `${model}:ckpt-step-${step}`;
}

/** The model whose job saved this checkpoint; of any other model its own name. */
export function parentOf(name: string): string {
  return CHECKPOINT.exec(name)?.[1] ?? name;
}
