// The reference server with a fault it injects itself, for one stream. Says on standard output how often
// the fault has happened. The job is one JSON object, the only argument.

import { DurableStreamTestServer } from "@durable-streams/server";

const LOOK_EVERY_MS = 20;
const { port, data, path, fault, seed } = JSON.parse(process.argv[2]);

// What a fault's probability draws from (mulberry32): a seed repeats its choices.
let state = seed | 0;
Math.random = () => {
  state = (state + 0x6d2b79f5) | 0;
  let z = Math.imul(state ^ (state >>> 15), state | 1);
  z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
  return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
};

const server = new DurableStreamTestServer({ port, host: "127.0.0.1", ...(data && { dataDir: data }) });
if (fault) {
  server.injectFault(path, fault);
  let told;
  setInterval(() => {
    const left = server.injectedFaults.get(path)?.count ?? 0; // it goes with its last time
    if (left !== told) console.log(fault.count - left);
    told = left;
  }, LOOK_EVERY_MS);
}
await server.start();
