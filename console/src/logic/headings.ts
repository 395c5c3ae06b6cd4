/** Headings of help texts that can be linked to. */

/** "Full {#full}" -> {text: "Full", id: "full"}; without a mark there is no id. */
export function anchored(heading: string): { text: string; id: string } {
  const found = /^(.*?)\s*\{#([\w.-]+)\}\s*$/.exec(heading);
  return { text: found?.[1] ?? heading, id: found?.[2] ?? "" };
}

/** Ids and texts of all headings of a text, in order. */
export function headingsOf(text: string): { text: string; id: string }[] {
  return [...text.matchAll(/^## (.+)$/gm)].map((found) => anchored(found[1] ?? "")).filter((each) => each.id);
}

/** The text of a card without the YAML in front of it, which is for programs. */
export function body(card: string): string {
  return card.replace(/^---\r?\n[\s\S]*?\r?\n---\r?\n/, "");
}
