/** A form over the page: what was refused is told inside, and what was typed stays. */
import { useMutation, useQueryClient, type QueryKey } from "@tanstack/react-query";
import { Form, Modal } from "antd";
import type { ReactNode } from "react";
import { useTexts } from "../texts/language";
import { ErrorBox } from "./error";

interface Props<T extends object, Answer> {
  title: string;
  okText: string;
  initial?: Partial<T>;
  send: (written: T) => Promise<Answer>;
  /** Answers in the cache that are old afterwards. */
  renews: QueryKey[];
  onDone?: (answer: Answer) => void;
  onClose: () => void;
  children: ReactNode;
}

export function FormDialog<T extends object, Answer = unknown>(props: Props<T, Answer>) {
  const { title, okText, initial, send, renews, onDone, onClose, children } = props;
  const texts = useTexts();
  const client = useQueryClient();
  const [form] = Form.useForm<T>();
  const sent = useMutation({
    mutationFn: send,
    onSuccess: (answer) => {
      for (const queryKey of renews) void client.invalidateQueries({ queryKey });
      onDone?.(answer);
      onClose();
    },
  });
  return (
    <Modal
      open
      title={title}
      okText={okText}
      cancelText={texts("action.back")}
      confirmLoading={sent.isPending}
      onOk={() => form.submit()}
      onCancel={onClose}
    >
      <Form<T>
        form={form}
        layout="vertical"
        requiredMark={false}
        initialValues={initial}
        onFinish={(written) => sent.mutate(written)}
        style={{ paddingTop: 8 }}
      >
        {children}
      </Form>
      <ErrorBox error={sent.error} />
    </Modal>
  );
}

/** A rule for fields that must not be empty. */
export function useRequired() {
  const texts = useTexts();
  return [{ required: true, message: texts("form.required") }];
}
