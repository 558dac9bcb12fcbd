// Messages: text as it is, values as JSON, and the values that JSON cannot say.

import { types } from "node:util";
import type { Payload } from "./native.cjs";

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

// The traces that JSON.stringify leaves where it silently lost something: numbers without a value
// and functions in arrays (null), maps, sets, promises and ArrayBuffers ({}), Uint8Array, Buffer.
const SUSPICIOUS = /null|\{\}|\{"0":|"type":"Buffer"/;

/** The JSON text of a value, as JSON.stringify writes it; throws {@link Unsayable}. */
export function stringify(value: unknown): string {
  return stringifyPlain(value) ?? stringifyAny(value);
}

/** The JSON text of a value that JSON can say at first sight; undefined for any other. */
export function stringifyPlain(value: unknown): string | undefined {
  try {
    return isPlain(value, 0) ? JSON.stringify(value) : undefined;
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
    text = JSON.stringify(value);
    if (text !== undefined && SUSPICIOUS.test(text)) refuseLosses(value);
  } catch (thrown) {
    throw thrown instanceof Unsayable ? thrown : new Unsayable(textOf(thrown));
  }
  if (text === undefined) throw new Unsayable(`JSON cannot say ${nameOf(value)}`);
  return text;
}

/** Deeper values, cycles among them, get the closer look. */
const PLAIN_DEPTH = 100;

/** Whether JSON says all of a value; quick, and false where only a closer look can tell. */
function isPlain(value: unknown, depth: number): boolean {
  if (typeof value === "string" || typeof value === "boolean") return true;
  if (typeof value === "number") return Number.isFinite(value);
  if (value === null || value === undefined) return true;
  if (typeof value !== "object" || depth === PLAIN_DEPTH) return false;
  if ((value as { toJSON?: unknown }).toJSON !== undefined) return false;
  if (Array.isArray(value)) return value.every((item) => isPlain(item, depth + 1));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  // Inherited ones too: there are none, and if there were, a closer look does no harm.
  for (const key in value) {
    if (!isPlain((value as Record<string, unknown>)[key], depth + 1)) return false;
  }
  return true;
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
  if (before instanceof Date && Number.isNaN(before.getTime())) return "an invalid Date";
  if (isBinary(before)) return nameOf(before);
  const number = after instanceof Number ? Number(after) : after;
  if (typeof number === "number" && !Number.isFinite(number)) return String(number);
  if (inArray && (typeof after === "function" || typeof after === "symbol")) return nameOf(after);
  const emptied =
    types.isMap(after) || types.isSet(after) || types.isPromise(after) || types.isWeakMap(after);
  return emptied ? nameOf(after) : undefined;
}

function isBinary(value: unknown): boolean {
  return ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value);
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
    return thrown instanceof Error ? thrown.message : String(thrown);
  } catch {
    return "what it threw cannot be shown";
  }
}

/** A part of a JSON Pointer (RFC 6901). */
export function escapePointer(part: string): string {
  return part.replace(/~/g, "~0").replace(/\//g, "~1");
}
