/** The head of a part of the settings: what it is for, and what can be made there. */
import type { ReactNode } from "react";

export function Head({ about, children }: { about: string; children?: ReactNode }) {
  return (
    <div className="row" style={{ justifyContent: "space-between", marginBottom: 16, gap: 16 }}>
      <span className="quiet" style={{ flex: "1 1 240px" }}>
        {about}
      </span>
      {children}
    </div>
  );
}
