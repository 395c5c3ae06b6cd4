/** Values of scores as people read them: the unit says how. */
import type { Estimate } from "./interval";
import { count, short } from "./format";

/** 0.452 share -> 45.2 %; 0.4512 seconds -> 0.45 s; 31.2 points -> 31.2 */
export function scoreValue(value: number | null | undefined, unit: string): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (unit === "share") return `${(100 * value).toFixed(1)} %`;
  if (unit === "seconds") return `${short(value, 3)} s`;
  if (unit === "characters" || Math.abs(value) >= 100) return count(Math.round(value));
  return value.toFixed(2);
}

/** With a sign, and shares in points: 0.139 share -> +13.9 */
export function signed(value: number | null | undefined, unit: string): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const shown = unit === "share" ? 100 * value : value;
  const size = Math.abs(shown);
  const text = unit === "share" || unit === "points" ? size.toFixed(1) : unit === "characters" ? count(Math.round(size)) : short(size, 3);
  const sign = Number(text.replace(/,/g, "")) === 0 ? "" : shown > 0 ? "+" : "−";
  return `${sign}${text}${unit === "seconds" ? " s" : ""}`;
}

export function intervalText(estimate: Estimate, unit: string): string {
  return `${signed(estimate.low, unit)} … ${signed(estimate.high, unit)}`;
}

/** Growth of lengths and times: 0.5 -> +50 % */
export function growth(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(100 * value).toFixed(0)} %`;
}
