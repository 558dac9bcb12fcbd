#!/usr/bin/env node
// Looks into outboxes: `durstream-outbox list | show | export DIR`. It reads only, also while a producer is at work.

import { native } from "../dist/native.cjs";

const problem = native.outboxTool(process.argv.slice(2));
if (problem !== null) {
  process.stderr.write(`${problem.trimEnd()}\n`);
  process.exitCode = 1;
}
