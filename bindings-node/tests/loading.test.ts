// What loading the package loads.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const SLOW = ["crypto", "stream/web", "worker_threads"];

test("nothing that takes long", async () => {
  const program = `
    const before = new Set(process.moduleLoadList);
    const { DurableStream } = require("durstream");
    const loaded = process.moduleLoadList.filter((name) => !before.has(name));
    console.log(JSON.stringify([typeof DurableStream, loaded]));`;
  const cwd = fileURLToPath(new URL("../../", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=commonjs", "--eval", program], { cwd });
  const [type, loaded] = JSON.parse(stdout) as [string, string[]];
  assert.equal(type, "function");
  assert.ok(loaded.length > 0);
  assert.deepEqual(loaded.filter((name) => SLOW.some((slow) => name === `NativeModule ${slow}`)), []);
});
