/** A device with what its job takes of it, and the disk. */
import { Progress, Tag } from "antd";
import { Link } from "react-router";
import type { Device, Storage } from "../api/system";
import { bytes, percent } from "../logic/format";
import { useTexts } from "../texts/language";

/** Name, job, memory and utilisation of one device. */
export function DeviceLine({ device }: { device: Device }) {
  const texts = useTexts();
  const { memory_bytes: memory, used_bytes: used, utilisation } = device;
  const colour = device.is_missing ? "default" : device.is_busy ? "processing" : "success";
  return (
    <div className="device">
      <div className="row" style={{ gap: 8 }}>
        <span className="any" style={{ flex: "1 1 120px" }}>
          {device.name || device.flavour}
        </span>
        <Tag color={colour} style={{ margin: 0 }}>
          {texts(device.is_missing ? "device.away" : device.is_busy ? "device.busy" : "device.free")}
        </Tag>
      </div>
      {device.job_id && (
        <Link to={`/jobs/${device.job_id}`} className="any">
          {device.job_name}
        </Link>
      )}
      {used !== null && (
        <Use
          label={texts("curves.memory")}
          text={memory ? `${bytes(used)} / ${bytes(memory)}` : bytes(used)}
          part={memory ? percent(used, memory) : null}
        />
      )}
      {used === null && memory !== null && (
        <div className="quiet numbers">
          {texts("curves.memory")} {bytes(memory)}
        </div>
      )}
      {utilisation !== null && (
        <Use label={texts("curves.use")} text={`${Math.round(utilisation)}%`} part={Math.round(utilisation)} />
      )}
    </div>
  );
}

function Use({ label, text, part }: { label: string; text: string; part: number | null }) {
  return (
    <div className="use numbers">
      <span className="quiet">{label}</span>
      <span>{text}</span>
      {part !== null && <Progress percent={part} size="small" showInfo={false} aria-label={label} />}
    </div>
  );
}

const NEARLY_FULL = 90;

export function DiskBar({ storage }: { storage: Storage }) {
  const texts = useTexts();
  const used = percent(storage.total_bytes - storage.free_bytes, storage.total_bytes);
  return (
    <div className="numbers">
      {texts("system.freeOf", { free: bytes(storage.free_bytes), total: bytes(storage.total_bytes) })}
      <Progress
        percent={used}
        aria-label={texts("system.storage")}
        status={used >= NEARLY_FULL ? "exception" : "normal"}
        format={(value) => `${value ?? 0}%`}
      />
    </div>
  );
}
