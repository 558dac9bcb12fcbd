// Reading a stream.

import { calling, invalidArgument } from "./errors.cjs";
import type { NativeChunk, NativeReader, NativeStep } from "./native.cjs";
import { ownBytes } from "./realms.cjs";
import { optionsOf, settled, signalOf } from "./wait.cjs";
import type { WaitOptions } from "./wait.cjs";

/** Where a read starts, and the signal that ends its waits. */
export interface ReadOptions {
  /** The offset of an earlier read, append or head; by default the stream's start. */
  offset?: string | undefined;
  /** Following the stream as it grows is not supported yet. */
  live?: false | undefined;
  /** Ends every wait of the reader with the signal's reason. */
  signal?: AbortSignal | undefined;
}

const TOKEN = Symbol("read");

/** A part of a stream; never empty. On a JSON stream its messages are whole. */
export class Chunk {
  readonly #native: NativeChunk;
  #data: Uint8Array | undefined;
  /** The offset behind it. */
  readonly offset: string;
  /** Whether it reached the stream's end at that moment. */
  readonly upToDate: boolean;
  /** Whether the stream has ended and this is its last part. */
  readonly streamClosed: boolean;

  /** @internal */
  constructor(token: symbol, chunk: NativeChunk) {
    if (token !== TOKEN) throw invalidArgument("chunk", "a Chunk comes from a StreamReader");
    this.#native = chunk;
    this.offset = chunk.offset;
    this.upToDate = chunk.upToDate;
    this.streamClosed = chunk.streamClosed;
  }

  /** The bytes, as the server sent them. */
  get data(): Uint8Array {
    this.#data ??= ownBytes(this.#native.data());
    return this.#data;
  }

  /**
   * The messages of a JSON stream, each parsed by `JSON.parse`: numbers beyond 2^53 are rounded, as
   * everywhere in JavaScript. Throws a `NotSupportedError` on any other stream.
   */
  json<T = unknown>(): T[] {
    return JSON.parse(calling(() => this.#native.json())) as T[];
  }

  /**
   * The bytes as text. Throws a `TypeError` where they are not UTF-8: a chunk of a stream that is
   * not JSON may end within a character.
   */
  text(): string {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.data);
  }
}

/**
 * Reads a stream from an offset to its present end: `for await (const chunk of reader)`.
 *
 * Leaving the loop early or giving a wait up loses nothing: the next call gets the next chunk. At
 * the end another call asks the server again. For one caller at a time.
 */
export class StreamReader implements AsyncIterable<Chunk> {
  readonly #native: NativeReader;
  readonly #signal: AbortSignal | undefined;

  /** @internal */
  constructor(token: symbol, reader: NativeReader, signal: AbortSignal | undefined) {
    if (token !== TOKEN) {
      throw invalidArgument("stream", "a StreamReader comes from the `read` of a DurableStream");
    }
    this.#native = reader;
    this.#signal = signal;
  }

  /**
   * The next chunk; `undefined` once the reader has caught up. Transient failures are repeated up
   * to `maxRetries` times. Rejects with a `StreamNotFoundError`; a `StreamGoneError`, whose `reason`
   * says whether the stream was deleted (`gone`) or the server no longer keeps what was at the offset
   * (`offset-gone`); an `InvalidArgumentError` for an offset that the server does not know; a
   * `ProtocolError` for broken JSON, and so on.
   */
  async nextChunk(options: WaitOptions = {}): Promise<Chunk | undefined> {
    const { signal = this.#signal, timeoutMs } = optionsOf(options);
    let step: NativeStep | undefined;
    const start = (): NativeStep => {
      step = this.#native.next();
      return step;
    };
    await settled<boolean>("the read", start, { signal: signalOf(signal), timeoutMs });
    const chunk = step?.take();
    return chunk ? new Chunk(TOKEN, chunk) : undefined;
  }

  /** @internal */
  static of(reader: NativeReader, signal: AbortSignal | undefined): StreamReader {
    return new StreamReader(TOKEN, reader, signal);
  }

  /** The chunks up to the stream's present end; may be asked for again. */
  [Symbol.asyncIterator](): AsyncIterator<Chunk, undefined, undefined> {
    return {
      next: async () => {
        const value = await this.nextChunk();
        return value === undefined ? { done: true, value } : { done: false, value };
      },
    };
  }

  /** The offset for a later read; `undefined` before the first answer of a read from the start. */
  get offset(): string | undefined {
    return this.#native.offset ?? undefined;
  }

  /** Whether the last answer reached the stream's end at that moment. */
  get upToDate(): boolean {
    return this.#native.upToDate;
  }

  /** Whether the stream has ended and all of it was read. */
  get streamClosed(): boolean {
    return this.#native.streamClosed;
  }
}
