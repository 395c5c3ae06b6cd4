/** Markdown as a page shows it. What is written as HTML shows as text, and links lead to web
 * addresses, mail, or places of this page only: react-markdown makes elements, never markup. */
import { isValidElement, type ReactNode } from "react";
import Markdown, { type Components } from "react-markdown";
import { Link } from "react-router";
import remarkGfm from "remark-gfm";
import { anchored } from "../logic/headings";

const components: Components = {
  a: ({ href = "", children }) =>
    href.startsWith("/") && !href.startsWith("//") ? (
      <Link to={href}>{children}</Link>
    ) : (
      <a href={href} rel="noopener noreferrer nofollow" target={href.startsWith("#") ? undefined : "_blank"}>
        {children}
      </a>
    ),
  // Pictures of others tell their server who looks; the policy of the page refuses them anyway.
  img: ({ alt }) => <span className="quiet">[{alt}]</span>,
  table: ({ children }) => (
    <div className="table" tabIndex={0} role="group">
      <table>{children}</table>
    </div>
  ),
  pre: ({ children }) => (
    <pre className="yaml mono" tabIndex={0}>
      {children}
    </pre>
  ),
  h1: ({ children }) => <h2>{children}</h2>,
  h2: Heading,
};

export default function Text({ text }: { text: string }) {
  return (
    <div className="prose any">
      <Markdown remarkPlugins={[remarkGfm]} components={components}>
        {text}
      </Markdown>
    </div>
  );
}

/** "Learning rate {#training.learning_rate}" can be linked to. */
function Heading({ children }: { children?: ReactNode }) {
  const { text, id } = anchored(wordsOf(children));
  if (!id) return <h2>{children}</h2>;
  return (
    <h2 id={id} tabIndex={-1}>
      {text}
    </h2>
  );
}

function wordsOf(node: ReactNode): string {
  if (Array.isArray(node)) return (node as ReactNode[]).map(wordsOf).join("");
  if (isValidElement<{ children?: ReactNode }>(node)) return wordsOf(node.props.children);
  return typeof node === "string" || typeof node === "number" ? String(node) : "";
}
