/** Intervals as pictures: where things stand on a line with zero in its middle. */

export interface Estimate {
  value: number | null;
  low: number | null;
  high: number | null;
}

/** How far the line reaches to either side, so that everything fits: 0.07 -> 0.1, 0.84 -> 1 */
export function reachOf(estimates: readonly Estimate[]): number {
  const sizes = estimates.flatMap(({ value, low, high }) => [value, low, high]).map((each) => Math.abs(each ?? 0));
  const most = Math.max(0, ...sizes.filter(Number.isFinite));
  if (most === 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return ([1, 2, 5, 10].find((each) => each * power >= most * 0.999) ?? 10) * power;
}

/** A number as a share of the line: -reach -> 0, 0 -> 50, reach -> 100 */
export function placeOf(value: number, reach: number): number {
  return Math.min(100, Math.max(0, 50 + (50 * value) / reach));
}

/** Certainly better, certainly worse, or unknown, as the interval lies right or left of zero. */
export function tendency({ low, high }: Estimate, better: string): "better" | "worse" | "unclear" {
  if (low === null || high === null || better === "neither" || (low <= 0 && high >= 0)) return "unclear";
  return (low > 0) === (better === "higher") ? "better" : "worse";
}
