// The log: its levels and fields, and loggers that go wrong.

import assert from "node:assert/strict";
import { test } from "node:test";

import { DurableStream, IdempotentProducer, setLogger } from "durstream";
import type { LogLine } from "durstream";
import { fresh, nowhere, readJson, run, thrownBy } from "./support.ts";

async function write(name: string): Promise<string> {
  const url = fresh(name);
  const handle = await DurableStream.create({ url, contentType: "application/json" });
  const producer = new IdempotentProducer(handle, name);
  producer.append("[1]");
  await producer.flush();
  await producer.detach();
  return url;
}

/** The lines about a producer until it has stopped. */
async function until(lines: LogLine[], id: string): Promise<LogLine[]> {
  const own = () => lines.filter(({ producerId }) => producerId === id);
  while (!own().some(({ message }) => message.endsWith("-> stopped"))) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return own();
}

test("steps are at debug, with fields", async () => {
  const lines: LogLine[] = [];
  setLogger((line) => lines.push(line), { level: "debug" });
  const url = await write("steps");
  const own = await until(lines, "steps");
  setLogger(undefined);
  assert.deepEqual([...new Set(own.map(({ level, target, stream }) => `${level} ${target} ${stream}`))], [`debug producer ${url}`]);
  const ready = own.filter(({ message }) => message === "producer steps: connecting -> ready");
  assert.equal(ready.length, 1);
  assert.ok(Number(own[0]?.epoch) > 0 && own[0]?.attempt === undefined);
});

test("requests are at trace, and nothing of them at info", async () => {
  const quiet: LogLine[] = [];
  const lines: LogLine[] = [];
  setLogger((line) => quiet.push(line));
  await write("quiet");
  setLogger((line) => lines.push(line), { level: "trace" });
  await write("requests");
  const own = await until(lines, "requests");
  setLogger(undefined);
  assert.ok(own.some(({ level, message }) => level === "trace" && message.includes("sends batch 0: 1 write")));
  assert.deepEqual(quiet, []);
});

test("what is no logger, and no level, is refused", () => {
  for (const [wrong, option] of [
    [() => setLogger("console" as never), "logger"],
    [() => setLogger(() => undefined, { level: "verbose" as never }), "level"],
  ] as const) {
    const error = thrownBy(wrong) as Error & { code: string; option: string };
    assert.deepEqual([error.code, error.option], ["INVALID_ARGUMENT", option]);
  }
});

test("a logger that throws loses nothing, and is told once", async () => {
  for (const how of ["throws", "rejects"]) {
    const { code, stderr } = await run("logs", [fresh("logs"), how]);
    assert.equal(code, 0, stderr);
    assert.equal(stderr.match(/the logger's own/g)?.length, 1, stderr);
    for (const step of ["connecting -> ready", "ready -> stopping"]) {
      assert.equal(stderr.split(`durstream: producer logs: ${step}\n`).length, 2, stderr);
    }
  }
});

test("a logger may publish what it gets", async () => {
  const url = fresh("logs");
  const { code, stderr } = await run("logs", [url, "publishes"]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.ok((await readJson(`${url}-log`)).includes("producer logs: connecting -> ready"));
});

test("at its end a program is told of what is given up, and a logger keeps none alive", async () => {
  for (const ending of ["given-up", "exit"]) {
    const { code, stdout, stderr } = await run("logs", [nowhere, ending]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /^warn cannot reach /m);
    assert.match(stdout, /^warn 1 write was still pending after \d+ ms: 1 write to .*nobody \(append failed/m);
  }
});

test("the log of a worker that has ended goes to standard error", async () => {
  const { code, stdout, stderr } = await run("logs", [nowhere, "worker"]);
  assert.deepEqual([code, stdout], [0, "the worker has ended\n"]);
  assert.match(stderr, /^durstream: 1 write was still pending/m);
});
