/** What stands around every page: navigation, project, language, look, user. */
import {
  AppstoreOutlined,
  CloudServerOutlined,
  DatabaseOutlined,
  DeploymentUnitOutlined,
  ExperimentOutlined,
  LogoutOutlined,
  MenuOutlined,
  MessageOutlined,
  MoonOutlined,
  ReadOutlined,
  RocketOutlined,
  SettingOutlined,
  SunOutlined,
  ThunderboltOutlined,
  UserOutlined,
} from "@ant-design/icons";
import { useQuery } from "@tanstack/react-query";
import { Button, Drawer, Dropdown, Grid, Layout, Menu, Select, Tag, Tooltip } from "antd";
import { useState } from "react";
import { Link, Outlet, useLocation } from "react-router";
import { api, ask } from "../api/client";
import { keys } from "../api/keys";
import { useConnected } from "../feed/feed";
import { useLanguage, useTexts } from "../texts/language";
import { useLook } from "./look";
import { useSession } from "./session";

const PLACES = [
  { path: "/", key: "nav.overview", icon: <AppstoreOutlined /> },
  { path: "/train", key: "nav.train", icon: <RocketOutlined /> },
  { path: "/jobs", key: "nav.jobs", icon: <ThunderboltOutlined /> },
  { path: "/datasets", key: "nav.datasets", icon: <DatabaseOutlined /> },
  { path: "/models", key: "nav.models", icon: <DeploymentUnitOutlined /> },
  { path: "/evaluations", key: "nav.evaluations", icon: <ExperimentOutlined /> },
  { path: "/deployments", key: "nav.deployments", icon: <CloudServerOutlined /> },
  { path: "/playground", key: "nav.playground", icon: <MessageOutlined /> },
  { path: "/settings", key: "nav.settings", icon: <SettingOutlined /> },
  { path: "/help", key: "nav.help", icon: <ReadOutlined /> },
] as const;

export function Frame() {
  const wide = Grid.useBreakpoint().lg ?? true;
  const [open, setOpen] = useState(false);
  const texts = useTexts();
  return (
    <Layout className="frame">
      <a className="skip" href="#page">
        {texts("nav.skip")}
      </a>
      {wide ? (
        <Layout.Sider width={216} theme="light" className="side">
          <Navigation />
        </Layout.Sider>
      ) : (
        <Drawer
          open={open}
          onClose={() => setOpen(false)}
          placement="left"
          size={260}
          styles={{ body: { padding: 0 } }}
          closable={false}
        >
          <Navigation onChosen={() => setOpen(false)} />
        </Drawer>
      )}
      <Layout>
        <Layout.Header className="head">
          {!wide && (
            <Button
              type="text"
              icon={<MenuOutlined />}
              aria-label={texts("nav.menu")}
              onClick={() => setOpen(true)}
            />
          )}
          <ProjectSwitch />
          <span className="grow" />
          <Connection />
          <Switches />
          <UserMenu />
        </Layout.Header>
        <Layout.Content id="page" className="page" tabIndex={-1}>
          <Outlet />
        </Layout.Content>
      </Layout>
    </Layout>
  );
}

function Navigation({ onChosen }: { onChosen?: () => void }) {
  const texts = useTexts();
  const { pathname } = useLocation();
  const here = PLACES.findLast((place) => pathname === place.path || pathname.startsWith(`${place.path}/`));
  return (
    <nav aria-label={texts("nav.main")}>
      <Link to="/" className="brand" onClick={onChosen}>
        <img src="/mark.svg" alt="" width={28} height={28} />
        tunesmith
      </Link>
      <Menu
        mode="inline"
        selectedKeys={here ? [here.path] : []}
        onClick={onChosen}
        items={PLACES.map((place) => ({
          key: place.path,
          icon: place.icon,
          label: <Link to={place.path}>{texts(place.key)}</Link>,
        }))}
      />
    </nav>
  );
}

function ProjectSwitch() {
  const texts = useTexts();
  const { projectId, chooseProject } = useSession();
  const projects = useQuery({
    queryKey: keys.projects,
    queryFn: () => ask(api.GET("/api/v1/projects", { params: { query: { limit: 1000 } } })),
  });
  const options = projects.data?.data.map((each) => ({ value: each.id, label: each.name })) ?? [];
  return (
    <Select
      className="project"
      aria-label={texts("nav.project")}
      variant="filled"
      showSearch={{ optionFilterProp: "label" }}
      loading={projects.isLoading}
      value={options.length ? projectId : undefined}
      onChange={chooseProject}
      options={options}
    />
  );
}

function Connection() {
  const texts = useTexts();
  const connected = useConnected();
  return (
    <span role="status">
      {!connected && (
        <Tooltip title={texts("nav.reconnecting.help")}>
          <Tag color="warning">{texts("nav.reconnecting")}</Tag>
        </Tooltip>
      )}
    </span>
  );
}

export function Switches() {
  const texts = useTexts();
  const { language, choose } = useLanguage();
  const { look, choose: chooseLook } = useLook();
  return (
    <>
      <Button
        type="text"
        lang={language === "en" ? "zh-CN" : "en"}
        onClick={() => choose(language === "en" ? "zh" : "en")}
      >
        {language === "en" ? "中文" : "English"}
      </Button>
      <Button
        type="text"
        icon={look === "light" ? <MoonOutlined /> : <SunOutlined />}
        aria-label={texts(look === "light" ? "nav.dark" : "nav.light")}
        onClick={() => chooseLook(look === "light" ? "dark" : "light")}
      />
    </>
  );
}

function UserMenu() {
  const texts = useTexts();
  const { me, signOut } = useSession();
  const items = [
    { key: "account", icon: <UserOutlined />, label: <Link to="/settings/account">{me.user.name}</Link> },
    { key: "out", icon: <LogoutOutlined />, label: texts("nav.signOut"), onClick: () => void signOut() },
  ];
  return (
    <Dropdown menu={{ items }} trigger={["click"]}>
      <Button type="text" icon={<UserOutlined />} aria-label={texts("nav.user")} />
    </Dropdown>
  );
}
