// Metrics and traces, as OpenTelemetry's SDK has them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { SpanKind, SpanStatusCode, context, metrics, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";

import { DurableStream, IdempotentProducer, createDurableStream, defineStreamSchema } from "durstream";
import { observe, traceBatches } from "durstream/opentelemetry";
import { Recorder } from "durstream/testing";
import { fresh } from "./support.ts";

interface Point {
  value: number;
  attributes: Record<string, unknown>;
}

/** A provider, and what it collects: the points of each instrument, of one producer. */
function collector() {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 30 });
  const provider = new MeterProvider({ readers: [reader] });
  const collect = async (id: string) => {
    exporter.reset();
    await provider.forceFlush();
    const found = new Map<string, Point[]>();
    for (const { scopeMetrics } of exporter.getMetrics()) {
      for (const { scope, metrics } of scopeMetrics) {
        assert.equal(scope.name, "durstream");
        for (const { descriptor, dataPoints } of metrics) {
          const own = (dataPoints as unknown as Point[]).filter(
            ({ attributes }) => attributes["messaging.client.id"] === id,
          );
          assert.ok(!found.has(descriptor.name), "each name is one instrument");
          found.set(descriptor.name, own);
        }
      }
    }
    return (name: string): Point[] => found.get(name) ?? assert.fail(`there is no ${name}`);
  };
  return { provider, collect };
}

async function open(id: string, url = fresh("otel")) {
  const stream = await DurableStream.create({ url, contentType: "application/json" });
  return new IdempotentProducer(stream, id, { onError: () => {} });
}

test("what producers count is collected", async () => {
  const { provider, collect } = collector();
  assert.ok(observe(provider) && observe(provider));
  const producer = await open("observed");
  for (let n = 0; n < 7; n += 1) producer.append(n);
  for (const more of [0, 1]) {
    if (more > 0) producer.append(8);
    await producer.flush();
    const [stats, of] = [producer.stats(), await collect("observed")];
    const [sent] = of("messaging.client.sent.messages");
    assert.equal(sent?.value, 7 + more);
    assert.equal(sent?.attributes["messaging.system"], "durable_streams");
    assert.equal(sent?.attributes["messaging.operation.type"], "send");
    const path = sent?.attributes["messaging.destination.name"] as string;
    assert.ok(producer.url.endsWith(path) && Number(sent?.attributes["server.port"]) > 0);
    const answers = of("durstream.answers").map(({ value, attributes }) => [attributes.class, value]);
    assert.equal(Object.fromEntries(answers)["2xx"], stats.answers2xx);
    assert.deepEqual(of("durstream.state").map(({ attributes }) => attributes.state), ["ready"]);
    const { count, sum, p50 } = stats.deliveryLatencyUs;
    assert.equal(of("durstream.delivery_latency.count")[0]?.value, count);
    assert.equal(of("durstream.delivery_latency.sum")[0]?.value, sum / 1e6);
    const quantiles = of("durstream.delivery_latency").map((p) => [p.attributes.quantile, p.value]);
    assert.equal(Object.fromEntries(quantiles)[0.5], p50 / 1e6);
  }
  await producer.detach();
  await provider.shutdown();
});

test("what is not delivered has its reason as error.type", async () => {
  const { provider, collect } = collector();
  assert.ok(observe(provider));
  const recorder = new Recorder();
  recorder.reject("bad", "refused");
  const producer = await open("errors", `${recorder.url}/errors`);
  producer.append({ bad: true });
  await assert.rejects(producer.flush());
  const points = (await collect("errors"))("messaging.client.sent.messages");
  const byType = points.map(({ value, attributes }) => [attributes["error.type"] ?? "none", value]);
  assert.deepEqual(Object.fromEntries(byType), { none: 0, refused: 1 });
  await provider.shutdown();
});

test("one that is absent, too old or shut down breaks nothing, and is told once", async (t) => {
  const warned = t.mock.method(process, "emitWarning", () => undefined);
  metrics.disable();
  assert.ok(!observe() && !observe());
  assert.equal(warned.mock.callCount(), 1);
  assert.match(String(warned.mock.calls[0]?.arguments[0]), /OpenTelemetry/);
  const old = { getMeter: () => ({}) } as unknown as MeterProvider;
  assert.ok(!observe(old) && !observe(old));
  assert.equal(warned.mock.callCount(), 2);
  const { provider } = collector();
  assert.ok(observe(provider));
  await provider.shutdown();
  const producer = await open("after");
  producer.append(1);
  await producer.detach();
  assert.equal(producer.stats().delivered, 1);
});

