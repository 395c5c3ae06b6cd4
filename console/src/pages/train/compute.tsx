/** Where a training runs: a dialog with all there is, by region, and everything about one of them. */
import { useQuery } from "@tanstack/react-query";
import { Button, Descriptions, InputNumber, Modal, Select, Skeleton, Tag } from "antd";
import { useState } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { bytes, price } from "../../logic/format";
import { Choices } from "../../parts/choice";
import { ErrorBox } from "../../parts/error";
import { useTexts } from "../../texts/language";
import type { PageProps } from "./train";

type Flavour = Schemas["FlavourRead"];

function useFlavours() {
  return useQuery({ queryKey: keys.flavours, queryFn: () => ask(api.GET("/api/v1/flavours")), refetchInterval: 5_000 });
}

/** What is chosen, and the door to the others. */
export function Compute({ draft, change }: PageProps) {
  const texts = useTexts();
  const [isOpen, setOpen] = useState(false);
  const flavours = useFlavours();
  const all = flavours.data?.data ?? [];
  const chosen = all.find((each) => each.name === draft.flavour);
  const choose = (name: string) => {
    change({ flavour: name, devices: all.find((each) => each.name === name)?.num_devices ?? draft.devices });
    setOpen(false);
  };
  return (
    <>
      <div style={{ marginBottom: 8 }}>{texts("job.flavour")}</div>
      <ErrorBox error={flavours.error} again={() => void flavours.refetch()} />
      {flavours.isLoading ? (
        <Skeleton active paragraph={{ rows: 1 }} />
      ) : (
        <div className="boxed row">
          <span style={{ flex: "1 1 200px", minWidth: 0 }}>
            <strong className="any">{draft.flavour || texts("job.anyFlavour")}</strong>
            <div className="quiet any">{chosen ? factsOf(chosen) : draft.flavour ? texts("compute.gone") : texts("train.anyFlavour.about")}</div>
          </span>
          <Button onClick={() => setOpen(true)}>{texts("compute.choose")}</Button>
        </div>
      )}
      {isOpen && <Picker all={all} regions={flavours.data?.regions ?? []} first={draft.flavour} onChoose={choose} onClose={() => setOpen(false)} />}
    </>
  );
}

interface PickerProps {
  all: Flavour[];
  regions: string[];
  first: string;
  onChoose: (name: string) => void;
  onClose: () => void;
}

function Picker({ all, regions, first, onChoose, onClose }: PickerProps) {
  const texts = useTexts();
  const [region, setRegion] = useState<string | null>(null);
  const [name, setName] = useState(all.some((each) => each.name === first && each.is_available) ? first : "");
  const shown = all.filter((each) => region === null || each.region === region);
  return (
    <Modal
      open
      width={820}
      title={texts("compute.title")}
      okText={texts("compute.take")}
      cancelText={texts("action.back")}
      onOk={() => onChoose(name)}
      onCancel={onClose}
    >
      <div className="stack">
        <Select<string | null>
          style={{ width: 220 }}
          aria-label={texts("train.region")}
          value={region}
          onChange={setRegion}
          options={[{ value: null, label: texts("flavours.allRegions") }, ...regions.map((value) => ({ value, label: value }))]}
        />
        <div className="picker">
          <Choices
            label={texts("job.flavour")}
            value={name}
            onChange={setName}
            options={[{ value: "", name: texts("job.anyFlavour"), about: texts("train.anyFlavour.about") }, ...shown.map(optionOf)]}
          />
          <Details flavour={all.find((each) => each.name === name)} />
        </div>
      </div>
    </Modal>
  );
}

/** Everything that is known about what is marked. */
function Details({ flavour }: { flavour: Flavour | undefined }) {
  const texts = useTexts();
  if (!flavour)
    return (
      <aside className="boxed" aria-label={texts("compute.details")}>
        <strong>{texts("job.anyFlavour")}</strong>
        <p className="quiet">{texts("compute.any")}</p>
      </aside>
    );
  const state = flavour.is_free ? "device.free" : flavour.is_available ? "device.busy" : "device.away";
  const facts = [
    { key: "device", label: texts("compute.device"), children: flavour.device },
    { key: "kind", label: texts("compute.kind"), children: flavour.kind.toUpperCase() },
    { key: "devices", label: texts("job.devices"), children: flavour.num_devices },
    { key: "memory", label: texts("compute.memory"), children: flavour.memory_bytes === null ? "–" : bytes(flavour.memory_bytes) },
    { key: "region", label: texts("train.region"), children: flavour.region || "–" },
    {
      key: "price",
      label: texts("flavours.price"),
      children: flavour.price_cents_per_hour > 0 ? price(flavour.price_cents_per_hour) : texts("flavours.free"),
    },
    { key: "state", label: texts("notices.state"), children: <Tag color={flavour.is_free ? "success" : "processing"}>{texts(state)}</Tag> },
  ];
  return (
    <aside className="boxed" aria-label={texts("compute.details")}>
      <strong className="any">{flavour.name}</strong>
      <Descriptions size="small" column={1} items={facts} style={{ marginTop: 8 }} styles={{ content: { overflowWrap: "anywhere" } }} />
      {flavour.reason && <div className="quiet any">{flavour.reason}</div>}
    </aside>
  );
}

function factsOf(each: Flavour): string {
  const facts = [
    `${each.num_devices} × ${each.device}`,
    each.memory_bytes === null ? "" : bytes(each.memory_bytes),
    each.region,
    each.price_cents_per_hour > 0 ? `${price(each.price_cents_per_hour)}/h` : "",
  ];
  return facts.filter(Boolean).join(" · ");
}

function optionOf(each: Flavour) {
  return {
    value: each.name,
    name: (
      <>
        {each.name} <Tag>{each.kind.toUpperCase()}</Tag>
      </>
    ),
    about: factsOf(each),
    refused: each.is_available ? undefined : each.reason || "–",
  };
}

/** Sizes of the flavour's device, each of which is a flavour of its own; any number where any will do. */
export function DeviceCount({ draft, change }: PageProps) {
  const flavours = useFlavours().data?.data ?? [];
  const chosen = flavours.find((each) => each.name === draft.flavour);
  if (!chosen)
    return <InputNumber id="devices" min={1} max={1024} value={draft.devices} onChange={(value) => change({ devices: value ?? 1 })} />;
  const sized = (devices: number) =>
    flavours.find((each) => each.device === chosen.device && each.region === chosen.region && each.num_devices === devices);
  return (
    <Select<number>
      id="devices"
      style={{ width: 120 }}
      disabled={chosen.counts.length < 2}
      value={chosen.num_devices}
      onChange={(devices) => change({ flavour: sized(devices)?.name ?? chosen.name, devices })}
      options={chosen.counts.map((value) => ({ value, label: String(value), disabled: !sized(value)?.is_available }))}
    />
  );
}
