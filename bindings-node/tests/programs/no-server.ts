// Opens a stream path with no server configured.

import { createDurableStream, defineStreamSchema } from "durstream";

const schema = defineStreamSchema({ a: { schema: true, type: "a", primaryKey: "id" } });
try {
  createDurableStream({ streamPath: "/a", schema, producerId: "id" });
} catch (error) {
  const { name, option, message } = error as Error & { option: string };
  console.log(name, option, message);
}
