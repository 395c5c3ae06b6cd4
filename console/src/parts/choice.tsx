/** One of several, each with a text that explains it: radio buttons as cards. */
import type { KeyboardEvent, ReactNode } from "react";

export interface Option {
  value: string;
  name: ReactNode;
  about?: ReactNode;
  /** Why it cannot be chosen. */
  refused?: string | undefined;
}

interface Props {
  label: string;
  options: Option[];
  value: string;
  onChange: (value: string) => void;
}

export function Choices({ label, options, value, onChange }: Props) {
  const open = options.filter((each) => !each.refused);
  const move = (event: KeyboardEvent<HTMLDivElement>) => {
    const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!by || open.length === 0) return;
    event.preventDefault();
    const here = open.findIndex((each) => each.value === value);
    const next = open[(here + by + open.length) % open.length];
    if (!next) return;
    onChange(next.value);
    event.currentTarget.querySelector<HTMLElement>(`[data-value="${CSS.escape(next.value)}"]`)?.focus();
  };
  const stop = open.some((each) => each.value === value) ? value : open[0]?.value;
  return (
    <div role="radiogroup" aria-label={label} className="columns" style={{ alignItems: "stretch" }} onKeyDown={move}>
      {options.map((each) => (
        <button
          key={each.value}
          type="button"
          role="radio"
          className="choice"
          data-value={each.value}
          aria-checked={each.value === value}
          tabIndex={each.value === stop ? 0 : -1}
          disabled={Boolean(each.refused)}
          onClick={() => onChange(each.value)}
        >
          <div className="name">{each.name}</div>
          {each.about && <div className="about">{each.about}</div>}
          {each.refused && <div className="about">{each.refused}</div>}
        </button>
      ))}
    </div>
  );
}
