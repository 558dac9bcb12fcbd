// The writer of producers and pipes.

import { Producer } from "./both.cjs";
import { DurstreamError, calling, invalidArgument } from "./errors.cjs";
import { Unsayable, isSerialised, serialise, shown, stringifyAny, stringifyPlain } from "./json.cjs";
import type { Message } from "./json.cjs";
import { listenerOf } from "./failures.cjs";
import { closeResult } from "./lifecycle.cjs";
import type { CloseResult, FlushReport } from "./lifecycle.cjs";
import { native } from "./native.cjs";
import type { NativeProducer, NativeStream, NativeWait, NativeWrite, Payload } from "./native.cjs";
import { CALLBACKS, callbacksOf, givenOf } from "./options.cjs";
import type { WriterOptions } from "./options.cjs";
import type { Receipt } from "./receipt.cjs";
import { rejectedReceipt } from "./receipt.cjs";
import { signalOf } from "./wait.cjs";
import type { WaitOptions } from "./wait.cjs";

const OWN = ["signal", ...CALLBACKS];

/** Writes messages to a stream, each exactly once, in the order of the calls. */
export class Writer extends Producer {
  readonly #native: NativeProducer;
  readonly #append: NativeWrite;
  readonly #appendJson: NativeWrite;
  readonly #json: boolean;

  /** @internal */
  constructor(target: NativeStream, producerId: string, options: WriterOptions) {
    if (typeof producerId !== "string") {
      throw invalidArgument("producerId", `\`producerId\` takes text, not ${shown(producerId)}`);
    }
    const given = givenOf(options, OWN);
    const [signal, callbacks] = [signalOf(options.signal), callbacksOf(options)];
    const listener = listenerOf(callbacks);
    const own = calling(() => new native.Producer(target, producerId, given, listener));
    super(own, callbacks.onError, signal);
    this.#json = target.takesValues;
    this.#native = own;
    this.#append = own.appender();
    this.#appendJson = own.jsonAppender();
  }

  /**
   * Accepts one message: one JSON value on a JSON stream, text or bytes on any other. Throws if it
   * cannot be accepted; its outcome comes with the receipt, `flush` or `onError`.
   */
  append(message: Message): Receipt {
    if (isSerialised(message)) return this.receiptOf(this.#append(message));
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
    if (text !== undefined) return this.receiptOf(this.#appendJson(text));
    return this.receiptOf(this.#append(this.#serialised(() => stringifyAny(value))));
  }

  /**
   * Accepts several messages in order, each as `append` does. If a message is refused, those behind
   * it are not appended and those before it stay accepted: the error carries their `receipts`.
   */
  appendMany(messages: Iterable<Message>): Receipt[] {
    const receipts: Receipt[] = [];
    try {
      for (const message of iterable(messages)) receipts.push(this.append(message));
    } catch (error) {
      if (error instanceof DurstreamError) error.receipts = receipts;
      throw error;
    }
    return receipts;
  }

  /**
   * Accepts messages as one group: they travel in one request, nothing else of this producer stands
   * between them, and all of them are stored or none is. The receipt is that of the last one, and its
   * outcome that of all: the others have the ids before it, without a gap. Undefined where there are no
   * messages. Throws as `append` does, also for a group that is larger than `maxWriteBytes`,
   * `maxBatchItems` or the buffer; nothing is appended then.
   */
  appendGroup(messages: Iterable<Message>): Receipt | undefined {
    const group: Payload[] = [];
    for (const message of iterable(messages)) {
      group.push(this.#serialised(() => serialise(message, this.#json)));
    }
    const written = this.#native.appendGroup(group);
    return written === null ? undefined : this.receiptOf(written);
  }

  /** Flushes, then ends the *stream* for everybody, a last message in the same request. */
  async close(lastMessage?: Message, options?: WaitOptions): Promise<CloseResult> {
    const payload =
      lastMessage === undefined
        ? undefined
        : this.#serialised(() => serialise(lastMessage, this.#json));
    const close = (): NativeWait => this.#native.close(payload);
    const result = await this.waiting<{ finalOffset: string | null }>("close", close, options);
    this.forgetSignal();
    return closeResult(result);
  }

  /** Flushes and stops the producer without ending the stream. */
  async detach(options?: WaitOptions): Promise<FlushReport> {
    const detach = (): NativeWait => {
      this.forgetSignal();
      return this.#native.detach();
    };
    return this.waiting("detach", detach, options);
  }

  /**
   * Ends now: pending writes settle as `cancelled` or `delivery-unknown`; with an outbox as `kept`, and
   * they stay there.
   */
  stop(): void {
    this.forgetSignal();
    calling(() => this.#native.stop());
  }

  /** Detaches at the end of `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.detach();
  }

  /**
   * Accepts a message if there is room for it now.
   * @internal
   */
  offer(payload: Payload): Receipt | undefined {
    const written = this.#native.offer(payload);
    return written === null ? undefined : this.receiptOf(written);
  }

  #appendValue(message: unknown): Receipt {
    if (this.#json) return this.appendJson(message);
    const payload = this.#serialised(() => serialise(message, false));
    return this.receiptOf(this.#append(payload));
  }

  /**
   * A value as text; one that cannot be written is counted as refused, and throws as in `append`.
   */
  #serialised<T>(serialising: () => T): T {
    try {
      return serialising();
    } catch (error) {
      if (error instanceof Unsayable) {
        this.receiptOf(this.#native.refuse(error.message));
      }
      throw error;
    }
  }
}

// Node before 18.18 has no `Symbol.asyncDispose`, and made a method called "undefined" of it.
if (Symbol.asyncDispose === undefined) {
  Reflect.deleteProperty(Writer.prototype, "undefined");
}

function iterable(messages: Iterable<Message>): Iterable<Message> {
  if (typeof Object(messages)[Symbol.iterator] === "function") return messages;
  const text = `takes an iterable of messages, not ${shown(messages)}`;
  throw invalidArgument("messages", `\`messages\` ${text}`);
}
