/** Numbers, sizes and times as people read them. */
import { currentLanguage, translate } from "../texts/language";

function locale(): string {
  return currentLanguage() === "zh" ? "zh-CN" : "en-GB";
}

/** 1234567 -> 1,234,567 */
export function count(value: number): string {
  return new Intl.NumberFormat(locale()).format(value);
}

/** 1300000000 -> 1.3 GB */
export function bytes(value: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let size = value;
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

/** 0.00001 -> 1e-5, 0.1 -> 0.1, 8.0065 -> 8.007 */
export function short(value: number | null | undefined, digits = 4): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 1e-3 || size >= 1e7) return exponent(value, digits - 1);
  return String(Number(value.toPrecision(Math.max(digits, Math.floor(Math.log10(size)) + 1))));
}

/** 0.0001 -> 1e-4, 0.000025 -> 2.5e-5 */
export function exponent(value: number, digits = 6): string {
  const [mantissa, power] = value.toExponential(digits).split("e");
  return `${Number(mantissa)}e${Number(power)}`;
}

/** 3725 -> 1 h 2 min; negative durations do not exist, a clock that jumped shows as 0. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return translate("time.seconds", { count: whole });
  const minutes = Math.floor(whole / 60);
  if (minutes < 10) return translate("time.minutesSeconds", { minutes, seconds: whole % 60 });
  if (minutes < 60) return translate("time.minutes", { count: minutes });
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return translate("time.hoursMinutes", { hours, minutes: minutes % 60 });
  return translate("time.days", { days: Math.floor(hours / 24), hours: hours % 24 });
}

export function dateTime(value: string): string {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "medium" }).format(
    new Date(value),
  );
}

/** "3 minutes ago" */
export function ago(value: string, now = Date.now()): string {
  const seconds = Math.min(0, (new Date(value).getTime() - now) / 1000);
  const relative = new Intl.RelativeTimeFormat(locale(), { numeric: "auto" });
  if (seconds > -45) return translate("time.now");
  if (seconds > -3600) return relative.format(Math.round(seconds / 60), "minute");
  if (seconds > -86_400) return relative.format(Math.round(seconds / 3600), "hour");
  return relative.format(Math.round(seconds / 86_400), "day");
}

/** 1250 -> 12.50; the API names no currency. */
export function price(cents: number): string {
  return new Intl.NumberFormat(locale(), {
    minimumFractionDigits: 2,
    maximumFractionDigits: 2,
  }).format(cents / 100);
}

export function percent(part: number, whole: number | null | undefined): number {
  return whole ? Math.min(100, Math.floor((100 * part) / whole)) : 0;
}
