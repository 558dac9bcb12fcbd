// Headers whose values are functions.

import { textOf } from "./json.cjs";
import type { NativeAnswer, NativeAsked } from "./native.cjs";

/**
 * Gives a header's value for one request, at once or as a promise: a token that expires, say.
 *
 * Called on the event loop for each request; the value is kept for the request's repeats and asked
 * for again after 401 or 403. While it throws, rejects or gives something else than text, writes
 * wait as in an outage; so they do when it takes longer than `requestTimeoutMs`.
 */
export type HeaderFunction = () => string | PromiseLike<string>;

/** A header's value, or what gives it. */
export type HeaderValue = string | HeaderFunction;

/**
 * What the core calls. Whatever the function does, it stops here.
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
