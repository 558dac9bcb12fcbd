// A stream by its URL.

import { calling, errorFrom, invalidArgument, notSupported } from "./errors.cjs";
import type { ErrorFields } from "./errors.cjs";
import { flushBeforeExit } from "./exit.cjs";
import { appendAll, iteratorOf } from "./sink.cjs";
import type { Source } from "./sink.cjs";
import { Unsayable, serialise, shown } from "./json.cjs";
import type { Message } from "./json.cjs";
import { closeResult } from "./lifecycle.cjs";
import type { CloseResult, FlushReport } from "./lifecycle.cjs";
import { native } from "./native.cjs";
import type { NativeStream, NativeWait, Payload } from "./native.cjs";
import { givenOf, liveOf } from "./options.cjs";
import type { PlaceOptions, RequestOptions } from "./options.cjs";
import { StreamReader } from "./reader.cjs";
import type { ReadOptions } from "./reader.cjs";
import { isThenable } from "./realms.cjs";
import { outcomeFrom } from "./receipt.cjs";
import type { Outcome, OutcomeFields } from "./receipt.cjs";
import { Turns } from "./turns.cjs";
import { Patience, optionsOf, settled, signalOf } from "./wait.cjs";
import type { WaitOptions } from "./wait.cjs";
import { writableOf } from "./writable.cjs";
import type { WritableOptions } from "./writable.cjs";

/** The stream, and how to reach it. */
export interface DurableStreamOptions extends PlaceOptions, RequestOptions {
  /** The stream's content type, set at creation; by default `application/octet-stream`. */
  contentType?: string | undefined;
  /** Create the stream already ended: its first content is all it will ever have; off. */
  closed?: boolean | undefined;
  /** Create the stream as a fork: the path of its source's URL on the same server. */
  forkFrom?: string | undefined;
  /** Where the fork leaves its source: an offset of the source; by default its tail. */
  forkOffset?: string | undefined;
  /** Messages (JSON) or bytes beyond `forkOffset` that the fork still inherits; 0. */
  forkSubOffset?: number | undefined;
  /**
   * Appends carry a random identity: they are repeated through any failure, and never doubled; on.
   * Off, they carry none: they are repeated, up to `maxRetries` times, only after a failure that
   * stored nothing. Any other failure rejects, with `definite` false where the message may be in
   * the stream.
   */
  idempotent?: boolean | undefined;
  /** How often anything but an idempotent append is repeated after a transient failure; 8. */
  maxRetries?: number | undefined;
  /** Upper bound for one answer to a read, in bytes; 1 GiB. */
  maxReadBytes?: number | undefined;
  /** Ends every wait of this handle. */
  signal?: AbortSignal | undefined;
  /** Taken for the official client's sake: appends always travel together. */
  batching?: boolean | undefined;
  /** Taken for the official client's sake: a browser's matter. */
  warnOnHttp?: boolean | undefined;
}

/** Options to create a stream, with its first content. */
export interface CreateOptions extends DurableStreamOptions {
  /** The stream's first content. */
  body?: Message | undefined;
}

/** The metadata of a stream that exists. */
export interface HeadResultExists {
  readonly exists: true;
  readonly contentType: string | undefined;
  /** The offset of the stream's tail: a read from here gets later messages. */
  readonly offset: string;
  /** Whether the stream has ended. */
  readonly streamClosed: boolean;
  /** Its lifetime in seconds since the last read or write, if it has one. */
  readonly ttlSeconds?: number;
  /** When it expires, as RFC 3339 text, if it does. */
  readonly expiresAt?: string;
}

/** There is no stream. */
export interface HeadResultNotFound {
  readonly exists: false;
  readonly contentType?: undefined;
  readonly offset?: undefined;
  readonly streamClosed?: undefined;
  readonly ttlSeconds?: undefined;
  readonly expiresAt?: undefined;
}

/** The result of a HEAD. */
export type HeadResult = HeadResultExists | HeadResultNotFound;

interface MetadataFields {
  exists: boolean;
  contentType: string | null;
  offset: string | null;
  streamClosed: boolean;
  ttlSeconds: number | null;
  expiresAt: string | null;
}

/** The options of one append, and of its wait. */
export interface AppendOptions extends WaitOptions {
  /**
   * Orders the appends of several writers (`Stream-Seq`): visible ASCII that has to sort after that
   * of the last append that had one; else the append rejects with a `SequenceConflictError`.
   */
  seq?: string | undefined;
  /** The stream's own content type, if given at all. */
  contentType?: string | undefined;
}

