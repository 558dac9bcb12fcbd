// The package's README and its skill: their programs run, what they name exists, the server starts.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import * as durstream from "durstream";
import { fresh, readJson } from "./support.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const readme = readFileSync(join(root, "README.md"), "utf8");
const skill = readFileSync(join(root, "skills/publishing-data/SKILL.md"), "utf8");
const devServer = join(root, "bin/dev-server.mjs");

test("their programs run, and write what they say", async () => {
  const blocks = [...`${readme}${skill}`.matchAll(/```js\n([^]*?)```/g)].map(([, block]) => block ?? "");
  assert.ok(blocks.length >= 6);
  const base = fresh("readme");
  // Inside the package, which finds itself by its name.
  const folder = join(root, ".build/readme");
  mkdirSync(folder, { recursive: true });
  for (const [n, block] of blocks.entries()) {
    const file = join(folder, `${n}.mjs`);
    writeFileSync(file, block.replaceAll("http://localhost:4437/v1/stream", base));
    await promisify(execFile)(process.execPath, [file], { timeout: 60_000 });
  }
  const said = /\n(\[\{.*\}\])\n```/.exec(readme)?.[1];
  assert.deepEqual(await readJson(`${base}/events`), JSON.parse(said ?? ""));
  assert.equal((await readJson(`${base}/orders`)).length, 1000);
  assert.equal((await readJson(`${base}/skill-messages`)).length, 100);
  const operations = (await readJson(`${base}/shipments`)).map(({ headers }) => headers.operation);
  assert.deepEqual(operations, ["upsert", "delete"]);
});

test("the examples that editors show run", async () => {
  const folder = join(root, ".build/readme");
  mkdirSync(folder, { recursive: true });
  const base = fresh("hover");
  const names = readdirSync(join(root, "lib")).filter((name) => name.endsWith(".cts"));
  const sources = names.map((name) => readFileSync(join(root, "lib", name), "utf8"));
  const blocks = [...sources.join("").matchAll(/^ \* ```js\n([^]*?)^ \* ```/gm)];
  assert.ok(blocks.length >= 4);
  const imports = `import assert from "node:assert/strict";
    import { createDurableStream, defineStreamSchema, DurableStream, IdempotentProducer } from "durstream";
    import { Recorder } from "durstream/testing";\n`;
  for (const [n, [, block]] of blocks.entries()) {
    const code = (block ?? "").replace(/^ \* ?/gm, "").replaceAll("http://localhost:4437/v1/stream", base);
    const file = join(folder, `hover-${n}.mjs`);
    writeFileSync(file, imports + code);
    await promisify(execFile)(process.execPath, [file], { timeout: 60_000 });
  }
  assert.equal((await readJson(`${base}/hover-orders`)).length, 1);
});

test("the reference is built, and everything public is documented", async () => {
  const typedoc = join(root, "node_modules/typedoc/bin/typedoc");
  const args = [typedoc, "--options", join(root, "lib/typedoc.json"), "--emit", "none"];
  await promisify(execFile)(process.execPath, args, { timeout: 120_000 });
});

test("each error that pages name is one", () => {
  const pages = ["node.md", "faq.md"].map((name) => readFileSync(join(root, "../docs", name), "utf8"));
  const names = [...pages.join("").matchAll(/`([A-Z]\w+Error)`/g)].map(([, name]) => name ?? "");
  assert.ok(names.length > 5);
  for (const name of names) assert.ok(name in durstream, name);
});

test("its server serves", async (t) => {
  // From where the server's package is installed: without it npm would be asked.
  const cwd = join(root, "tests/tools");
  const server = spawn(process.execPath, [devServer, "--port", "0"], { cwd, stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => server.kill());
  const lines = createInterface({ input: server.stdout });
  const { value: url } = await lines[Symbol.asyncIterator]().next();
  const stream = await durstream.DurableStream.create({ url: `${url}/v1/stream/tried`, contentType: "application/json" });
  await stream.append({ tried: true });
  assert.deepEqual(await readJson(`${url}/v1/stream/tried`), [{ tried: true }]);
});

for (const [args, text] of [
  [["--port", "many"], /--port takes 0 to 65535, not many/],
  [["--port"], /--port takes a value/],
  [["--prot", "1"], /there is no --prot/],
] as const) {
  test(`its server says what is wrong with ${args.join(" ")}`, async () => {
    const failed = promisify(execFile)(process.execPath, [devServer, ...args]);
    await assert.rejects(failed, (error: { code: number; stderr: string }) => {
      assert.equal(error.code, 2);
      assert.match(error.stderr, text);
      return true;
    });
  });
}

test("without the server's package and npm it says what to install", async () => {
  const env = { PATH: "" };
  const failed = promisify(execFile)(process.execPath, [devServer], { cwd: "/", env });
  await assert.rejects(failed, (error: { code: number; stderr: string }) => {
    assert.match(error.stderr, /npm install @durable-streams\/server/);
    return error.code === 2;
  });
});
