// The examples run, and do what they say.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { freshPath, isClosed, readJson, readText, urlOf } from "./support.ts";

/** Runs one of `examples/` to its end. */
async function run(example: string, ...args: string[]): Promise<string> {
  const file = fileURLToPath(new URL(`../../examples/${example}`, import.meta.url));
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [file, ...args], { timeout: 60_000 });
  assert.equal(stderr, "");
  return stdout;
}

test("writing-data.mjs", async () => {
  const path = freshPath("example");
  const url = urlOf(path);
  assert.match(await run("writing-data.mjs", path), /^2 lines, and on from \S+\n$/);
  const types = (await readJson(`${url}/events`)).map(({ type }) => type);
  assert.deepEqual(types, ["order.created", "order.paid", "order.sent"]);
  assert.equal(await readText(`${url}/tokens`), "Durable streams keep their order.");
  assert.equal(await readText(`${url}/source`), "Durable streams keep their order.");
  assert.equal(await readText(`${url}/pipe`), "from somewhere else");
  assert.deepEqual(await readJson(`${url}/closed`), [{ type: "stream.complete" }]);
  for (const name of ["tokens", "pipe", "closed"]) assert.ok(await isClosed(`${url}/${name}`), name);
  const lines = (await readText(`${url}/logs`)).trimEnd().split("\n");
  assert.deepEqual(lines.map((line) => JSON.parse(line).msg), ["started", "failed"]);
  const writers = (await readJson(`${url}/fenced`)).map((value) => value["written by"]);
  assert.deepEqual(writers, ["the first", "the second"]);
});
