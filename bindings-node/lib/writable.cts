// A stream as the end of a pipe.

import type { WritableStream } from "node:stream/web";

import { serialise } from "./json.cjs";
import type { Message } from "./json.cjs";
import type { NativeStream, Payload } from "./native.cjs";
import type { WriterOptions } from "./options.cjs";
import type { Receipt } from "./receipt.cjs";
import { Writer } from "./writer.cjs";

/** The options of the producer behind a pipe, and its id, random if not given. */
export interface WritableOptions extends WriterOptions {
  producerId?: string | undefined;
}

/** How much may be under way, in bytes and messages, where a producer's buffer is not smaller. */
const MAX_BYTES = 4 * 1024 * 1024;
const MAX_MESSAGES = 8192;
/** At least the bytes that the core adds to a message. */
const OVERHEAD = 512;

/** Messages under way, up to one whose receipt settles after all of them. */
interface Part {
  bytes: number;
  messages: number;
  last: Receipt | undefined;
}

/**
 * The messages of a pipe under way: two parts, so that one goes on while the other is waited for.
 */
class Parts {
  readonly #maxBytes: number;
  readonly #maxMessages: number;
  #older = nothing();
  #newer = nothing();

  constructor({ maxBufferBytes, maxBufferItems }: WriterOptions) {
    this.#maxBytes = Math.min(MAX_BYTES, Number(maxBufferBytes ?? MAX_BYTES));
    this.#maxMessages = Math.min(MAX_MESSAGES, Number(maxBufferItems ?? 0) || MAX_MESSAGES);
  }

  /**
   * Appends a message once it fits in; alone, a message of any size does. Other producers may have
   * filled the budget of the process.
   */
  async append(payload: Payload, writer: Writer): Promise<void> {
    const size = Buffer.byteLength(payload);
    for (;;) {
      const bytes = this.#older.bytes + this.#newer.bytes + size + OVERHEAD;
      const messages = this.#older.messages + this.#newer.messages;
      if (messages === 0) return this.#add(size, writer.append(payload));
      const fits = bytes <= this.#maxBytes && messages < this.#maxMessages;
      const receipt = fits ? writer.offer(payload) : undefined;
      if (receipt !== undefined) return this.#add(size, receipt);
      await this.#older.last?.completion;
      [this.#older, this.#newer] = [this.#newer, nothing()];
    }
  }

  #add(size: number, receipt: Receipt): void {
    const { bytes, messages } = this.#newer;
    if (2 * bytes >= this.#maxBytes || 2 * messages >= this.#maxMessages) {
      if (this.#older.last === undefined) [this.#older, this.#newer] = [this.#newer, nothing()];
    }
    this.#newer.bytes += size + OVERHEAD;
    this.#newer.messages += 1;
    this.#newer.last = receipt;
  }
}

function nothing(): Part {
  return { bytes: 0, messages: 0, last: undefined };
}

/** @internal */
export function writableOf(
  target: NativeStream,
  options: WritableOptions,
): WritableStream<Message> {
  // Loaded here: few programs have pipes, and these take longer to load than all of this package's files.
  const { randomUUID } = require("node:crypto") as typeof import("node:crypto");
  const { WritableStream } = require("node:stream/web") as typeof import("node:stream/web");
  const { producerId = `writable-${randomUUID()}`, ...own } = options;
  const writer = new Writer(target, producerId, own);
  const { takesValues } = target;
  const parts = new Parts(own);
  return new WritableStream<Message>({
    async write(message) {
      const payload = payloadOf(message, takesValues);
      if (payload === undefined) return void writer.append(message); // the receipt says why not
      if (!takesValues && payload.length === 0) return;
      await parts.append(payload, writer);
    },
    async close() {
      await writer.close();
    },
    async abort() {
      await writer.detach();
    },
  });
}

/** The payload of a message; undefined for one that cannot be written. */
function payloadOf(message: Message, takesValues: boolean): Payload | undefined {
  try {
    return serialise(message, takesValues);
  } catch {
    return undefined;
  }
}
