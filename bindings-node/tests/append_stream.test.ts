// Appending promises, and what a source yields.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { Readable } from "node:stream";
import { test } from "node:test";

import {
  DeliveryError,
  DurableStream,
  InvalidArgumentError,
  SequenceConflictError,
  StreamClosedError,
  StreamNotFoundError,
  TimeoutError,
  ValidationError,
} from "durstream";
import { fresh, hold, nowhere, readJson, readText, rejectionOf, serve, succeed } from "./support.ts";

const create = (name: string, contentType = "text/plain") =>
  DurableStream.create({ url: fresh(name), contentType });

const numbers = (count: number) => Array.from({ length: count }, (_, n) => ({ n }));

async function* later<T>(messages: Iterable<T>): AsyncGenerator<T> {
  for (const message of messages) {
    await null;
    yield message;
  }
}

/** A promise and what settles it. */
function deferred<T>() {
  let resolve = (_: T): void => undefined;
  let reject = (_: unknown): void => undefined;
  const promise = new Promise<T>((...both) => {
    [resolve, reject] = both;
  });
  return { promise, resolve, reject };
}

// --- Promises ---

test("appended promises keep the order of the calls, whatever resolves first", async () => {
  const handle = await create("promises");
  const [slow, quick] = [deferred<string>(), deferred<string>()];
  const all = [
    handle.append("a"),
    handle.append(slow.promise),
    handle.append("c"),
    handle.append(quick.promise),
    handle.append("e"),
  ];
  const end = handle.close({ body: "f" });
  quick.resolve("d");
  await all[0];
  assert.equal(await readText(handle.url), "a");
  slow.resolve("b");
  const outcomes = await Promise.all(all);
  assert.ok(outcomes.every(({ status }) => status === "delivered"));
  await end;
  assert.equal(await readText(handle.url), "abcdef");
});

test("a promise that is rejected is its own append's error alone", async () => {
  const handle = await create("rejected", "application/json");
  const [fails, wrong] = [deferred<string>(), deferred<never>()];
  const reason = new Error("mine");
  const [first, second, third] = [handle.append(fails.promise), handle.append(wrong.promise), handle.append(3)];
  fails.reject(reason);
  wrong.resolve(1n as never);
  assert.equal(await rejectionOf(first), reason);
  assert.ok((await rejectionOf(second)) instanceof ValidationError);
  await third;
  const early = handle.append(Promise.reject(reason), { seq: 5 as never });
  assert.equal((await rejectionOf(early)).option, "seq");
  assert.deepEqual(await readJson(handle.url), [3]);
});

test("a promise that begins when it is asked is asked once", async () => {
  const handle = await create("lazy", "application/json");
  let begun = 0;
  const lazy: PromiseLike<object> = {
    then(resolve, reject) {
      begun += 1;
      return Promise.resolve({ begun }).then(resolve, reject);
    },
  };
  await handle.append(lazy);
  assert.deepEqual([await readJson(handle.url), begun], [[{ begun: 1 }], 1]);
});

test("who does not want to wait for a promise any longer holds nobody up", async () => {
  const handle = await create("given-up");
  const reason = new Error("enough");
  const controller = new AbortController();
  const never = new Promise<string>(() => undefined);
  const given = [
    handle.append(never, { signal: controller.signal }),
    handle.append(never, { timeoutMs: 1 }),
  ];
  const after = handle.append("after");
  assert.ok((await rejectionOf(given[1]!)) instanceof TimeoutError);
  controller.abort(reason);
  assert.equal(await rejectionOf(given[0]!), reason);
  await after;
  assert.equal(await rejectionOf(handle.append(never, { signal: AbortSignal.abort(reason) })), reason);
  assert.equal(await readText(handle.url), "after");
});

// --- Sources ---

test("appendStream takes iterables, async iterables and streams, in order", async () => {
  const handle = await create("sources", "application/json");
  const all = numbers(5000);
  const report = { delivered: 5000, duplicates: 0, uncertain: 0, refused: 0 };
  assert.deepEqual(await handle.appendStream(all), report);
  assert.deepEqual(await handle.appendStream(later(all)), report);
  const web = new ReadableStream<object>({
    start(controller) {
      for (const message of all) controller.enqueue(message);
      controller.close();
    },
  });
  assert.deepEqual(await handle.appendStream(web), report);
  assert.deepEqual(await handle.appendStream(Readable.from(all)), report);
  assert.deepEqual(await handle.appendStream(all.map((message) => Promise.resolve(message))), report);
  assert.deepEqual(await handle.appendStream([]), { ...report, delivered: 0 });
  assert.deepEqual(await readJson(handle.url), [all, all, all, all, all].flat());
});

test("the body of an answer is a source, and the beginning of a pipe", async () => {
  const handle = await create("body");
  await handle.appendStream(new Response("from ").body!);
  await new Response("somewhere else").body!.pipeTo(handle.writable());
  assert.equal(await readText(handle.url), "from somewhere else");
});

