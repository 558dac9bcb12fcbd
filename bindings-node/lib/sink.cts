// Appending the messages of a source: in order, with bounded memory.

import { DeliveryError, calling, invalidArgument } from "./errors.cjs";
import { Unsayable, shown } from "./json.cjs";
import type { FlushReport } from "./lifecycle.cjs";
import type { NativeSink, Payload } from "./native.cjs";
import { now, setImmediate } from "./timers.cjs";
import { valueOf } from "./wait.cjs";
import type { Patience } from "./wait.cjs";

/** How long a source that never waits may hold the event loop. */
const SLICE_MS = 5;

/** A web stream, also as TypeScript's DOM library types it. */
export interface ReadableSource<T> {
  /** Its reader, which it then is locked to. */
  getReader(): {
    /** The next message, or that there is none. */
    read(): Promise<{ done: boolean; value?: T | undefined }>;
    /** Called where its messages are not wanted any more. */
    cancel(reason?: unknown): Promise<void>;
  };
}

/** A source of messages, one after the other. */
export type Source<T> = Iterable<T | PromiseLike<T>> | AsyncIterable<T> | ReadableSource<T>;

/** A source's iterator; text and bytes are one message, not a source. */
export function iteratorOf<T>(source: Source<T>): AsyncIterator<T, unknown, undefined> {
  if (typeof source === "object" && source !== null && !ArrayBuffer.isView(source)) {
    if (Symbol.asyncIterator in source) return source[Symbol.asyncIterator]();
    if (Symbol.iterator in source) return awaited(source);
    if (typeof source.getReader === "function") return readerOf(source);
  }
  const text = "takes an iterable, an async iterable or a ReadableStream of messages";
  const hint = "one message is for `append`";
  throw invalidArgument("source", `\`source\` ${text}, not ${shown(source)}; ${hint}`);
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

/** A source as a sink asks it. */
class Asked<T> {
  readonly #source: AsyncIterator<T, unknown, undefined>;
  #ended = false;
  #letGo: () => void = () => undefined;
  /** The error of the source. */
  failure: { readonly error: unknown } | undefined;

  constructor(source: AsyncIterator<T, unknown, undefined>) {
    this.#source = source;
  }

  /** The next message; undefined at the end, good or bad, or once the source was let go. */
  next(): Promise<{ readonly message: T } | undefined> {
    return new Promise((resolve) => {
      this.#letGo = () => resolve(undefined);
      void this.#next().then(resolve);
    });
  }

  async #next(): Promise<{ readonly message: T } | undefined> {
    try {
      const { done, value } = await this.#source.next();
      if (!done) return { message: value };
    } catch (error) {
      this.failure = { error };
    }
    this.#ended = true;
    return undefined;
  }

  /** Waits for the next message no longer. */
  letGo(): void {
    this.#letGo();
  }

  /** Tells the source that no more is taken from it, without waiting for its cleanup. */
  async leave(): Promise<void> {
    if (this.#ended) return;
    try {
      await this.#source.return?.();
    } catch {
      // It is not asked for anything any more.
    }
  }
}

/**
 * Appends everything a source yields, as the payloads that `payloadOf` makes of it. Once a message
 * or the source failed, takes no more from it, and waits for the messages under way.
 */
export async function appendAll<T>(
  native: NativeSink,
  iterator: AsyncIterator<T, unknown, undefined>,
  payloadOf: (message: T) => Payload,
  patience: Patience,
): Promise<FlushReport> {
  const source = new Asked(iterator);
  try {
    await give(native, source, payloadOf, patience);
  } finally {
    void source.leave();
  }
  const { failure } = source;
  try {
    const report = valueOf<FlushReport>(await patience.wait(calling(() => native.close()).done()));
    if (failure === undefined) return report;
  } catch (error) {
    // The source's own error would have been thrown.
    if (failure && error instanceof DeliveryError) error.cause.cause ??= failure.error;
    throw error;
  }
  throw failure.error;
}

async function give<T>(
  native: NativeSink,
  source: Asked<T>,
  payloadOf: (message: T) => Payload,
  patience: Patience,
): Promise<void> {
  const ready = async (): Promise<unknown> => patience.wait(calling(() => native.ready()).done());
  const send = async (message: T): Promise<void> => {
    try {
      const payload = payloadOf(message);
      while (!calling(() => native.startSend(payload))) await ready();
    } catch (error) {
      if (!(error instanceof Unsayable)) throw error;
      native.refuse(error.message);
    }
  };
  // A failure must show even while the source gives nothing.
  let [watching, sent] = [false, false];
  const watch = async (): Promise<void> => {
    sent = true;
    if (watching) return;
    watching = true;
    // Messages sent before that wait ended have to be watched, too.
    while (sent) {
      sent = false;
      await calling(() => native.stopped()).done();
    }
    watching = false;
    if (native.state() === "failed") source.letGo();
  };
  let due = now() + SLICE_MS;
  for (let state; (state = native.state()) !== "failed"; ) {
    if (now() >= due) {
      await patience.wait(new Promise((resolve) => setImmediate(resolve)));
      due = now() + SLICE_MS;
    } else if (state === "full") {
      await ready();
    } else {
      patience.check();
      const given = await patience.wait(source.next());
      if (given === undefined) return;
      await send(given.message);
      void watch();
    }
  }
}
