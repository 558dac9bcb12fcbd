// The package within other people's tools: test runners, which run it in realms of their own and stop
// its clock, and bundlers, which have to find its addon.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import { fresh, isClosed, readJson } from "./support.ts";
import type { Ended } from "./support.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const tools = join(root, "tests/tools");
const projects = join(tools, ".build");

before(() => {
  assert.ok(existsSync(join(tools, "node_modules/jest")), `the tools are not there: run npm ci in ${tools}`);
  rmSync(projects, { recursive: true, force: true });
  // What npm would install: linked packages are resolved, and bundled, in other ways.
  const installed = join(projects, "node_modules/durstream");
  const { files } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { files: string[] };
  for (const file of ["package.json", ...files]) {
    cpSync(join(root, file), join(installed, file), { recursive: true });
  }
  for (const name of ["runners", "bundles"]) {
    cpSync(join(tools, name), join(projects, name), { recursive: true });
  }
});

/** Runs Node with arguments in a folder; it has to end by itself. */
function node(folder: string, args: string[]): Promise<Ended> {
  // Node's own runner looks here for whether it is one of its children.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const options = { cwd: folder, timeout: 120_000, env: { ...env, CI: "true", NO_COLOR: "1" } };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      if (error?.killed) reject(new Error(`${args.join(" ")} did not end\n${stdout}${stderr}`));
      else resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
  });
}

const vitest = (pool: string) => [join(tools, "node_modules/vitest/vitest.mjs"), "run", "--pool", pool];

for (const [runner, args] of [
  ["node:test", ["--test", "cases.node.mjs"]],
  ["jest", [join(tools, "node_modules/jest/bin/jest.js"), "--rootDir", ".", "--testMatch", "**/*.jest.cjs"]],
  ["vitest, forks", vitest("forks")],
  ["vitest, threads", vitest("threads")],
  ["vitest, vmThreads", vitest("vmThreads")],
  ["vitest, vmForks", vitest("vmForks")],
] as const) {
  test(`the cases of ${runner} pass`, async () => {
    const { code, stdout, stderr } = await node(join(projects, "runners"), [...args]);
    assert.equal(code, 0, `${stdout}${stderr}`);
    assert.match(`${stdout}${stderr}`, /\b[1-9]\d* passed|pass [1-9]/);
  });
}

/** Bundles the program in one of the ways of `bundle.mjs`. */
function bundle(way: string, output: string): Promise<Ended> {
  return node(join(projects, "bundles"), ["bundle.mjs", way, output]);
}

for (const way of ["esbuild-cjs", "esbuild-esm", "webpack", "vite", "rollup", "nft"]) {
  test(`a program bundled by ${way} writes`, async (t) => {
    const folder = elsewhere(t);
    const made = await bundle(way, folder);
    assert.equal(made.code, 0, `${made.stdout}${made.stderr}`);
    const url = fresh("bundled");
    const { code, stdout, stderr } = await node(folder, [made.stdout.trim(), url]);
    assert.deepEqual([code, stdout], [0, "closed\n"], stderr);
    assert.deepEqual(await readJson(url), [{ bundled: true }]);
    assert.ok(await isClosed(url));
  });
}

for (const [way, text] of [
  ["esbuild-unloaded", /No loader is configured for "\.node" files.*durstream\.node/],
  ["webpack-unloaded", /durstream\.node[^]*You may need an appropriate loader/],
  ["vite-unloaded", /durstream\.node .*you need plugins to import files that are not JavaScript/],
  ["rollup-unloaded", /durstream\.node .*you need plugins to import files that are not JavaScript/],
] as const) {
  test(`without what it needs, the build says so: ${way}`, async (t) => {
    const { code, stderr } = await bundle(way, elsewhere(t));
    assert.notEqual(code, 0);
    assert.match(stderr, text);
  });
}

/** A folder from where nothing of this project is found. */
function elsewhere(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "durstream-bundle-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}
