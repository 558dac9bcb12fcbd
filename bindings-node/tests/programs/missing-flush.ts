// Writes and ends without flush: the document's "Not calling flush() before shutdown", wrong.

import { DurableStream, IdempotentProducer, setExitTimeout } from "durstream";

const [url = "", count = "0"] = process.argv.slice(2);
setExitTimeout(60_000); // however long the machine stalls
const events = Array.from({ length: Number(count) }, (_, n) => JSON.stringify({ n }));
const handle = await DurableStream.create({ url, contentType: "application/json" });
const producer = new IdempotentProducer(handle, "my-service");

for (const event of events) {
  producer.append(event)
}
