// A terminal's colours, titles and cursor moves: ESC [ ... letter, ESC ] ... BEL, other escapes.
const ESCAPES = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g;

/** What a program wrote for a terminal as text: no escapes, and of a line that was written over
 * (`10%\r20%`) what was there last. */
export function plain(text: string): string {
  return text
    .replace(ESCAPES, "")
    .replace(/\r+\n/g, "\n")
    .replace(/[^\n\r]*\r(?=[^\n\r])/g, "")
    .replace(CONTROLS, "");
}
