/** The concepts behind the forms: what fine-tuning is, the methods, how to choose each parameter. */
import { useQuery } from "@tanstack/react-query";
import { Card, Grid, Menu, Select, Skeleton } from "antd";
import { lazy, Suspense, useEffect } from "react";
import { Link, useLocation, useNavigate, useParams } from "react-router";
import { headingsOf } from "../../logic/headings";
import { ErrorBox } from "../../parts/error";
import { Title } from "../../parts/page";
import { useLanguage, useTexts, type Language } from "../../texts/language";
import { SECTIONS, type Section } from "./sections";

const Text = lazy(() => import("../../parts/markdown"));
const FILES = import.meta.glob<string>("../../help/*/*.md", { query: "?raw", import: "default" });

function useHelp(section: Section, language: Language) {
  return useQuery({
    queryKey: ["help", section, language],
    queryFn: () => FILES[`../../help/${language}/${section}.md`]?.() ?? "",
    staleTime: Infinity,
  });
}

export default function Help() {
  const texts = useTexts();
  const { language } = useLanguage();
  const { section: asked } = useParams();
  const section = SECTIONS.find((each) => each === asked) ?? "basics";
  const help = useHelp(section, language);
  return (
    <>
      <Title title={texts("nav.help")} about={texts("help.about")} />
      <div className="help-page">
        <Sections section={section} />
        <Card>
          <article>
            <h2 className="help-title">{texts(`help.section.${section}`)}</h2>
            <ErrorBox error={help.error} again={() => void help.refetch()} />
            <Suspense fallback={<Skeleton active />}>
              {help.data === undefined ? <Skeleton active /> : <Shown text={help.data} />}
            </Suspense>
          </article>
        </Card>
      </div>
    </>
  );
}

function Sections({ section }: { section: Section }) {
  const texts = useTexts();
  const navigate = useNavigate();
  const wide = Grid.useBreakpoint().lg ?? true;
  if (!wide)
    return (
      <Select<Section>
        aria-label={texts("nav.help")}
        value={section}
        onChange={(next) => void navigate(`/help/${next}`)}
        options={SECTIONS.map((value) => ({ value, label: texts(`help.section.${value}`) }))}
      />
    );
  return (
    <nav aria-label={texts("nav.help")}>
      <Menu
        selectedKeys={[section]}
        items={SECTIONS.map((key) => ({ key, label: <Link to={`/help/${key}`}>{texts(`help.section.${key}`)}</Link> }))}
      />
    </nav>
  );
}

/** The text, at the heading that the address names. */
function Shown({ text }: { text: string }) {
  const { hash } = useLocation();
  const id = decodeURIComponent(hash.slice(1));
  const contents = headingsOf(text);
  return (
    <>
      {contents.length > 5 && (
        <div className="row" style={{ gap: "4px 14px", marginBottom: 8 }}>
          {contents.map((each) => (
            <a key={each.id} href={`#${each.id}`}>
              {each.text}
            </a>
          ))}
        </div>
      )}
      <Text text={text} />
      <Jump id={id} />
    </>
  );
}

function Jump({ id }: { id: string }) {
  useEffect(() => {
    const heading = id ? document.getElementById(id) : null;
    heading?.scrollIntoView({ block: "start" });
    heading?.focus({ preventScroll: true });
  }, [id]);
  return null;
}
