/** Changes of training rows that a user has in mind, until they become a version. */
import type { Schemas } from "../api/client";

export type Place = Schemas["PlaceRead"];

/** What a row is to answer; null: the row goes. */
export interface Edit {
  place: Place;
  answer: string | null;
}

/** By the row, so that a row near two failures is changed once. */
export type Edits = Record<string, Edit>;

export function keyOf(place: Place): string {
  return `${place.dataset_id ?? place.dataset} ${place.file} ${place.row}`;
}

/** With another answer for a row; undefined: as it was. */
export function withEdit(edits: Edits, place: Place, answer: string | null | undefined): Edits {
  const others = Object.entries(edits).filter(([key]) => key !== keyOf(place));
  return Object.fromEntries(answer === undefined ? others : [...others, [keyOf(place), { place, answer }]]);
}

/** Where the newest version of the row is looked at and edited. */
export function addressOf(place: Place): string | null {
  return place.dataset_id ? `/datasets/${place.dataset_id}/rows?row=${place.row}` : null;
}

/** The body of the request that publishes them. */
export function changesOf(edits: Edits): Required<Pick<Schemas["RetrainCreate"], "changes" | "removals">> {
  const changes = [];
  const removals = [];
  for (const { place, answer } of Object.values(edits)) {
    if (!place.dataset_id) continue;
    const row = { dataset_id: place.dataset_id, row: place.row };
    if (answer === null) removals.push(row);
    else changes.push({ ...row, fields: { answer } });
  }
  return { changes, removals };
}
