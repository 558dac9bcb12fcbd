// A program as users write it: appends once, ends the stream, and says so. CommonJS has no
// top-level await.
import { DurableStream, IdempotentProducer } from "durstream";

async function main() {
  const handle = await DurableStream.create({ url: process.argv[2], contentType: "application/json" });
  const producer = new IdempotentProducer(handle, "bundled");
  producer.append({ bundled: true });
  await producer.close();
  console.log("closed");
}

void main();
