/** A difference with its interval, as a picture: zero in the middle, better to the right. */
import { tendency, placeOf, type Estimate } from "../logic/interval";
import { intervalText, signed } from "../logic/scores";
import { useTexts } from "../texts/language";

interface Props {
  estimate: Estimate;
  better: string;
  unit: string;
  reach: number;
}

export function Interval({ estimate, better, unit, reach }: Props) {
  const texts = useTexts();
  // Where less is better the line is turned round, so that right is always better.
  const sign = better === "lower" ? -1 : 1;
  const ends = [estimate.low ?? 0, estimate.high ?? 0].map((value) => placeOf(sign * value, reach));
  const [left, right] = [Math.min(...ends), Math.max(...ends)];
  const middle = placeOf(sign * (estimate.value ?? 0), reach);
  const words = texts("verdict.interval", { value: signed(estimate.value, unit), interval: intervalText(estimate, unit) });
  return (
    <div className={`interval ${tendency(estimate, better)}`} role="img" aria-label={words} title={words}>
      <span className="zero" />
      <span className="span" style={{ left: `${left}%`, width: `${Math.max(0.6, right - left)}%` }} />
      <span className="dot" style={{ left: `${middle}%` }} />
    </div>
  );
}
