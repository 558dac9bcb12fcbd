#!/usr/bin/env node
// A server to try things with: the reference server of the package @durable-streams/server. It is no part
// of this package: what is installed is used, else npm fetches it.

import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const NAME = "@durable-streams/server";
const RANGE = "^0.3.7";
const USAGE = `durstream-dev-server [--port 4437] [--host 127.0.0.1] [--data DIR]

Starts the reference server (${NAME}) until Ctrl-C. It keeps streams in memory, or in DIR.
It is for development: durable-streams/durable-streams has servers for production.
`;

function optionsOf(words) {
  const options = { port: 4437, host: "127.0.0.1" };
  while (words.length > 0) {
    const [word, value] = words.splice(0, 2);
    if (word === "--help" || word === "-h") throw undefined;
    if (!["--port", "--host", "--data"].includes(word)) throw `there is no ${word}`;
    if (value === undefined) throw `${word} takes a value`;
    if (word === "--host") options.host = value;
    if (word === "--data") options.dataDir = resolve(value);
    if (word !== "--port") continue;
    options.port = Number(value);
    if (!/^\d{1,5}$/.test(value) || options.port > 65535) throw `--port takes 0 to 65535, not ${value}`;
  }
  return options;
}

/** The server's package, looked for from these places; undefined if none has it. */
function found(places) {
  for (const place of places) {
    try {
      return createRequire(place)(NAME);
    } catch (error) {
      if (error?.code !== "MODULE_NOT_FOUND" || !String(error.message).includes(NAME)) throw error;
    }
  }
  return undefined;
}

/** Lets npm put the package into its cache, and asks it where that is: it puts `.bin` into PATH. */
function fetched() {
  const windows = process.platform === "win32";
  const args = ["exec", "--yes", `--package=${NAME}@${RANGE}`, "-c", windows ? "echo %PATH%" : 'echo "$PATH"'];
  const quoted = windows ? args.map((word) => `"${word}"`) : args;
  const stdio = ["ignore", "pipe", "inherit"];
  const { stdout, status, error } = spawnSync(windows ? "npm.cmd" : "npm", quoted, { stdio, shell: windows });
  const paths = String(stdout ?? "").trim().split(delimiter);
  const bins = paths.filter((path) => /node_modules[\\/]\.bin$/.test(path));
  const server = found(bins.map((bin) => join(bin, "..", "..", "from")));
  if (server !== undefined) return server;
  throw `${NAME} is not here, and npm did not bring it (${error?.message ?? `it ended with ${status}`}): npm install ${NAME}`;
}

async function main(words) {
  const options = optionsOf([...words]);
  // Of the project in this folder, or beside ours.
  const installed = found([join(process.cwd(), "from"), fileURLToPath(import.meta.url)]);
  const server = installed ?? fetched();
  const url = await new server.DurableStreamTestServer(options).start();
  console.log(`${url}\n\n  export DURABLE_STREAMS_URL=${url}\n\nCtrl-C ends it.`);
}

main(process.argv.slice(2)).catch((error) => {
  if (error === undefined) return void process.stdout.write(USAGE);
  const inUse = error?.code === "EADDRINUSE" && "the port is in use: choose another with --port";
  process.stderr.write(`durstream-dev-server: ${inUse || (error?.message ?? error)}\n`);
  process.exitCode = 2;
});
