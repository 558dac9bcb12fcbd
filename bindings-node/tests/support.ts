// What the tests share: the server, streams of their own, reading them back, child processes.

import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { IncomingMessage, RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import { DurableStream } from "durstream";
import { Recorder } from "durstream/testing";

/** The recorder in the server's place, where `recorded.test.ts` asked for one. */
const recorder = process.env.DURSTREAM_RECORDED === "1" ? new Recorder() : undefined;
if (recorder !== undefined) process.env.DURABLE_STREAMS_URL = recorder.url.replace(/\/v1\/stream$/, "");

export const base = process.env.DURABLE_STREAMS_URL;
assert.ok(base, "DURABLE_STREAMS_URL names the server; `cargo xtask with-server` sets it");

/** A part of the server nobody else uses. */
export const server = `${base}/v1/stream/node-${process.pid}-${Date.now()}`;

/** A port where nobody listens. */
export const nowhere = "http://127.0.0.1:9/v1/stream/nobody";

let streams = 0;

/** The URL of a stream nobody else uses. */
export function fresh(name: string): string {
  streams += 1;
  return `${server}/${name}-${streams}`;
}

/** A stream path nobody else uses, below the configured server. */
export function freshPath(name: string): string {
  return fresh(name).slice(`${base}/v1/stream`.length);
}

/** Where a stream path is. */
export function urlOf(path: string): string {
  return `${base}/v1/stream${path}`;
}

/** A server for one test that answers as told; a stream's URL there. */
export async function serve(t: TestContext, answer: RequestListener): Promise<string> {
  const own = createServer(answer);
  await new Promise<void>((resolve) => own.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    own.close();
    own.closeAllConnections();
  });
  return `http://127.0.0.1:${(own.address() as AddressInfo).port}/v1/stream/own`;
}

/** The headers with which a server says it stored a producer's append, or ended the stream. */
export function acknowledgement({ headers }: IncomingMessage): Record<string, string> {
  const names = ["producer-epoch", "producer-seq", "stream-closed"];
  const echoed = names.filter((name) => name in headers).map((name) => [name, String(headers[name])]);
  return { "stream-next-offset": "1", ...Object.fromEntries(echoed) };
}

/**
 * A server that holds every write of one producer back until it is told to answer: in their order
 * then, as servers do whichever of their connections is ahead.
 */
export async function hold(t: TestContext) {
  const bodies: string[] = [];
  const held = new Map<number, () => void>();
  let [open, arrived] = [false, (): void => undefined];
  const first = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const url = await serve(t, (request, response) => {
    let body = "";
    request.setEncoding("latin1").on("data", (part) => (body += part));
    request.on("end", () => {
      const acknowledge = () => response.writeHead(200, acknowledgement(request)).end();
      // The stream's end has no number: it comes when all the others were answered.
      const seq = Number(request.headers["producer-seq"] ?? bodies.length);
      if (request.method !== "POST") {
        response.writeHead(501).end(); // a client that waits for long asks whether there is a stream
      } else if (seq < bodies.length) {
        acknowledge();
      } else {
        held.set(seq, () => {
          bodies.push(body);
          acknowledge();
        });
        arrived();
        if (open) release();
      }
    });
  });
  const release = () => {
    open = true;
    for (let take; (take = held.get(bodies.length)); ) take();
  };
  return { url, bodies, release, first };
}

/** The fault proxy before the server; its rules are those of `tests/src/proxy`. */
export interface Faults {
  /** The same stream behind the proxy. */
  through(url: string): string;
  /** Adds rules; the first that fires takes a request. */
  add(...rules: object[]): Promise<void>;
  /** What the writes that came by met: the names of faults. */
  met(): Promise<string[]>;
}

