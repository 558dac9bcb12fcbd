// Appending what a source yields: in order, with bounded memory.

import {
  BufferFullError,
  DurstreamError,
  InvalidArgumentError,
  calling,
  invalidArgument,
  undelivered,
} from "./errors.cjs";
import type { FlushReport } from "./lifecycle.cjs";
import type { NativeStream, NativeWait, Payload } from "./native.cjs";
import type { OutcomeFields } from "./receipt.cjs";
import { valueOf } from "./wait.cjs";
import type { Patience } from "./wait.cjs";

/** What may be under way of one source: enough to fill the requests in flight and the next ones. */
const MAX_PENDING_BYTES = 16 * 1024 * 1024;
const MAX_PENDING_MESSAGES = 4096;
/** The pause where others fill the buffer: the room they give back comes without a sign. */
const PAUSE_MS = 5;
/** How long a source that never waits may keep everybody else waiting. */
const SLICE_MS = 5;

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

/** A message under way. */
interface Sent {
  readonly wait: NativeWait;
  readonly size: number;
}

/** Messages of one source on their way. */
export class Feed {
  readonly #stream: NativeStream;
  readonly #patience: Patience;
  readonly #report = { delivered: 0, duplicates: 0, uncertain: 0 };
  #undelivered = 0;
  /** Under way, in order; those before `#head` are settled. */
  #queue: Sent[] = [];
  #head = 0;
  #bytes = 0;
  /** Whether the oldest is waited for: the others settle with it, or after it. */
  #watching = false;
  /** Why the first message that was not delivered was not. */
  #cause: DurstreamError | undefined;
  #moved: (() => void) | undefined;

  constructor(stream: NativeStream, patience: Patience) {
    this.#stream = stream;
    this.#patience = patience;
  }

  /**
   * Appends everything a source yields: what `payloadOf` makes of it, undefined for nothing. The
   * first message is taken for its `seq` before the others follow. Once one failed, or the source
   * did, no more is taken from it, and what is under way is waited for.
   */
  async run<T>(
    source: AsyncIterator<T, unknown, undefined>,
    payloadOf: (message: T) => Payload | undefined,
    seq: string | undefined,
  ): Promise<FlushReport> {
    let failed: { readonly error: unknown } | undefined;
    const next = async (): Promise<IteratorResult<T, unknown>> => {
      try {
        return await source.next();
      } catch (error) {
        failed = { error };
        return { done: true, value: undefined };
      }
    };
    let [order, ended] = [seq, false];
    let due = performance.now() + SLICE_MS;
    try {
      while (!ended && this.#cause === undefined) {
        if (performance.now() >= due) {
          await this.#patience.wait(new Promise((resolve) => setImmediate(resolve)));
          due = performance.now() + SLICE_MS;
          continue; // something may have failed meanwhile
        }
        if (this.#isFull) {
          await this.#move();
          continue;
        }
        const step = await this.#patience.wait(next());
        if (step === undefined) break; // something failed meanwhile
        if (step.done) ended = true;
        else if (await this.#push(step.value, payloadOf, order)) order = undefined;
      }
    } finally {
      if (!ended) void leave(source);
    }
    return this.#finish(failed);
  }

  /** Waits for what is under way, and says what became of everything. */
  async #finish(failed: { readonly error: unknown } | undefined): Promise<FlushReport> {
    while (this.#isBusy) await this.#move();
    const cause = this.#cause;
    if (cause !== undefined) {
      if (failed !== undefined) cause.cause ??= failed.error; // it would have been told
      throw undelivered(this.#report.delivered, this.#undelivered, cause);
    }
    if (failed !== undefined) throw failed.error;
    return this.#report;
  }

  /** Hands a message over, once there is room for it; whether there was one. */
  async #push<T>(
    message: T,
    payloadOf: (message: T) => Payload | undefined,
    seq: string | undefined,
  ): Promise<boolean> {
    try {
      const payload = payloadOf(message);
      if (payload === undefined) return false;
      while (!this.#offer(payload, seq)) {
        await (this.#isBusy ? this.#move() : this.#patience.wait(pause()));
        if (this.#cause !== undefined) throw this.#cause; // it is not even tried
      }
    } catch (error) {
      this.#fail(error);
    }
    while (seq !== undefined && this.#isBusy) await this.#move();
    return true;
  }

  /** Hands a message over, if there is room for it. */
  #offer(payload: Payload, seq: string | undefined): boolean {
    this.#patience.check();
    const size = payload.length;
    const wait = calling(() => this.#stream.append(payload, seq));
    const refused = wait.now();
    if (refused === null) {
      this.#queue.push({ wait, size });
      this.#bytes += size;
      this.#watch();
      return true;
    }
    try {
      this.#count(valueOf<OutcomeFields>(refused));
    } catch (error) {
      if (error instanceof BufferFullError) return false;
      throw error;
    }
    return true;
  }

  /** Whether the source is not asked for more: what it gives once it is has its place. */
  get #isFull(): boolean {
    const count = this.#queue.length - this.#head;
    return this.#bytes >= MAX_PENDING_BYTES || count >= MAX_PENDING_MESSAGES;
  }

  get #isBusy(): boolean {
    return this.#head < this.#queue.length;
  }

  /** Waits until more is settled. */
  async #move(): Promise<void> {
    await this.#patience.wait(
      new Promise<void>((resolve) => {
        this.#moved = resolve;
      }),
    );
  }

  /** Waits for the oldest in the background. */
  #watch(): void {
    const oldest = this.#queue[this.#head];
    if (this.#watching || oldest === undefined) return;
    this.#watching = true;
    void oldest.wait.done().then((text) => {
      this.#watching = false;
      this.#settle(text, oldest);
      this.#collect();
      this.#moved?.();
      this.#watch();
    });
  }

  /** Takes what is settled by now. */
  #collect(): void {
    for (let oldest; (oldest = this.#queue[this.#head]) !== undefined; ) {
      const text = oldest.wait.now();
      if (text === null) break;
      this.#settle(text, oldest);
    }
    this.#queue = this.#queue.slice(this.#head);
    this.#head = 0;
  }

  #settle(text: string, { size }: Sent): void {
    this.#head += 1;
    this.#bytes -= size;
    try {
      this.#count(valueOf<OutcomeFields>(text));
    } catch (error) {
      this.#refused(error);
    }
  }

  #refused(error: unknown): void {
    try {
      this.#fail(error);
      this.#patience.interrupt();
    } catch {
      this.#patience.end(error);
    }
  }

  #count({ duplicate, maybeDuplicate }: OutcomeFields): void {
    this.#report.delivered += 1;
    if (duplicate) this.#report.duplicates += 1;
    if (maybeDuplicate) this.#report.uncertain += 1;
  }

  /** Counts a message that was not delivered; throws what is of the call, and not of a message. */
  #fail(error: unknown): void {
    const known = error instanceof DurstreamError && !(error instanceof InvalidArgumentError);
    if (!known || this.#patience.isOver) throw error;
    this.#undelivered += 1;
    this.#cause ??= error;
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
}
