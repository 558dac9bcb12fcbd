// `onError`: failures on their way to the event loop, and what it does not come to any more.

import type { DurstreamError } from "./errors.cjs";
import { native } from "./native.cjs";
import type { NativeCallback, NativeListener } from "./native.cjs";
import type { OnError } from "./options.cjs";
import { outcomeFrom } from "./receipt.cjs";
import type { OutcomeFields, Receipt } from "./receipt.cjs";
import { isError, isThenable, ownBytes } from "./realms.cjs";

/** The callbacks of this thread that a failure may still be for. The core holds them. */
const listeners = new Map<number, WeakRef<NativeCallback>>();
let lastNumber = 0;
/** At how many the forgotten ones are removed: at each it would cost the square. */
let full = 64;

/**
 * The callback of the core for failures. No exception of `onError` gets further.
 * @internal
 */
export function listenerOf(onError: OnError | undefined): NativeListener | undefined {
  if (onError === undefined) return undefined;
  const call: NativeCallback = (text, payload) => {
    if (text !== "") tell(onError, text, payload);
  };
  if (listeners.size >= full) {
    for (const [number, own] of listeners) if (own.deref() === undefined) listeners.delete(number);
    full = Math.max(64, 2 * listeners.size);
  }
  lastNumber += 1;
  listeners.set(lastNumber, new WeakRef(call));
  return { number: lastNumber, call };
}

function tell(onError: OnError, text: string, payload: Uint8Array): void {
  try {
    const { id, outcome: fields } = JSON.parse(text) as { id: number; outcome: OutcomeFields };
    const outcome = outcomeFrom(fields);
    const failure = { id, payload: ownBytes(payload), outcome };
    const result: unknown = onError(outcome.error as DurstreamError, failure);
    if (isThenable(result)) Promise.resolve(result).catch(warnOf);
  } catch (thrown) {
    warnOf(thrown);
  }
}

function warnOf(thrown: unknown): void {
  const text = isError(thrown) ? (thrown.stack ?? thrown.message) : String(thrown);
  process.emitWarning(`an onError callback failed: ${text}`, "DurstreamWarning");
}

/**
 * Whether anybody may be told of failures.
 * @internal
 */
export function anyListens(): boolean {
  return [...listeners.values()].some((listener) => listener.deref() !== undefined);
}

/** How many refusals a loop of writes gets before `onError` is called within it. */
const PATIENCE = 100;

/**
 * Counts what a producer that has ended by itself refuses. A loop of writes may wait for what `onError`
 * does, and never give the event loop the turn in which it would be called.
 * @internal
 */
export class Refusals {
  #count = 0;

  add({ accepted, refusal }: Receipt): void {
    if (accepted || (refusal?.reason !== "producer-failed" && refusal?.reason !== "fenced")) return;
    this.#count += 1;
    if (this.#count % PATIENCE === 0) tellRest();
  }
}

/**
 * Calls `onError` for the failures that the event loop did not come to.
 * @internal
 */
export function tellRest(): void {
  for (const { number, text, payload } of native.takeFailures()) {
    listeners.get(number)?.deref()?.(text, payload);
  }
}

/**
 * Waits for work that may fail; `onError` is called for its writes before the wait ends.
 * @internal
 */
export async function reporting<T>(onError: OnError | undefined, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (onError !== undefined) await native.told().done();
    throw error;
  }
}
