// Bundles `app.mjs` in one way into a folder, and prints the file to run there.

import { cp } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { nodeFileTrace } from "@vercel/nft";
import commonjs from "@rollup/plugin-commonjs";
import resolve from "@rollup/plugin-node-resolve";
import * as esbuild from "esbuild";
import { rollup } from "rollup";
import * as vite from "vite";
import webpack from "webpack";

const [way, folder] = process.argv.slice(2);
const app = join(import.meta.dirname, "app.mjs");

// Beside the bundle, what was left out of it has to be installed.
const installed = () =>
  cp(join(import.meta.dirname, "../node_modules"), join(folder, "node_modules"), { recursive: true });

const withEsbuild = (more) =>
  esbuild.build({ entryPoints: [app], bundle: true, platform: "node", logLevel: "silent", ...more });

const withWebpack = async (rules) => {
  const stats = await promisify(webpack)({
    mode: "production",
    target: "node",
    entry: app,
    output: { path: folder, filename: "app.cjs" },
    module: { rules },
  });
  if (stats.hasErrors()) throw new Error(stats.toString("errors-only"));
};

const withVite = (noExternal) =>
  vite.build({
    root: import.meta.dirname,
    configFile: false,
    logLevel: "silent",
    build: { ssr: app, outDir: folder, emptyOutDir: false, rollupOptions: { output: { entryFileNames: "app.mjs" } } },
    ssr: { noExternal },
  });

const withRollup = async (external) => {
  const plugins = [resolve({ exportConditions: ["node"] }), commonjs()];
  const made = await rollup({ input: app, external: [/^node:/, ...external], plugins, logLevel: "silent" });
  await made.write({ file: join(folder, "app.mjs"), format: "es" });
};

const ways = {
  // The loader copies the addon beside the bundle.
  "esbuild-cjs": async () => {
    await withEsbuild({ format: "cjs", outfile: join(folder, "app.cjs"), loader: { ".node": "copy" } });
    return "app.cjs";
  },
  // What was CommonJS asks for `require`, which modules have not.
  "esbuild-esm": async () => {
    const banner = 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);';
    await withEsbuild({ format: "esm", outfile: join(folder, "app.mjs"), loader: { ".node": "copy" }, banner: { js: banner } });
    return "app.mjs";
  },
  "esbuild-unloaded": () => withEsbuild({ format: "esm", outfile: join(folder, "app.mjs") }),
  webpack: async () => {
    await withWebpack([{ test: /\.node$/, loader: "node-loader" }]);
    return "app.cjs";
  },
  "webpack-unloaded": () => withWebpack([]),
  // Both leave packages out: Vite those in `node_modules`, Rollup those that it is told.
  vite: async () => {
    await withVite(undefined);
    await installed();
    return "app.mjs";
  },
  "vite-unloaded": () => withVite(true),
  rollup: async () => {
    await withRollup(["durstream"]);
    await installed();
    return "app.mjs";
  },
  "rollup-unloaded": () => withRollup([]),
  // What serverless hosts and Next's standalone output copy.
  nft: async () => {
    const base = join(import.meta.dirname, "..");
    const { fileList } = await nodeFileTrace([app], { base });
    for (const file of fileList) await cp(join(base, file), join(folder, file));
    return "bundles/app.mjs";
  },
};

console.log((await ways[way]()) ?? "");