test("events carry the context of the span that is current at the call", async () => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const tracer = new BasicTracerProvider().getTracer("test");
  const recorder = new Recorder();
  const items = { schema: true, type: "item", primaryKey: "id" } as const;
  const open = (path: string, trace: boolean) =>
    createDurableStream({
      url: `${recorder.url}${path}`,
      schema: defineStreamSchema({ items }),
      producerId: "traced",
      trace,
    });
  const [producer, untraced] = [open("/on", true), open("/off", false)];
  const span = tracer.startSpan("caller");
  const { traceId, spanId } = span.spanContext();
  await context.with(trace.setSpan(context.active(), span), async () => {
    producer.upsert("items", { id: "1" });
    producer.delete("items", "1", { txid: "t" });
    const own = `00-${"a".repeat(32)}-${"b".repeat(16)}-00`;
    producer.upsert("items", { id: "2" }, { headers: { traceparent: own } });
    producer.transaction((changes) => changes.insert("items", { id: "3" }));
    await producer.upsertAsync("items", { id: "4" });
    untraced.upsert("items", { id: "5" });
  });
  producer.upsert("items", { id: "6" });
  await Promise.all([producer.flush(), untraced.flush()]);
  const parents = (path: string) =>
    recorder.events(path).map(({ headers }: any) => headers.traceparent);
  const own = `00-${traceId}-${spanId}-01`;
  const told = `00-${"a".repeat(32)}-${"b".repeat(16)}-00`;
  assert.deepEqual(parents("/on"), [own, own, told, own, own, undefined]);
  assert.deepEqual(parents("/off"), [undefined]);
  context.disable();
});

test("each batch is a span that is linked to those of its writes", async (t) => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  t.after(() => context.disable());
  const exporter = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  const tracer = new BasicTracerProvider().getTracer("test"); // of spans that are not looked at
  assert.ok(traceBatches(provider));
  const recorder = new Recorder();
  const orders = { schema: true, type: "order", primaryKey: "id" } as const;
  const open = (id: string, trace: boolean) =>
    createDurableStream({
      url: `${recorder.url}/${id}`,
      schema: defineStreamSchema({ orders }),
      producerId: id,
      trace,
      lingerMs: 60_000,
      onError: () => {},
    });
  const spans = async (id: string, count: number) => {
    const own = () =>
      exporter.getFinishedSpans().filter((s) => s.attributes["messaging.client.id"] === id);
    while (own().length < count) await new Promise((soon) => setImmediate(soon));
    return own();
  };
  const [producer, untraced] = [open("batches", true), open("silent", false)];
  const write = (keys: string[]) => {
    const span = tracer.startSpan("caller");
    context.with(trace.setSpan(context.active(), span), () => {
      for (const id of keys) producer.upsert("orders", { id });
    });
    return span.spanContext();
  };
  const before = Date.now();
  const contexts = [write(["1"]), write(["2", "3"])];
  await producer.flush();
  const [span] = await spans("batches", 1);
  assert.ok(span);
  assert.deepEqual([span.name, span.kind], ["append /v1/stream/batches", SpanKind.PRODUCER]);
  assert.deepEqual([span.status.code, span.parentSpanContext], [SpanStatusCode.UNSET, undefined]);
  for (const [name, value] of Object.entries({
    "messaging.system": "durable_streams",
    "messaging.operation.name": "append",
    "messaging.operation.type": "send",
    "messaging.destination.name": "/v1/stream/batches",
    "messaging.batch.message_count": 3,
    "error.type": undefined,
  })) {
    assert.equal(span.attributes[name], value, name);
  }
  const ids = ({ traceId, spanId }: { traceId: string; spanId: string }) => [traceId, spanId];
  assert.deepEqual(span.links.map((link) => ids(link.context)), contexts.map(ids));
  assert.ok(span.links.every(({ context }) => context.isRemote && context.traceFlags === 1));
  assert.equal(span.instrumentationScope.name, "durstream");
  const ms = ([seconds, nanoseconds]: [number, number]) => seconds * 1e3 + nanoseconds / 1e6;
  assert.ok(before - 10 <= ms(span.startTime) && ms(span.startTime) <= ms(span.endTime));

  recorder.reject("bad", "refused");
  producer.upsert("orders", { id: "bad" });
  untraced.upsert("orders", { id: "1" });
  await assert.rejects(producer.flush());
  await untraced.flush();
  const [, failed] = await spans("batches", 2);
  assert.equal(failed?.attributes["error.type"], "refused");
  assert.equal(failed.status.code, SpanStatusCode.ERROR);
  assert.ok(failed.status.message);
  assert.deepEqual(await spans("silent", 0), []);
});

test("without OpenTelemetry no batch is traced, and that is told once", (t) => {
  const warned = t.mock.method(process, "emitWarning", () => undefined);
  trace.disable();
  const api = Symbol.for("opentelemetry.js.api.1");
  const known = Object.getOwnPropertyDescriptor(globalThis, api);
  Object.defineProperty(globalThis, api, { value: undefined, configurable: true, writable: true });
  t.after(() => known && Object.defineProperty(globalThis, api, known));
  assert.ok(!traceBatches() && !traceBatches());
  assert.equal(warned.mock.callCount(), 1);
  assert.match(String(warned.mock.calls[0]?.arguments[0]), /batches are not traced/);
});
