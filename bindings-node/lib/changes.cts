// The changes of entities, as a producer and a transaction take them: validated and as text.

import { Unfit, keyText, saidOf } from "./event.cjs";
import type { Said } from "./event.cjs";
import { Unsayable, isSerialised, shown, stringify } from "./json.cjs";
import type { Payload } from "./native.cjs";
import { isRecord } from "./realms.cjs";
import type { Reason } from "./receipt.cjs";
import type { Collection, StreamSchema } from "./schema.cjs";
import { validated } from "./schema.cjs";

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
  /** Paths and messages in turn. Without any the core says what is wrong: no such collection, or no key. */
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
  if (collection === undefined) return { reason: "invalid-entity", key: undefined, issues: [] };
  try {
    const said = saidOf(how);
    if (collection.validator === undefined) {
      return { payload: isSerialised(given) ? given : stringify(given), said };
    }
    const value = isSerialised(given) ? parse(given) : given;
    const verdict = validated(name, collection.validator, value);
    if ("issues" in verdict) {
      const key = said?.key ?? keyOf(value, collection);
      const { thrown } = verdict;
      if (key === undefined && typeof value === "object" && value !== null) {
        // The missing key comes first, whatever else is wrong with the entity.
        return { reason: "invalid-key", key, issues: [], thrown };
      }
      const issues = verdict.issues.flatMap((issue) => [issue.path, issue.message]);
      return { reason: "invalid-value", key, issues, thrown };
    }
    // Text that the validator left unchanged stays as it is, byte for byte.
    const untouched = isSerialised(given) && verdict.value === value;
    return { payload: untouched ? given : stringify(verdict.value), said };
  } catch (error) {
    if (error instanceof Unfit) return unfit(error);
    if (!(error instanceof Unsayable)) throw error;
    const reason = error instanceof NotJson ? "invalid-value" : "serialization-failed";
    return { reason, key: keyOf(given, collection), issues: ["", error.message] };
  }
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
    let key = keyOrEntity;
    if (isRecord(key)) {
      const collection = schema.get(name);
      key = collection === undefined ? "" : keyOf(key, collection);
      if (key === undefined) return { reason: "invalid-key", key, issues: [] };
    }
    return { key: keyText(key), said };
  } catch (error) {
    if (error instanceof Unfit) return unfit(error);
    throw error;
  }
}

function unfit({ reason, message }: Unfit): Refusal {
  return { reason, key: undefined, issues: ["", message] };
}

function keyOf(value: unknown, { primaryKey }: Collection): string | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  let key: unknown;
  try {
    key = (value as Record<string, unknown>)[primaryKey];
  } catch {
    return undefined; // a getter's mistake
  }
  if (typeof key === "string" && key !== "") return key;
  return typeof key === "number" || typeof key === "boolean" ? String(key) : undefined;
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
