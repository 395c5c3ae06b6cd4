/** Signing in with a password or a token; before there is any password, with the first token. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Alert, Button, Card, Form, Input, Segmented, Typography } from "antd";
import { useEffect, useState } from "react";
import { useLocation, useNavigate } from "react-router";
import { api, ApiError, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { Switches } from "../../app/frame";
import { ErrorBox } from "../../parts/error";
import { useTexts } from "../../texts/language";

type Way = "password" | "token";
interface Written {
  name?: string;
  password?: string;
  token?: string;
}

/** The token after # in an address, which no server ever sees. */
function tokenOfAddress(): string {
  return new URLSearchParams(window.location.hash.slice(1)).get("token") ?? "";
}

export default function SignIn() {
  useEffect(() => {
    document.title = "tunesmith";
  }, []);
  return (
    <div className="welcome">
      <div className="top">
        <span className="brand">
          <img src="/mark.svg" alt="" width={28} height={28} />
          tunesmith
        </span>
        <span className="grow" />
        <Switches />
      </div>
      <main className="middle">
        <Card className="card">
          <SignInForm />
        </Card>
      </main>
    </div>
  );
}

/** The ways to sign in, with what each asks for. */
export function SignInForm({ isAgain = false }) {
  const texts = useTexts();
  const health = useQuery({ queryKey: keys.health, queryFn: () => ask(api.GET("/api/v1/health")) });
  const isFirst = !isAgain && (health.data?.needs_setup ?? false);
  const [chosen, setChosen] = useState<Way | null>(null);
  const way = chosen ?? (isFirst ? "token" : "password");
  return (
    <>
      <Typography.Title level={1} style={{ fontSize: 22, marginTop: 0 }}>
        {texts(isFirst ? "signIn.first" : "signIn.title")}
      </Typography.Title>
      {isFirst ? (
        <Alert type="info" title={texts("signIn.first.about")} style={{ marginBottom: 16 }} />
      ) : (
        <Segmented<Way>
          block
          value={way}
          onChange={setChosen}
          style={{ marginBottom: 20 }}
          options={[
        { value: "password", label: texts("signIn.password") },
        { value: "token", label: texts("signIn.token") },
          ]}
        />
      )}
      <Entry way={way} isFirst={isFirst} />
      {!isFirst && <OtherSignIn />}
    </>
  );
}

function Entry({ way, isFirst }: { way: Way; isFirst: boolean }) {
  const texts = useTexts();
  const client = useQueryClient();
  const navigate = useNavigate();
  const { pathname, search } = useLocation();
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);

  const enter = async (written: Written) => {
    setBusy(true);
    setError(null);
    try {
      await (way === "password"
        ? ask(api.POST("/api/v1/session", { body: { name: written.name ?? "", password: written.password ?? "" } }))
        : ask(
            api.POST("/api/v1/session/token", {
              headers: { Authorization: `Bearer ${written.token?.trim()}` },
            }),
          ));
      await navigate(isFirst ? "/welcome" : { pathname, search }, { replace: true }); // without the token behind #
      const before = client.getQueryData<Schemas["Me"]>(keys.me);
      await client.refetchQueries({ queryKey: keys.me });
      const now = client.getQueryData<Schemas["Me"]>(keys.me);
      if (before && before.user.id !== now?.user.id) window.location.reload(); // nothing of somebody else's stays
      else if (before) void client.invalidateQueries();
    } catch (failed) {
      const error = failed as ApiError;
      const isWrong = isFirst && error.status === 401; // there is nobody yet who could make another one
      setError(isWrong ? new ApiError({ ...error, message: error.message, hint: texts("signIn.first.wrong") }, 401) : error);
      setBusy(false);
    }
  };

  return (
    <Form<Written>
      layout="vertical"
      requiredMark={false}
      onFinish={(written) => void enter(written)}
      initialValues={{ token: tokenOfAddress() }}
      key={way}
    >
      {way === "password" ? (
        <>
          <Form.Item name="name" label={texts("signIn.name")} rules={[{ required: true, message: texts("form.required") }]}>
            <Input autoComplete="username" autoFocus size="large" />
          </Form.Item>
          <Form.Item name="password" label={texts("signIn.password")} rules={[{ required: true, message: texts("form.required") }]}>
            <Input.Password autoComplete="current-password" size="large" />
          </Form.Item>
        </>
      ) : (
        <Form.Item
          name="token"
          label={texts("signIn.token")}
          extra={isFirst ? undefined : texts("signIn.token.help")}
          rules={[{ required: true, message: texts("form.required") }]}
        >
          <Input.Password autoComplete="off" autoFocus size="large" placeholder="tsk-..." />
        </Form.Item>
      )}
      {error && <ErrorBox error={error} />}
      <Button type="primary" htmlType="submit" block size="large" loading={busy} style={{ marginTop: error ? 16 : 4 }}>
        {texts("signIn.enter")}
      </Button>
    </Form>
  );
}

/** Through the provider of the company, where one is set up. */
function OtherSignIn() {
  const texts = useTexts();
  const oidc = useQuery({ queryKey: ["oidc"], queryFn: () => ask(api.GET("/api/v1/oidc")) });
  if (!oidc.data?.is_on) return null;
  return (
    <Button block size="large" href={oidc.data.login} style={{ marginTop: 12 }}>
      {texts("signIn.company")}
    </Button>
  );
}
