/** A text that nobody else has. `crypto.randomUUID` exists on HTTPS and this machine only. */
export function uniqueKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (each) => each.toString(16).padStart(2, "0")).join("");
}
