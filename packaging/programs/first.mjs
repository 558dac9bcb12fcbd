// Three messages from an installed package.

import { createRequire } from "node:module";

import { DurableStream, IdempotentProducer } from "durstream";

const streamPath = process.env.FIRST_STREAM_PATH;
const stream = await DurableStream.create({ streamPath, contentType: "application/json" });
const producer = new IdempotentProducer(stream, "first");
for (const n of [1, 2, 3]) producer.append({ n });
await producer.close();
console.log(createRequire(import.meta.url)("durstream/package.json").version);
