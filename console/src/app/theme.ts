/** Colours and shapes, light and dark. */
import { theme, type ThemeConfig } from "antd";

export type Look = "light" | "dark";
const FONT =
  '-apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "PingFang SC", "Microsoft YaHei", ' +
  '"Noto Sans CJK SC", "Noto Sans SC", sans-serif';
export const MONO =
  'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", "Noto Sans Mono CJK SC", monospace';

/** People whom moving things make unwell say so in their system; nothing slides or grows for them. */
const isStill = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Each pair has a contrast of at least 4.5 to 1. */
export function themeOf(look: Look): ThemeConfig {
  const dark = look === "dark";
  return {
    algorithm: dark ? theme.darkAlgorithm : theme.defaultAlgorithm,
    token: {
      motion: !isStill,
      colorPrimary: dark ? "#14a394" : "#0f766e",
      colorInfo: dark ? "#14a394" : "#0f766e",
      colorSuccess: dark ? "#3fbf6a" : "#15803d",
      colorWarning: dark ? "#d9a21b" : "#a15c07",
      colorError: dark ? "#e8635a" : "#c62828",
      colorSuccessBg: dark ? "#12291a" : "#e7f6ec",
      colorInfoBg: dark ? "#12332f" : "#e6f4f2",
      colorWarningBg: dark ? "#2d2411" : "#fdf3e1",
      colorErrorBg: dark ? "#331a18" : "#fdecea",
      colorLink: dark ? "#2dd4bf" : "#0f766e",
      colorPrimaryBg: dark ? "#12332f" : "#e6f4f2",
      colorPrimaryBgHover: dark ? "#17413c" : "#d3ebe7",
      colorBgLayout: dark ? "#0e1116" : "#f5f6f8",
      colorBgContainer: dark ? "#171b22" : "#ffffff",
      colorBgElevated: dark ? "#1e242d" : "#ffffff",
      colorTextDescription: dark ? "rgba(255,255,255,0.62)" : "rgba(0,0,0,0.6)",
      colorTextTertiary: dark ? "rgba(255,255,255,0.6)" : "rgba(0,0,0,0.6)",
      colorTextPlaceholder: dark ? "rgba(255,255,255,0.55)" : "rgba(0,0,0,0.58)",
      borderRadius: 8,
      fontFamily: FONT,
      fontFamilyCode: MONO,
    },
    components: {
      Layout: {
        siderBg: dark ? "#12161c" : "#ffffff",
        headerBg: dark ? "#12161c" : "#ffffff",
        headerHeight: 56,
        headerPadding: "0 20px",
      },
      Menu: {
        itemHeight: 40, itemBorderRadius: 8, activeBarBorderWidth: 0,
        itemSelectedBg: dark ? "#12332f" : "#e6f4f2",
        itemSelectedColor: dark ? "#2dd4bf" : "#0f766e",
      },
      Tabs: dark ? { itemSelectedColor: "#2dd4bf", itemHoverColor: "#5eead4", inkBarColor: "#2dd4bf" } : {},
      // White on the lighter primary of the dark theme would be below 4.5 to 1, and so would its red as text.
      Button: dark
        ? {
            ...{ colorPrimary: "#0f766e", colorPrimaryHover: "#0d857a", colorPrimaryActive: "#0b5f58" },
            ...{ colorError: "#f28b82", colorErrorHover: "#f6aea9", dangerColor: "#1b1112" },
          }
        : {},
      // A tag without a colour stands on the page as well as on a card.
      Tag: dark ? { colorInfo: "#2dd4bf", defaultBg: "#262c36" } : { colorSuccess: "#14632f", defaultBg: "#e9ebef" },
      // The track of the dark algorithm can hardly be told from a card.
      Slider: dark
        ? { trackBg: "#14a394", trackHoverBg: "#2dd4bf", handleColor: "#14a394", railBg: "#353c47", railHoverBg: "#404855" }
        : {},
      Table: { headerBg: dark ? "#1c212a" : "#fafbfc" },
    },
  };
}

/** Lines of charts, told apart in both looks and by people who see few colours. */
export const CURVES: Record<Look, string[]> = {
  light: ["#0f766e", "#c2410c", "#4338ca", "#a16207", "#be185d", "#0369a1", "#4d7c0f", "#6b7280"],
  dark: ["#2dd4bf", "#fb923c", "#a5b4fc", "#facc15", "#f472b6", "#38bdf8", "#a3e635", "#9ca3af"],
};
