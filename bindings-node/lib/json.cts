// Messages: text as it is, values as JSON, and the values that JSON cannot say.

import { types } from "node:util";

import type { Payload } from "./native.cjs";
import { isError, isRecord, isValidDate } from "./realms.cjs";

/** A message: text and bytes are taken as serialised already, any other value becomes JSON. */
export type Message = string | Uint8Array | object | number | boolean | null;

/** Why a value cannot be written as JSON. */
export class Unsayable extends Error {}

/** Whether a value is taken as it is. */
export function isSerialised(value: unknown): value is Payload {
  return typeof value === "string" || types.isUint8Array(value);
}

/** A message's text or bytes; throws {@link Unsayable}. */
export function serialise(message: unknown, json: boolean): Payload {
  if (isSerialised(message)) return unshared(message);
  if (json) return stringify(message);
  throw new Unsayable(
    `a stream that is not JSON takes text or a Uint8Array, not ${nameOf(message)}`,
  );
}

/** Memory that other threads write to is read once: the same bytes are checked and sent. */
function unshared(message: Payload): Payload {
  const shared = typeof message !== "string" && types.isSharedArrayBuffer(message.buffer);
  return shared ? new Uint8Array(message) : message;
}

/** The JSON text of a value, as JSON.stringify writes it; throws {@link Unsayable}. */
export function stringify(value: unknown): string {
  return stringifyPlain(value) ?? stringifyAny(value);
}

/** The JSON text of a value that JSON can say at first sight; undefined for any other. */
export function stringifyPlain(value: unknown): string | undefined {
  try {
    const sight = sightOf(value, 0);
    if (sight === DOUBTFUL) return undefined;
    const text = JSON.stringify(value) as string | undefined;
    return sight === ASKED && text !== undefined && TRACES.test(text) ? undefined : text;
  } catch {
    return undefined; // a getter's mistake, or too long: the closer look says so
  }
}

/**
 * The JSON text of any value, with a closer look where something may be lost; throws {@link
 * Unsayable}.
 */
export function stringifyAny(value: unknown): string {
  if (isBinary(value)) throw new Unsayable(`JSON cannot say ${nameOf(value)}`);
  let text: string | undefined;
  try {
    refuseLosses(value); // it says where, JSON.stringify does not
    text = JSON.stringify(value);
  } catch (thrown) {
    throw thrown instanceof Unsayable ? thrown : new Unsayable(textOf(thrown));
  }
  if (text === undefined) throw new Unsayable(`JSON cannot say ${nameOf(value)}`);
  return text;
}

/** Deeper values, cycles among them, get the closer look. */
const PLAIN_DEPTH = 100;

/** At first sight, JSON says all of a value; or what its `toJSON` gives; or something may be lost. */
type Sight = 0 | 1 | 2;
const PLAIN = 0;
const ASKED = 1;
const DOUBTFUL = 2;

/** The traces of numbers without a value, of functions in arrays, and of what is written empty. */
const TRACES = /null|\{\}/;

function sightOf(value: unknown, depth: number): Sight {
  if (typeof value === "string" || typeof value === "boolean") return PLAIN;
  if (typeof value === "number") return Number.isFinite(value) ? PLAIN : DOUBTFUL;
  if (value === null || value === undefined) return PLAIN;
  if (typeof value !== "object" || depth === PLAIN_DEPTH) return DOUBTFUL;
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON === "function") return isBinary(value) ? DOUBTFUL : ASKED;
  let sight: Sight = PLAIN;
  if (Array.isArray(value)) {
    for (const item of value as unknown[]) {
      const its = sightOf(item, depth + 1);
      if (its === DOUBTFUL) return its;
      if (its === ASKED) sight = its;
    }
    return sight;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    // An error, a map or the like shows here, and is told from a class with such a name later.
    if (Object.prototype.toString.call(value) !== "[object Object]") return DOUBTFUL;
    if (!hasKeys(value)) return DOUBTFUL;
  }
  // Inherited ones too: there are none, and if there were, a closer look does no harm.
  for (const key in value) {
    const its = sightOf((value as Record<string, unknown>)[key], depth + 1);
    if (its === DOUBTFUL) return its;
    if (its === ASKED) sight = its;
  }
  return sight;
}

function hasKeys(value: object): boolean {
  for (const key in value) if (Object.hasOwn(value, key)) return true;
  return false;
}

/** Serialises once more, looking at every value before and after its `toJSON`. */
function refuseLosses(value: unknown): void {
  const paths = new Map<unknown, string>();
  JSON.stringify(value, function (this: Record<string, unknown>, key: string, after: unknown) {
    const before = this[key];
    const holder = paths.get(this);
    const path = holder === undefined ? "" : `${holder}/${escapePointer(key)}`;
    const lost = lossOf(before, after, Array.isArray(this));
    if (lost !== undefined) {
      throw new Unsayable(`JSON cannot say ${lost}${path === "" ? "" : ` at ${path}`}`);
    }
    if (typeof after === "object" && after !== null) paths.set(after, path);
    return after;
  });
}

function lossOf(before: unknown, after: unknown, inArray: boolean): string | undefined {
  if (types.isDate(before) && !isValidDate(before)) return "an invalid Date";
  if (isBinary(before)) return nameOf(before);
  if (typeof after === "bigint") return "a bigint";
  const number = types.isNumberObject(after) ? Number(after) : after;
  if (typeof number === "number" && !Number.isFinite(number)) return String(number);
  if (inArray && (typeof after === "function" || typeof after === "symbol")) return nameOf(after);
  if (typeof after !== "object" || after === null || Array.isArray(after)) return undefined;
  return isRecord(after) || !isHollow(after) ? undefined : nameOf(after);
}

/**
 * Whether an object has its content where JSON does not look: in the engine, as errors, expressions
 * and maps do, or in private fields and accessors, as iterators and `URLSearchParams` do. It would
 * be written without, mostly as `{}`.
 */
function isHollow(value: object): boolean {
  if (types.isBoxedPrimitive(value)) return types.isSymbolObject(value);
  return IN_THE_ENGINE.some((is) => is(value)) || !hasKeys(value);
}

const { isMap, isNativeError, isPromise, isRegExp, isSet, isWeakMap, isWeakSet } = types;
const IN_THE_ENGINE: readonly ((value: unknown) => boolean)[] = [
  isNativeError, isMap, isSet, isRegExp, isPromise, isWeakMap, isWeakSet,
];

function isBinary(value: unknown): boolean {
  return ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value);
}

/** A value as error texts show it: short, and what it is rather than what is in it. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 60));
  return ["number", "boolean"].includes(typeof value) ? String(value) : nameOf(value);
}

function nameOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value !== "object") return `a ${typeof value}`;
  try {
    const name = (value.constructor as { name?: string } | undefined)?.name ?? "Object";
    return name === "Object" ? "an object" : `a value of class ${name}`;
  } catch {
    return "an object"; // it does not say which
  }
}

/** The text of a thrown value. */
export function textOf(thrown: unknown): string {
  try {
    return isError(thrown) ? thrown.message : String(thrown);
  } catch {
    return "what it threw cannot be shown";
  }
}

/** A part of a JSON Pointer (RFC 6901). */
export function escapePointer(part: string): string {
  return part.replace(/~/g, "~0").replace(/\//g, "~1");
}
