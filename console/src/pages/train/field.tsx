/** One parameter: its name, its help, an input that fits it, and what is wrong with it. */
import { QuestionCircleOutlined, UndoOutlined } from "@ant-design/icons";
import { Button, Form, Input, Popover, Select, Switch } from "antd";
import { useEffect, useState, type ReactNode } from "react";
import { flushSync } from "react-dom";
import { parsed, type Field } from "../../logic/draft";
import { exponent } from "../../logic/format";
import { HelpLink } from "../../parts/help-link";
import { CHINESE, nameOf } from "../../texts/fields";
import { placeOf } from "../help/sections";
import { translateWord, useLanguage, useTexts } from "../../texts/language";

interface Props {
  field: Field;
  value: unknown;
  isWritten: boolean;
  problem: string | undefined;
  onChange: (value: unknown) => void;
  onReset: () => void;
}

export function Parameter({ field, value, isWritten, problem, onChange, onReset }: Props) {
  const texts = useTexts();
  const name = nameOf(field);
  return (
    <Form.Item
      label={
        <span className="field-head">
          {name}
          <Help field={field} name={name} />
          {isWritten && (
            <Button
              type="text"
              size="small"
              icon={<UndoOutlined />}
              aria-label={texts("field.reset", { name })}
              title={texts("field.reset", { name })}
              onClick={onReset}
            />
          )}
        </span>
      }
      htmlFor={field.path}
      validateStatus={problem ? "error" : ""}
      help={problem && <span role="alert">{problem}</span>}
    >
      <Entry field={field} value={value} onChange={onChange} />
    </Form.Item>
  );
}

function Entry({ field, value, onChange }: Pick<Props, "field" | "value" | "onChange">) {
  const { types, choices } = field;
  if (types.includes("bool"))
    return <Switch id={field.path} aria-label={nameOf(field)} checked={value === true} onChange={onChange} />;
  if (choices.length > 0 && types.length === 0)
    return (
      <Select
        id={field.path}
        aria-label={nameOf(field)}
        value={value as string}
        onChange={onChange}
        options={choices.map((each) => ({
          value: each as string,
          label: translateWord("choice", String(each)),
        }))}
      />
    );
  return <Written key={shown(value, field)} field={field} value={value} onChange={onChange} />;
}

/** A text that becomes a value when the cursor leaves it or Enter is pressed, so 1e-4 can be typed. */
function Written({ field, value, onChange }: Pick<Props, "field" | "value" | "onChange">) {
  const [text, setText] = useState(shown(value, field));
  const isJson = field.types.includes("json");
  const isLong = isJson || field.path.endsWith("template") || field.path === "data.prefix";
  const done = () => {
    if (text !== shown(value, field)) onChange(parsed(text, field.types));
  };
  useEffect(() => {
    const keep = () => flushSync(done); // the page goes: what was typed goes into the draft
    window.addEventListener("pagehide", keep);
    return () => window.removeEventListener("pagehide", keep);
  });
  const shared = {
    id: field.path,
    "aria-label": nameOf(field),
    value: text,
    placeholder: field.optional ? "–" : undefined,
    onBlur: done,
  };
  if (isLong)
    return (
      <Input.TextArea {...shared} {...(isJson ? { className: "mono", spellCheck: false } : {})} rows={isJson ? 5 : 2} onChange={(event) => setText(event.target.value)} />
    );
  return (
    <Input
      {...shared}
      suffix={field.unit ? <span className="quiet">{translateWord("unit", field.unit)}</span> : <span />}
      onChange={(event) => setText(event.target.value)}
      onPressEnter={done}
    />
  );
}

function shown(value: unknown, field: Field): string {
  if (value === null || value === undefined) return "";
  const small = field.path.endsWith("learning_rate") ? 0.1 : 1e-3; // rates are written so
  if (typeof value === "number") return value !== 0 && Math.abs(value) < small ? exponent(value) : String(value);
  if (Array.isArray(value)) return value.some((each) => typeof each === "object") ? JSON.stringify(value, null, 2) : value.join(", ");
  return typeof value === "object" ? JSON.stringify(value, null, 2) : String(value);
}

/** "Keep `cosine`" with what stands between backticks as code. */
function withCode(text: string): ReactNode[] {
  return text.split("`").map((part, at) => (at % 2 ? <code key={at}>{part}</code> : part));
}

function Help({ field, name }: { field: Field; name: string }) {
  const texts = useTexts();
  const { language } = useLanguage();
  const place = placeOf(field.path);
  const others = field.aliases.filter((each) => each !== name && (language === "zh" || !CHINESE.test(each)));
  const content = (
    <div className="help">
      <p style={{ marginTop: 0 }}>{withCode(field.help[language] ?? "")}</p>
      <div className="quiet">{texts("field.takes", { takes: field.takes[language] })}</div>
      <div className="quiet">{texts("field.default", { value: shown(field.default, field) || "–" })}</div>
      {others.length > 0 && <div className="quiet any">{texts("field.aliases", { names: others.join(", ") })}</div>}
      <div className="quiet mono">{field.path}</div>
      {place && <HelpLink to={place} about={name} />}
    </div>
  );
  return (
    <Popover content={content} title={name} trigger={["hover", "click", "focus"]}>
      <Button
        type="text"
        size="small"
        icon={<QuestionCircleOutlined />}
        aria-label={texts("field.help", { name })}
      />
    </Popover>
  );
}
