// Its standard error is a pipe that nobody reads, and full: it delivers, and it ends.

import { constants, openSync, writeSync } from "node:fs";
import { DurableStream, IdempotentProducer, shutdown } from "durstream";

const [url, ending] = process.argv.slice(2);

function fill(size: number): void {
  // An open file of its own: the program's stays as it is.
  const stderr = openSync("/proc/self/fd/2", constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    for (;;) writeSync(stderr, "x".repeat(size));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
  }
}

fill(4096);
fill(1);
const healthy = new IdempotentProducer(await DurableStream.create({ url, contentType: "application/json" }), "healthy");
const nowhere = await DurableStream.connect({ url: "http://127.0.0.1:1/nowhere" });
for (let n = 0; n < 3; n++) {
  const failing = new IdempotentProducer(nowhere, `failing-${n}`);
  failing.append("x");
  failing.stop();
  await failing.flush().catch(() => {});
  healthy.append(JSON.stringify({ n }));
  await healthy.flush();
}
if (ending === "shutdown") await shutdown({ timeoutMs: 5000 });
console.log("the end is reached");