test("a reader is enough of a web stream", async () => {
  const handle = await create("reader");
  const parts = ["a", "", "b"];
  let cancelled = false;
  const source = {
    getReader: () => ({
      read: async () => ({ done: parts.length === 0, value: parts.shift() }),
      cancel: async () => void (cancelled = true),
    }),
  };
  assert.equal((await handle.appendStream(source)).delivered, 2);
  assert.equal(cancelled, false);
  parts.push("c", "d");
  await handle.close();
  const error = await rejectionOf(handle.appendStream(source));
  assert.ok(error instanceof DeliveryError && error.cause instanceof StreamClosedError, String(error));
  assert.ok(cancelled);
  assert.equal(await readText(handle.url), "ab");
});

test("empty parts of bytes are nothing; empty text is no JSON", async () => {
  const handle = await create("empty");
  const bytes = new Uint8Array([0x62]);
  assert.equal((await handle.appendStream(["a", "", new Uint8Array(), bytes])).delivered, 2);
  assert.equal(await readText(handle.url), "ab");
  const json = await create("empty-json", "application/json");
  const error = await rejectionOf(json.appendStream(["1", "", "3"]));
  assert.ok(error instanceof DeliveryError && error.cause instanceof ValidationError, String(error));
  assert.deepEqual(await readJson(json.url), [1]);
});

test("one message is no source", async () => {
  const handle = new DurableStream({ url: nowhere });
  for (const source of ["text", new Uint8Array(1), {}, 5, null, undefined]) {
    const error = await rejectionOf(handle.appendStream(source as never));
    assert.ok(error instanceof InvalidArgumentError, String(error));
    assert.equal(error.option, "source");
  }
});

test("many messages travel in one request", async (t) => {
  const { url, bodies, release } = await hold(t);
  function* source() {
    yield* Array<string>(1000).fill("x");
    release();
  }
  await new DurableStream({ url, contentType: "text/plain" }).appendStream(source());
  assert.equal(bodies.join("").length, 1000);
  assert.ok(bodies.length < 10, `${bodies.length} requests`);
});

test("what is appended before comes before", async () => {
  const handle = await create("before");
  const slow = deferred<string>();
  const [first, others] = [handle.append(slow.promise), handle.appendStream(["b", "c"])];
  slow.resolve("a");
  await Promise.all([first, others]);
  assert.equal(await readText(handle.url), "abc");
});

test("if a source fails, what came before is delivered, and its error is told", async () => {
  const handle = await create("failing");
  const reason = new Error("mine");
  function* failing() {
    yield* ["a", "b", "c"];
    throw reason;
  }
  assert.equal(await rejectionOf(handle.appendStream(failing())), reason);
  assert.equal(await rejectionOf(handle.appendStream([Promise.reject(reason)])), reason);
  assert.equal(await readText(handle.url), "abc");
});

test("if what came before is lost, that is told, and the source's error with it", async (t) => {
  const asked = deferred<void>();
  const url = await serve(t, (_, response) => void asked.promise.then(() => response.writeHead(404).end()));
  const reason = new Error("mine");
  function* failing() {
    yield "a";
    asked.resolve();
    throw reason;
  }
  const error = await rejectionOf(new DurableStream({ url }).appendStream(failing()));
  assert.ok(error instanceof DeliveryError && error.cause instanceof StreamNotFoundError, String(error));
  assert.equal(error.cause.cause, reason);
  assert.deepEqual([error.delivered, error.undelivered, error.url], [0, 1, url]);
});

test("what comes before a refused message is delivered, and the source is let go of", async () => {
  const handle = await create("refused", "application/json");
  let left = false;
  function* source() {
    try {
      yield* [1, 2, NaN, 4];
    } finally {
      left = true;
    }
  }
  const error = await rejectionOf(handle.appendStream(source()));
  assert.ok(error instanceof DeliveryError && error.cause instanceof ValidationError, String(error));
  assert.deepEqual([error.delivered, error.undelivered], [2, 1]);
  assert.deepEqual(await readJson(handle.url), [1, 2]);
  assert.ok(left);
});

test("an end of the stream ends an endless source, even one that says nothing", async () => {
  const handle = await create("endless");
  const waits = new Promise<never>(() => undefined);
  async function* source() {
    yield "a";
    await new DurableStream({ url: handle.url, contentType: "text/plain" }).close();
    yield "b";
    await waits;
  }
  const error = await rejectionOf(handle.appendStream(source()));
  assert.ok(error instanceof DeliveryError && error.cause instanceof StreamClosedError, String(error));
});

