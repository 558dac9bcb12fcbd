// What a change says beside its entity: its transaction, time, further headers, key and old value.

import { Unsayable, isSerialised, shown, stringify } from "./json.cjs";
import { HALF, keyText } from "./key.cjs";
import type { Key } from "./key.cjs";
import type { Payload } from "./native.cjs";
import { isRecord, isValidDate } from "./realms.cjs";
import type { Reason } from "./receipt.cjs";

/** What an event says beside its entity. */
export interface EventOptions {
  /**
   * The transaction that the change belongs to, not empty. A reader that made the change before, such
   * as a browser that shows it at once, waits for it (`awaitTxId`).
   */
  txid?: string | undefined;
  /** When the change happened: a Date, a time in RFC 3339, or `true` for now. */
  timestamp?: string | Date | boolean | undefined;
  /**
   * Further headers, by name. The protocol's own names are refused, and with `operations: "strict"`
   * all are.
   */
  headers?: Readonly<Record<string, string>> | undefined;
}

/** What an event with a value says beside it. */
export interface ValueOptions extends EventOptions {
  /** The key where the value does not hold it. One that it holds has to be the same. */
  key?: Key | undefined;
}

/** What an event says beside its entity that had a state before. */
export interface OldValue<V> {
  /** The entity's state before, as a value or as JSON text. */
  oldValue?: V | string | Uint8Array | undefined;
}

/** A message about the stream, in place of an entity. */
export type Control = "snapshot-start" | "snapshot-end" | "reset";

/** As the addon takes it. */
export interface Said {
  readonly txid: string | undefined;
  readonly timestamp: string | undefined;
  /** Names and values in turn. */
  readonly headers: string[];
  readonly key: string | undefined;
  readonly oldValue: Payload | undefined;
}

/** An event cannot say this. */
export class Unfit extends Error {
  constructor(
    readonly reason: Reason,
    why: string,
  ) {
    super(why);
  }
}

/**
 * What is told beside a change; undefined for nothing. Throws {@link Unfit} or `NoKey`; the core checks
 * the rest.
 */
export function saidOf(how: unknown): Said | undefined {
  if (how === undefined) return undefined;
  if (!isRecord(how)) throw headersUnfit(`options that are no object: ${shown(how)}`);
  const { txid, timestamp, headers, key, oldValue } = how;
  return {
    txid: txid === undefined ? undefined : textOf("a `txid`", txid),
    timestamp: timeOf(timestamp),
    headers: headers === undefined ? [] : pairsOf(headers),
    key: key === undefined ? undefined : keyText(key),
    oldValue: oldValue === undefined ? undefined : oldOf(oldValue),
  };
}

function headersUnfit(what: string): Unfit {
  return new Unfit("invalid-headers", `the event has ${what}`);
}

function textOf(what: string, value: unknown): string {
  if (typeof value !== "string") throw headersUnfit(`${what} that is no text: ${shown(value)}`);
  if (HALF.test(value)) throw headersUnfit(`${what} that holds half of a surrogate pair`);
  return value;
}

function timeOf(timestamp: unknown): string | undefined {
  if (timestamp === undefined || timestamp === false) return undefined;
  if (timestamp === true) return "now";
  if (isValidDate(timestamp)) return timestamp.toISOString();
  const time = textOf("a `timestamp`", timestamp);
  return time === "now" ? "`now`" : time; // only `true` is the time of the call
}

function pairsOf(headers: unknown): string[] {
  if (!isRecord(headers)) throw headersUnfit(`\`headers\` that are no object: ${shown(headers)}`);
  return Object.entries(headers).flatMap(([name, value]) => [
    textOf("a header's name", name),
    textOf(`a header \`${name}\``, value),
  ]);
}

function oldOf(value: unknown): Payload {
  if (isSerialised(value)) return value;
  try {
    return stringify(value);
  } catch (error) {
    if (!(error instanceof Unsayable)) throw error;
    throw new Unfit("serialization-failed", `the old value: ${error.message}`);
  }
}
