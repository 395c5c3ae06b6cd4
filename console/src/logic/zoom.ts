/** The part of a curve that is shown, in steps: [first, last]. */
export type Range = readonly [number, number];

/** `shown`, smaller (factor below 1) or larger around `centre`, never beyond `all`. */
export function zoomed(shown: Range, all: Range, centre: number, factor: number): Range {
  const middle = Math.min(shown[1], Math.max(shown[0], centre));
  const first = Math.max(all[0], middle - (middle - shown[0]) * factor);
  const last = Math.min(all[1], middle + (shown[1] - middle) * factor);
  return last - first < 1 ? shown : [first, last];
}

/** The number of the point that a key leads to, from where the cursor is; none where it stands nowhere yet. */
export function moved(key: string, from: number | null | undefined, count: number, far: boolean): number {
  const way = key === "ArrowLeft" ? -1 : 1;
  const start = from ?? (way > 0 ? -1 : count);
  const reach = far ? Math.max(1, Math.round(count / 10)) : 1;
  return Math.min(count - 1, Math.max(0, start + way * reach));
}
