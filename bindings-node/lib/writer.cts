// The writer of producers and pipes.

import { DurstreamError, calling, invalidArgument } from "./errors.cjs";
import { Unsayable, isSerialised, serialise, shown, stringifyAny, stringifyPlain } from "./json.cjs";
import type { Message } from "./json.cjs";
import { endsHere } from "./exit.cjs";
import { Refusals, listenerOf, reporting } from "./failures.cjs";
import { closeResult, snapshotOf, statsOf } from "./lifecycle.cjs";
import type { CloseResult, FlushReport, Lifecycle, Snapshot, Stats } from "./lifecycle.cjs";
import { native } from "./native.cjs";
import type { NativeProducer, NativeStream, NativeWait, NativeWrite, Written } from "./native.cjs";
import { givenOf, onErrorOf } from "./options.cjs";
import type { OnError, WriterOptions } from "./options.cjs";
import type { Receipt } from "./receipt.cjs";
import { receiptOf, rejectedReceipt } from "./receipt.cjs";
import { onAbort, settled, signalOf } from "./wait.cjs";
import type { WaitOptions } from "./wait.cjs";

const OWN = ["signal", "onError"];

/** Writes messages to a stream, each exactly once, in the order of the calls. */
export class Writer {
  readonly #native: NativeProducer;
  readonly #append: NativeWrite;
  readonly #appendJson: NativeWrite;
  readonly #json: boolean;
  readonly #refusals = new Refusals();
  readonly #onError: OnError | undefined;
  readonly #forgetSignal: (() => unknown) | undefined;

  /** @internal */
  constructor(target: NativeStream, producerId: string, options: WriterOptions) {
    if (typeof producerId !== "string") {
      throw invalidArgument("producerId", `\`producerId\` takes text, not ${shown(producerId)}`);
    }
    const given = givenOf(options, OWN);
    const signal = signalOf(options.signal);
    this.#onError = onErrorOf(options.onError);
    this.#json = target.takesValues;
    const listener = listenerOf(this.#onError);
    const own = calling(() => new native.Producer(target, producerId, given, listener));
    endsHere(own);
    this.#native = own;
    this.#append = own.appender();
    this.#appendJson = own.jsonAppender();
    if (signal?.aborted) own.beginShutdown();
    else if (signal) this.#forgetSignal = onAbort(signal, () => own.beginShutdown());
  }

  /**
   * Accepts one message: one JSON value on a JSON stream, text or bytes on any other. Throws if it
   * cannot be accepted; its outcome comes with the receipt, `flush` or `onError`.
   */
  append(message: Message): Receipt {
    if (isSerialised(message)) return this.#receipt(this.#append(message));
    return this.#appendValue(message);
  }

  /** Accepts one message as `append` does; an error becomes a rejected receipt. */
  tryAppend(message: Message): Receipt {
    try {
      return this.append(message);
    } catch (error) {
      return rejectedReceipt(error);
    }
  }

  /** Serialises a value as JSON, text too, and accepts it. */
  appendJson(value: unknown): Receipt {
    const text = stringifyPlain(value);
    if (text !== undefined) return this.#receipt(this.#appendJson(text));
    return this.#receipt(this.#append(this.#serialised(() => stringifyAny(value))));
  }

  /**
   * Accepts several messages in order, each as `append` does. If a message is refused, those behind
   * it are not appended and those before it stay accepted: the error carries their `receipts`.
   */
  appendMany(messages: Iterable<Message>): Receipt[] {
    if (typeof Object(messages)[Symbol.iterator] !== "function") {
      const text = `takes an iterable of messages, not ${shown(messages)}`;
      throw invalidArgument("messages", `\`messages\` ${text}`);
    }
    const receipts: Receipt[] = [];
    try {
      for (const message of messages) receipts.push(this.append(message));
    } catch (error) {
      if (error instanceof DurstreamError) error.receipts = receipts;
      throw error;
    }
    return receipts;
  }

  /** Waits until everything accepted before this call is settled; rejects with `DeliveryError`. */
  flush(options?: WaitOptions): Promise<FlushReport> {
    return this.#settled("flush", () => this.#native.flush(), options);
  }

  /**
   * Waits until writes are taken at once: the buffer has room for the write that last found none
   * (`BufferFullError`), or for any other. Rejects with the error that the producer ended with.
   */
  async ready(options?: WaitOptions): Promise<void> {
    await this.#settled<null>("ready", () => this.#native.ready(), options);
  }

  /**
   * Begins a fresh session, which may claim the id, once everything accepted so far is settled. It
   * is the way back after another producer took over (`StaleEpochError`). Rejects with a
   * `ProducerClosedError`, or with the error that the producer failed with.
   */
  async restart(options?: WaitOptions): Promise<void> {
    await this.#settled<null>("restart", () => this.#native.restart(), options);
  }

  /** Flushes, then ends the *stream* for everybody, a last message in the same request. */
  async close(lastMessage?: Message, options?: WaitOptions): Promise<CloseResult> {
    const payload =
      lastMessage === undefined
        ? undefined
        : this.#serialised(() => serialise(lastMessage, this.#json));
    const close = (): NativeWait => this.#native.close(payload);
    const result = await this.#settled<{ finalOffset: string | null }>("close", close, options);
    this.#forgetSignal?.();
    return closeResult(result);
  }

  /** Flushes and stops the producer without ending the stream. */
  async detach(options?: WaitOptions): Promise<FlushReport> {
    const detach = (): NativeWait => {
      this.#forgetSignal?.();
      return this.#native.detach();
    };
    return this.#settled("detach", detach, options);
  }

  /** Ends now: pending writes settle as `cancelled` or `delivery-unknown`. */
  stop(): void {
    this.#forgetSignal?.();
    calling(() => this.#native.stop());
  }

  /** Detaches at the end of `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.detach();
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

  /** The producer id as sent: with its suffix if `shared`. */
  get producerId(): string {
    return this.#native.producerId;
  }

  /** The stream's URL, without user info and query. */
  get url(): string {
    return this.#native.url;
  }

  /** @internal */
  findsRoom(size: number): boolean {
    return calling(() => this.#native.findsRoom(size));
  }

  #receipt(written: Written): Receipt {
    const receipt = receiptOf(written, this.#native);
    if (!receipt.accepted) this.#refusals.add(receipt);
    return receipt;
  }

  #appendValue(message: unknown): Receipt {
    if (this.#json) return this.appendJson(message);
    const payload = this.#serialised(() => serialise(message, false));
    return this.#receipt(this.#append(payload));
  }

  /**
   * A value as text; one that cannot be written is counted as refused, and throws as in `append`.
   */
  #serialised<T>(serialising: () => T): T {
    try {
      return serialising();
    } catch (error) {
      if (error instanceof Unsayable) {
        receiptOf(this.#native.refuse(error.message), this.#native);
      }
      throw error;
    }
  }

  #settled<T>(what: string, start: () => NativeWait, options?: WaitOptions): Promise<T> {
    return reporting(this.#onError, settled<T>(what, start, options));
  }
}

// Node before 18.18 has no `Symbol.asyncDispose`, and made a method called "undefined" of it.
if (Symbol.asyncDispose === undefined) {
  Reflect.deleteProperty(Writer.prototype, "undefined");
}
