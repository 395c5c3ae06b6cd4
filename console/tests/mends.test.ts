import { describe, expect, it } from "vitest";
import { addressOf, changesOf, keyOf, withEdit, type Place } from "../src/logic/mends";

const place = (row: number, dataset_id: string | null = "ds-1"): Place => ({ dataset_id, dataset: "shop", version: 1, row, file: "shop.jsonl:3" });

describe("mends of training rows", () => {
  it("become changes and removals by dataset and row", () => {
    const edits = { a: { place: place(3), answer: "Better." }, b: { place: place(4), answer: null } };
    expect(changesOf(edits)).toEqual({
      changes: [{ dataset_id: "ds-1", row: 3, fields: { answer: "Better." } }],
      removals: [{ dataset_id: "ds-1", row: 4 }],
    });
  });
  it("of rows that are in no dataset are none", () => {
    expect(changesOf({ a: { place: place(3, null), answer: "x" } })).toEqual({ changes: [], removals: [] });
    expect(addressOf(place(3, null))).toBeNull();
  });
  it("are taken back one by one", () => {
    const one = withEdit(withEdit({}, place(3), "x"), place(4), null);
    expect(Object.keys(withEdit(one, place(3), undefined))).toEqual([keyOf(place(4))]);
  });
  it("name a row once, whichever failure it is near", () => {
    expect(keyOf(place(3))).toBe(keyOf({ ...place(3) }));
    expect(keyOf(place(3))).not.toBe(keyOf(place(4)));
    expect(addressOf(place(3))).toBe("/datasets/ds-1/rows?row=3");
  });
});
