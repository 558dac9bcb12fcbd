// Looking at streams, reading and deleting them.

import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { test } from "node:test";

import {
  DurableStream,
  IdempotentProducer,
  InvalidArgumentError,
  NotSupportedError,
  ProtocolError,
  SequenceConflictError,
  StreamClosedError,
  StreamGoneError,
  StreamNotFoundError,
  TimeoutError,
  TooLargeError,
  TransportError,
} from "durstream";
import type { Chunk, HeadResult, StreamReader } from "durstream";
import { fresh, nowhere, rejectionOf, serve, thrownBy } from "./support.ts";

function create(name: string, contentType = "text/plain"): Promise<DurableStream> {
  return DurableStream.create({ url: fresh(name), contentType });
}

async function chunksOf(reader: StreamReader): Promise<Chunk[]> {
  const chunks: Chunk[] = [];
  for await (const chunk of reader) chunks.push(chunk);
  return chunks;
}

async function textOf(reader: StreamReader): Promise<string> {
  return (await chunksOf(reader)).map((chunk) => chunk.text()).join("");
}

/** One answer to a read. */
function part(response: ServerResponse, text: string, offset: string, more: object = {}): void {
  response.writeHead(200, {
    "Content-Type": "text/plain",
    "Stream-Next-Offset": offset,
    ...more,
  });
  response.end(text);
}

const END = { "Stream-Up-To-Date": "true" };

test("head: a stream that is there, its tail and its lifetime", async () => {
  const options = { url: fresh("head"), contentType: "application/json", ttlSeconds: 60 };
  const handle = await DurableStream.create(options);
  await handle.append({ n: 1 });
  const reader = handle.read();
  await chunksOf(reader);
  const expected: HeadResult = {
    exists: true,
    contentType: "application/json",
    offset: reader.offset as string,
    streamClosed: false,
    ttlSeconds: 60,
  };
  assert.deepEqual(await handle.head(), expected);
  assert.deepEqual(await DurableStream.head({ url: handle.url }), expected);
  await handle.close();
  assert.equal((await handle.head()).streamClosed, true);
});

test("head: no stream is an answer, no server is an error", async () => {
  assert.deepEqual(await DurableStream.head({ url: fresh("missing") }), { exists: false });
  const error = await rejectionOf(DurableStream.head({ url: nowhere, maxRetries: 1 }));
  assert.ok(error instanceof TransportError, String(error));
});

test("connect: a stream's type is asked for once something is appended", async () => {
  const streams = { "application/json": '[{"n":1},[2]]', "text/plain": '{"n":1}[2]' };
  for (const [contentType, whole] of Object.entries(streams)) {
    const { url } = await create("untyped", contentType);
    const stream = await DurableStream.connect({ url });
    assert.equal(stream.contentType, undefined);
    const producer = new IdempotentProducer(stream, "svc");
    producer.append('{"n":1}');
    await producer.detach();
    assert.equal(stream.contentType, contentType);
    await stream.append("[2]");
    assert.equal(await textOf(stream.read()), whole);
  }
});

test("delete takes a stream away, once", async () => {
  const handle = await create("delete");
  await handle.append("gone soon");
  assert.equal(await handle.delete(), undefined);
  assert.deepEqual(await handle.head(), { exists: false });
  // One by one: a promise that is rejected before somebody waits for it ends the test.
  for (const again of [() => handle.delete(), () => DurableStream.delete({ url: handle.url })]) {
    const error = await rejectionOf(again());
    assert.ok(error instanceof StreamNotFoundError, String(error));
    assert.equal(error.status, 404);
    assert.ok(error.message.includes(handle.url), error.message);
  }
  assert.ok((await rejectionOf(handle.read().nextChunk())) instanceof StreamNotFoundError);
});

