// A stream as the end of a pipe.

import { randomUUID } from "node:crypto";
import { WritableStream } from "node:stream/web";

import { serialise } from "./json.cjs";
import type { Message } from "./json.cjs";
import type { NativeStream, Payload } from "./native.cjs";
import type { WriterOptions } from "./options.cjs";
import type { Receipt } from "./receipt.cjs";
import { Writer } from "./writer.cjs";

/** How what is piped is written: the options of a producer, and its id, random if not given. */
export interface WritableOptions extends WriterOptions {
  producerId?: string | undefined;
}

/** What may be under way, in bytes and messages, where a producer's buffer is not smaller. */
const MAX_BYTES = 4 * 1024 * 1024;
const MAX_MESSAGES = 8192;
/** At least what the core adds to a message. */
const OVERHEAD = 512;

/** Messages under way, up to one whose receipt tells when all of them are settled. */
interface Part {
  bytes: number;
  messages: number;
  last: Receipt | undefined;
}

/** What is under way of a pipe: two parts, so that one goes on while the other is waited for. */
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
   * Waits until a message of so many bytes fits in, which whatever is alone does. Others may have
   * filled the process.
   */
  async room(size: number, writer: Writer): Promise<void> {
    for (;;) {
      const bytes = this.#older.bytes + this.#newer.bytes + size + OVERHEAD;
      const messages = this.#older.messages + this.#newer.messages;
      const fits = bytes <= this.#maxBytes && messages < this.#maxMessages;
      if (messages === 0 || (fits && writer.findsRoom(size))) return;
      await this.#older.last?.completion;
      [this.#older, this.#newer] = [this.#newer, nothing()];
    }
  }

  add(size: number, receipt: Receipt): void {
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
  const { producerId = `writable-${randomUUID()}`, ...own } = options;
  const writer = new Writer(target, producerId, own);
  const { isJson } = target;
  const parts = new Parts(own);
  return new WritableStream<Message>({
    async write(message) {
      const payload = payloadOf(message, isJson);
      if (payload === undefined) return void writer.append(message); // it says why not
      if (!isJson && payload.length === 0) return;
      const size = Buffer.byteLength(payload);
      await parts.room(size, writer);
      parts.add(size, writer.append(payload));
    },
    async close() {
      await writer.close();
    },
    async abort() {
      await writer.detach();
    },
  });
}

/** What a message is written as; undefined for one that cannot be. */
function payloadOf(message: Message, isJson: boolean): Payload | undefined {
  try {
    return serialise(message, isJson);
  } catch {
    return undefined;
  }
}
