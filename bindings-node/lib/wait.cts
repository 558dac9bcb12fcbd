// Waiting for the core: promises that an AbortSignal or a time limit can end.

import { calling, errorFrom, invalidArgument, timedOut } from "./errors.cjs";
import type { ErrorFields } from "./errors.cjs";
import type { NativeWait } from "./native.cjs";

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
    throw invalidArgument("timeoutMs", "`timeoutMs` takes milliseconds, a number from 0");
  }
}

/** An AbortSignal, checked. */
export function signalOf(value: unknown): AbortSignal | undefined {
  if (value === undefined) return undefined;
  const { aborted, addEventListener } = Object(value) as Partial<AbortSignal>;
  if (typeof aborted === "boolean" && typeof addEventListener === "function") {
    return value as AbortSignal;
  }
  throw invalidArgument("signal", "`signal` takes an AbortSignal");
}

/** The value of `{"value":...}`; throws the error of `{"error":...}`. */
export function valueOf<T>(text: string): T {
  const result = JSON.parse(text) as { value: T; error?: ErrorFields };
  if (result.error !== undefined) throw errorFrom(result.error);
  return result.value;
}

/** Waits for what the native call starts. */
export async function settled<T>(
  what: string,
  start: () => NativeWait,
  options: WaitOptions = {},
): Promise<T> {
  const { timeoutMs } = options;
  const signal = signalOf(options.signal);
  if (timeoutMs !== undefined) checkTimeout(timeoutMs);
  signal?.throwIfAborted();
  const wait = calling(start);
  const done = wait.done();
  let givenUp: unknown;
  const giveUp = (reason: unknown): void => {
    givenUp = reason;
    wait.cancel();
  };
  const forget = signal && onAbort(signal, () => giveUp(signal.reason));
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => giveUp(timedOut(what, timeoutMs)), Math.min(timeoutMs, LONGEST_TIMER_MS));
  try {
    const text = await done;
    if (text === "") throw givenUp;
    return valueOf<T>(text);
  } finally {
    clearTimeout(timer);
    forget?.();
  }
}

const listeners = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls back when a signal aborts; returns what forgets it. One listener per signal, however many
 * producers one shutdown ends: Node warns at the eleventh.
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
