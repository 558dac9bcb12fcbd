// Values of any realm: test runners and `node:vm` run programs in others than the addon's own, where
// `instanceof Error` is false for what is one.

import { types } from "node:util";

/** Whether a value is an error. */
export function isError(value: unknown): value is Error {
  return value instanceof Error || types.isNativeError(value);
}

/** Whether a value is an object of names and values, and nothing besides. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return true;
  // The root of another realm: a class that extends null has no such method of its own.
  const above: unknown = Object.getPrototypeOf(prototype);
  return above === null && Object.hasOwn(prototype as object, "isPrototypeOf");
}

/** Whether a value is a Date that names a time. */
export function isValidDate(value: unknown): value is Date {
  return types.isDate(value) && !Number.isNaN(Date.prototype.getTime.call(value));
}

/** Whether a value is a URL object, Node's own or another's. */
export function isUrl(value: unknown): value is URL {
  const isTagged = Object.prototype.toString.call(value) === "[object URL]";
  return isTagged && typeof (value as URL).href === "string";
}

/** Whether a value is a promise or another thenable. */
export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
  try {
    return typeof (value as { then?: unknown }).then === "function";
  } catch {
    return false; // a getter's mistake: serialising says so
  }
}

/** Bytes from the addon as an array of this realm, with the memory they have. */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  if (bytes instanceof Uint8Array) return bytes;
  const { buffer, byteOffset, byteLength } = bytes as Uint8Array;
  return new Uint8Array(buffer, byteOffset, byteLength);
}
