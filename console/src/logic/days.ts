/** A day as the browser's field writes it, as times of the API. */

/** 2026-11-22 -> its first moment here; undefined for an empty field. */
export function beginOf(day: string): string | undefined {
  const at = new Date(`${day}T00:00:00`);
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
}

/** 2026-11-22 -> the first moment of the day after. */
export function endOf(day: string): string | undefined {
  const begin = beginOf(day);
  if (begin === undefined) return undefined;
  const at = new Date(begin);
  at.setDate(at.getDate() + 1);
  return at.toISOString();
}

/** Whether a time lies behind. */
export function isOver(time: string, now = Date.now()): boolean {
  return new Date(time).getTime() < now;
}
