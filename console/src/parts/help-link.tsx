/** A way from a form to what the help says about it. */
import { Link } from "react-router";
import { useTexts } from "../texts/language";

/** `about` is what a screen reader hears beside "Read more". */
export function HelpLink({ to, about }: { to: string; about: string }) {
  const texts = useTexts();
  return (
    <Link to={to} className="help-link" aria-label={`${texts("help.more")}: ${about}`}>
      {texts("help.more")}
    </Link>
  );
}
