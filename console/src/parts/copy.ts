/** Copying with a word about it. */
import { App } from "antd";
import { copyText } from "../logic/clipboard";
import { useTexts } from "../texts/language";

export function useCopy(): (text: string) => Promise<void> {
  const texts = useTexts();
  const { message } = App.useApp();
  return (text) =>
    copyText(text).then(
      () => void message.success(texts("action.copied")),
      () => void message.error(texts("action.notCopied")),
    );
}
