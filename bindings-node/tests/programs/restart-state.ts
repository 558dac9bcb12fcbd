// One life of a service that publishes state under a fixed producer id.

import { createDurableStream, defineStreamSchema } from "durstream";

const [streamPath = "", run, count] = process.argv.slice(2);
const schema = defineStreamSchema({ a: { schema: true, type: "a", primaryKey: "id" } });
const producer = createDurableStream({ streamPath, schema, producerId: "my-service" });
for (let n = 1; n <= Number(count); n += 1) producer.upsert("a", { id: `${run}-${n}` });
await producer.flush();
await producer.close();
