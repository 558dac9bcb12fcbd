import assert from "node:assert/strict";
import { mock, test } from "node:test";

import * as durstream from "durstream";

import casesFor from "./cases.cjs";

const cases = casesFor({
  durstream,
  throws: (call, expected) => assert.throws(call, expected),
  // Node before 20.4 has none.
  fake: () => mock.timers?.enable(),
  real: () => mock.timers?.reset(),
});
for (const [name, body] of Object.entries(cases)) test(name, { timeout: 30_000 }, body);
