/** The console: a client of the public API and nothing else. Read `app/app.tsx` next. */
import { createRoot } from "react-dom/client";
import { App } from "./app/app";
import "./style.css";

const root = document.getElementById("root");
if (root) createRoot(root).render(<App />);

// A part of the page that is gone was built anew meanwhile: the new page knows the new parts. At most
// once a minute, so that a part that really fails ends in its error.
window.addEventListener("vite:preloadError", () => {
  const last = Number(sessionStorage.getItem("tunesmith.renewed") ?? 0);
  if (Date.now() - last < 60_000) return;
  sessionStorage.setItem("tunesmith.renewed", String(Date.now()));
  window.location.reload();
});
