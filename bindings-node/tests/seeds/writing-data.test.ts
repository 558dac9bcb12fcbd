// The document "writing-data": each block as it stands there, with import and URL changed.
// A prelude gives each what it leaves undeclared; what follows a block says what happened.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  DurableStream,
  IdempotentProducer,
  StaleEpochError,
  StreamClosedError,
} from "durstream";
import { isClosed, readJson, readText, rejectionOf, server, succeed, thrownBy } from "../support.ts";

const ordered = (count: number) => Array.from({ length: count }, (_, n) => ({ n }));

test("Setup", async () => {
  const events = ordered(100);

  const handle = await DurableStream.create({
    url: `${server}/my-stream`,
    contentType: "application/json",
  })
  const producer = new IdempotentProducer(handle, "my-service", {
    autoClaim: true,
    onError: (err) => {
      if (err instanceof StaleEpochError) {
        console.log("Another producer took over")
      } else {
        console.error("Write error:", err)
      }
    },
  })
  for (const event of events) {
    producer.append(JSON.stringify(event))
  }
  await producer.flush()
  await producer.close()

  assert.deepEqual(await readJson(handle.url), events);
  assert.ok(await isClosed(handle.url));
});

test("Simple writes with append()", async () => {
  const handle = await DurableStream.create({
    url: `${server}/events`,
    contentType: "application/json",
  })
  await handle.append({ type: "order.created", orderId: "123" })
  await handle.append({ type: "order.paid", orderId: "123" })

  assert.deepEqual(await readJson(handle.url), [
    { type: "order.created", orderId: "123" },
    { type: "order.paid", orderId: "123" },
  ]);
});

test("High-throughput writes with IdempotentProducer", async () => {
  const prompt = "count";
  const llm = {
    async *stream(text: string) {
      for (let n = 0; n < 200; n += 1) yield `${text}${n} `;
    },
  };

  const handle = await DurableStream.create({
    url: `${server}/tokens`,
    contentType: "text/plain",
  })
  const producer = new IdempotentProducer(handle, "llm-worker", {
    autoClaim: true,
    lingerMs: 10,
    maxBatchBytes: 65536,
    maxInFlight: 4,
    onError: (err) => console.error(err),
  })
  for await (const token of llm.stream(prompt)) {
    producer.append(token)
  }
  await producer.flush()
  await producer.close()

  const expected = Array.from({ length: 200 }, (_, n) => `count${n} `).join("");
  assert.equal(await readText(handle.url), expected);
});

test("Closing a stream", async () => {
  const handle = await DurableStream.create({
    url: `${server}/closing`,
    contentType: "application/json",
  });

  await handle.close({ body: JSON.stringify({ type: "stream.complete" }) })
  await handle.close()

  assert.deepEqual(await readJson(handle.url), [{ type: "stream.complete" }]);
  assert.ok(await isClosed(handle.url));
});

test("Byte stream mode with custom framing", async () => {
  const handle = await DurableStream.create({
    url: `${server}/logs`,
    contentType: "text/plain",
  })
  const producer = new IdempotentProducer(handle, "logger", { autoClaim: true })
  producer.append(JSON.stringify({ level: "info", msg: "started" }) + "\n")
  producer.append(JSON.stringify({ level: "error", msg: "failed" }) + "\n")
  await producer.flush()

  assert.equal(
    await readText(handle.url),
    '{"level":"info","msg":"started"}\n{"level":"error","msg":"failed"}\n',
  );
});

test("Using raw append() for sustained writes: wrong, it is in order and once all the same", async () => {
  const url = `${server}/raw`;
  const events = ordered(20);

  const handle = await DurableStream.create({
    url,
    contentType: "application/json",
  })
  for (const event of events) {
    await handle.append(JSON.stringify(event))
  }

  assert.deepEqual(await readJson(url), events);
});

test("Using raw append() for sustained writes: correct", async () => {
  const url = `${server}/sustained`;
  const events = ordered(500);

  const handle = await DurableStream.create({
    url,
    contentType: "application/json",
  })
  const producer = new IdempotentProducer(handle, "my-service", {
    autoClaim: true,
    onError: (err) => console.error(err),
  })
  for (const event of events) {
    producer.append(JSON.stringify(event))
  }
  await producer.flush()

  assert.deepEqual(await readJson(url), events);
});

async function jsonProducer(name: string, id = "my-service") {
  const url = `${server}/${name}`;
  const handle = await DurableStream.create({ url, contentType: "application/json" });
  return { url, handle, producer: new IdempotentProducer(handle, id) };
}

test("Not calling flush() before shutdown: wrong, nothing is lost when the process ends", async () => {
  const url = `${server}/missing-flush`;
  await succeed("missing-flush", [url, "500"]); // the block is there
  assert.deepEqual(await readJson(url), ordered(500));
});

