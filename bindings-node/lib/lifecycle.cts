// The process around the producers: pending writes at its end, and the end of everything.

import { calling, errorFrom, invalidArgument } from "./errors.cjs";
import type { DurstreamError } from "./errors.cjs";
import { native } from "./native.cjs";
import type { NativeCallback, NativeWriter } from "./native.cjs";
import type { OnError } from "./options.cjs";
import { isError, isThenable, ownBytes } from "./realms.cjs";
import { outcomeFrom } from "./receipt.cjs";
import type { OutcomeFields } from "./receipt.cjs";
import { setImmediate } from "./timers.cjs";
import { checkTimeout, optionsOf, valueOf } from "./wait.cjs";

const SHUTDOWN_MS = 3000;
const LONGEST_MS = 2 ** 32 - 1;

/** How long pending writes get when nothing else keeps Node alive. */
let exitTimeoutMs = 3000;
let watching = false;

/** Flushes pending writes before Node ends. Called at the first open. */
export function flushBeforeExit(): void {
  if (watching) return;
  watching = true;
  let gaveUp = false;
  process.on("beforeExit", () => {
    if (gaveUp || native.pendingCount() === 0) return;
    flushAll({ timeoutMs: exitTimeoutMs }).catch(() => {
      gaveUp = true; // the core has said how many
    });
  });
}

/**
 * Sets how long pending writes get once nothing else keeps Node alive, in milliseconds: 3 000 until
 * set; with 0 it does not wait. A line on standard error says how many writes are given up.
 * `process.exit` waits for nothing.
 */
export function setExitTimeout(timeoutMs: number): void {
  checkTimeout(timeoutMs);
  exitTimeoutMs = timeoutMs;
}

/** Writes of this process accepted and not settled, over all producers. */
export function pendingCount(): number {
  return native.pendingCount();
}

/**
 * Waits until every write accepted so far, by any producer of this process, is settled; without
 * limit unless one is given. For outcomes use the producers' own `flush`.
 */
export async function flushAll(options: { timeoutMs?: number } = {}): Promise<void> {
  const { timeoutMs = LONGEST_MS } = optionsOf(options);
  checkTimeout(timeoutMs);
  const text = await calling(() => native.flushAll(Math.min(timeoutMs, LONGEST_MS)));
  await turn();
  valueOf<null>(text);
}

/**
 * Stops everything: no new writes, accepted ones get until `timeoutMs` (3 000) to be delivered, and
 * the library's threads end. Handles stay safe to use; a later open starts afresh.
 */
export async function shutdown(options: { timeoutMs?: number } = {}): Promise<void> {
  const { timeoutMs = SHUTDOWN_MS } = optionsOf(options);
  checkTimeout(timeoutMs);
  const text = await calling(() => native.shutdown(Math.min(timeoutMs, LONGEST_MS)));
  await turn();
  valueOf<null>(text);
}

/**
 * Bounds the bytes that all producers of this process together may buffer; 512 MiB until set.
 *
 * Each producer has room for one batch (`maxBatchBytes`) of its own, whatever the others hold;
 * bytes beyond that come out of this bound, first come, first served. A smaller bound takes nothing
 * back.
 */
export function setBufferBudget(bytes: number): void {
  if (!Number.isSafeInteger(bytes) || bytes < 0) {
    throw invalidArgument("bytes", "`bytes` takes a whole number from 0 to 2^53 - 1");
  }
  native.setBufferBudget(bytes);
}

/** Lets the event loop run the callbacks that the core has queued for it. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Waits for work that may fail; `onError` is called for its writes before the wait ends. */
export async function reporting<T>(
  writer: NativeWriter,
  onError: OnError | undefined,
  work: Promise<T>,
): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (onError !== undefined) {
      await writer.told();
      await turn();
    }
    throw error;
  }
}

