/** Where the nodes of a lineage stand: everything right of what it came from. */
import type { Schemas } from "../api/client";

type Lineage = Schemas["LineageRead"];

export interface Placed {
  node: Lineage["nodes"][number];
  column: number;
  row: number;
}

/** Column of a node: one behind the furthest of its sources. Circles, which cannot be, end anyway. */
export function placed({ nodes, edges }: Pick<Lineage, "nodes" | "edges">): Placed[] {
  const column = new Map(nodes.map((node) => [node.id, 0]));
  for (let round = 0; round < nodes.length; round += 1) {
    let isSettled = true;
    for (const { source, target } of edges) {
      const behind = (column.get(source) ?? 0) + 1;
      if (column.has(source) && (column.get(target) ?? 0) < behind) {
        column.set(target, behind);
        isSettled = false;
      }
    }
    if (isSettled) break;
  }
  const rows = new Map<number, number>();
  return nodes.map((node) => {
    const at = column.get(node.id) ?? 0;
    const row = rows.get(at) ?? 0;
    rows.set(at, row + 1);
    return { node, column: at, row };
  });
}
