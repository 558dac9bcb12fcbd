// A writer that another one took over from, and a loop without a try around its appends.

import assert from "node:assert/strict";
import { test } from "node:test";

import { DurableStream, IdempotentProducer, StaleEpochError } from "durstream";
import { fresh, rejectionOf, thrownBy } from "./support.ts";

async function takenOver(onError: (error: Error) => void) {
  const handle = await DurableStream.create({ url: fresh("fenced"), contentType: "application/json" });
  const old = new IdempotentProducer(handle, "worker", { autoClaim: true, onError });
  old.append(1);
  await old.flush();
  const young = new IdempotentProducer(handle, "worker", { autoClaim: true });
  young.append(2);
  await young.flush();
  return { old, young };
}

test("a loop that never gives onError its turn gets receipts until it does", async () => {
  let fenced = false;
  const { old, young } = await takenOver((error) => (fenced ||= error instanceof StaleEpochError));
  let refused = 0;
  // Long after the end is known, in turns of the event loop that are few and far between.
  for (let n = 0; !fenced; n += 1) {
    const receipt = old.append(n);
    if (!receipt.accepted) {
      refused += 1;
      assert.ok(receipt.refusal?.error instanceof StaleEpochError, String(receipt.refusal?.error));
    }
    if (n % 20_000 === 19_999) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(refused > 0);
  assert.equal((await rejectionOf(old.flush())).name, "DeliveryError"); // onError was told of all
  assert.ok(thrownBy(() => old.append(0)) instanceof StaleEpochError);
  assert.ok(thrownBy(() => old.appendJson(0)) instanceof StaleEpochError);
  assert.ok(old.tryAppend(0).refusal?.error instanceof StaleEpochError);
  old.stop();
  await young.detach();
});

test("one that never gives the event loop a turn is told within it", async () => {
  let fenced = false;
  const { old, young } = await takenOver((error) => (fenced ||= error instanceof StaleEpochError));
  old.append(0);
  while (old.state !== "fenced"); // by a thread of the library's
  // Its receipts settle at once: there is no turn between them.
  for (let n = 0; !fenced; n += 1) await old.append(n).completion;
  assert.ok((await rejectionOf(old.flush())).name === "DeliveryError");
  assert.ok(thrownBy(() => old.append(0)) instanceof StaleEpochError);
  old.stop();
  await young.detach();
});
