// Ends of the process and of workers: what is given up is told, once, and what was begun is waited for.

import assert from "node:assert/strict";
import { test } from "node:test";

import { acknowledgement, besideOutage, nowhere, run, serve, stillPending } from "./support.ts";

for (const [ending, count, code] of [
  ["nothing", 5, 0],
  ["nothing", 3000, 0], // more than is handed over at once
  ["stop", 5, 0],
  ["stop", 3000, 0],
  ["blocked", 3000, 0],
  ["exit", 5, 3],
  ["exit", 3000, 3],
  ["late-exit", 5, 4],
  ["stop-exit", 3000, 5],
  ["listener", 5, 0],
] as const) {
  test(`onError is told of all ${count} writes at the end: ${ending}`, async () => {
    const ended = await run("ends", [nowhere, ending, String(count)]);
    assert.deepEqual([ended.code, ended.stdout], [code, `told of cancelled,${count}\n`], ended.stderr);
  });
}

test("so it is where an exception ends the program", async () => {
  const { code, stdout, stderr } = await run("ends", [nowhere, "throw", "5"]);
  assert.deepEqual([code, stdout], [1, "told of cancelled,5\n"]);
  assert.match(stderr, /Error: mine/);
});

test("state producers tell theirs, too", async () => {
  const { stdout } = await run("ends", [nowhere, "state", "5"]);
  assert.equal(stdout, "told of cancelled,6\n");
});

test("a line says that something is given up", async () => {
  for (const [ending, limit] of [["nothing", 20], ["exit", 0]] as const) {
    const { stderr } = await run("ends", [nowhere, ending, "5"]);
    assert.match(besideOutage(stderr), stillPending(5, limit));
  }
});

test("where nobody listens one line says so", async () => {
  for (const [ending, limit, code] of [["nothing", 20, 0], ["exit", 0, 3]] as const) {
    const ended = await run("ends", [nowhere, `silent-${ending}`, "5"]);
    assert.equal(ended.code, code);
    assert.match(besideOutage(ended.stderr), stillPending(5, limit));
  }
});

test("an onError that goes on writing holds up no end", async () => {
  const { code, stdout } = await run("ends", [nowhere, "again", "1"]);
  assert.equal(code, 0);
  assert.match(stdout, /^told of cancelled,\d+\n$/);
});

for (const ending of ["nothing", "stop", "blocked"]) {
  test(`a worker's end gives up its own writes, and tells of all: ${ending}`, async () => {
    const { code, stdout, stderr } = await run("ends", [nowhere, `worker-${ending}`, "2000"]);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, "told of cancelled,2000\nthe worker ended with 0, 1 of another's\n", stderr);
  });
}

test("a worker that calls process.exit hangs nowhere, and ends nobody else's writes", async () => {
  const { code, stdout, stderr } = await run("ends", [nowhere, "worker-exit", "2000"]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /the worker ended with 3, 1 of another's\n$/, stderr);
});

for (const ending of ["producer", "handle", "state"]) {
  test(`an end of a stream that nobody waits for is waited for: ${ending}`, async (t) => {
    const closed: boolean[] = [];
    const url = await serve(t, (request, response) => {
      request.resume().on("end", () => {
        const isEnd = request.headers["stream-closed"] === "true";
        // The next turns of the program's event loop come before the answer.
        setTimeout(() => {
          if (isEnd) closed.push(true);
          response.writeHead(request.method === "PUT" ? 201 : 200, acknowledgement(request)).end();
        }, 300);
      });
    });
    const { code, stderr } = await run("closes", [url, ending]);
    assert.deepEqual([code, besideOutage(stderr), closed], [0, "", [true]]);
  });
}

