// Leaves everything open and idle, with callbacks and signals.

import { DurableStream, IdempotentProducer, createDurableStream, defineStreamSchema } from "durstream";

const [url = ""] = process.argv.slice(2);
const { signal } = new AbortController();
const onError = () => console.log("a failure");
const handle = await DurableStream.create({ url, contentType: "application/json", signal });
const producer = new IdempotentProducer(handle, "idle", { signal, onError });
const schema = defineStreamSchema({ a: { schema: true, type: "a", primaryKey: "id" } });
const state = createDurableStream({ url: `${url}-state`, schema, producerId: "idle", signal, onError });
const receipts = [producer.append(1), state.upsert("a", { id: 1 }), producer.tryAppend("{")];
receipts.forEach((receipt) => receipt.completion);
await producer.flush();
console.log("the end is reached");