test("read: every byte, to the end, and on from there", async () => {
  const handle = await create("bytes", "application/octet-stream");
  const all = Uint8Array.from({ length: 256 }, (_, n) => n);
  await handle.append(all);
  const reader = handle.read();
  assert.equal(reader.offset, undefined);
  const [first, ...others] = await chunksOf(reader);
  assert.deepEqual(others, []);
  assert.deepEqual(first?.data, all);
  assert.equal(first?.data, first?.data);
  assert.equal(first?.offset, reader.offset);
  assert.deepEqual([first?.upToDate, first?.streamClosed], [true, false]);
  assert.deepEqual([reader.upToDate, reader.streamClosed], [true, false]);
  assert.throws(() => first?.text(), TypeError);
  assert.throws(() => first?.json(), NotSupportedError);

  const { offset } = reader;
  assert.deepEqual(await chunksOf(reader), []);
  await handle.append("🚢");
  assert.equal(await textOf(reader), "🚢");
  assert.equal(await textOf(handle.read({ offset })), "🚢");
  await handle.close();
  assert.deepEqual(await chunksOf(reader), []);
  assert.ok(reader.streamClosed);
});

test("read: following is not there yet", async () => {
  const handle = await create("live");
  for (const live of [true, "auto", "long-poll", "sse"]) {
    const error = thrownBy(() => handle.read({ live: live as never }));
    assert.ok(error instanceof NotSupportedError, String(error));
    const word = live === true ? "auto" : String(live);
    assert.ok(error.message.includes(`(\`live\`: \`${word}\`)`), error.message);
  }
  for (const live of ["later", "", 1, null, Object.create(null)]) {
    assert.equal(thrownBy(() => handle.read({ live: live as never })).option, "live");
  }
  assert.equal(await textOf(handle.read({ live: false })), "");
  assert.equal(await textOf(handle.read({ live: "off" as never })), "");
});

test("read: an empty stream has no chunks, and an offset to go on from", async () => {
  const handle = await create("empty");
  const reader = handle.read();
  assert.equal(await reader.nextChunk(), undefined);
  assert.ok(reader.upToDate);
  await handle.append("later");
  assert.equal(await textOf(handle.read({ offset: reader.offset })), "later");
});

test("read: JSON as messages, and as it was written", async () => {
  const handle = await create("json", "application/json");
  const producer = new IdempotentProducer(handle, "writer");
  producer.append('{"big":12345678901234567890,"a":"ü"}');
  producer.append("[1,[2]]");
  producer.append("null");
  await producer.detach();
  const chunks = await chunksOf(handle.read());
  assert.deepEqual(
    chunks.flatMap((chunk) => chunk.json<unknown>()),
    [{ big: 12345678901234567890, a: "ü" }, [1, [2]], null],
  );
  assert.ok(chunks.map((chunk) => chunk.text()).join("").includes("12345678901234567890"));
});

test("read: an offset the server does not know is named", async () => {
  const handle = await create("offset");
  const error = await rejectionOf(handle.read({ offset: "nonsense" }).nextChunk());
  assert.ok(error instanceof InvalidArgumentError, String(error));
  assert.deepEqual([error.option, error.status], ["offset", 400]);
  for (const offset of ["", "a\r\nb", 5, null]) {
    assert.equal(thrownBy(() => handle.read({ offset: offset as never })).option, "offset");
  }
  assert.equal(thrownBy(() => handle.read({ signal: {} as never })).option, "signal");
});

test("a stream can be created closed, with all it will ever have", async () => {
  const options = { url: fresh("closed"), contentType: "application/json", closed: true };
  const handle = await DurableStream.create({ ...options, body: [1, 2] });
  const reader = handle.read();
  const [chunk] = await chunksOf(reader);
  assert.deepEqual(chunk?.json(), [1, 2]);
  assert.ok(chunk?.streamClosed && reader.streamClosed);
  assert.ok((await rejectionOf(handle.append(3))) instanceof StreamClosedError);
});

test("a fork begins with its source's content and has its type", async () => {
  const source = await create("source", "application/json");
  await source.append(1);
  await source.append(2);
  const { offset: forkOffset } = await source.head();
  await source.append(3);
  const forkFrom = new URL(source.url).pathname;
  const fork = await DurableStream.create({ url: fresh("fork"), forkFrom, forkOffset });
  assert.equal(fork.contentType, "application/json");
  await fork.append({ own: true });
  const messages = (await chunksOf(fork.read())).flatMap((chunk) => chunk.json());
  assert.deepEqual(messages, [1, 2, { own: true }]);
});

