// What producers count and measure.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DurableStream, IdempotentProducer, statsPrometheus } from "durstream";
import { fresh } from "./support.ts";

async function producerOf(id: string) {
  const stream = await DurableStream.create({ url: fresh("metrics"), contentType: "application/json" });
  return new IdempotentProducer(stream, id, { maxBatchItems: 1 });
}

test("what is counted and measured is in one snapshot, by reason too", async () => {
  const producer = await producerOf("measured");
  for (let n = 0; n < 5; n++) producer.append(n);
  await producer.flush();
  const stats = producer.stats();
  assert.deepEqual(stats.batchWrites, { count: 5, sum: 5, p50: 1, p90: 1, p99: 1, max: 1 });
  const { p50, p90, p99, max } = stats.deliveryLatencyUs;
  assert.ok(0 < p50 && p50 <= p90 && p90 <= p99 && p99 <= max);
  assert.equal(stats.answers2xx, stats.requests);
  assert.deepEqual(stats.undelivered, {});
  assert.ok(stats.bufferLimitBytes > 0 && stats.refusedInvalid === 0);
  await producer.close();
});

test("Prometheus is told of one producer, and of all", async () => {
  const producer = await producerOf('quo"te');
  producer.append(1);
  await producer.flush();
  const line = /^durstream_delivered_total\{stream="[^"]*",producer_id="quo\\"te"\} 1$/m;
  for (const text of [producer.statsPrometheus(), statsPrometheus()]) {
    assert.match(text, line);
    assert.match(text, /^# TYPE durstream_delivered_total counter$/m);
  }
  for (const text of [producer.statsPrometheus({ openmetrics: true }), statsPrometheus({ openmetrics: true })]) {
    assert.match(text, line);
    assert.match(text, /^# TYPE durstream_delivered counter$/m);
    assert.ok(text.endsWith("# EOF\n"));
  }
  await producer.close();
});
