// All producers of the process, and what each says of itself.

import { calling, errorFrom, invalidArgument } from "./errors.cjs";
import type { DurstreamError } from "./errors.cjs";
import { shown } from "./json.cjs";
import { native } from "./native.cjs";
import type { NativeWriter } from "./native.cjs";
import type { Reason } from "./receipt.cjs";
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

/** What a distribution comes to. Each number but the sum is known to 3.2 %; 0 where there are none. */
export interface Distribution {
  /** How many there are. */
  readonly count: number;
  /** All of them together. */
  readonly sum: number;
  /** As large as half of them, or larger. */
  readonly p50: number;
  /** As large as 90 % of them, or larger. */
  readonly p90: number;
  /** As large as 99 % of them, or larger. */
  readonly p99: number;
  /** The largest. */
  readonly max: number;
}

/**
 * The counters, gauges and distributions of a producer: `accepted` is the sum of delivered, rejected,
 * cancelled, unknown, kept and pending. A name that ends in `Us` is in microseconds, `Ms` in milliseconds.
 */
export interface Stats {
  /** Writes accepted, and those found in the outbox. */
  readonly accepted: number;
  /** Of these, the writes of an earlier life that were found in the outbox. */
  readonly recovered: number;
  /** The bytes of these, without framing. */
  readonly recoveredBytes: number;
  /** Writes in the stream. */
  readonly delivered: number;
  /** Of these, the writes that the server said it had already. They are there once. */
  readonly duplicates: number;
  /** Of the delivered writes, those that may be in the stream twice. */
  readonly uncertain: number;
  /** Accepted writes the server refused. */
  readonly rejected: number;
  /** Accepted writes that were given up and are certainly not in the stream. */
  readonly cancelled: number;
  /** Accepted writes that stay in doubt: nothing said whether they are stored. */
  readonly unknown: number;
  /** Accepted writes that stay in the outbox: they are delivered once the producer is opened again. */
  readonly kept: number;
  /** Accepted writes not settled yet. */
  readonly pending: number;
  /** Calls turned away before accepting: invalid values. */
  readonly refusedInvalid: number;
  /** Calls turned away before accepting: buffer full, too large, producer closed. */
  readonly refused: number;
  /** Bytes reserved by pending writes, overhead included. */
  readonly bufferedBytes: number;
  /** Requests sent, repeats included. */
  readonly requests: number;
  /** Requests that repeated a batch. */
  readonly retries: number;
  /** Sessions begun, the first included. */
  readonly sessions: number;
  /** Of the cancelled and unknown writes, those that waited longer than `delivery_timeout_ms`. */
  readonly expired: number;
  /** Batches in the stream. */
  readonly batches: number;
  /** Bytes of the delivered writes, without framing. */
  readonly deliveredBytes: number;
  /** Bytes of batches sent, framing and repeats included. */
  readonly sentBytes: number;
  /** Requests answered with success. */
  readonly answers2xx: number;
  /** Requests answered with a redirect that was not followed. */
  readonly answers3xx: number;
  /** Requests refused: by status 4xx. */
  readonly answers4xx: number;
  /** Requests answered with an error of the server. */
  readonly answers5xx: number;
  /** Requests that ended without an answer: no connection, cut, or nothing came in time. */
  readonly unanswered: number;
  /** Looks at the stream itself for what it holds of batches in doubt. */
  readonly reconciliations: number;
  /** How often another producer with the same id took over. */
  readonly fenced: number;
  /** Requests with batches that are under way. */
  readonly inFlight: number;
  /** The bytes that may be buffered: `maxBufferBytes`, with an outbox `outboxMaxBytes`. */
  readonly bufferLimitBytes: number;
  /** The age of the oldest pending write; 0 while none is pending. */
  readonly oldestPendingMs: number;
  /** How long ago a batch was acknowledged; before the first one, since the producer was opened. */
  readonly sinceAcknowledgementMs: number;
  /** From the call of a batch's first write to the acknowledgement of the batch, once a batch. */
  readonly deliveryLatencyUs: Distribution;
  /** From the call of a batch's first write to the batch's first request, once a batch. */
  readonly queueLatencyUs: Distribution;
  /** From the start of a request with a batch to its answer, repeats included. */
  readonly requestLatencyUs: Distribution;
  /** Writes of each delivered batch. */
  readonly batchWrites: Distribution;
  /** Bytes of each delivered batch, without framing. */
  readonly batchBytes: Distribution;
  /** Of the accepted writes that were not delivered, how many for each reason that there was. */
  readonly undelivered: Readonly<Partial<Record<Reason, number>>>;
}

/** The core's names in JavaScript's spelling. */
export function spelled(counters: Record<string, unknown>): Stats {
  const spelling = (name: string) =>
    name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  const entries = Object.entries(counters).map(([name, value]) => [spelling(name), value]);
  return Object.fromEntries(entries) as Stats;
}

export function statsOf(writer: NativeWriter): Stats {
  return spelled(JSON.parse(calling(() => writer.stats())) as Record<string, unknown>);
}

/** How a text for Prometheus is made. */
export interface PrometheusOptions {
  /** As OpenMetrics, for `application/openmetrics-text`; else for `text/plain; version=0.0.4`. */
  readonly openmetrics?: boolean;
}

/**
 * The text for Prometheus about all producers of this process. Producers of one stream and one id are
 * one series. A producer is in it as long as it is held.
 */
export function statsPrometheus(options: PrometheusOptions = {}): string {
  const { openmetrics = false } = optionsOf(options);
  return calling(() => native.statsPrometheus(openmetrics === true));
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
