// Headers whose values are functions.

import { textOf } from "./json.cjs";
import type { NativeAnswer, NativeAsked } from "./native.cjs";

/**
 * Gives a header's value for one request, at once or as a promise: a token that expires, say.
 *
 * Called on the event loop for each request. The value is kept for the request's repeats; after 401
 * or 403 the function is called again. While it throws, rejects or gives something else than text,
 * writes wait as in an outage; so they do when it takes longer than `requestTimeoutMs`.
 */
export type HeaderFunction = () => string | PromiseLike<string>;

/** A header's value, or the function that gives it. */
export type HeaderValue = string | HeaderFunction;

/**
 * The function as the core calls it. No exception of it gets further.
 * @internal
 */
export function headerFunction(give: () => unknown): NativeAsked {
  return (answer) => void answerWith(give, answer);
}

async function answerWith(give: () => unknown, answer: NativeAnswer): Promise<void> {
  try {
    const value = await give();
    if (typeof value === "string") answer.give(value);
    else answer.fail(`it gave no text but ${value === null ? "null" : typeof value}`);
  } catch (thrown) {
    answer.fail(textOf(thrown));
  }
}
