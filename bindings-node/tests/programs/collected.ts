// Many producers that are collected right after their writes, while more are made.

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { setImmediate as turn } from "node:timers/promises";

import { DurableStream, IdempotentProducer } from "durstream";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const [url = ""] = process.argv.slice(2);
const handle = await DurableStream.create({ url, contentType: "application/json" });
let gone = 0;
const registry = new FinalizationRegistry(() => (gone += 1));
for (let round = 0; round < 50; round += 1) {
  const producer = new IdempotentProducer(handle, `round-${round}`);
  for (let n = 0; n < 10; n += 1) producer.append({ n: round * 10 + n });
  registry.register(producer, round);
  if (round % 10 === 9) {
    await turn();
    collect();
    await turn();
  }
}
for (let wait = 0; gone === 0 && wait < 100; wait += 1) {
  collect();
  await turn();
}
console.log(gone > 0 ? "collected" : "nothing was collected");
