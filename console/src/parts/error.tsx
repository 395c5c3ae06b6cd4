/** How every failure is shown: what happened, what to do, and the id to ask with. */
import { Alert, Button, Typography } from "antd";
import { ApiError } from "../api/client";
import { useTexts } from "../texts/language";

interface Props {
  error: Error | null | undefined;
  again?: () => void;
  onClose?: () => void;
}

export function ErrorBox({ error, again, onClose }: Props) {
  const texts = useTexts();
  if (!error) return null;
  const told = error instanceof ApiError ? error : null;
  const problems = told?.problems ?? [];
  return (
    <Alert
      type="error"
      showIcon
      role="alert"
      title={<span className="any">{error.message || texts("error.unknown")}</span>}
      closable={onClose ? { onClose } : false}
      action={again && <Button onClick={again}>{texts("action.tryAgain")}</Button>}
      description={
        told && (
          <>
            {problems.length > 1 && <Problems problems={problems} />}
            {told.hint && <div className="any">{told.hint}</div>}
            {told.requestId && (
              <div className="quiet">
                {texts("error.request")}{" "}
                <Typography.Text code copyable>
                  {told.requestId}
                </Typography.Text>
              </div>
            )}
          </>
        )
      }
    />
  );
}

function Problems({ problems }: { problems: ApiError["problems"] }) {
  return (
    <ul>
      {problems.map((each, index) => (
        <li key={index} className="any">
          {each.field && <code>{each.field}</code>} {each.message}
        </li>
      ))}
    </ul>
  );
}
