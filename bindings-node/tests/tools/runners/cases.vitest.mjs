import * as durstream from "durstream";
import { expect, test, vi } from "vitest";

import casesFor from "./cases.cjs";

const cases = casesFor({
  durstream,
  throws: (call, expected) => expect(call).toThrow(expected),
  fake: () => vi.useFakeTimers(),
  real: () => vi.useRealTimers(),
});
for (const [name, body] of Object.entries(cases)) test(name, body, 30_000);
