// Node's own timers and clock. The fake ones of a test stand still until the test moves them, and
// what waits for the network would wait for ever: they replace the globals, some also the exports
// of `node:timers`, but not what was taken from there before.

import * as clock from "node:perf_hooks";
import * as timers from "node:timers";

export const { clearTimeout, setImmediate, setTimeout } = timers;
const { performance } = clock;

/** Milliseconds since a fixed time. */
export function now(): number {
  return performance.now();
}
