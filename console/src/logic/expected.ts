/** What a job took, beside what it was ordered by. */
import { translate } from "../texts/language";

/** "3 min 20 s; expected 2 min 40 s (+25%)"; the error of the estimate once the job is whole. */
export function besideExpected(
  say: (value: number) => string,
  real: number | null | undefined,
  expected: number | null | undefined,
  isWhole: boolean,
): string {
  const told = real === null || real === undefined ? "–" : say(real);
  if (!expected) return told;
  const value = say(expected);
  if (!isWhole || !real) return translate("job.expected", { real: told, value });
  const off = Math.round((100 * (real - expected)) / expected);
  return translate("job.expectedOff", { real: told, value, off: `${off < 0 ? "−" : "+"}${Math.abs(off)}` });
}
