/** Everything around the pages, in order: language, look, cache, who is signed in, news, address. */
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { App as AntApp, ConfigProvider } from "antd";
import enGB from "antd/locale/en_GB";
import zhCN from "antd/locale/zh_CN";
import { useEffect, type ReactNode } from "react";
import { BrowserRouter } from "react-router";
import { ApiError } from "../api/client";
import { LanguageProvider, useLanguage } from "../texts/language";
import { LookProvider, useLook } from "./look";
import { Root } from "./root";
import { ME } from "./session";
import { themeOf } from "./theme";

const nonce = document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.nonce;

const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      // What the server refused stays refused; what it could not do or hear may work next time.
      retry: (times, error) =>
        times < 2 && error instanceof ApiError && (error.status === 0 || error.status >= 500),
      refetchOnWindowFocus: false,
    },
  },
});

// Who is signed in decides what is drawn: it is asked for while the first frame is made.
void client.prefetchQuery(ME);

export function App() {
  return (
    <LanguageProvider>
      <LookProvider>
        <Themed>
          <QueryClientProvider client={client}>
            <BrowserRouter>
              <Root />
            </BrowserRouter>
          </QueryClientProvider>
        </Themed>
      </LookProvider>
    </LanguageProvider>
  );
}

function Themed({ children }: { children: ReactNode }) {
  const { language } = useLanguage();
  const { look } = useLook();
  useEffect(() => {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  }, [language]);
  return (
    <ConfigProvider
      csp={nonce ? { nonce } : {}}
      locale={language === "zh" ? zhCN : enGB}
      theme={themeOf(look)}
      button={{ autoInsertSpace: false }}
    >
      <AntApp message={{ maxCount: 3 }}>{children}</AntApp>
    </ConfigProvider>
  );
}
