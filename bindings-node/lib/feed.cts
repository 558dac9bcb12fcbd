// Appending what a source yields: in order, with bounded memory.

import { BufferFullError, DurstreamError, calling, invalidArgument } from "./errors.cjs";
import type { FlushReport } from "./lifecycle.cjs";
import type { NativeStream, NativeWait, Payload } from "./native.cjs";
import type { OutcomeFields } from "./receipt.cjs";
import { valueOf } from "./wait.cjs";
import type { Patience } from "./wait.cjs";

/** What may be under way of one source: enough to fill the requests in flight and the next ones. */
const MAX_PENDING_BYTES = 4 * 1024 * 1024;
const MAX_PENDING_MESSAGES = 1024;
/** The pause where others fill the buffer: the room they give back comes without a sign. */
const PAUSE_MS = 5;

/** A web stream as TypeScript's DOM library has it, too. */
export interface ReadableSource<T> {
  getReader(): {
    read(): Promise<{ done: boolean; value?: T | undefined }>;
    cancel(reason?: unknown): Promise<void>;
  };
}

/** Where messages come from, one after the other. */
export type Source<T> = Iterable<T | PromiseLike<T>> | AsyncIterable<T> | ReadableSource<T>;

/** A source's iterator; text and bytes are one message, not a source. */
export function iteratorOf<T>(source: Source<T>): AsyncIterator<T, unknown, undefined> {
  if (typeof source === "object" && source !== null && !ArrayBuffer.isView(source)) {
    if (Symbol.asyncIterator in source) return source[Symbol.asyncIterator]();
    if (Symbol.iterator in source) return awaited(source);
    if (typeof source.getReader === "function") return readerOf(source);
  }
  const text = "takes an iterable, an async iterable or a ReadableStream of messages";
  throw invalidArgument("source", `\`source\` ${text}; one message is for \`append\``);
}

async function* awaited<T>(source: Iterable<T | PromiseLike<T>>): AsyncGenerator<T> {
  yield* source;
}

function readerOf<T>(source: ReadableSource<T>): AsyncIterator<T, unknown, undefined> {
  const reader = source.getReader();
  return {
    async next() {
      const { done, value } = await reader.read();
      return done ? { done, value: undefined } : { done: false, value: value as T };
    },
    async return() {
      await reader.cancel();
      return { done: true, value: undefined };
    },
  };
}

/** Tells a source that no more is taken of it, without waiting for what it does then. */
async function leave<T>(source: AsyncIterator<T, unknown, undefined>): Promise<void> {
  try {
    await source.return?.();
  } catch {
    // It is not asked for anything any more.
  }
}

/** Messages of one source on their way. */
export class Feed {
  readonly #stream: NativeStream;
  readonly #patience: Patience;
  readonly #report = { delivered: 0, duplicates: 0, uncertain: 0 };
  #pending = 0;
  #bytes = 0;
  #failure: { readonly error: unknown } | undefined;
  #moved: (() => void) | undefined;

  constructor(stream: NativeStream, patience: Patience) {
    this.#stream = stream;
    this.#patience = patience;
  }

  /**
   * Appends everything a source yields: what `payloadOf` makes of it, undefined for nothing. The
   * first message is taken for its `seq` before the others follow.
   */
  async run<T>(
    source: AsyncIterator<T, unknown, undefined>,
    payloadOf: (message: T) => Payload | undefined,
    seq: string | undefined,
  ): Promise<FlushReport> {
    let order = seq;
    let failed: { readonly error: unknown } | undefined;
    const next = async (): Promise<IteratorResult<T, unknown>> => {
      try {
        return await source.next();
      } catch (error) {
        failed = { error };
        return { done: true, value: undefined };
      }
    };
    try {
      for (;;) {
        const step = await this.#patience.wait(next());
        if (step.done) break;
        const payload = payloadOf(step.value);
        if (payload === undefined) continue;
        await this.#push(payload, order);
        if (order !== undefined) await this.#end();
        order = undefined;
      }
    } catch (error) {
      void leave(source);
      if (!this.#patience.isOver) await this.#end(); // what came before a refused message
      throw error;
    }
    return this.#finish(failed);
  }

  async #finish(failed: { readonly error: unknown } | undefined): Promise<FlushReport> {
    try {
      const report = await this.#end();
      if (failed === undefined) return report;
    } catch (lost) {
      // Who hears that the source failed takes what came before for delivered.
      if (failed !== undefined && lost instanceof DurstreamError) lost.cause ??= failed.error;
      throw lost;
    }
    throw failed.error;
  }

  /** Hands a message over, once there is room for it. Throws what an earlier one failed with. */
  async #push(payload: Payload, seq: string | undefined): Promise<void> {
    for (;;) {
      this.#patience.check();
      if (!this.#hasRoom(payload.length)) {
        await this.#move();
        continue;
      }
      const wait = calling(() => this.#stream.append(payload, seq));
      const refused = wait.now();
      if (refused === null) return this.#watch(wait, payload.length);
      try {
        return this.#count(valueOf<OutcomeFields>(refused));
      } catch (error) {
        if (!(error instanceof BufferFullError)) throw error;
      }
      await (this.#pending > 0 ? this.#move() : this.#patience.wait(pause()));
    }
  }

  /** Waits until everything is settled; throws what the first message failed with. */
  async #end(): Promise<FlushReport> {
    while (this.#pending > 0) await this.#move();
    if (this.#failure !== undefined) throw this.#failure.error;
    return this.#report;
  }

  #hasRoom(size: number): boolean {
    const fits = this.#bytes + size <= MAX_PENDING_BYTES && this.#pending < MAX_PENDING_MESSAGES;
    return fits || this.#pending === 0;
  }

  /** Waits until one more is settled. */
  #move(): Promise<void> {
    return this.#patience.wait(
      new Promise<void>((resolve) => {
        this.#moved = resolve;
      }),
    );
  }

  #watch(wait: NativeWait, size: number): void {
    this.#pending += 1;
    this.#bytes += size;
    void wait.done().then((text) => {
      this.#pending -= 1;
      this.#bytes -= size;
      try {
        this.#count(valueOf<OutcomeFields>(text));
      } catch (error) {
        this.#failure ??= { error };
        this.#patience.end(error);
      }
      this.#moved?.();
    });
  }

  #count({ duplicate, maybeDuplicate }: OutcomeFields): void {
    this.#report.delivered += 1;
    if (duplicate) this.#report.duplicates += 1;
    if (maybeDuplicate) this.#report.uncertain += 1;
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
}
