/** The session has ended while somebody worked: what they typed stays behind this, and goes on after it. */
import { focusManager } from "@tanstack/react-query";
import { Modal } from "antd";
import { useEffect } from "react";
import { SignInForm } from "./sign-in";

export default function SignInAgain() {
  useEffect(() => {
    focusManager.setFocused(false); // what is asked for again and again waits until somebody may see it
    return () => focusManager.setFocused(undefined);
  }, []);
  return (
    <Modal open closable={false} keyboard={false} footer={null} mask={{ closable: false }} width={420} zIndex={2000}>
      <SignInForm isAgain />
    </Modal>
  );
}
