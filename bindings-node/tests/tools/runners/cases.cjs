// What users of a test runner do, in whichever realm it runs them, with its fake timers and without.

const assert = require("node:assert/strict");
const { createContext, runInContext } = require("node:vm");

const base = process.env.DURABLE_STREAMS_URL;
const nowhere = "http://127.0.0.1:9/v1/stream/nobody";
const contentType = "application/json";
let streams = 0;
const fresh = () => `${base}/v1/stream/runners-${process.pid}-${Date.now()}-${(streams += 1)}`;

/**
 * The cases by name. `durstream` is the package as the runner gives it, `throws` its assertion that
 * a call throws an error of a class, `fake` and `real` switch its timers.
 */
module.exports = function casesFor({ durstream, throws, fake, real }) {
  const { DurableStream, IdempotentProducer, createDurableStream, defineStreamSchema } = durstream;
  const definition = { type: "t", primaryKey: "id" };
  const open = async (options) => {
    const handle = await DurableStream.create({ url: fresh(), contentType });
    return new IdempotentProducer(handle, "runner", options);
  };
  const failing = (options) => {
    const handle = new DurableStream({ url: nowhere, contentType });
    return new IdempotentProducer(handle, "runner", { deliveryTimeoutMs: 50, ...options });
  };
  const events = async (url) => JSON.parse(await (await fetch(`${url}?offset=-1`)).text());
  /** Runs a case while time stands still. */
  const still = (body) => async () => {
    fake();
    try {
      await body();
    } finally {
      real();
    }
  };

  return {
    "errors are of our classes, and errors": async () => {
      const handle = new DurableStream({ url: nowhere, contentType });
      throws(() => new IdempotentProducer(handle, ""), durstream.InvalidArgumentError);
      throws(() => new IdempotentProducer(handle, ""), Error);
      throws(() => new DurableStream({ url: nowhere, lingerMs: 1 }), durstream.InvalidArgumentError);
      throws(() => failing().append({ a: NaN }), durstream.ValidationError);
      throws(() => failing().append("{"), durstream.ValidationError);
      throws(() => defineStreamSchema({ t: { ...definition, schema: { type: 1 } } }), durstream.InvalidArgumentError);
      await assert.rejects(failing().flush({ timeoutMs: "1" }), durstream.InvalidArgumentError);
    },

    "a JSON Schema of any realm is one": () => {
      for (const schema of [
        { type: "object" },
        structuredClone({ type: "object" }),
        JSON.parse('{"type":"object"}'),
        runInContext('({ type: "object", properties: { a: { type: "string" } } })', createContext()),
      ]) {
        defineStreamSchema({ t: { ...definition, schema } });
      }
    },

    "values of any realm are written, and refused where JSON says nothing of them": async () => {
      const producer = await open();
      const other = (text) => runInContext(text, createContext());
      const values = [{ at: new Date(0) }, structuredClone({ a: [{}] }), other("({ at: new Date(0), a: [{}] })"), new URL("http://a/")];
      for (const value of values) producer.append(value);
      for (const text of ["new Map()", "new Error('no')", "new Date(NaN)", "/a/", "new (class {})()"]) {
        for (const value of [other(text), eval(text)]) {
          assert.equal(producer.tryAppend({ value }).refusal?.reason, "serialization-failed", text);
        }
      }
      producer.append(new TextEncoder().encode('"bytes"'));
      await producer.flush();
      const written = values.map((value) => JSON.parse(JSON.stringify(value)));
      assert.deepEqual(await events(producer.url), [...written, "bytes"]);
      await producer.detach();
    },

    "options of any realm are taken": async () => {
      const clone = structuredClone({ url: fresh(), contentType, headers: { "X-A": "1" }, endpoints: [base] });
      const expiresAt = runInContext("new Date(Date.now() + 60_000)", createContext());
      await DurableStream.create({ ...clone, expiresAt });
      assert.equal(new DurableStream({ url: new URL(nowhere) }).url, nowhere);
      const { signal } = new AbortController();
      await new DurableStream({ url: clone.url, contentType }).head({ signal, timeoutMs: 60_000 });
    },

    "a state producer validates and publishes": async () => {
      const schema = defineStreamSchema({ t: { ...definition, schema: structuredClone({ required: ["id", "n"] }) } });
      const producer = createDurableStream({ url: fresh(), producerId: "runner", schema });
      assert.equal(producer.upsert("t", { id: "1" }).refusal?.reason, "invalid-value");
      assert.ok(producer.upsert("t", { id: "1", n: 1 }).accepted);
      assert.equal((await producer.flush()).delivered, 1);
      await producer.close();
    },

    "onError gets our errors and this realm's bytes": async () => {
      const told = [];
      const onError = (error, { payload }) => void told.push([error, payload]);
      // Long enough for its turn: one request at a time tries a host that refuses.
      const producer = failing({ onError, deliveryTimeoutMs: 3000 });
      producer.append({ n: 1 });
      await assert.rejects(producer.flush(), durstream.DeliveryError);
      const [[error, payload]] = told;
      assert.ok(error instanceof durstream.TransportError && error instanceof Error);
      assert.ok(payload instanceof Uint8Array);
      assert.equal(new TextDecoder().decode(payload), '{"n":1}');
      producer.stop();
    },

    "what is read is of this realm": async () => {
      const producer = await open();
      producer.append({ n: 1 });
      await producer.flush();
      for await (const chunk of new DurableStream({ url: producer.url, contentType }).read()) {
        assert.ok(chunk.data instanceof Uint8Array);
        assert.deepEqual(chunk.json(), [{ n: 1 }]);
      }
      await producer.detach();
    },

    "an asynchronous header function is asked": async () => {
      const handle = new DurableStream({ url: fresh(), contentType, headers: { "X-A": async () => "1" } });
      await DurableStream.create({ url: handle.url, contentType });
      assert.equal((await handle.append({ n: 1 })).status, "delivered");
    },

    "while time stands still: flushes, appends, sources, ends": still(async () => {
      const producer = await open();
      producer.append({ n: 1 });
      await durstream.flushAll();
      producer.append({ n: 2 });
      await producer.flush({ timeoutMs: 60_000 });
      const handle = new DurableStream({ url: producer.url, contentType });
      await handle.append({ n: 3 });
      const source = Array.from({ length: 20_000 }, (_, n) => n);
      assert.equal((await handle.appendStream(source)).delivered, source.length);
      await producer.close({ n: 4 });
    }),

    "while time stands still: a flush that fails": still(async () => {
      let told = 0;
      const producer = failing({ onError: () => (told += 1) });
      producer.append({ n: 1 });
      await assert.rejects(producer.flush(), durstream.DeliveryError);
      assert.equal(told, 1);
      producer.stop();
    }),

    "while time stands still: a time limit is one": still(async () => {
      const producer = failing({ deliveryTimeoutMs: 0 });
      producer.append({ n: 1 });
      await assert.rejects(producer.flush({ timeoutMs: 10 }), durstream.TimeoutError);
      await assert.rejects(durstream.flushAll({ timeoutMs: 10 }), durstream.TimeoutError);
      await assert.rejects(durstream.shutdown({ timeoutMs: 10 }), durstream.TimeoutError);
    }),
  };
};
