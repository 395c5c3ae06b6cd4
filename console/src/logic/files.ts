/** Which files the platform reads, by their names; a test holds this against the server's own list. */
export const TAKEN = [
  ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".xlsx", ".xls", ".parquet", ".txt",
  ".gz", ".zst", ".zip", ".tar", ".tgz",
] as const;

/** Why a file need not be sent at all; null where it may be. */
export function whyNot(file: { name: string; size: number }): "strange" | "empty" | null {
  const name = file.name.toLowerCase();
  if (!TAKEN.some((end) => name.endsWith(end))) return "strange";
  return file.size === 0 ? "empty" : null;
}
