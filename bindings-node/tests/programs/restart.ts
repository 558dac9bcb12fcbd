// One life of a service with a fixed producer id.

import { DurableStream, IdempotentProducer } from "durstream";

const [url = "", run, count] = process.argv.slice(2);
const handle = await DurableStream.create({ url, contentType: "application/json" });
const producer = new IdempotentProducer(handle, "my-service", { autoClaim: true });
for (let n = 1; n <= Number(count); n += 1) {
  producer.append({ run, n });
  if (n % 10 === 0) await producer.flush();
}
await producer.detach();
