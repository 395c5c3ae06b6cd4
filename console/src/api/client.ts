/** The one way to the API: typed calls, the language of the page, and one shape of errors. */
import createClient from "openapi-fetch";
import { currentLanguage, translate } from "../texts/language";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
type Answered = Schemas["ErrorAnswer"];

export const api = createClient<paths>({
  baseUrl: "/",
  querySerializer: { array: { style: "form", explode: true } },
});

api.use({
  onRequest({ request }) {
    request.headers.set("Accept-Language", currentLanguage());
    return request;
  },
});

/** What the server refused, or that it could not be reached (status 0). */
export class ApiError extends Error {
  readonly code: string;
  readonly hint: string;
  readonly param: string | null;
  readonly requestId: string;
  readonly details: Record<string, unknown>;
  readonly status: number;

  constructor(told: Partial<Answered>, status: number) {
    super(told.message ?? "");
    this.name = "ApiError";
    this.code = told.code ?? "unknown";
    this.hint = told.hint ?? "";
    this.param = told.param ?? null;
    this.requestId = told.request_id ?? "";
    this.details = told.details ?? {};
    this.status = status;
  }

  /** Every problem of a body or recipe that the server named, by its field. */
  get problems(): Problem[] {
    const found = this.details.problems;
    return Array.isArray(found) ? found.map(asProblem) : [];
  }
}

export interface Problem {
  field: string;
  message: string;
  hint: string;
}

function asProblem(each: Record<string, unknown>): Problem {
  const text = (name: string) => (typeof each[name] === "string" ? (each[name] as string) : "");
  return { field: text("field") || text("param"), message: text("message"), hint: text("hint") };
}

/** Turn any failure into an ApiError, so that pages show all of them the same way. */
export function errorOf(body: unknown, response: Response): ApiError {
  const told = (body as { error?: Partial<Answered> } | undefined)?.error;
  if (told && typeof told.message === "string") return new ApiError(told, response.status);
  const requestId = response.headers.get("x-request-id") ?? "";
  const message = translate("error.unreadable", { status: response.status });
  return new ApiError({ code: "unreadable", message, request_id: requestId }, response.status);
}

export function notReachable(): ApiError {
  const [message, hint] = [translate("error.notReachable"), translate("error.notReachable.hint")];
  return new ApiError({ code: "not_reachable", message, hint }, 0);
}

const onSignedOut = new Set<() => void>();

/** Call `listener` when the session turns out to have ended; returns how to stop. */
export function whenSignedOut(listener: () => void): () => void {
  onSignedOut.add(listener);
  return () => onSignedOut.delete(listener);
}

/** For requests that go past `ask`, such as a stream. */
export function tellSignedOut(status: number): void {
  if (status === 401) for (const tell of onSignedOut) tell();
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The body of an answer; throws ApiError. `await ask(api.GET("/api/v1/me"))` */
export async function ask<T>(request: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await request;
  } catch (error) {
    throw error instanceof ApiError ? error : notReachable();
  }
  if (answer.response.ok) return answer.data as T;
  tellSignedOut(answer.response.status);
  throw errorOf(answer.error, answer.response);
}

/** A refusal as one text: what happened, and what to do. */
export function refusalOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof ApiError && error.hint ? `${error.message} ${error.hint}` : error.message;
}
