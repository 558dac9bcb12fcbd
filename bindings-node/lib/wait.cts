// Waiting for the core: promises that an AbortSignal or a time limit can end.

import { calling, errorFrom, invalidArgument, timedOut } from "./errors.cjs";
import type { ErrorFields } from "./errors.cjs";
import { shown } from "./json.cjs";
import type { NativeWait } from "./native.cjs";
import { clearTimeout, now, setTimeout } from "./timers.cjs";

/** How long to wait. Giving a wait up cancels no write and consumes no report. */
export interface WaitOptions {
  /** Ends the wait with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Ends the wait with a `TimeoutError`, in milliseconds. */
  timeoutMs?: number | undefined;
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A time limit, checked. */
export function checkTimeout(timeoutMs: unknown): void {
  if (typeof timeoutMs !== "number" || !(timeoutMs >= 0)) {
    const text = `takes milliseconds, a number from 0, not ${shown(timeoutMs)}`;
    throw invalidArgument("timeoutMs", `\`timeoutMs\` ${text}`);
  }
}

/** The options of a call, checked to be an object. */
export function optionsOf<T extends object>(options: T): T {
  const isList = Array.isArray(options) || ArrayBuffer.isView(options);
  if (typeof options === "object" && options !== null && !isList) return options;
  throw invalidArgument("options", `\`options\` takes an object, not ${shown(options)}`);
}

/** An AbortSignal, checked. */
export function signalOf(value: unknown): AbortSignal | undefined {
  if (value === undefined) return undefined;
  const { aborted, addEventListener } = Object(value) as Partial<AbortSignal>;
  if (typeof aborted === "boolean" && typeof addEventListener === "function") {
    return value as AbortSignal;
  }
  throw invalidArgument("signal", `\`signal\` takes an AbortSignal, not ${shown(value)}`);
}

/** The value of `{"value":...}`; throws the error of `{"error":...}`. */
export function valueOf<T>(text: string): T {
  const result = JSON.parse(text) as { value: T; error?: ErrorFields };
  if (result.error !== undefined) throw errorFrom(result.error);
  return result.value;
}

function overdue(wait: NativeWait, what: string, timeoutMs: number): unknown {
  return errorFrom(JSON.parse(wait.overdue(what, timeoutMs)) as ErrorFields);
}

/** Waits for the result of a native call. */
export async function settled<T>(
  what: string,
  start: () => NativeWait,
  options: WaitOptions = {},
): Promise<T> {
  const { timeoutMs } = optionsOf(options);
  const signal = signalOf(options.signal);
  if (timeoutMs !== undefined) checkTimeout(timeoutMs);
  if (signal?.aborted) throw reasonOf(signal);
  const wait = calling(start);
  const done = wait.done();
  let givenUp: unknown;
  const giveUp = (reason: unknown): void => {
    givenUp = reason;
    wait.cancel();
  };
  const forget = signal && onAbort(signal, () => giveUp(reasonOf(signal)));
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => giveUp(overdue(wait, what, timeoutMs)), Math.min(timeoutMs, LONGEST_TIMER_MS));
  try {
    const text = await done;
    if (text === "") throw givenUp;
    return valueOf<T>(text);
  } finally {
    clearTimeout(timer);
    forget?.();
  }
}

/** The waits of one call, one after the other: ended together by its signal or its time limit. */
export class Patience {
  readonly #signal: AbortSignal | undefined;
  readonly #until: number | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #forget: (() => unknown) | undefined;
  #end: { readonly reason: unknown } | undefined;
  #reject: ((reason: unknown) => void) | undefined;

  constructor(what: string, options: WaitOptions = {}) {
    const { timeoutMs } = optionsOf(options);
    const signal = signalOf(options.signal);
    if (timeoutMs !== undefined) checkTimeout(timeoutMs);
    this.#signal = signal;
    if (signal?.aborted) this.#end = { reason: reasonOf(signal) };
    else if (signal) this.#forget = onAbort(signal, () => this.end(reasonOf(signal)));
    if (timeoutMs === undefined) return;
    this.#until = now() + timeoutMs;
    const limit = Math.min(timeoutMs, LONGEST_TIMER_MS);
    this.#timer = setTimeout(() => this.end(timedOut(what, timeoutMs)), limit);
  }

  /** Waits for a result, or for the end of the patience: then it throws the reason. */
  wait<T>(work: PromiseLike<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      // The first of the two counts; the other is not unhandled.
      if (this.#end !== undefined) reject(this.#end.reason);
      this.#reject = reject;
      work.then(resolve, reject);
    });
  }

  /** Ends this wait and all later ones. */
  end(reason: unknown): void {
    this.#end ??= { reason };
    this.#reject?.(this.#end.reason);
  }

  /** Throws the reason if it has ended. */
  check(): void {
    if (this.#end !== undefined) throw this.#end.reason;
  }

  /** The rest of the patience, for a wait of the core. */
  get rest(): WaitOptions {
    const until = this.#until;
    const timeoutMs = until === undefined ? undefined : Math.max(0, until - now());
    return { signal: this.#signal, timeoutMs };
  }

  /** Ends nothing any more. */
  release(): void {
    clearTimeout(this.#timer);
    this.#forget?.();
  }
}

/** Why a signal aborted; some of other makes do not say. */
function reasonOf({ reason }: AbortSignal): unknown {
  return reason ?? new DOMException("This operation was aborted", "AbortError");
}

const listeners = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls back when a signal aborts; returns the function that forgets it. One listener per signal,
 * however many producers one shutdown ends: Node warns at the eleventh.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let callbacks = listeners.get(signal);
  if (callbacks === undefined) {
    const fresh = new Set<() => void>();
    callbacks = fresh;
    listeners.set(signal, fresh);
    const call = (): void => {
      listeners.delete(signal);
      for (const each of [...fresh]) each();
    };
    signal.addEventListener("abort", call, { once: true });
  }
  // A callback registered twice is two registrations.
  const own = (): void => callback();
  callbacks.add(own);
  return () => callbacks.delete(own);
}
