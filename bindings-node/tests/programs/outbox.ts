// Accepts writes into an outbox while the server is away, says so, and waits for its end.

import { DurableStream, IdempotentProducer, createDurableStream, defineStreamSchema } from "durstream";

const [url, outboxDir, count, kind] = process.argv.slice(2) as [string, string, string, string];
const proxy = "http://127.0.0.1:9"; // nobody is there

const write = (): ((n: number) => unknown) => {
  if (kind === "entities") {
    const schema = defineStreamSchema({ a: { schema: true, type: "a", primaryKey: "n" } });
    const state = createDurableStream({ url, schema, producerId: "kept", outboxDir, proxy });
    return (n) => state.upsert("a", { n });
  }
  const stream = new DurableStream({ url, contentType: "application/json", proxy });
  const producer = new IdempotentProducer(stream, "kept", { outboxDir });
  return (n) => producer.append({ n });
};

const accept = write();
for (let n = 0; n < Number(count); n++) accept(n);
console.log("accepted");
setInterval(() => undefined, 1000);
