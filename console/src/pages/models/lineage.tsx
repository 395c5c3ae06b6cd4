/** From the base over the data to the model, and on to what came of it. */
import { useQuery } from "@tanstack/react-query";
import { Skeleton, theme } from "antd";
import { useNavigate } from "react-router";
import { api, ask } from "../../api/client";
import { keys } from "../../api/keys";
import type { ModelDetails } from "../../api/models";
import { placed, type Placed } from "../../logic/lineage";
import { ErrorBox } from "../../parts/error";
import { translateWord, useTexts } from "../../texts/language";

const [WIDTH, HEIGHT, GAP_X, GAP_Y] = [210, 56, 60, 20];

export function Lineage({ model }: { model: ModelDetails }) {
  const texts = useTexts();
  const { token } = theme.useToken();
  const lineage = useQuery({
    queryKey: keys.modelPart(model.id, "lineage"),
    queryFn: () => ask(api.GET("/api/v1/models/{model_id}/lineage", { params: { path: { model_id: model.id } } })),
  });
  if (lineage.error && !lineage.data) return <ErrorBox error={lineage.error} />;
  if (!lineage.data) return <Skeleton active />;
  const nodes = placed(lineage.data);
  const at = new Map(nodes.map((each) => [each.node.id, each]));
  const width = Math.max(...nodes.map((each) => each.column + 1)) * (WIDTH + GAP_X);
  const height = Math.max(...nodes.map((each) => each.row + 1)) * (HEIGHT + GAP_Y);
  return (
    <div style={{ overflow: "auto" }} tabIndex={0} role="group" aria-label={texts("model.tab.lineage")}>
      <svg width={width} height={height} style={{ display: "block", margin: "12px 0" }}>
        {lineage.data.edges.map(({ source, target, relation }, index) => {
          const [from, to] = [at.get(source), at.get(target)];
          if (!from || !to) return null;
          const [x1, y1, x2, y2] = [left(from) + WIDTH, top(from) + HEIGHT / 2, left(to), top(to) + HEIGHT / 2];
          return (
            <path
              key={index}
              d={`M${x1},${y1} C${x1 + GAP_X / 2},${y1} ${x2 - GAP_X / 2},${y2} ${x2},${y2}`}
              fill="none"
              stroke={token.colorTextQuaternary}
              strokeWidth={1.5}
            >
              <title>{translateWord("relation", relation)}</title>
            </path>
          );
        })}
        {nodes.map((each) => (
          <Node key={each.node.id} placed={each} isHere={each.node.id === model.id} />
        ))}
      </svg>
    </div>
  );
}

const left = (each: Placed) => each.column * (WIDTH + GAP_X) + 1;
const top = (each: Placed) => each.row * (HEIGHT + GAP_Y) + 1;

function Node({ placed: each, isHere }: { placed: Placed; isHere: boolean }) {
  const { token } = theme.useToken();
  const navigate = useNavigate();
  const { node } = each;
  const address = { model: `/models/${node.id}`, job: `/jobs/${node.id}` }[node.kind];
  const open = address && !isHere ? () => void navigate(address) : undefined;
  // Names of results differ at their end.
  const name = node.name.length > 26 ? `${node.name.slice(0, 15)}…${node.name.slice(-10)}` : node.name;
  return (
    <g
      transform={`translate(${left(each)},${top(each)})`}
      onClick={open}
      onKeyDown={(event) => event.key === "Enter" && open?.()}
      tabIndex={open ? 0 : undefined}
      role={open ? "link" : undefined}
      style={{ cursor: open ? "pointer" : "default" }}
    >
      <title>{node.name}</title>
      <rect
        width={WIDTH - 2}
        height={HEIGHT - 2}
        rx={8}
        fill={token.colorBgContainer}
        stroke={isHere ? token.colorPrimary : token.colorBorder}
        strokeWidth={isHere ? 2 : 1}
      />
      <text x={12} y={22} fontSize={12} fill={token.colorTextSecondary}>
        {translateWord("node", node.kind)}
      </text>
      <text x={12} y={41} fontSize={13} fill={token.colorText}>
        {name}
      </text>
    </g>
  );
}
