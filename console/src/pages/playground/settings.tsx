/** How the models are asked: system prompt and sampling, the same for all. */
import { Button, Drawer, Form, Input, InputNumber } from "antd";
import { SAMPLING, type Sampling } from "../../logic/conversation";
import { useTexts } from "../../texts/language";
import type { Kept } from "./kept";

const FIELDS: { name: keyof Sampling; min: number; max: number; step: number }[] = [
  { name: "temperature", min: 0, max: 2, step: 0.1 },
  { name: "top_p", min: 0.01, max: 1, step: 0.05 },
  { name: "max_tokens", min: 1, max: 32_768, step: 64 },
  { name: "repetition_penalty", min: 0.5, max: 2, step: 0.05 },
  { name: "seed", min: 0, max: 2 ** 31 - 1, step: 1 },
];

interface Props {
  open: boolean;
  draft: Kept;
  onChange: (part: Partial<Kept>) => void;
  onClose: () => void;
}

export function SettingsDrawer({ open, draft, onChange, onClose }: Props) {
  const texts = useTexts();
  return (
    <Drawer open={open} size="min(420px, 100vw)" title={texts("playground.settings")} onClose={onClose}>
      <Form layout="vertical" component="div">
        <Form.Item label={texts("playground.system")} htmlFor="system" extra={texts("playground.system.help")}>
          <Input.TextArea
            id="system"
            rows={3} className="growing"
            value={draft.system}
            onChange={(event) => onChange({ system: event.target.value })}
          />
        </Form.Item>
        {FIELDS.map(({ name, ...limits }) => (
          <Form.Item
            key={name}
            label={texts(`sampling.${name}`)}
            htmlFor={`sampling-${name}`}
            extra={texts(`sampling.${name}.help`)}
          >
            <InputNumber
              id={`sampling-${name}`}
              style={{ width: "100%" }}
              {...limits}
              placeholder={texts("sampling.default")}
              value={draft.sampling[name]}
              onChange={(value) => onChange({ sampling: { ...draft.sampling, [name]: value } })}
            />
          </Form.Item>
        ))}
        <Button onClick={() => onChange({ sampling: SAMPLING, system: "" })}>{texts("playground.reset")}</Button>
      </Form>
    </Drawer>
  );
}
