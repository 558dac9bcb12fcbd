// A stream as the end of a pipe.

import { randomUUID } from "node:crypto";
import { WritableStream } from "node:stream/web";

import { isSerialised } from "./json.cjs";
import type { Message } from "./json.cjs";
import { IdempotentProducer } from "./producer.cjs";
import type { IdempotentProducerOptions } from "./producer.cjs";
import type { Receipt } from "./receipt.cjs";
import { DurableStream } from "./stream.cjs";

/** How what is piped is written: the options of a producer, and its id, random if not given. */
export interface WritableOptions extends IdempotentProducerOptions {
  producerId?: string | undefined;
}

/** Half of what may be under way, in messages and bytes. */
const HALF_BYTES = 2 * 1024 * 1024;
const HALF_MESSAGES = 4096;

/** @internal */
export function writableOf(
  stream: DurableStream,
  options: WritableOptions,
): WritableStream<Message> {
  const { producerId = `writable-${randomUUID()}`, ...own } = options;
  const producer = new IdempotentProducer(stream, producerId, own);
  const { isJson } = DurableStream.native(stream);
  let half = { bytes: 0, messages: 0 };
  let before: Receipt | undefined;
  return new WritableStream<Message>({
    async write(message) {
      if (!isJson && isSerialised(message) && message.length === 0) return;
      const receipt = producer.append(message);
      half.messages += 1;
      half.bytes += isSerialised(message) ? message.length : 0;
      if (half.messages < HALF_MESSAGES && half.bytes < HALF_BYTES) return;
      const settled = before?.completion;
      [before, half] = [receipt, { bytes: 0, messages: 0 }];
      await settled;
    },
    async close() {
      await producer.close();
    },
    async abort() {
      await producer.detach();
    },
  });
}