export async function faults(t: TestContext): Promise<Faults> {
  const name = `durstream-proxy${process.platform === "win32" ? ".exe" : ""}`;
  const program = `${process.env.DURSTREAM_TARGET}/release/${name}`;
  const proxy = spawn(program, ["--upstream", base as string], { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => proxy.stdin.end());
  const { value: line } = await createInterface(proxy.stdout)[Symbol.asyncIterator]().next();
  const { url, control } = JSON.parse(line) as { url: string; control: string };
  const ask = async (path: string, body?: object): Promise<any> => {
    const more = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
    const response = await fetch(`${control}${path}`, more);
    assert.equal(response.status, 200, path);
    return response.json();
  };
  return {
    through: (own) => own.replace(base as string, url),
    add: (...rules) => ask("/rules", rules),
    async met() {
      const { entries } = await ask("/log");
      const posts = entries.filter(({ method }: any) => method === "POST");
      return posts.flatMap(({ rules }: any) => rules.map(({ fault }: any) => fault));
    },
  };
}

/** Everything in a stream of bytes; nothing where there is no stream. */
export async function readBytes(url: string): Promise<Buffer> {
  if (recorder !== undefined && url.startsWith(recorder.url)) {
    return Buffer.from(recorder.content(url.slice(recorder.url.length)));
  }
  const parts: Buffer[] = [];
  for (let offset = "-1", more = true; more; ) {
    const response = await fetch(`${url}?offset=${encodeURIComponent(offset)}`);
    if (response.status === 404) return Buffer.alloc(0);
    assert.equal(response.status, 200, `GET ${url} answered ${response.status}`);
    parts.push(Buffer.from(await response.arrayBuffer()));
    offset = response.headers.get("stream-next-offset") ?? "";
    more = response.headers.get("stream-up-to-date") !== "true";
  }
  return Buffer.concat(parts);
}

/** Everything in a stream of text. */
export async function readText(url: string): Promise<string> {
  return (await readBytes(url)).toString();
}

/** Everything in a JSON stream, as text of one part of the stream after the other. */
export async function readJson(url: string): Promise<any[]> {
  const text = await readText(url);
  return text === "" ? [] : JSON.parse(`[${text.replaceAll("][", "],[")}]`).flat(1);
}

export async function isClosed(url: string): Promise<boolean> {
  if (recorder !== undefined && url.startsWith(recorder.url)) {
    return (await new DurableStream({ url }).head()).streamClosed === true;
  }
  const response = await fetch(url, { method: "HEAD" });
  return response.headers.get("stream-closed") === "true";
}

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What was said beside that nobody listens. */
export function besideOutage(stderr: string): string {
  return stderr.replace(/^durstream: cannot reach .*\n/gm, "");
}

/** The one line about what is given up at an end: how much, of which stream, and why if that is known. */
export function stillPending(count: number, limit: number): RegExp {
  const why = "( \\(.*Connection refused.*\\))?";
  return new RegExp(`^durstream: ${count} writes were still pending after ${limit} ms: ${count} writes to ${nowhere}${why} \\[still-pending\\]\n$`);
}

/** Runs one of `programs/` to its end; a program that hangs is a failure. */
export function run(program: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const file = fileURLToPath(new URL(`programs/${program}.js`, import.meta.url));
  const options = { timeout: 60_000, env: { ...process.env, ...env } };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [file, ...args], options, (error, stdout, stderr) => {
      if (error?.killed) reject(new Error(`${program} did not end\n${stdout}${stderr}`));
      else resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
  });
}

/** The same with a pipe for standard error that is never read. */
export function runUnread(program: string, args: string[]): Promise<Ended> {
  const file = fileURLToPath(new URL(`programs/${program}.js`, import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), "durstream-"));
  const pipe = join(folder, "stderr");
  execFileSync("mkfifo", [pipe]); // what Node itself gives a child is a socket
  const unread = openSync(pipe, constants.O_RDWR);
  const child = spawn(process.execPath, [file, ...args], { stdio: ["ignore", "pipe", unread] });
  const limit = setTimeout(() => child.kill("SIGKILL"), 60_000);
  let stdout = "";
  child.stdout?.on("data", (text) => (stdout += text));
  return new Promise((resolve) => {
    child.on("close", (code) => {
      clearTimeout(limit);
      closeSync(unread);
      rmSync(folder, { recursive: true });
      resolve({ code: code ?? -1, stdout, stderr: "" });
    });
  });
}

/** Runs a program that has to succeed; what it printed. */
export async function succeed(program: string, args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(program, args);
  assert.equal(code, 0, `${program} failed\n${stdout}${stderr}`);
  return stdout;
}

/** The error a call throws. */
export function thrownBy(call: () => unknown): any {
  try {
    call();
  } catch (error) {
    return error;
  }
  return assert.fail("nothing was thrown");
}

/** The error a promise is rejected with. */
export async function rejectionOf(promise: Promise<unknown>): Promise<any> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  return assert.fail("it was not rejected");
}
