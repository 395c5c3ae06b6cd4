/** How datasets are mixed: by rates, or by shares that come to 100 %. */
import type { DatasetUse } from "./draft";

export type Mode = "rates" | "shares";

export function modeOf(datasets: readonly DatasetUse[]): Mode {
  return datasets.some((each) => typeof each.share === "number") ? "shares" : "rates";
}

/** Shares in whole hundredths that come to exactly 100: 3 -> 33.34, 33.33, 33.33. */
export function evenShares(count: number): number[] {
  const [each, rest] = [Math.floor(10_000 / count), 10_000 % count];
  return Array.from({ length: count }, (_, index) => (each + (index < rest ? 1 : 0)) / 100);
}

export function sumOf(datasets: readonly DatasetUse[]): number {
  const sum = datasets.reduce((total, each) => total + (typeof each.share === "number" ? each.share : 0), 0);
  return Math.round(sum * 100) / 100;
}

/** The same datasets by rates (of 1), or by even shares. */
export function switched(datasets: readonly DatasetUse[], mode: Mode): DatasetUse[] {
  const shares = evenShares(Math.max(1, datasets.length));
  return datasets.map(({ sampling_rate: _rate, share: _share, ...rest }, index) =>
    mode === "shares" ? { ...rest, share: shares[index] } : rest,
  );
}