test("append with seq: what does not sort after the last one conflicts", async () => {
  const handle = await create("seq");
  await handle.append("a", { seq: "writer-1-001" });
  await handle.append("b", { seq: "writer-1-002" });
  for (const seq of ["writer-1-002", "writer-1-001"]) {
    const error = await rejectionOf(handle.append("c", { seq }));
    assert.ok(error instanceof SequenceConflictError, String(error));
    assert.equal(error.status, 409);
  }
  await handle.append("d", { seq: "writer-1-003" });
  await handle.append("e");
  assert.equal(await textOf(handle.read()), "abde");
  for (const seq of ["", "ü", 7, null]) {
    const error = await rejectionOf(handle.append("f", { seq: seq as never }));
    assert.ok(error instanceof InvalidArgumentError, String(error));
    assert.equal(error.option, "seq");
  }
});

test("parameters go with every request, and stay out of what is shown", async (t) => {
  const seen: string[] = [];
  const url = await serve(t, (request, response) => {
    seen.push(`${request.method} ${request.url}`);
    const echoed = ["producer-epoch", "producer-seq"].map((name) => [name, request.headers[name] ?? ""]);
    part(response, request.method === "GET" ? "x" : "", "1", { ...Object.fromEntries(echoed), ...END });
  });
  const params = { tenant: "a&b c", skipped: undefined };
  const options = { url: `${url}?token=s3cret`, contentType: "text/plain", params };
  const handle = await DurableStream.create(options);
  await handle.head();
  await handle.append("1");
  await chunksOf(handle.read({ offset: "0" }));
  const more = { params: new URLSearchParams("job=7") };
  const producer = new IdempotentProducer(handle, "writer", more);
  producer.append("2");
  await producer.detach();
  await handle.delete();

  assert.equal(handle.url, url);
  const own = "/v1/stream/own?token=s3cret&tenant=a%26b%20c";
  assert.deepEqual(seen, [
    `PUT ${own}`, `HEAD ${own}`, `POST ${own}`, `GET ${own}&offset=0`,
    `POST ${own}&job=7`, `DELETE ${own}`,
  ]);
});

test("leaving a loop loses nothing", async (t) => {
  const url = await serve(t, ({ url: asked }, response) => {
    const offset = Number(new URL(asked as string, "http://h").searchParams.get("offset"));
    const next = Math.max(offset, 0) + 1;
    part(response, `part ${next}`, String(next), next === 3 ? END : {});
  });
  const reader = new DurableStream({ url }).read();
  const texts: string[] = [];
  for await (const chunk of reader) {
    texts.push(chunk.text());
    assert.equal(reader.upToDate, false);
    break;
  }
  for await (const chunk of reader) texts.push(chunk.text());
  assert.deepEqual(texts, ["part 1", "part 2", "part 3"]);
  assert.deepEqual([reader.offset, reader.upToDate], ["3", true]);
});

test("an answer that was cut is asked for again, and never seen in half", async (t) => {
  let requests = 0;
  const url = await serve(t, (_, response) => {
    requests += 1;
    if (requests % 2 === 0) return part(response, "the whole", String(requests), END);
    const headers = { "Content-Length": "9", "Stream-Next-Offset": "1", ...END };
    response.writeHead(200, headers);
    response.write("the ", () => response.destroy());
  });
  assert.equal(await textOf(new DurableStream({ url }).read()), "the whole");
  assert.equal(requests, 2);

  const reader = new DurableStream({ url, maxRetries: 0 }).read();
  assert.ok((await rejectionOf(reader.nextChunk())) instanceof TransportError);
  assert.equal(reader.offset, undefined);
  assert.equal((await reader.nextChunk())?.text(), "the whole");
});

