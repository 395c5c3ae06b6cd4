/** How to ask a model from elsewhere. */
import { CopyOutlined } from "@ant-design/icons";
import { Button, Modal, Segmented } from "antd";
import { useState } from "react";
import type { Turn } from "../../logic/conversation";
import { curl, python } from "../../logic/snippet";
import { useCopy } from "../../parts/copy";
import { useTexts } from "../../texts/language";

export interface Question {
  [name: string]: unknown;
  model: string;
  messages: Turn[];
}

const LANGUAGES = { python, curl };
type Which = keyof typeof LANGUAGES;

export function Code({ question }: { question: Question }) {
  const texts = useTexts();
  const copy = useCopy();
  const [which, setWhich] = useState<Which>("curl");
  const text = LANGUAGES[which](window.location.origin, question);
  return (
    <div>
      <div className="bar">
        <Segmented<Which>
          value={which}
          onChange={setWhich}
          options={[
            { value: "curl", label: "curl" },
            { value: "python", label: "Python" },
          ]}
        />
        <span className="grow" />
        <Button icon={<CopyOutlined />} onClick={() => void copy(text)}>
          {texts("action.copy")}
        </Button>
      </div>
      <pre className="yaml mono" tabIndex={0} aria-label={which}>
        {text}
      </pre>
      <p className="quiet">{texts("code.token")}</p>
    </div>
  );
}

export function CodeDialog({ question, onClose }: { question: Question; onClose: () => void }) {
  const texts = useTexts();
  return (
    <Modal open width={720} footer={null} title={texts("playground.code")} onCancel={onClose}>
      <Code question={question} />
    </Modal>
  );
}
