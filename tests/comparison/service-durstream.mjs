// The same service with durstream: what it imports is the whole difference.
import { DurableStream, IdempotentProducer } from "../../bindings-node/dist/index.mjs";

const [url, run, count] = [process.argv[2], process.argv[3], Number(process.argv[4])];

const handle = await DurableStream.create({ url, contentType: "application/json" });
const producer = new IdempotentProducer(handle, "my-service", { autoClaim: true });

for (let number = 1; number <= count; number += 1) {
  producer.append(JSON.stringify({ run, number }));
  await producer.flush();
}
await producer.detach();
console.log(`${count} writes flushed`);
