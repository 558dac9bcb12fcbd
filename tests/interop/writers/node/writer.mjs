// Writes the plan that `rule.mjs` makes, through the Node package.
// Arguments: the stream's path, the plan, how many events, the seed.

import { createDurableStream, defineStreamSchema } from "../../../../bindings-node/dist/index.mjs";
import { groupsOf, stepsOf } from "../../rule.mjs";

/** A full buffer answers at once, it does not wait. */
const WRITES_PER_FLUSH = 1000;

const [streamPath, plan, count, seed] = process.argv.slice(2);
const strict = plan === "strict";
const schema = { type: "object" };
const producer = createDurableStream({
  streamPath,
  producerId: "interop-node",
  ...(strict ? { operations: "strict", timestamps: true } : {}),
  schema: defineStreamSchema({
    orders: { schema, type: "order", primaryKey: "id" },
    users: { schema, type: "user", primaryKey: "id" },
  }),
});

if (plan === "groups") await writeGroups();
else await writeSteps();
await producer.flush();
await producer.close();

async function writeGroups() {
  for (const { n, txid, keys, isRolledBack, single } of groupsOf(Number(count), Number(seed))) {
    try {
      const { receipt } = producer.transaction(txid, (changes) => {
        for (const id of keys) changes.upsert("orders", { id, n });
        if (isRolledBack) throw changes;
      });
      if (!receipt.accepted) throw receipt.refusal.error;
    } catch (thrown) {
      if (!isRolledBack) throw thrown;
    }
    producer.upsert("orders", { id: single, n });
    if (n % (WRITES_PER_FLUSH / 20) === 0) await producer.flush();
  }
}

async function writeSteps() {
  for (const step of stepsOf(plan, Number(count), Number(seed))) {
    const receipt = write(step);
    if (!receipt.accepted) throw receipt.refusal.error;
    if (plan === "txids") {
      await producer.flush();
      console.log(step.n);
    } else if (step.n % WRITES_PER_FLUSH === 0) {
      await producer.flush();
    }
  }
}

function write(step) {
  const { control, offset, collection, verb, key, entity, oldValue, txid, timestamp, from } = step;
  if (control !== undefined) return producer.control(control, { offset });
  const how = { txid, timestamp, headers: from && { from } };
  if (verb === "delete") {
    return producer.delete(collection, step.deletesByEntity ? { id: key } : key, { ...how, oldValue });
  }
  const told = step.isKeyTold ? { key } : {};
  if (verb === "update") return producer.update(collection, entity, { ...how, ...told, oldValue });
  return producer[verb](collection, entity, { ...how, ...told });
}
