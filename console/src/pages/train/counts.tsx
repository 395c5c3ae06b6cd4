/** The same training on other numbers of devices: how time, memory and price change. */
import { useQueries, useQuery } from "@tanstack/react-query";
import { Button, Card, Spin, Table, Tag } from "antd";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { bytes, duration, price } from "../../logic/format";
import { useLanguage, useTexts } from "../../texts/language";
import type { Change } from "./draft";

type Flavour = Schemas["FlavourRead"];
type Scaling = Schemas["ScalingRead"];
const MOST = 8;

interface Props {
  body: Schemas["JobCreate"];
  found: Schemas["Preflight"];
  change: Change;
}

interface Line {
  flavour: Flavour;
  scaling: Scaling;
  estimate: Schemas["EstimateRead"] | undefined;
  isAsked: boolean;
}

export function Counts({ body, found, change }: Props) {
  const texts = useTexts();
  const { language } = useLanguage();
  const flavours = useQuery({ queryKey: keys.flavours, queryFn: () => ask(api.GET("/api/v1/flavours")) });
  const offered = sameDevice(flavours.data?.data ?? [], found).slice(0, MOST);
  const scalingOf = (flavour: Flavour) => found.scalings.find((each) => each.flavour === flavour.name);
  const asked = useQueries({
    queries: offered.map((flavour) => {
      const wanted = { ...body, flavour: flavour.name, num_devices: flavour.num_devices };
      return {
        queryKey: ["estimate", wanted, language],
        queryFn: () => ask(api.POST("/api/v1/jobs/estimate", { body: wanted })),
        enabled: flavour.is_available && (scalingOf(flavour)?.is_sensible ?? false),
      };
    }),
  });
  const lines = offered.flatMap((flavour, at): Line[] => {
    const scaling = scalingOf(flavour);
    return scaling ? [{ flavour, scaling, estimate: asked[at]?.data?.estimate, isAsked: asked[at]?.isLoading ?? false }] : [];
  });
  if (lines.length < 2) return null;
  const waits = (line: Line) => (line.isAsked ? <Spin size="small" /> : "–");
  return (
    <Card size="small" title={texts("order.counts")} styles={{ body: { padding: 0 } }}>
      <div className="quiet" style={{ padding: "8px 12px" }}>
        {texts("order.counts.about")}
      </div>
      <Table<Line>
        rowKey={(line) => line.flavour.name}
        size="small"
        pagination={false}
        scroll={{ x: 620 }}
        dataSource={lines}
        columns={[
          {
            title: texts("job.flavour"),
            key: "flavour",
            render: (_, { flavour, scaling }) => (
              <>
                <span className="any">{flavour.name}</span>
                {!scaling.is_sensible && scaling.why && <div className="quiet any">{scaling.why.message}</div>}
                {!flavour.is_available && <div className="quiet any">{flavour.reason}</div>}
              </>
            ),
          },
          { title: texts("job.devices"), key: "devices", width: 80, align: "end", className: "numbers", render: (_, line) => line.flavour.num_devices },
          {
            ...{ title: texts("order.time"), key: "time", width: 120, align: "end" as const, className: "numbers" },
            render: (_, line) => (line.estimate ? duration(line.estimate.seconds) : waits(line)),
          },
          {
            ...{ title: texts("order.each"), key: "memory", width: 130, align: "end" as const, className: "numbers" },
            render: (_, line) => (line.estimate?.memory_bytes ? bytes(line.estimate.memory_bytes) : waits(line)),
          },
          {
            ...{ title: texts("order.price"), key: "price", width: 110, align: "end" as const, className: "numbers" },
            render: (_, line) => (line.estimate ? price(line.estimate.price_cents) : waits(line)),
          },
          { key: "take", width: 90, align: "end", render: (_, line) => <Take line={line} found={found} change={change} /> },
        ]}
      />
    </Card>
  );
}

function Take({ line: { flavour, scaling }, found, change }: { line: Line } & Pick<Props, "found" | "change">) {
  const texts = useTexts();
  if (found.flavour === flavour.name) return <Tag color="success">{texts("order.taken")}</Tag>;
  if (!scaling.is_sensible || !flavour.is_available) return null;
  return (
    <Button
      size="small"
      aria-label={`${texts("order.take")} ${flavour.name}`}
      onClick={() => change({ flavour: flavour.name, devices: flavour.num_devices })}
    >
      {texts("order.take")}
    </Button>
  );
}

/** Sizes of the device that is chosen; all there are where any will do. */
function sameDevice(all: Flavour[], found: Schemas["Preflight"]): Flavour[] {
  const chosen = all.find((each) => each.name === found.flavour);
  if (!chosen) return all;
  return all.filter((each) => each.device === chosen.device && each.region === chosen.region);
}
