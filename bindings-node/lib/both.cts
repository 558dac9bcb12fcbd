// What both producers offer.

import { Refusals, reporting } from "./failures.cjs";
import { calling } from "./errors.cjs";
import { endsHere } from "./exit.cjs";
import { snapshotOf, statsOf } from "./lifecycle.cjs";
import type {
  FlushReport,
  Lifecycle,
  PrometheusOptions,
  Snapshot,
  Stats,
} from "./lifecycle.cjs";
import type { NativeReceipts, NativeWait, NativeWriter, Written } from "./native.cjs";
import type { OnError } from "./options.cjs";
import { receiptOf } from "./receipt.cjs";
import type { Receipt } from "./receipt.cjs";
import { onAbort, optionsOf, settled } from "./wait.cjs";
import type { WaitOptions } from "./wait.cjs";

/** What `IdempotentProducer` and `StateProducer` have in common. */
export abstract class Producer {
  readonly #native: NativeWriter;
  readonly #receipts: NativeReceipts;
  readonly #refusals = new Refusals();
  readonly #onError: OnError | undefined;
  readonly #forgetSignal: (() => unknown) | undefined;

  /** @internal */
  constructor(own: NativeWriter, onError: OnError | undefined, signal: AbortSignal | undefined) {
    this.#native = own;
    endsHere(own);
    this.#receipts = own.receipts();
    this.#onError = onError;
    if (signal?.aborted) own.beginShutdown();
    else if (signal) this.#forgetSignal = onAbort(signal, () => own.beginShutdown());
  }

  /** Waits until everything accepted before this call is settled; rejects with `DeliveryError`. */
  flush(options?: WaitOptions): Promise<FlushReport> {
    return this.waiting("flush", () => this.#native.flush(), options);
  }

  /**
   * Waits until writes are taken at once: the buffer has room for the write that last found none
   * (`BufferFullError`), or for any other; of a `StateProducer`, until its stream was created or
   * found, too. Rejects with the error that the producer ended with.
   */
  async ready(options?: WaitOptions): Promise<void> {
    await this.waiting<null>("ready", () => this.#native.ready(), options);
  }

  /**
   * Begins a fresh session, which may claim the id, once everything accepted so far is settled; what is in
   * the outbox of a fenced producer is delivered then. It is the way back after another producer took over
   * (`StaleEpochError`). Rejects with a `ProducerClosedError`, of a `StateProducer` also where another one
   * of its stream was opened since, or with the error that the producer failed with.
   */
  async restart(options?: WaitOptions): Promise<void> {
    await this.waiting<null>("restart", () => this.#native.restart(), options);
  }

  /**
   * Ends now, for all holders, and drops what the outbox holds: how many writes that were. They settle as
   * `cancelled`, or as `delivery-unknown` if they were under way. It is the other way out, beside
   * `restart`, for a producer that was fenced.
   *
   * Rejects with `InvalidArgumentError` without `outboxDir`, with `ProducerClosedError` where the producer
   * has ended and its outbox is closed, and with `OutboxFailedError`.
   */
  discardOutbox(options?: WaitOptions): Promise<number> {
    const discard = (): NativeWait => {
      this.leave();
      return this.#native.discardOutbox();
    };
    return this.waiting("discardOutbox", discard, options);
  }

  /** The epoch in use. */
  get epoch(): number {
    return this.snapshot().epoch;
  }

  /** The next sequence number in this epoch. */
  get nextSeq(): number {
    return this.snapshot().nextSeq;
  }

  /** Writes accepted and not settled. */
  get pendingCount(): number {
    return this.snapshot().bufferedWrites;
  }

  /** Requests under way. */
  get inFlightCount(): number {
    return this.snapshot().inFlight;
  }

  /** The stream's offset after the last acknowledged batch. */
  get lastSuccessfulOffset(): string | undefined {
    return this.snapshot().lastOffset;
  }

  /** The lifecycle state. */
  get state(): Lifecycle {
    return this.snapshot().state;
  }

  /** The state of the producer at one instant. */
  snapshot(): Snapshot {
    return snapshotOf(this.#native);
  }

  /** Counters and gauges, in one consistent snapshot. */
  stats(): Stats {
    return statsOf(this.#native);
  }

  /** The text for Prometheus about this producer. */
  statsPrometheus(options: PrometheusOptions = {}): string {
    const { openmetrics = false } = optionsOf(options);
    return calling(() => this.#native.statsPrometheus(openmetrics === true));
  }

  /** The producer id as sent: with its suffix if `shared`. */
  get producerId(): string {
    return this.#native.producerId;
  }

  /** The stream's URL, without user info and query. */
  get url(): string {
    return this.#native.url;
  }

  /** @internal */
  receiptOf(written: Written): Receipt {
    const receipt = receiptOf(written, this.#receipts);
    if (!receipt.accepted) this.#refusals.add(receipt);
    return receipt;
  }

  /** @internal */
  waiting<T>(what: string, start: () => NativeWait, options?: WaitOptions): Promise<T> {
    return reporting(this.#onError, settled<T>(what, start, options));
  }

  /** @internal */
  forgetSignal(): void {
    this.#forgetSignal?.();
  }

  /**
   * Forgets what an end makes useless.
   * @internal
   */
  leave(): void {
    this.forgetSignal();
  }
}
