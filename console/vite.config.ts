import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

// `npm run dev` shows a page that changes as you type, in front of a running `tunesmith serve`.
const server = process.env.TUNESMITH_URL ?? "http://127.0.0.1:8400";
const built = "../src/tunesmith/console_files";

/** Compressed once, here, rather than with every answer. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    closeBundle() {
      const folder = join(import.meta.dirname, built, "assets");
      for (const name of readdirSync(folder)) {
        if (!/\.(js|css|svg)$/.test(name)) continue;
        const text = readFileSync(join(folder, name));
        writeFileSync(join(folder, `${name}.gz`), gzipSync(text, { level: 9 }));
        writeFileSync(join(folder, `${name}.br`), brotliCompressSync(text));
      }
    },
  };
}

/** Ant Design gives its styles our nonce, but for two small ones: those that measure scroll bars and
 * that hold the page still behind a dialog. This gives them the page's; a version that has another
 * text there fails the build. */
function nonceForAll(): Plugin {
  const own = "styleNode.nonce = csp?.nonce;";
  const pages = `${own}\n  } else {\n    styleNode.nonce = document.querySelector("meta[name=csp-nonce]")?.nonce;`;
  return {
    name: "nonce-for-all",
    apply: "build",
    transform(code, id) {
      if (!id.includes("@rc-component/util/es/Dom/dynamicCSS")) return null;
      if (!code.includes(own)) throw new Error(`${id} has changed: look at its styles again.`);
      return { code: code.replace(own, pages), map: null };
    },
  };
}

export default defineConfig({
  plugins: [react(), nonceForAll(), compressed()],
  build: {
    outDir: built,
    emptyOutDir: true,
    // Everything comes from a file: the page's policy allows neither data: scripts nor inline ones.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1200,
  },
  worker: { format: "es" },
  test: { setupFiles: ["tests/setup.ts"] },
  server: { proxy: { "/api": { target: server } } },
});
