// What makes a primary key: the core's rule, for the values of JavaScript.

import { native } from "./native.cjs";
import { isValidDate } from "./realms.cjs";

/**
 * A primary key: text, an integer, a boolean, or a Date. In the stream it is text, a number or a Date as JSON
 * writes it.
 */
export type Key = string | number | bigint | boolean | Date;

/** A value is no key. Why, in words that go on from "the key". */
export class NoKey extends Error {}

/** The text of a key, where an empty one is for the core to refuse; throws {@link NoKey}. */
export function keyText(key: unknown): string {
  return typeof key === "string" && !HALF.test(key) ? key : textOf(asJson(key));
}

/** The key that an entity holds; throws {@link NoKey}. */
export function keyOfEntity(entity: object, primaryKey: string): string {
  const key = (entity as Record<string, unknown>)[primaryKey];
  return textOf(key === undefined ? "" : asJson(key));
}

/** Half of a surrogate pair: no UTF-8 says it. */
export const HALF = /\p{Surrogate}/u;

function textOf(json: string): string {
  const { key, why } = native.keyOfJson(json);
  if (key === undefined) throw new NoKey(why);
  return key;
}

/** A key as JSON; what JSON cannot say as JavaScript writes it, or as an object. */
function asJson(key: unknown): string {
  if (typeof key === "string" || isValidDate(key)) return JSON.stringify(key);
  const isShown = ["number", "bigint", "boolean"].includes(typeof key) || key === null;
  return isShown ? String(key) : "{}";
}
