// `onError`, `onDelivery` and `onState`: reports on their way to the event loop, and what it does not
// come to any more.

import { errorFrom } from "./errors.cjs";
import type { DurstreamError, ErrorFields } from "./errors.cjs";
import type { Lifecycle } from "./lifecycle.cjs";
import { native } from "./native.cjs";
import type { NativeCallback, NativeListener } from "./native.cjs";
import type { Callbacks } from "./options.cjs";
import { outcomeFrom } from "./receipt.cjs";
import type { OutcomeFields, Receipt } from "./receipt.cjs";
import { isError, isThenable, ownBytes } from "./realms.cjs";

/** The callbacks of this thread that a failure may still be for. The core holds them. */
const listeners = new Map<number, WeakRef<NativeCallback>>();
let lastNumber = 0;
/** At how many the forgotten ones are removed: at each it would cost the square. */
let full = 64;

/** A report in the core's form: one of the three. */
interface ReportFields {
  failure?: { id: number; outcome: OutcomeFields };
  delivery?: { firstId: number; count: number; outcome: OutcomeFields };
  state?: { from: Lifecycle; to: Lifecycle; error: ErrorFields | null };
}

/**
 * The callback of the core for reports. No exception of the program's callbacks gets further.
 * @internal
 */
export function listenerOf(callbacks: Callbacks): NativeListener | undefined {
  const { onError, onDelivery, onState } = callbacks;
  if (onError === undefined && onDelivery === undefined && onState === undefined) return undefined;
  const call: NativeCallback = (text, payload) => {
    if (text !== "") tell(callbacks, text, payload);
  };
  if (listeners.size >= full) {
    for (const [number, own] of listeners) if (own.deref() === undefined) listeners.delete(number);
    full = Math.max(64, 2 * listeners.size);
  }
  lastNumber += 1;
  listeners.set(lastNumber, new WeakRef(call));
  const hears = {
    onError: onError !== undefined,
    onDelivery: onDelivery !== undefined,
    onState: onState !== undefined,
  };
  return { number: lastNumber, call, ...hears };
}

function tell(callbacks: Callbacks, text: string, payload: Uint8Array): void {
  const report = JSON.parse(text) as ReportFields;
  const name = report.failure ? "onError" : report.delivery ? "onDelivery" : "onState";
  const warn = (thrown: unknown) => warnOf(name, thrown);
  try {
    const result = call(callbacks, report, payload);
    if (isThenable(result)) Promise.resolve(result).catch(warn);
  } catch (thrown) {
    warn(thrown);
  }
}

function call(callbacks: Callbacks, report: ReportFields, payload: Uint8Array): unknown {
  const { failure, delivery, state } = report;
  if (failure !== undefined) {
    const outcome = outcomeFrom(failure.outcome);
    const told = { id: failure.id, payload: ownBytes(payload), outcome };
    return callbacks.onError?.(outcome.error as DurstreamError, told);
  }
  if (delivery !== undefined) {
    const outcome = outcomeFrom(delivery.outcome);
    return callbacks.onDelivery?.({ ...delivery, outcome });
  }
  if (state === undefined) return undefined;
  const { from, to, error } = state;
  return callbacks.onState?.(error === null ? { from, to } : { from, to, error: errorFrom(error) });
}

function warnOf(name: string, thrown: unknown): void {
  const text = isError(thrown) ? (thrown.stack ?? thrown.message) : String(thrown);
  process.emitWarning(`an ${name} callback failed: ${text}`, "DurstreamWarning");
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
export async function reporting<T>(onError: unknown, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (onError !== undefined) await native.told().done();
    throw error;
  }
}
