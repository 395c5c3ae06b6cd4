/** How long a row a preset model takes, and the memory that its training needs before any batch. */
import type { Preset } from "../api/models";
import { bytes, count } from "../logic/format";
import { useTexts } from "../texts/language";

export function PresetFacts({ of: preset }: { of: Preset }) {
  const texts = useTexts();
  const { lora, full } = preset.memory_bytes;
  const needed = [
    ...(lora === undefined ? [] : [`LoRA ${bytes(lora)}`]),
    ...(full === undefined ? [] : [`${texts("model.full")} ${bytes(full)}`]),
  ].join(" / ");
  return (
    <>
      {texts("model.tokensARow", { count: count(preset.context) })}
      {needed && ` · ${texts("model.memory", { needed })}`}
    </>
  );
}
