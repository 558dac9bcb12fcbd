// The page for those who come from elsewhere: its programs run, and write what they say.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { curl } from "./curl.mjs";

const page = readFileSync(new URL("../../docs/migrating.md", import.meta.url), "utf8");
const ours = new URL("../../bindings-node/dist/index.mjs", import.meta.url).href;
const server = process.env.DURABLE_STREAMS_URL;

test("the programs of docs/migrating.md run", async () => {
  const blocks = [...page.matchAll(/```js\n([^]*?)```/g)].map(([, block]) => block);
  assert.equal(blocks.length, 3);
  // Within the folder whose packages they import.
  const folder = fileURLToPath(new URL("node_modules/.migrating/", import.meta.url));
  mkdirSync(folder, { recursive: true });
  for (const [n, block] of blocks.entries()) {
    const file = `${folder}${n}.mjs`;
    writeFileSync(file, block.replaceAll('"durstream"', JSON.stringify(ours)));
    await promisify(execFile)(process.execPath, [file], { timeout: 60_000 });
  }
  assert.deepEqual(await curl(`${server}/v1/stream/migrated/messages`), [{ n: 1 }, { n: 2 }, { n: 3 }]);
  const written = async (path) => {
    const events = await curl(`${server}/v1/stream/migrated/${path}`);
    return events.map(({ key, headers: { operation } }) => [operation, key]);
  };
  assert.deepEqual(await written("shipments"), [["upsert", "ship_123"], ["delete", "ship_123"]]);
  assert.deepEqual(await written("users"), [["insert", "1"], ["update", "1"], ["delete", "1"]]);
});
