/** What can be done with a deployment now. */
import { App, Button } from "antd";
import { refusalOf } from "../../api/client";
import { useDeploymentCommand, type Deployment, type DeploymentCommand } from "../../api/deployments";
import { useTexts } from "../../texts/language";

interface Props {
  deployment: Deployment;
  size?: "small" | "middle";
  onDeleted?: () => void;
}

export function DeploymentCommands({ deployment, size = "middle", onDeleted }: Props) {
  const texts = useTexts();
  const { modal, message } = App.useApp();
  const command = useDeploymentCommand();
  const isStopped = deployment.status === "stopped" || deployment.status === "failed";
  const go = async (which: DeploymentCommand) => {
    try {
      await command.mutateAsync({ id: deployment.id, command: which });
      if (which === "delete") onDeleted?.();
    } catch (error) {
      void message.error(refusalOf(error));
    }
  };
  const sure = () =>
    modal.confirm({
      title: texts("deploy.delete.sure"),
      content: deployment.name,
      okText: texts("action.delete"),
      cancelText: texts("action.back"),
      okButtonProps: { danger: true },
      onOk: () => go("delete"),
    });
  return (
    <>
      {isStopped ? (
        <Button size={size} loading={command.isPending} onClick={() => void go("start")}>
          {texts("deploy.start")}
        </Button>
      ) : (
        <Button size={size} loading={command.isPending} onClick={() => void go("stop")}>
          {texts("deploy.stop")}
        </Button>
      )}
      <Button size={size} danger onClick={sure}>
        {texts("action.delete")}
      </Button>
    </>
  );
}
