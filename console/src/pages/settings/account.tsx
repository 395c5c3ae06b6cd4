/** Oneself: who one is, how the page looks, the password, what is left of the limits. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { App, Button, Descriptions, Form, Input, Progress, Segmented, Skeleton, Typography } from "antd";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { useLook, type Wish } from "../../app/look";
import { useSession } from "../../app/session";
import { bytes, price, short } from "../../logic/format";
import { useRequired } from "../../parts/dialog";
import { ErrorBox } from "../../parts/error";
import { translateWord, useLanguage, useTexts, type Language } from "../../texts/language";

type Usage = Schemas["UsageRead"];

export function Account() {
  const texts = useTexts();
  const { me, projectId } = useSession();
  const role = me.user.is_admin ? "installation" : (me.roles[projectId] ?? "viewer");
  return (
    <div className="stack" style={{ maxWidth: 720, gap: 28 }}>
      <Descriptions
        column={{ xs: 1, md: 2 }}
        styles={{ content: { overflowWrap: "anywhere" } }}
        items={[
          { key: "name", label: texts("account.name"), children: me.user.name },
          { key: "role", label: texts("account.role"), children: translateWord("role", role) },
          { key: "email", label: texts("account.email"), children: me.user.email ?? "–" },
          {
            key: "id",
            label: texts("job.id"),
            children: (
              <Typography.Text copyable className="mono">
                {me.user.id}
              </Typography.Text>
            ),
          },
        ]}
      />
      <Looks />
      <Password />
      <Limits />
    </div>
  );
}

function Looks() {
  const texts = useTexts();
  const client = useQueryClient();
  const { language, choose } = useLanguage();
  const { wish, choose: chooseLook } = useLook();
  const tell = useMutation({
    mutationFn: (next: Language) => ask(api.PATCH("/api/v1/me", { body: { language: next } })),
    onSuccess: () => client.invalidateQueries({ queryKey: keys.me }),
  });
  return (
    <div className="columns">
      <div>
        <h2 className="small-title">{texts("account.language")}</h2>
        <Segmented<Language>
          aria-label={texts("account.language")}
          value={language}
          onChange={(next) => {
            choose(next);
            tell.mutate(next);
          }}
          options={[
            { value: "en", label: "English" },
            { value: "zh", label: "中文" },
          ]}
        />
        <p className="quiet">{texts("account.language.help")}</p>
        <ErrorBox error={tell.error} />
      </div>
      <div>
        <h2 className="small-title">{texts("account.look")}</h2>
        <Segmented<Wish>
          aria-label={texts("account.look")}
          value={wish}
          onChange={chooseLook}
          options={(["light", "dark", "system"] as const).map((value) => ({
            value,
            label: texts(`account.look.${value}`),
          }))}
        />
      </div>
    </div>
  );
}

interface Written {
  old_password?: string;
  password: string;
}

function Password() {
  const texts = useTexts();
  const { message } = App.useApp();
  const { me } = useSession();
  const [form] = Form.useForm<Written>();
  const required = useRequired();
  const change = useMutation({
    mutationFn: ({ old_password, password }: Written) =>
      ask(api.PUT("/api/v1/me/password", { body: { password, ...(old_password ? { old_password } : {}) } })),
    onSuccess: () => {
      form.resetFields();
      void message.success(texts("account.password.done"));
    },
  });
  return (
    <div>
      <h2 className="small-title">{texts("account.password")}</h2>
      <Form<Written> form={form} layout="vertical" requiredMark={false} onFinish={(written) => change.mutate(written)}>
        <input type="text" autoComplete="username" value={me.user.name} readOnly hidden />
        <div className="columns" style={{ rowGap: 0 }}>
          <Form.Item name="old_password" label={texts("account.password.old")} extra={texts("account.password.old.help")}>
            <Input.Password autoComplete="current-password" />
          </Form.Item>
          <Form.Item
            name="password"
            label={texts("account.password.new")}
            extra={texts("account.password.help")}
            rules={required}
          >
            <Input.Password autoComplete="new-password" />
          </Form.Item>
        </div>
        <ErrorBox error={change.error} />
        <Button htmlType="submit" loading={change.isPending} style={{ marginTop: change.error ? 16 : 0 }}>
          {texts("account.password.set")}
        </Button>
      </Form>
    </div>
  );
}

function Limits() {
  const texts = useTexts();
  const usage = useQuery({ queryKey: keys.usage, queryFn: () => ask(api.GET("/api/v1/me/usage")) });
  return (
    <div>
      <h2 className="small-title">{texts("account.limits")}</h2>
      {usage.error && <ErrorBox error={usage.error} again={() => void usage.refetch()} />}
      {usage.isLoading && <Skeleton active paragraph={{ rows: 2 }} />}
      {usage.data && <Shares usage={usage.data} />}
    </div>
  );
}

function Shares({ usage }: { usage: Usage }) {
  const texts = useTexts();
  const hours = (value: number) => short(value, 3);
  return (
    <div className="columns">
      <Share name="running_jobs" used={usage.running_jobs} limit={usage.limit_running_jobs} format={String} />
      <Share name="device_hours" used={usage.device_hours} limit={usage.limit_device_hours} format={hours} />
      <Share name="storage_bytes" used={usage.storage_bytes} limit={usage.limit_storage_bytes} format={bytes} />
      {usage.credit_cents !== null && (
        <div>
          <div className="quiet">{texts("account.credit")}</div>
          <strong className="numbers">{price(usage.credit_cents)}</strong>
        </div>
      )}
    </div>
  );
}

interface ShareProps {
  name: "running_jobs" | "device_hours" | "storage_bytes";
  used: number;
  limit: number | null;
  format: (value: number) => string;
}

function Share({ name, used, limit, format }: ShareProps) {
  const texts = useTexts();
  const label = texts(`usage.${name}`);
  return (
    <div className="numbers">
      <div className="quiet">{label}</div>
      {limit === null ? (
        texts("usage.noLimit", { used: format(used) })
      ) : (
        <>
          {texts("usage.of", { used: format(used), limit: format(limit) })}
          <Progress
            size="small"
            aria-label={label}
            showInfo={false}
            percent={limit > 0 ? Math.min(100, (100 * used) / limit) : 100}
            status={used >= limit ? "exception" : "normal"}
          />
        </>
      )}
    </div>
  );
}