/** The callback of the core for failures. No exception of `onError` gets further. */
export function nativeCallback(onError: OnError | undefined): NativeCallback | undefined {
  if (onError === undefined) return undefined;
  return (text, payload) => {
    try {
      const { id, outcome: fields } = JSON.parse(text) as { id: number; outcome: OutcomeFields };
      const outcome = outcomeFrom(fields);
      const result: unknown = onError(outcome.error as DurstreamError, {
        id,
        payload: ownBytes(payload),
        outcome,
      });
      if (isThenable(result)) Promise.resolve(result).catch(warnOf);
    } catch (thrown) {
      warnOf(thrown);
    }
  };
}

function warnOf(thrown: unknown): void {
  const text = isError(thrown) ? (thrown.stack ?? thrown.message) : String(thrown);
  process.emitWarning(`an onError callback failed: ${text}`, "DurstreamWarning");
}

/** The state of a producer at one instant. */
export interface Snapshot {
  /** `connecting`, `ready`, `backoff`, `reconnecting`, `stopping`, `stopped`, `failed` or `fenced`. */
  readonly state: Lifecycle;
  /** Failed attempts in a row; 0 when all is well. */
  readonly attempt: number;
  /** Writes accepted and not settled. */
  readonly bufferedWrites: number;
  /** Bytes that these writes reserve, overhead included. */
  readonly bufferedBytes: number;
  /** The most recent failure, transient ones included. */
  readonly lastError: DurstreamError | undefined;
  /** The epoch in use. */
  readonly epoch: number;
  /** The next sequence number in this epoch. */
  readonly nextSeq: number;
  /** Requests under way. */
  readonly inFlight: number;
  /** The stream's offset after the last acknowledged batch. */
  readonly lastOffset: string | undefined;
}

/** The lifecycle state of a producer. */
export type Lifecycle =
  | "connecting"
  | "ready"
  | "backoff"
  | "reconnecting"
  | "stopping"
  | "stopped"
  | "failed"
  | "fenced";

export function snapshotOf(writer: NativeWriter): Snapshot {
  const fields = JSON.parse(calling(() => writer.snapshot())) as Snapshot & {
    lastError: Parameters<typeof errorFrom>[0] | null;
    lastOffset: string | null;
  };
  return {
    ...fields,
    lastError: fields.lastError === null ? undefined : errorFrom(fields.lastError),
    lastOffset: fields.lastOffset ?? undefined,
  };
}

/**
 * The counters of a producer: `accepted` is the sum of delivered, rejected, cancelled, unknown and
 * pending.
 */
export interface Stats {
  readonly accepted: number;
  readonly delivered: number;
  readonly duplicates: number;
  readonly uncertain: number;
  readonly rejected: number;
  readonly cancelled: number;
  readonly unknown: number;
  readonly pending: number;
  /** Calls turned away before accepting: invalid values. */
  readonly refusedInvalid: number;
  /** Calls turned away before accepting: buffer full, too large, producer closed. */
  readonly refused: number;
  readonly bufferedBytes: number;
  readonly requests: number;
  readonly retries: number;
  readonly sessions: number;
}

export function statsOf(writer: NativeWriter): Stats {
  const counters = JSON.parse(calling(() => writer.stats())) as Record<string, number>;
  const { refused_invalid: refusedInvalid, buffered_bytes: bufferedBytes, ...rest } = counters;
  return { ...rest, refusedInvalid, bufferedBytes } as unknown as Stats;
}

/** The report of a flush. */
export interface FlushReport {
  /** Writes delivered since the last flush. */
  readonly delivered: number;
  /** Of these, the writes that the server said it had already. */
  readonly duplicates: number;
  /** Of the delivered writes, those that may be in the stream twice. */
  readonly uncertain: number;
  /** Calls turned away for their value: nothing was accepted, and no flush fails of it. */
  readonly refused: number;
}

/** The result of ending a stream. */
export interface CloseResult {
  /** The stream's final offset, if the server said it. */
  readonly finalOffset: string | undefined;
}

/** @internal */
export function closeResult(fields: { finalOffset: string | null }): CloseResult {
  return { finalOffset: fields.finalOffset ?? undefined };
}
