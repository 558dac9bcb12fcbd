// Begins to end a stream as its last act, and does not wait for it.

import { DurableStream, IdempotentProducer, createDurableStream, defineStreamSchema, setExitTimeout } from "durstream";

const [url = "", ending] = process.argv.slice(2);
setExitTimeout(60_000); // however long the machine stalls
const handle = new DurableStream({ url, contentType: "application/json" });
if (ending === "producer") {
  const producer = new IdempotentProducer(handle, "closes");
  const controller = new AbortController();
  producer.close(undefined, { signal: controller.signal }).catch(() => undefined);
  controller.abort();
}
if (ending === "handle") {
  const controller = new AbortController();
  handle.close({ signal: controller.signal }).catch(() => undefined);
  controller.abort();
}
if (ending === "state") {
  const schema = defineStreamSchema({ a: { schema: true, type: "a", primaryKey: "id" } });
  const producer = createDurableStream({ url, schema, producerId: "closes" });
  const controller = new AbortController();
  producer.close({ endStream: true, signal: controller.signal }).catch(() => undefined);
  controller.abort();
}
