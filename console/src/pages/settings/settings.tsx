/** Everything that is set once: oneself, the project, the installation. */
import { Card, Grid, Tabs } from "antd";
import type { ReactNode } from "react";
import { useNavigate, useParams } from "react-router";
import { useSession } from "../../app/session";
import { Title } from "../../parts/page";
import { useTexts } from "../../texts/language";
import { Account } from "./account";
import { Audit } from "./audit";
import { Flavours } from "./flavours";
import { Notices } from "./notices";
import { Projects } from "./projects";
import { System } from "./system";
import { Tokens } from "./tokens";
import { Users } from "./users";

const TABS = ["account", "tokens", "notices", "projects", "users", "flavours", "system", "audit"] as const;
type Tab = (typeof TABS)[number];

const PARTS: Record<Tab, () => ReactNode> = {
  account: () => <Account />,
  tokens: () => <Tokens />,
  notices: () => <Notices />,
  projects: () => <Projects />,
  users: () => <Users />,
  flavours: () => <Flavours />,
  system: () => <System />,
  audit: () => <Audit />,
};

export default function Settings() {
  const texts = useTexts();
  const navigate = useNavigate();
  const { tab } = useParams();
  const { me } = useSession();
  const wide = Grid.useBreakpoint().lg ?? true;
  const managesSome = me.user.is_admin || Object.values(me.roles).includes("admin");
  const shown = TABS.filter((each) => (each !== "users" || me.user.is_admin) && (each !== "audit" || managesSome));
  return (
    <>
      <Title title={texts("nav.settings")} about={texts("settings.about")} />
      <Card className="settings" styles={{ body: wide ? { paddingInlineStart: 8 } : { paddingTop: 4 } }}>
        <Tabs
          activeKey={shown.find((each) => each === tab) ?? "account"}
          tabPlacement={wide ? "start" : "top"}
          destroyOnHidden
          onChange={(next) => void navigate(`/settings/${next}`, { replace: true })}
          items={shown.map((key) => ({ key, label: texts(`settings.tab.${key}`), children: PARTS[key]() }))}
        />
      </Card>
    </>
  );
}
