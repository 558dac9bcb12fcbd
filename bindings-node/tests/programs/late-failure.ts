// Writes that expire after the program's last line.

import { DurableStream, IdempotentProducer } from "durstream";

const [url = ""] = process.argv.slice(2);
const handle = new DurableStream({ url, contentType: "application/json" });
const producer = new IdempotentProducer(handle, "nobody", {
  deliveryTimeoutMs: 1000,
  onError: (error, { id }) => console.log(error.name, id),
});
producer.appendMany([1, 2]);
