/** What jobs can run on, and what that costs. */
import { useQuery } from "@tanstack/react-query";
import { Select, Table, Tag } from "antd";
import { useState } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { bytes, price } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { Nothing } from "../../parts/page";
import { useTexts } from "../../texts/language";
import { Head } from "./part";

type Flavour = Schemas["FlavourRead"];

export function Flavours() {
  const texts = useTexts();
  const [region, setRegion] = useState<string | null>(null);
  const flavours = useQuery({
    queryKey: [...keys.flavours, "all"],
    queryFn: () => ask(api.GET("/api/v1/flavours")),
    refetchInterval: 15_000,
  });
  const regions = flavours.data?.regions ?? [];
  return (
    <>
      <Head about={texts("flavours.about")}>
        {regions.length > 1 && (
          <Select<string | null>
            style={{ minWidth: 160 }}
            aria-label={texts("train.region")}
            value={region}
            onChange={setRegion}
            options={[{ value: null, label: texts("flavours.allRegions") }, ...regions.map((value) => ({ value, label: value }))]}
          />
        )}
      </Head>
      <ErrorBox error={flavours.error} again={() => void flavours.refetch()} />
      <Table<Flavour>
        rowKey="name"
        size="middle"
        pagination={false}
        loading={flavours.isLoading}
        dataSource={flavours.data?.data.filter((each) => region === null || each.region === region) ?? []}
        scroll={{ x: 760 }}
        locale={{ emptyText: <Nothing text={texts("flavours.none")} /> }}
        columns={[
          { title: texts("job.name"), dataIndex: "name", className: "any", render: (name: string) => <strong>{name}</strong> },
          { title: texts("job.devices"), key: "devices", render: (_, each) => `${each.num_devices} × ${each.device}` },
          {
            title: texts("curves.memory"),
            dataIndex: "memory_bytes",
            className: "numbers",
            render: (size: number | null) => (size === null ? "–" : bytes(size)),
          },
          { title: texts("train.region"), dataIndex: "region", className: "any" },
          {
            title: texts("flavours.price"),
            dataIndex: "price_cents_per_hour",
            align: "end",
            className: "numbers",
            render: (cents: number) => (cents > 0 ? price(cents) : texts("flavours.free")),
          },
          {
            title: texts("notices.state"),
            key: "state",
            width: 220,
            render: (_, each) => (
              <>
                <Tag color={each.is_free ? "success" : each.is_available ? "processing" : "default"}>
                  {texts(each.is_free ? "device.free" : each.is_available ? "device.busy" : "device.away")}
                </Tag>
                {each.reason && <div className="quiet any">{each.reason}</div>}
              </>
            ),
          },
        ]}
      />
    </>
  );
}
