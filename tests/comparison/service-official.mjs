// An order service as the official client's documentation shows it: a fixed producer id and autoClaim.
import { DurableStream, IdempotentProducer } from "@durable-streams/client";

const [url, run, count] = [process.argv[2], process.argv[3], Number(process.argv[4])];

const handle = await DurableStream.create({ url, contentType: "application/json" });
const producer = new IdempotentProducer(handle, "my-service", { autoClaim: true });

for (let number = 1; number <= count; number += 1) {
  producer.append(JSON.stringify({ run, number }));
  await producer.flush();
}
await producer.detach();
console.log(`${count} writes flushed`);
