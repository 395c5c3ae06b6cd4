/** The pages of the form, in order, and which of them asks for a field. */
export const PAGES = ["model", "data", "parameters", "basics", "order"] as const;
export type PageName = (typeof PAGES)[number];

export function pageOf(path: string): PageName {
  if (path === "name") return "basics";
  if (path === "model.base" || path === "stage.kind") return "model";
  return /^data\.(train|general|validation)/.test(path) ? "data" : "parameters";
}
