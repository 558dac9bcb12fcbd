// The package as npm packs it, seen by the tools with which people look at packages.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../../", import.meta.url));
const tools = join(root, "tests/tools/node_modules");
const folder = mkdtempSync(join(tmpdir(), "durstream-packed-"));
let packed: { filename: string; files: { path: string }[] };

const run = promisify(execFile);
const npm = process.platform === "win32" ? "npm.cmd" : "npm";

before(async () => {
  const pack = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
  const { stdout } = await run(npm, pack, { cwd: root, shell: process.platform === "win32" });
  [packed] = JSON.parse(stdout) as [typeof packed];
});
after(() => rmSync(folder, { recursive: true }));

/** What a tool says of the packed package; it ends with 0 if it has nothing to say. */
async function look(tool: string, ...args: string[]): Promise<string> {
  const program = [join(tools, tool), join(folder, packed.filename), ...args];
  try {
    const { stdout } = await run(process.execPath, program, { env: { ...process.env, NO_COLOR: "1" } });
    return stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    return assert.fail(`${tool}\n${stdout}${stderr}`);
  }
}

test("attw: each way of resolving the package finds types that fit what it finds", async () => {
  const said = await look("@arethetypeswrong/cli/dist/index.js", "--format", "json");
  const { analysis } = JSON.parse(said) as { analysis: { types: unknown; problems: unknown[] } };
  assert.ok(analysis.types);
  assert.deepEqual(analysis.problems, []);
});

test("publint: nothing wrong, nothing to suggest", async () => {
  assert.match(await look("publint/src/cli.js", "--strict"), /All good!/);
});

test("the package holds its README, its types and nothing to build with", () => {
  const paths = packed.files.map(({ path }) => path);
  const skill = "skills/publishing-data/SKILL.md";
  for (const needed of ["README.md", "package.json", "dist/index.cjs", "dist/index.mjs", "dist/index.d.cts", skill]) {
    assert.ok(paths.includes(needed), `${needed} is missing`);
  }
  assert.deepEqual(paths.filter((path) => /^(lib|src|tests|examples)\//.test(path)), []);
});
