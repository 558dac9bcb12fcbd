// The ways of writing data to a durable stream.
//
//     DURABLE_STREAMS_URL=http://localhost:4437 node writing-data.mjs [/prefix]

import { randomUUID } from "node:crypto";

import { DurableStream, IdempotentProducer, StaleEpochError } from "durstream";

const prefix = process.argv[2] ?? `/writing-${randomUUID().slice(0, 8)}`;
const json = "application/json";
const text = "text/plain";

/** A stream of its own for each part. */
const create = (name, contentType) =>
  DurableStream.create({ streamPath: `${prefix}/${name}`, contentType });

async function* tokens() {
  yield* ["Durable ", "streams ", "keep ", "their ", "order."];
}

// --- Simple writes with append() ---
// Each call waits for its outcome, and is not doubled by a repeat. Values are written as JSON, text
// is taken as JSON already, and a promise is waited for.
{
  const handle = await create("events", json);
  await handle.append({ type: "order.created", orderId: "123" });
  await handle.append('{"type":"order.paid","orderId":"123"}');
  await handle.append(Promise.resolve({ type: "order.sent", orderId: "123" }));
}

// --- High-throughput writes with IdempotentProducer ---
// Messages are gathered, sent side by side, and written once, in order. append() returns at once;
// flush() says whether all of them arrived.
{
  const handle = await create("tokens", text);
  const producer = new IdempotentProducer(handle, "llm-worker", {
    lingerMs: 10,
    maxBatchBytes: 65536,
    maxInFlight: 4,
    onError: (error) => console.error("Write error:", error),
  });
  for await (const token of tokens()) {
    producer.append(token);
  }
  await producer.flush();
  await producer.close();
}

// --- From a source ---
// An iterable, an async iterable or a ReadableStream, read as fast as it is delivered.
{
  const handle = await create("source", text);
  const { delivered } = await handle.appendStream(tokens());
  if (delivered !== 5) throw new Error(`${delivered} of 5 were delivered`);
}

// --- As the end of a pipe ---
// The pipe's end ends the stream.
{
  const handle = await create("pipe", text);
  await new Response("from somewhere else").body.pipeTo(handle.writable());
}

// --- Closing a stream ---
// No more writes for anybody, a last message in the same request; closing again is fine.
{
  const handle = await create("closed", json);
  await handle.close({ body: JSON.stringify({ type: "stream.complete" }) });
  await handle.close();
}

// --- Byte streams with framing of your own ---
// Here newline-delimited JSON.
{
  const handle = await create("logs", text);
  const producer = new IdempotentProducer(handle, "logger");
  producer.append(JSON.stringify({ level: "info", msg: "started" }) + "\n");
  producer.append(JSON.stringify({ level: "error", msg: "failed" }) + "\n");
  await producer.detach(); // flushes, and leaves the stream open
}

// --- Reading it back ---
// To the present end; a later read goes on at the reader's offset.
{
  const handle = new DurableStream({ streamPath: `${prefix}/logs`, contentType: text });
  const reader = handle.read();
  let read = "";
  for await (const chunk of reader) read += chunk.text();
  console.log(read.trimEnd().split("\n").length, "lines, and on from", reader.offset);
}

// --- Noticing that another producer took over ---
// A fenced producer throws at every later append; onError hears of the writes that were lost.
{
  const handle = await create("fenced", json);
  let fenced = false;
  const producer = new IdempotentProducer(handle, "worker", {
    onError: (error) => {
      if (error instanceof StaleEpochError) fenced = true;
    },
  });
  await producer.append({ "written by": "the first" }).completion;
  const second = new IdempotentProducer(handle, "worker");
  await second.append({ "written by": "the second" }).completion;
  try {
    while (!fenced) {
      await producer.append({ "written by": "nobody" }).completion;
    }
  } catch (error) {
    if (!(error instanceof StaleEpochError)) throw error;
  }
  producer.stop();
}