test("broken JSON is an error, and nothing of it is seen", async (t) => {
  for (const broken of ['[{"a":1},{"b":', '{"a":1}', "[1] [2]"]) {
    const headers = { "Content-Type": "application/json", ...END };
    const url = await serve(t, (_, response) => part(response, broken, "1", headers));
    const reader = new DurableStream({ url }).read();
    const error = await rejectionOf(reader.nextChunk());
    assert.ok(error instanceof ProtocolError, `${broken}: ${error}`);
    assert.ok(error.message.includes(url), error.message);
    assert.equal(reader.offset, undefined);
  }
});

test("an answer larger than `maxReadBytes` is refused", async (t) => {
  const url = await serve(t, (_, response) => part(response, "x".repeat(11), "1", END));
  const read = (maxReadBytes: number) => new DurableStream({ url, maxReadBytes }).read().nextChunk();
  const error = await rejectionOf(read(10));
  assert.ok(error instanceof TooLargeError, String(error));
  assert.match(error.message, /`maxReadBytes`/);
  assert.equal((await read(11))?.data.length, 11);
});

test("a wait for a chunk can be given up, and the chunk comes with the next one", async (t) => {
  const waiting: ServerResponse[] = [];
  let asked = (): void => undefined;
  const url = await serve(t, (_, response) => {
    waiting.push(response);
    asked();
  });
  const arrived = () => new Promise<void>((resolve) => { asked = resolve; });
  const reason = new Error("enough");

  const controller = new AbortController();
  const reader = new DurableStream({ url }).read({ signal: controller.signal });
  const request = arrived();
  const given = rejectionOf(reader.nextChunk());
  await request;
  controller.abort(reason);
  assert.equal(await given, reason);
  assert.equal(await rejectionOf(chunksOf(reader)), reason);
  const { signal } = new AbortController();
  const late = await rejectionOf(reader.nextChunk({ signal, timeoutMs: 1 }));
  assert.ok(late instanceof TimeoutError, String(late));

  const next = reader.nextChunk({ signal });
  for (const response of waiting) part(response, "kept", "1", END);
  assert.equal((await next)?.text(), "kept");
  assert.equal(waiting.length, 1);
});

test("the handle's signal ends its waits", async () => {
  const reason = new Error("enough");
  const handle = new DurableStream({ url: nowhere, signal: AbortSignal.abort(reason) });
  const waits = [() => handle.head(), () => handle.delete(), () => handle.read().nextChunk()];
  for (const wait of waits) assert.equal(await rejectionOf(wait()), reason);
});

test("read: messages are whole wherever the server's pages end", async (t) => {
  const stored = Buffer.from('12\n{"a": "é\\""}\n345\n');
  const url = await serve(t, (request, response) => {
    const asked = new URL(request.url ?? "", "http://x").searchParams.get("offset");
    const at = Math.max(Number(asked), 0);
    const end = Math.min(at + 12, stored.length);
    response.writeHead(200, {
      "Content-Type": "application/x-ndjson",
      "Stream-Next-Offset": String(end).padStart(20, "0"),
      ...(end === stored.length ? END : {}),
    });
    response.end(stored.subarray(at, end));
  });
  const stream = new DurableStream({ url, contentType: "application/json" });
  const chunks = await chunksOf(stream.read());
  assert.deepEqual(
    chunks.flatMap((chunk) => chunk.json()),
    [12, { a: 'é"' }, 345],
  );
  const rest = await chunksOf(stream.read({ offset: chunks[0]!.offset }));
  assert.deepEqual(
    rest.flatMap((chunk) => chunk.json()),
    [{ a: 'é"' }, 345],
  );
});

test("read: an offset that is no longer kept is no deleted stream", async (t) => {
  const gone = async (head: number) => {
    const url = await serve(t, (request, response) => {
      response.writeHead(request.method === "HEAD" ? head : 410, { "Stream-Next-Offset": "7" });
      response.end();
    });
    const error = await rejectionOf(new DurableStream({ url }).read({ offset: "3" }).nextChunk());
    assert.ok(error instanceof StreamGoneError, String(error));
    return error;
  };
  const dropped = await gone(200);
  assert.deepEqual([dropped.reason, dropped.earliestOffset], ["offset-gone", "7"]);
  const deleted = await gone(404);
  assert.deepEqual([deleted.reason, deleted.earliestOffset], ["gone", undefined]);
});
