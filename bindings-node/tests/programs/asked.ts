// Writes with a header function, once awaited, once left to Node's end.

import { DurableStream, IdempotentProducer } from "durstream";

const [url = "", how = "gives"] = process.argv.slice(2);
const handle = await DurableStream.create({ url, contentType: "application/json" });
let hanging = false;
const headers = {
  "X-Token": () => (hanging ? new Promise<string>(() => undefined) : Promise.resolve("token")),
};
const producer = new IdempotentProducer(handle, "asked", { headers });
producer.append(1);
await producer.flush();
hanging = how === "hangs";
producer.append(2);
console.log("the end is reached");
// The collector shall not be what lets Node end.
Object.assign(globalThis, { kept: [handle, producer] });