test("Not calling flush() before shutdown: correct", async () => {
  const { url, producer } = await jsonProducer("flushed");
  const events = ordered(50);

  for (const event of events) {
    producer.append(event)
  }
  await producer.flush()
  await producer.close()

  assert.deepEqual(await readJson(url), events);
});

test("Awaiting each producer.append() call: wrong, it is harmless", async () => {
  const { url, producer } = await jsonProducer("awaited");
  const events = ordered(50);

  for (const event of events) {
    await producer.append(JSON.stringify(event))
  }

  // A receipt is no promise: nothing was waited for.
  assert.ok(!("then" in producer.append("0")));
  await producer.flush();
  assert.deepEqual(await readJson(url), [...events, 0]);
});

test("Awaiting each producer.append() call: correct", async () => {
  const { url, producer } = await jsonProducer("not-awaited");
  const events = ordered(50);

  for (const event of events) {
    producer.append(JSON.stringify(event))
  }
  await producer.flush()

  assert.deepEqual(await readJson(url), events);
});

test("Passing objects to append: wrong, they are serialised here", async () => {
  const { url, producer } = await jsonProducer("objects");

  producer.append({ event: "user.created" })

  await producer.flush();
  assert.deepEqual(await readJson(url), [{ event: "user.created" }]);
});

test("Passing objects to append: correct", async () => {
  const { url, producer } = await jsonProducer("strings");

  producer.append(JSON.stringify({ event: "user.created" }))

  await producer.flush();
  assert.deepEqual(await readJson(url), [{ event: "user.created" }]);
});

async function takeOver(handle: DurableStream): Promise<void> {
  const other = new IdempotentProducer(handle, "worker");
  other.append('"other"');
  await other.detach();
}

test("Not handling StaleEpochError: wrong, a fenced producer's append throws it", async (t) => {
  const { handle } = await jsonProducer("fenced-wrong");
  const logged = t.mock.method(console, "error", () => undefined);

  const producer = new IdempotentProducer(handle, "worker", {
    onError: (err) => console.error(err),
  })

  producer.append('"first"');
  await producer.flush();
  await takeOver(handle);
  producer.append('"second"');
  await rejectionOf(producer.flush());
  assert.ok(logged.mock.calls.some((call) => (call.arguments as unknown[])[0] instanceof StaleEpochError));
  assert.ok(thrownBy(() => producer.append('"third"')) instanceof StaleEpochError);
  assert.equal(producer.state, "fenced");
  assert.deepEqual(await readJson(handle.url), ["first", "other"]);
});

test("Not handling StaleEpochError: correct", async () => {
  const { handle } = await jsonProducer("fenced");
  const source = tokens();
  async function* tokens() {
    yield '"first"';
    await producer.flush();
    await takeOver(handle);
    yield '"second"';
    await rejectionOf(producer.flush());
    yield '"third"';
    assert.fail("the loop went on");
  }

  let fenced = false
  const producer = new IdempotentProducer(handle, "worker", {
    onError: (err) => {
      if (err instanceof StaleEpochError) {
        fenced = true
      }
    },
  })
  for await (const token of source) {
    if (fenced) break
    producer.append(token)
  }

  assert.deepEqual(await readJson(handle.url), ["first", "other"]);
});

test("Manually managing epoch numbers: wrong, the epoch is used as given", async () => {
  const { url, handle } = await jsonProducer("epoch-wrong");

  const producer = new IdempotentProducer(handle, "worker", { epoch: 2 })

  producer.append("1");
  await producer.flush();
  assert.equal(producer.epoch, 2);
  // Its price: whoever starts with an older one is refused, and does not take over by itself.
  const older = new IdempotentProducer(handle, "worker", { epoch: 1, onError: () => undefined });
  older.append("2");
  const error = await rejectionOf(older.flush());
  assert.ok(error.cause instanceof StaleEpochError);
  assert.equal(error.cause.currentEpoch, 2);
  assert.deepEqual(await readJson(url), [1]);
});

test("Manually managing epoch numbers: correct", async () => {
  const { url, handle } = await jsonProducer("epoch");

  const producer = new IdempotentProducer(handle, "worker", {
    autoClaim: true,
  })

  producer.append("1");
  await producer.flush();
  assert.deepEqual(await readJson(url), [1]);
});

test("a closed stream takes nothing more", async () => {
  const { handle } = await jsonProducer("closed");
  await handle.close();
  const producer = new IdempotentProducer(handle, "late", { onError: () => undefined });
  producer.append("1");
  assert.ok((await rejectionOf(producer.flush())).cause instanceof StreamClosedError);
});