test("the same where the message before was settled, and nobody could hear of it", async () => {
  const handle = await create("unheard");
  const close = `(async () => {
    while ((await (await fetch("${handle.url}?offset=-1")).text()) !== "a");
    await fetch("${handle.url}", { method: "POST", headers: { "stream-closed": "true" } });
  })()`;
  const waits = new Promise<never>(() => undefined);
  async function* source() {
    yield "a";
    spawnSync(process.execPath, ["-e", close]); // the event loop does not turn meanwhile
    yield "b";
    await waits;
  }
  const error = await rejectionOf(handle.appendStream(source(), { timeoutMs: 20_000 }));
  assert.ok(error instanceof DeliveryError && error.cause instanceof StreamClosedError, String(error));
  assert.deepEqual([error.delivered, error.undelivered], [1, 1]);
});

for (const [message, most] of [["x", 16_386], ["x".repeat(2 ** 20), 18]] as const) {
  test(`a source is not read ahead: messages of ${message.length} bytes`, async (t) => {
    const { url, bodies, release, first } = await hold(t);
    let taken = 0;
    async function* source() {
      for (; taken < 2 * most; taken += 1) yield message;
    }
    const work = new DurableStream({ url, contentType: "text/plain" }).appendStream(source());
    await first;
    await new Promise((resolve) => setTimeout(resolve, 50)); // it would have gone on
    assert.ok(taken < most, `${taken} were taken`);
    release();
    assert.equal((await work).delivered, 2 * most);
    assert.equal(bodies.join("").length, 2 * most * message.length);
  });
}

test("where the whole process is full, it waits", async () => {
  const url = fresh("full");
  assert.equal(await succeed("full", [url]), "20 20\n");
  const text = await readText(url);
  assert.equal(text.length, 16_000_000);
  assert.equal(text.replace(/(\d)\1{399999}/g, "$1"), "01234567890123456789".repeat(2));
});

test("seq goes with the first message; the others follow once it was taken", async () => {
  const handle = await create("seq");
  assert.equal((await handle.appendStream(["a", "b"], { seq: "2" })).delivered, 2);
  const source = ["c", "d", "e"][Symbol.iterator]();
  const { cause } = await rejectionOf(handle.appendStream(source, { seq: "1" }));
  assert.ok(cause instanceof SequenceConflictError, String(cause));
  for (const seq of ["", "a b", 5]) {
    const wrong = await rejectionOf(handle.appendStream(["x"], { seq: seq as never }));
    assert.ok(wrong instanceof InvalidArgumentError, String(wrong));
    assert.equal(wrong.option, "seq");
  }
  assert.deepEqual([...source], ["d", "e"]);
  const untouched = new Response("x").body!;
  await rejectionOf(handle.appendStream(untouched, { seq: "" }));
  assert.equal(untouched.locked, false);
  assert.equal(await readText(handle.url), "ab");
});

test("given up, it takes no more, lets the source go, and what it took arrives", async (t) => {
  const { url, bodies, release, first } = await hold(t);
  const reason = new Error("enough");
  const controller = new AbortController();
  let [taken, left] = [0, false];
  function* source() {
    try {
      for (;;) {
        taken += 1;
        yield "x".repeat(2 ** 20);
      }
    } finally {
      left = true;
    }
  }
  const handle = new DurableStream({ url, contentType: "text/plain" });
  const work = rejectionOf(handle.appendStream(source(), { signal: controller.signal }));
  await first;
  while (taken < 16) await new Promise((resolve) => setImmediate(resolve)); // and no room is left
  controller.abort(reason);
  assert.equal(await work, reason);
  assert.ok(left);
  release();
  await handle.close();
  assert.equal(bodies.join("").length, taken * 2 ** 20);

  const silent = (async function* () {
    await new Promise(() => undefined);
  })();
  const late = await rejectionOf(handle.appendStream(silent, { timeoutMs: 1 }));
  assert.ok(late instanceof TimeoutError, String(late));
  let touched = false;
  const untouched = { [Symbol.iterator]: () => ((touched = true), [][Symbol.iterator]()) };
  const aborted = AbortSignal.abort(reason);
  assert.equal(await rejectionOf(handle.appendStream(untouched, { signal: aborted })), reason);
  assert.equal(touched, false);
});

test("given up while a message is made, it asks the source no further", async () => {
  const handle = await create("given-up", "application/json");
  const [controller, reason] = [new AbortController(), new Error("enough")];
  const message = {
    toJSON() {
      controller.abort(reason);
      return 1;
    },
  };
  const source = [message, 2, 3][Symbol.iterator]();
  const { signal } = controller;
  const asked = { [Symbol.asyncIterator]: () => ({ next: async () => source.next() }) };
  assert.equal(await rejectionOf(handle.appendStream(asked as never, { signal })), reason);
  assert.deepEqual([...source], [2, 3]);
});

test("a source that never waits lets others run", async () => {
  const handle = await create("busy");
  let [taken, others] = [0, false];
  function* source() {
    for (; taken < 1000 && !others; taken += 1) {
      for (const until = performance.now() + 1; performance.now() < until; );
      yield "x";
    }
  }
  setTimeout(() => (others = true), 10);
  await handle.appendStream(source());
  assert.ok(taken < 1000);
});
