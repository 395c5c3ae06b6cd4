/** Limits of a user as people write them: gigabytes and whole money; empty is no own limit. */
import type { Schemas } from "../api/client";

export interface Limits {
  running_jobs?: number | null;
  device_hours?: number | null;
  storage_gb?: number | null;
  credit?: number | null;
}

type Sent = Pick<
  Schemas["UserUpdate"],
  "quota_running_jobs" | "quota_device_hours" | "quota_storage_bytes" | "credit_cents"
>;

export function limitsOf({ running_jobs, device_hours, storage_gb, credit }: Limits): Sent {
  return {
    quota_running_jobs: running_jobs ?? null,
    quota_device_hours: device_hours ?? null,
    quota_storage_bytes: storage_gb == null ? null : Math.round(storage_gb * 1e9),
    credit_cents: credit == null ? null : Math.round(credit * 100),
  };
}

interface Written extends Limits {
  email?: string;
  password?: string;
  is_admin: boolean;
}

/** Only what differs: a credit that a job has charged meanwhile is not set back by a new mail address. */
export function changesOf(user: Schemas["UserRead"], written: Written): Schemas["UserUpdate"] {
  const { password, is_admin, email, ...limits } = written;
  const wanted = { email: email || null, is_admin, ...limitsOf(limits) };
  const differs = Object.entries(wanted).filter(([name, value]) => user[name as keyof typeof wanted] !== value);
  return { ...Object.fromEntries(differs), ...(password ? { password } : {}) };
}
