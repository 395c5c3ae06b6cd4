/** The session has ended while somebody worked: what they typed stays behind this, and goes on after it. */
import { Modal } from "antd";
import { SignInForm } from "./sign-in";

export default function SignInAgain() {
  return (
    <Modal open closable={false} keyboard={false} footer={null} mask={{ closable: false }} width={420} zIndex={2000}>
      <SignInForm isAgain />
    </Modal>
  );
}
