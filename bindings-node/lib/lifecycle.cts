// All producers of the process, and what each says of itself.

import { calling, errorFrom, invalidArgument } from "./errors.cjs";
import type { DurstreamError } from "./errors.cjs";
import { shown } from "./json.cjs";
import { native } from "./native.cjs";
import type { NativeWriter } from "./native.cjs";
import { checkTimeout, optionsOf, valueOf } from "./wait.cjs";

const SHUTDOWN_MS = 3000;
const LONGEST_MS = 2 ** 32 - 1;

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
  const wait = calling(() => native.flushAll(Math.min(timeoutMs, LONGEST_MS)));
  valueOf<null>(await wait.done());
}

/**
 * Stops everything: no new writes, accepted ones get until `timeoutMs` (3 000) to be delivered, and
 * the library's threads end. Handles stay safe to use; a later open starts afresh.
 */
export async function shutdown(options: { timeoutMs?: number } = {}): Promise<void> {
  const { timeoutMs = SHUTDOWN_MS } = optionsOf(options);
  checkTimeout(timeoutMs);
  const text = await calling(() => native.shutdown(Math.min(timeoutMs, LONGEST_MS)));
  await native.told().done();
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
    const text = `takes a whole number from 0 to 2^53 - 1, not ${shown(bytes)}`;
    throw invalidArgument("bytes", `\`bytes\` ${text}`);
  }
  native.setBufferBudget(bytes);
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
