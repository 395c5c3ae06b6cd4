/** A secret that the server tells this once. */
import { Alert, Modal, Typography } from "antd";
import { useTexts } from "../texts/language";

interface Props {
  title: string;
  about: string;
  secret: string;
  onClose: () => void;
}

export function Once({ title, about, secret, onClose }: Props) {
  const texts = useTexts();
  return (
    <Modal
      open
      title={title}
      closable={false}
      mask={{ closable: false }}
      keyboard={false}
      okText={texts("tokens.copied")}
      cancelButtonProps={{ style: { display: "none" } }}
      onOk={onClose}
    >
      <div className="stack">
        <Alert type="warning" showIcon title={about} />
        <Typography.Text code copyable className="any" data-secret>
          {secret}
        </Typography.Text>
      </div>
    </Modal>
  );
}
