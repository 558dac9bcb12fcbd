// Writes that expire after the program's last line.

import { DurableStream, IdempotentProducer, setExitTimeout } from "durstream";

const [url = ""] = process.argv.slice(2);
setExitTimeout(60_000); // however long the machine stalls
const handle = new DurableStream({ url, contentType: "application/json" });
const producer = new IdempotentProducer(handle, "nobody", {
  deliveryTimeoutMs: 1000,
  onError: (error, { id }) => console.log(error.name, id),
});
producer.appendMany([1, 2]);