/** How a stream is ended. */
export interface CloseOptions extends WaitOptions {
  /** A last message, in the same request as the end. */
  body?: Message | undefined;
  /** The stream's own content type, if given at all. */
  contentType?: string | undefined;
}

const OWN = ["signal", "batching", "warnOnHttp", "body"];

/**
 * A stream by its URL: create it, append to it, read it, end it, delete it.
 *
 * `append` waits for the outcome of one message and rejects with its error; for many, and for messages
 * that nobody waits for, use an `IdempotentProducer`.
 *
 * ```js
 * const stream = await DurableStream.create({
 *   url: "http://localhost:4437/v1/stream/hover-stream",
 *   contentType: "application/json",
 * });
 * await stream.append({ orderId: "123" });
 * for await (const chunk of stream.read()) console.log(chunk.json());
 * ```
 */
export class DurableStream {
  readonly #native: NativeStream;
  readonly #signal: AbortSignal | undefined;
  readonly #turns = new Turns();

  /** A handle on a stream that exists or will exist. Sends nothing. */
  constructor(options: DurableStreamOptions) {
    const given = givenOf(options, OWN);
    this.#signal = signalOf(options.signal);
    this.#native = calling(() => new native.Stream(given));
    flushBeforeExit();
  }

  /** Creates the stream; one that exists with the same configuration is fine. */
  static async create(options: CreateOptions): Promise<DurableStream> {
    const stream = new DurableStream(options);
    const body = options.body === undefined ? "" : stream.#payload(options.body, stream.#native.isJson);
    await settled("create", () => stream.#native.create(body), stream.#waiting());
    return stream;
  }

  /** A handle on a stream that exists or will exist. Sends nothing. */
  static async connect(options: DurableStreamOptions): Promise<DurableStream> {
    return new DurableStream(options);
  }

  /** The metadata of a stream, without a handle on it. */
  static async head(options: DurableStreamOptions): Promise<HeadResult> {
    return new DurableStream(options).head();
  }

  /** Deletes a stream, without a handle on it. */
  static async delete(options: DurableStreamOptions): Promise<void> {
    return new DurableStream(options).delete();
  }

  /** The URL, without user info and query. */
  get url(): string {
    return this.#native.url;
  }

  /** The content type, as given or as the server said it; `undefined` while it is unknown. */
  get contentType(): string | undefined {
    return this.#native.contentType ?? undefined;
  }

  /**
   * The metadata of the stream; `{ exists: false }` if there is no stream. Rejects with a
   * `StreamGoneError` where its URL is blocked.
   */
  async head(options: WaitOptions = {}): Promise<HeadResult> {
    const waiting = this.#waiting(options);
    return headResult(await settled("head", () => this.#native.head(), waiting));
  }

  /**
   * Appends one message, or the message of a promise, and waits for its outcome. Calls keep their
   * order: a message appended after a promise waits for it.
   */
  async append(
    message: Message | PromiseLike<Message>,
    options: AppendOptions = {},
  ): Promise<Outcome> {
    // Asked once: some thenables begin their work each time they are asked.
    const promised = isThenable(message) ? Promise.resolve(message) : undefined;
    promised?.catch(() => undefined); // this call rejects with it
    const seq = this.#checkAppend(options);
    const start = (payload?: Payload): NativeWait => this.#native.append(payload as Payload, seq);
    const given = promised ?? this.#payload(message);
    return outcomeFrom(await this.#inTurn<OutcomeFields>("append", given, start, options));
  }

  /**
   * Appends every message that a source yields, in order: many travel in one request, and the
   * source is asked for more as fast as they are delivered. On a stream that is not JSON, empty
   * messages are skipped. `seq` is for the first message; the others follow once the server took
   * it.
   *
   * Rejects with a `DeliveryError`, counts and first cause, if a message was not delivered; no more
   * is taken from the source then. If the source fails, its earlier messages are delivered, and
   * then its error is thrown. Given up by its signal or `timeoutMs`, it takes no more from the
   * source; messages already taken are still delivered.
   */
  async appendStream(source: Source<Message>, options: AppendOptions = {}): Promise<FlushReport> {
    const seq = this.#checkAppend(options);
    const patience = new Patience("appendStream", this.#waiting(options));
    try {
      patience.check();
      const { last } = this.#turns;
      if (last !== undefined) await patience.wait(last);
      const { takesValues } = this.#native;
      const own = calling(() => new native.AppendSink(this.#native, seq));
      const iterator = iteratorOf(source); // last: from here on this call has to let it go
      return await appendAll(own, iterator, (message) => serialise(message, takesValues), patience);
    } finally {
      patience.release();
    }
  }

  /**
   * The stream as the end of a pipe, written by a producer of its own. The pipe's end flushes it
   * and ends the stream, for everybody; aborting it flushes and leaves the stream open.
   */
  writable(options: WritableOptions = {}): WritableStream<Message> {
    return writableOf(this.#native, { signal: this.#signal, ...optionsOf(options) });
  }

  /** Ends the stream: messages appended before are delivered first. */
  async close(options: CloseOptions = {}): Promise<CloseResult> {
    this.#checkAppend(options);
    const body = options.body === undefined ? undefined : this.#payload(options.body);
    const start = (payload?: Payload): NativeWait => this.#native.close(payload);
    return closeResult(await this.#inTurn("close", body, start, options));
  }

  /**
   * Deletes the stream for everybody; rejects with a `StreamNotFoundError` if there is no stream.
   */
  async delete(options: WaitOptions = {}): Promise<void> {
    const waiting = this.#waiting(options);
    await settled<null>("delete", () => this.#native.delete(), waiting);
  }

  /** A reader from an offset on, or from the start, to the stream's present end. Sends nothing. */
  read(options: ReadOptions = {}): StreamReader {
    const { offset, live = false } = optionsOf(options);
    if (offset !== undefined && typeof offset !== "string") {
      const text = `takes text of an earlier read, append or head, not ${shown(offset)}`;
      throw invalidArgument("offset", `\`offset\` ${text}`);
    }
    const { signal } = this.#waiting(options);
    return StreamReader.of(calling(() => this.#native.read(offset, liveOf(live))), signal);
  }

  #waiting(options: WaitOptions = {}): WaitOptions {
    const { signal = this.#signal, timeoutMs } = optionsOf(options);
    return { signal: signalOf(signal), timeoutMs };
  }

  /** Hands a message over in the order of the calls, and waits for the result. */
  async #inTurn<T>(
    what: string,
    given: Payload | undefined | PromiseLike<Message>,
    start: (payload?: Payload) => NativeWait,
    options: WaitOptions,
  ): Promise<T> {
    const waiting = this.#waiting(options);
    if (!isThenable(given) && this.#turns.last === undefined) {
      return settled<T>(what, () => start(given), waiting);
    }
    const patience = new Patience(what, waiting);
    const turn = this.#turns.take();
    try {
      const made = isThenable(given) ? given.then((message) => this.#payload(message)) : given;
      let payload: Payload | undefined;
      await patience.wait(Promise.all([made, turn.before]).then(([it]) => (payload = it)));
      const result = settled<T>(what, () => start(payload), patience.rest);
      turn.done(); // it is handed over
      return await result;
    } finally {
      turn.done();
      patience.release();
    }
  }

  #checkAppend(given: AppendOptions): string | undefined {
    const options = optionsOf(given);
    for (const name of ["producerId", "producerEpoch", "producerSeq"]) {
      if (name in options) {
        throw notSupported(`\`${name}\` is not supported: an append has an identity of its own`);
      }
    }
    const { contentType } = options;
    if (contentType !== undefined && typeof contentType !== "string") {
      throw invalidArgument("contentType", `\`contentType\` takes text, not ${shown(contentType)}`);
    }
    const known = this.contentType;
    if (contentType !== undefined && known !== undefined && contentType !== known) {
      throw invalidArgument("contentType", `\`contentType\` differs from the stream's, ${known}`);
    }
    const { seq } = options;
    if (seq !== undefined && typeof seq !== "string") {
      throw invalidArgument("seq", `\`seq\` takes text, not ${shown(seq)}`);
    }
    return seq;
  }

  #payload(message: unknown, json = this.#native.takesValues): Payload {
    try {
      return serialise(message, json);
    } catch (error) {
      if (!(error instanceof Unsayable)) throw error;
      throw errorFrom(JSON.parse(this.#native.unserialisable(error.message)) as ErrorFields);
    }
  }

  /** @internal */
  static native(stream: unknown): NativeStream {
    if (stream instanceof DurableStream) return stream.#native;
    throw invalidArgument("stream", `\`stream\` is not a DurableStream but ${shown(stream)}`);
  }
}

function headResult(fields: MetadataFields): HeadResult {
  const { exists, contentType, offset, streamClosed, ttlSeconds, expiresAt } = fields;
  if (!exists || offset === null) return { exists: false };
  return {
    exists,
    contentType: contentType ?? undefined,
    offset,
    streamClosed,
    ...(ttlSeconds === null ? {} : { ttlSeconds }),
    ...(expiresAt === null ? {} : { expiresAt }),
  };
}
