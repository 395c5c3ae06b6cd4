/** Ask before something that cannot be taken back; a refusal is told with what to do. */
import { useQueryClient, type QueryKey } from "@tanstack/react-query";
import { App } from "antd";
import { useCallback, type ReactNode } from "react";
import { useTexts } from "../texts/language";
import { ErrorBox } from "./error";

interface Question {
  title: string;
  content?: ReactNode;
  okText: string;
  danger?: boolean;
  act: () => Promise<unknown>;
  renews: QueryKey[];
}

export function useSure() {
  const texts = useTexts();
  const client = useQueryClient();
  const { modal } = App.useApp();
  return useCallback(
    ({ title, content, okText, danger = true, act, renews }: Question) => {
      const shown = modal.confirm({
        title: <span className="any">{title}</span>,
        content,
        okText,
        cancelText: texts("action.back"),
        okButtonProps: { danger },
        onOk: async () => {
          try {
            await act();
          } catch (error) {
            shown.update({ content: <ErrorBox error={error as Error} /> });
            throw error;
          }
          for (const queryKey of renews) void client.invalidateQueries({ queryKey });
        },
      });
    },
    [modal, client, texts],
  );
}
