// The changes of entities, as a producer and a transaction take them: validated and as text.

import { Unfit, saidOf } from "./event.cjs";
import type { Said } from "./event.cjs";
import { Unsayable, isSerialised, shown, stringify } from "./json.cjs";
import { NoKey, keyOfEntity, keyText } from "./key.cjs";
import type { Payload } from "./native.cjs";
import { isValidDate } from "./realms.cjs";
import type { Reason } from "./receipt.cjs";
import type { Collection, StreamSchema, Verdict } from "./schema.cjs";
import { validated, validatedLater } from "./schema.cjs";

/** What a change with a value does to its entity. */
export type Verb = "upsert" | "insert" | "update";

/** What is said beside a change that says nothing. */
export const NOTHING: Said = {
  txid: undefined,
  timestamp: undefined,
  headers: [],
  key: undefined,
  oldValue: undefined,
};

/** A change that is refused before the core sees it. */
export interface Refusal {
  readonly reason: Reason;
  readonly key: string | undefined;
  /** Paths and messages in turn. Without any the core says that there is no such collection. */
  readonly issues: string[];
  /** What a validator threw. */
  readonly thrown?: { readonly cause: unknown } | undefined;
}

/** A change as the core takes it. */
export interface Change {
  readonly payload: Payload;
  readonly said: Said | undefined;
}

/** A change of an entity, or why there is none. */
export function changeOf(
  schema: StreamSchema,
  name: string,
  given: unknown,
  how: unknown,
): Change | Refusal {
  const collection = schema.get(name);
  if (collection === undefined) return NO_COLLECTION;
  try {
    const said = saidOf(how);
    const { validator } = collection;
    if (validator === undefined) return { payload: asText(given), said };
    const value = asValue(given);
    return decided(collection, given, value, said, validated(name, validator, value));
  } catch (error) {
    return refusedBy(error, given, collection);
  }
}

/** The same with a validator that is waited for. */
export async function changeLater(
  schema: StreamSchema,
  name: string,
  given: unknown,
  how: unknown,
): Promise<Change | Refusal> {
  const collection = schema.get(name);
  if (collection?.validator === undefined) return changeOf(schema, name, given, how);
  try {
    const said = saidOf(how);
    const value = asValue(given);
    // What the entity is at the call, whatever its owner does to it meanwhile.
    const text = snapshotOf(given);
    const verdict = await validatedLater(collection.validator, value);
    return decided(collection, text ?? given, value, said, verdict);
  } catch (error) {
    return refusedBy(error, given, collection);
  }
}

const NO_COLLECTION: Refusal = { reason: "invalid-entity", key: undefined, issues: [] };

const asText = (given: unknown): Payload => (isSerialised(given) ? given : stringify(given));
const asValue = (given: unknown): unknown => (isSerialised(given) ? parse(given) : given);

/** A value's JSON text; undefined where it has none, which a validator may mend. */
function snapshotOf(given: unknown): Payload | undefined {
  try {
    return asText(given);
  } catch (error) {
    if (error instanceof Unsayable) return undefined;
    throw error;
  }
}

/** What a validator's verdict comes to. */
function decided(
  collection: Collection,
  given: unknown,
  value: unknown,
  said: Said | undefined,
  verdict: Verdict,
): Change | Refusal {
  if ("issues" in verdict) {
    const issues = verdict.issues.flatMap((issue) => [issue.path, issue.message]);
    const { thrown } = verdict;
    return { ...invalid("invalid-value", value, collection, issues, said?.key), thrown };
  }
  // Text that the validator left unchanged stays as it is, byte for byte.
  const untouched = isSerialised(given) && verdict.value === value;
  return { payload: untouched ? given : stringify(verdict.value), said };
}

/** The refusal that an exception stands for; any other is thrown on. */
function refusedBy(error: unknown, given: unknown, collection: Collection): Refusal {
  if (error instanceof Unfit || error instanceof NoKey) return unfit(error);
  if (!(error instanceof Unsayable)) throw error;
  const reason = error instanceof NotJson ? "invalid-value" : "serialization-failed";
  return invalid(reason, given, collection, ["", error.message]);
}

/** That an entity is gone, by its key or its value, or why that cannot be said. */
export function deleteOf(
  schema: StreamSchema,
  name: string,
  keyOrEntity: unknown,
  how: unknown,
): { key: string; said: Said | undefined } | Refusal {
  try {
    const said = saidOf(how);
    if (!isEntity(keyOrEntity)) return { key: keyText(keyOrEntity), said };
    const collection = schema.get(name);
    if (collection === undefined) return { key: "", said }; // the core names them
    const key = ownKey(keyOrEntity, collection) ?? new NoKey("cannot be read");
    return typeof key === "string" ? { key, said } : noKey(key, collection);
  } catch (error) {
    if (error instanceof Unfit || error instanceof NoKey) return unfit(error);
    throw error;
  }
}

/** Whether a value is an entity in place of a key, with its key or without. */
function isEntity(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isValidDate(value);
}

function unfit(error: Unfit | NoKey): Refusal {
  if (error instanceof Unfit) {
    return { reason: error.reason, key: undefined, issues: ["", error.message] };
  }
  return { reason: "invalid-key", key: undefined, issues: ["", `the key ${error.message}`] };
}

/** The refusal of a value. What is wrong with its key comes first. */
function invalid(
  reason: Reason,
  value: unknown,
  collection: Collection,
  issues: string[],
  told?: string,
): Refusal {
  if (told !== undefined || typeof value !== "object" || value === null) {
    return { reason, key: told, issues };
  }
  const key = ownKey(value, collection);
  return key instanceof NoKey ? noKey(key, collection) : { reason, key, issues };
}

function noKey(why: NoKey, { primaryKey }: Collection): Refusal {
  const text = `the primary key \`${primaryKey.slice(0, 60)}\` ${why.message}`;
  return { reason: "invalid-key", key: undefined, issues: ["", text] };
}

/** The key of an entity, or why it has none; undefined where it does not let itself be read. */
function ownKey(entity: object, { primaryKey }: Collection): string | NoKey | undefined {
  try {
    return keyOfEntity(entity, primaryKey);
  } catch (error) {
    return error instanceof NoKey ? error : undefined; // a getter's mistake
  }
}

/** The name of a collection, or what was given in place of one. */
export function nameText(name: unknown): string {
  return typeof name === "string" ? name : shown(name);
}

/** Text that is no JSON: a validator outside the core refuses it as the core does. */
class NotJson extends Unsayable {}

function parse(given: Payload): unknown {
  try {
    return JSON.parse(typeof given === "string" ? given : new TextDecoder().decode(given));
  } catch (error) {
    throw new NotJson(`the value is not one JSON value: ${(error as Error).message}`);
  }
}
