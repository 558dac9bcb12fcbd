// The exactly-once writer of bytes or JSON.

import type { WriterOptions } from "./options.cjs";
import { DurableStream } from "./stream.cjs";
import { Writer } from "./writer.cjs";

/** How a producer writes. */
export interface IdempotentProducerOptions extends WriterOptions {}

/**
 * Writes messages to a stream, each exactly once, in the order of the calls.
 *
 * Calls answer at once with a {@link Receipt}; messages gather while requests are under way. The id
 * stays the same over restarts: a new producer takes over from an older one of the same id,
 * everything the older one wrote stays, and nothing is written twice.
 *
 * The constructor sends nothing; it throws an `InvalidArgumentError` for an option that is none or out of
 * its range.
 *
 * ```js
 * const stream = await DurableStream.create({
 *   url: "http://localhost:4437/v1/stream/hover-messages",
 *   contentType: "application/json",
 * });
 * const producer = new IdempotentProducer(stream, "order-service", { lingerMs: 5 });
 * producer.append({ orderId: "123" });
 * await producer.flush(); // throws a `DeliveryError` if anything was not delivered
 * await producer.detach();
 * ```
 */
export class IdempotentProducer extends Writer {
  constructor(stream: DurableStream, producerId: string, options: IdempotentProducerOptions = {}) {
    super(DurableStream.native(stream), producerId, options);
  }
}
