/** Questions to a model, and its answer as it comes. */
import { lines, partsOf, type Part } from "../logic/stream";
import { currentLanguage } from "../texts/language";
import { ApiError, errorOf, notReachable, tellSignedOut } from "./client";

interface Order {
  question: Record<string, unknown>;
  projectId: string;
  signal: AbortSignal;
  onPart: (part: Part) => void;
}

/** Ask, and hear every part of the answer; throws ApiError. Ends early when `signal` says so. */
export async function chat({ question, projectId, signal, onPart }: Order): Promise<void> {
  const body = { ...question, stream: true, stream_options: { include_usage: true } };
  let answer: Response;
  try {
    answer = await fetch("/v1/chat/completions", {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "Accept-Language": currentLanguage(),
        "OpenAI-Project": projectId,
      },
      body: JSON.stringify(body),
      signal,
    });
  } catch {
    if (signal.aborted) return;
    throw notReachable();
  }
  if (!answer.ok || !answer.body) throw await refusal(answer);
  await follow(answer.body, signal, onPart);
}

async function refusal(answer: Response): Promise<ApiError> {
  tellSignedOut(answer.status);
  const text = await answer.text();
  try {
    return errorOf(JSON.parse(text), answer);
  } catch {
    return errorOf(undefined, answer);
  }
}

async function follow(body: ReadableStream<Uint8Array>, signal: AbortSignal, onPart: (part: Part) => void) {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const [whole, left] = lines(rest + value);
      rest = left;
      for (const part of whole.flatMap(partsOf)) {
        if (part.kind === "error") throw new ApiError({ code: part.code, message: part.message }, 503);
        onPart(part);
      }
    }
  } catch (error) {
    if (signal.aborted) return;
    throw error instanceof ApiError ? error : notReachable();
  }
}
