/** What one does with a model that is there: evaluate it, deploy it. */
import { Button } from "antd";
import { useState } from "react";
import { Link, useNavigate } from "react-router";
import { useSession } from "../../app/session";
import { useTexts } from "../../texts/language";
import { DeployDialog } from "../deployments/create";

export function Uses({ model }: { model: { id: string; name: string } }) {
  const texts = useTexts();
  const navigate = useNavigate();
  const { mayWrite } = useSession();
  const [isOpen, setOpen] = useState(false);
  if (!mayWrite) return null;
  return (
    <>
      <Link to={`/evaluations?new=1&model=${model.id}`}>
        <Button>{texts("evaluate.title")}</Button>
      </Link>
      <Button onClick={() => setOpen(true)}>{texts("deploy.deploy")}</Button>
      {isOpen && (
        <DeployDialog
          model={model.name}
          onClose={() => setOpen(false)}
          onMade={(made) => void navigate(`/deployments/${made.id}`)}
        />
      )}
    </>
  );
}
