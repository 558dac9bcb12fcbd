// The events that every writer writes, each made from its number: the plan that the writers in five
// languages follow, and what readers are to see of it.

const KEYS_PER_COLLECTION = 64;

const NOTES = [
  "",
  "plain",
  'quote " and \\ backslash',
  "line\nbreak\ttab",
  "ümlaut €",
  "🚢 𝄞",
  "\u0000\u001f",
  "</script>\u2028",
];

const COLLECTIONS = [
  { collection: "orders", type: "order", keyOf: (number) => `order-${number}` },
  { collection: "users", type: "user", keyOf: (number) => `Zoë "${number}"` },
];

/** The last steps of MurmurHash3, on 32 bits: all of the number's bits count in each of the result's. */
function mixed(seed, n) {
  let x = (seed + Math.imul(n, 0x9e3779b1)) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b) >>> 0;
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35) >>> 0;
  return (x ^ (x >>> 16)) >>> 0;
}

const has = (bits, bit) => ((bits >>> bit) & 1) === 1;

/** The entity of an event's number, as it is written: some leave their key to be told beside them. */
function entityOf(seed, n, key) {
  const bits = mixed(seed, n);
  const entity = {
    n,
    amount: ((bits % 4001) - 2000) / 8,
    note: NOTES[(bits >>> 15) & 7],
    flag: [true, false, null][(bits >>> 18) % 3],
    tags: ["a", n],
    nested: { deep: [null, n] },
  };
  return isKeyTold(bits) ? entity : { id: key, ...entity };
}

const isKeyTold = (bits) => has(bits, 14);

/**
 * The steps of a plan: `verbs` has every verb and header, `strict` what the published schema knows,
 * `txids` a transaction in each event and no control messages.
 */
export function* stepsOf(plan, count, seed) {
  // The number of the event that wrote each key last.
  const last = new Map();
  for (let n = 0; n < count; n += 1) {
    if (plan !== "txids") {
      if (n === 0) yield { control: "snapshot-start" };
      if (n === count >>> 2) yield { control: "snapshot-end", offset: "1_2" };
      if (n === count >>> 1) {
        last.clear();
        yield { control: "reset" };
      }
    }
    const bits = mixed(seed, n);
    const { collection, type, keyOf } = COLLECTIONS[bits & 1];
    const key = keyOf((bits >>> 1) % KEYS_PER_COLLECTION);
    const place = `${type} ${key}`;
    const before = last.get(place);
    const isKnown = before !== undefined;
    const action = (bits >>> 7) & 7;
    const verb =
      action < 2 && isKnown ? "delete" : action < 5 ? "upsert" : isKnown ? "update" : "insert";
    const hasBefore = has(bits, 10) && isKnown && (verb === "update" || verb === "delete");
    if (verb === "delete") last.delete(place);
    else last.set(place, n);
    yield {
      n,
      collection,
      type,
      key,
      verb,
      isKnown,
      deletesByEntity: verb === "delete" && action === 1,
      entity: verb === "delete" ? undefined : entityOf(seed, n, key),
      isKeyTold: isKeyTold(bits),
      oldValue: hasBefore ? entityOf(seed, before, key) : undefined,
      txid: plan === "txids" || has(bits, 11) ? `tx-${seed}-${n}` : undefined,
      timestamp: has(bits, 12) ? timeOf(n) : undefined,
      from: plan !== "strict" && has(bits, 13) ? "billing" : undefined,
    };
  }
}

/**
 * The plan `groups`: a transaction of each number, with 1 to 20 changes, of which some are rolled back, and a
 * change of no transaction behind each.
 */
export function* groupsOf(count, seed) {
  for (let n = 0; n < count; n += 1) {
    const bits = mixed(seed, n);
    const keys = Array.from({ length: 1 + (bits % 20) }, (_, index) => `g${n}-${index}`);
    yield { n, txid: `tx-${seed}-${n}`, keys, isRolledBack: ((bits >>> 7) & 3) === 0, single: `s${n}` };
  }
}

function timeOf(n) {
  return new Date(Date.UTC(2026, 2, 1, 12, Math.floor(n / 60) % 60, n % 60, n % 1000));
}

/** The event of a step, as a reader parses it; only times are numbers in place of text. */
export function eventOf(step, plan) {
  const { control, offset } = step;
  if (control !== undefined) return { headers: defined({ control, offset }) };
  const { type, key, verb, entity: value, oldValue: old_value, txid, timestamp, from } = step;
  const put = step.isKnown ? "update" : "insert";
  const operation = plan === "strict" && verb === "upsert" ? put : verb;
  const headers = defined({ operation, txid, timestamp: timestamp?.getTime(), from });
  return defined({ type, key, value, old_value, headers });
}

/** What is there when all steps were taken: entities by type and key; and every key that there was. */
export function stateOf(steps) {
  const state = new Map(COLLECTIONS.map(({ type }) => [type, new Map()]));
  const seen = new Map(COLLECTIONS.map(({ type }) => [type, new Set()]));
  for (const { control, type, key, verb, entity } of steps) {
    if (control === "reset") for (const entities of state.values()) entities.clear();
    if (control !== undefined) continue;
    seen.get(type).add(key);
    if (verb === "delete") state.get(type).delete(key);
    else state.get(type).set(key, entity);
  }
  return { state, seen };
}

function defined(record) {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}
