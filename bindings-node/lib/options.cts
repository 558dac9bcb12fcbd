// Options: their types are here, their meaning, ranges and defaults in the core's table.

import { invalidArgument, notSupported } from "./errors.cjs";
import type { DurstreamError } from "./errors.cjs";
import { headerFunction } from "./header.cjs";
import type { HeaderValue } from "./header.cjs";
import { shown } from "./json.cjs";
import { optionTable, variableNames } from "./names.cjs";
import { native } from "./native.cjs";
import type { Given } from "./native.cjs";
import { isUrl, isValidDate } from "./realms.cjs";
import type { Lifecycle } from "./lifecycle.cjs";
import type { Outcome } from "./receipt.cjs";
import { optionsOf } from "./wait.cjs";

/** Headers for every request. */
export type HeadersRecord =
  | Readonly<Record<string, HeaderValue>>
  | Iterable<readonly [string, HeaderValue]>;

/** Query parameters for every request. A function in place of a value is not taken. */
export type ParamsRecord =
  | Readonly<Record<string, string | undefined>>
  | Iterable<readonly [string, string]>;

/** A write that was not delivered. */
export interface Failure {
  /** The write's receipt id; 0 for failures that are not about one write. */
  readonly id: number;
  /** Its bytes as the library would have sent them. */
  readonly payload: Uint8Array;
  /** Its outcome. */
  readonly outcome: Outcome;
}

/** Receives every accepted write that was not delivered, on the event loop. */
export type OnError = (error: DurstreamError, failure: Failure) => void;

/** Consecutive writes that were delivered in one batch, as `onDelivery` receives them. */
export interface Delivery {
  /** The receipt id of the first write; the others follow it without a gap. */
  readonly firstId: number;
  /** How many writes there are. */
  readonly count: number;
  /** The outcome they share. */
  readonly outcome: Outcome;
}

/**
 * Receives every write that was delivered, a batch at a time in the order of the calls, on the event
 * loop. Reports that wait count against the buffer.
 */
export type OnDelivery = (delivery: Delivery) => void;

/** A producer went from one state to another, as `onState` receives it. */
export interface StateChange {
  /** The state before. */
  readonly from: Lifecycle;
  /** The state from here on. */
  readonly to: Lifecycle;
  /** The failure that is the reason, where one is. */
  readonly error?: DurstreamError;
}

/** Receives each change of the producer's state, in their order, on the event loop. */
export type OnState = (change: StateChange) => void;

/**
 * The callbacks of one holder.
 * @internal
 */
export interface Callbacks {
  readonly onError: OnError | undefined;
  readonly onDelivery: OnDelivery | undefined;
  readonly onState: OnState | undefined;
}

/** Where a stream is: a full `url`, or a `streamPath` below a base. */
export interface PlaceOptions {
  /** The stream's full URL (http or https). Either this or `streamPath`. */
  url?: string | URL | undefined;
  /** The stream's path below a base URL, e.g. `/shipments`. */
  streamPath?: string | undefined;
  /**
   * Base URLs of one service: tried in turn, and where redirects may lead; by default
   * `DURABLE_STREAMS_URL`, then `services__streams__http__0`.
   */
  endpoints?: string | readonly string[] | undefined;
  /** The path of a base URL that has none, before `streamPath`; by default `/v1/stream`. */
  pathPrefix?: string | undefined;
  /**
   * Certificates of the authorities whose signature a server has to have, in PEM: the text, or the
   * path of a file, which is read again when it was replaced. In place of the system's, which are
   * those of `SSL_CERT_FILE` and `SSL_CERT_DIR` where these are set, and of `NODE_EXTRA_CA_CERTS`.
   */
  caPem?: string | undefined;
  /** The certificate that is shown to servers which want one, in PEM: the text, or a path. */
  clientCertPem?: string | undefined;
  /** The private key of `clientCertPem`, not encrypted; without it the key has to be in there. */
  clientKeyPem?: string | undefined;
  /** The host name that servers have to have in TLS, where it is not the URL's. */
  tlsServerName?: string | undefined;
  /**
   * The proxy of all requests, as a URL, or `none`. Without it `HTTP_PROXY`, `HTTPS_PROXY`,
   * `ALL_PROXY` and `NO_PROXY` say which, as for curl.
   */
  proxy?: string | undefined;
  /** How many connections to one host there are at most, for all streams reached in this way; 16. */
  maxConnections?: number | undefined;
  /** Lifetime in seconds since the last read or write, set at creation. */
  ttlSeconds?: number | undefined;
  /** When the stream expires, set at creation: RFC 3339 text or a Date; not with `ttlSeconds`. */
  expiresAt?: string | Date | undefined;
}

/** How requests are made and repeated. */
export interface RequestOptions {
  /** Headers for every request: values, or functions that give one for each request. */
  headers?: HeadersRecord | undefined;
  /** Query parameters for every request; `offset`, `live` and `cursor` are the library's own. */
  params?: ParamsRecord | undefined;
  /** How long one attempt may go without progress, in milliseconds; 10 000. */
  requestTimeoutMs?: number | undefined;
  /** Pause before the first repeat, in milliseconds; 100. */
  retryInitialDelayMs?: number | undefined;
  /** Longest pause between repeats, in milliseconds; 5 000. */
  retryMaxDelayMs?: number | undefined;
  /** Factor from one pause to the next, at least 1; 2. */
  retryMultiplier?: number | undefined;
  /** Longest `Retry-After` that is honoured, in milliseconds; 60 000. */
  retryAfterMaxMs?: number | undefined;
  /** Not taken: requests are made by the native core. */
  fetch?: undefined;
}

/** How a producer writes. */
export interface WriterOptions extends RequestOptions {
  /** A fixed first epoch; the caller then owns the identity and `autoClaim` is off unless set. */
  epoch?: number | undefined;
  /** Take the id over when the server knows a newer epoch before the first acknowledgement; on. */
  autoClaim?: boolean | undefined;
  /** Add a random suffix to the producer id, so that several workers write side by side; off. */
  shared?: boolean | undefined;
  /** How long an idle producer waits for more writes before it sends, in milliseconds; 0. */
  lingerMs?: number | undefined;
  /** Upper bound for the body of one request, in bytes; a larger single write goes alone. */
  maxBatchBytes?: number | undefined;
  /** Upper bound for the writes in one request. */
  maxBatchItems?: number | undefined;
  /** How many requests may be under way at once. */
  maxInFlight?: number | undefined;
  /** Upper bound for one write, in bytes. */
  maxWriteBytes?: number | undefined;
  /** Upper bound for everything accepted and not settled, in bytes, overhead included. */
  maxBufferBytes?: number | undefined;
  /** Upper bound for the number of writes accepted and not settled; 0 is none. */
  maxBufferItems?: number | undefined;
  /** For other languages: in Node a full buffer answers at once. */
  maxBlockMs?: number | undefined;
  /**
   * How long a write may take from call to outcome, in milliseconds; 0 is without limit, and the default
   * with an outbox.
   */
  deliveryTimeoutMs?: number | undefined;
  /**
   * A folder in which accepted writes are kept until they are settled: what the process had accepted is
   * delivered when the producer is opened again, whatever ended it. Not with `epoch`.
   */
  outboxDir?: string | undefined;
  /** Upper bound for everything accepted and not settled where there is an outbox, in bytes; 1 GiB. */
  outboxMaxBytes?: number | undefined;
  /**
   * What of the outbox survives: `process` (unless told), the death of the process; `batch`, that of the
   * machine for everything that was sent; `write`, that of the machine for everything accepted: each call
   * then blocks the event loop until its write is on disk.
   */
  outboxSync?: "process" | "batch" | "write" | undefined;
  /** What to do with an outbox whose files are damaged: not open, or deliver what is readable. */
  outboxRecovery?: "refuse" | "salvage" | undefined;
  /** What to do when only the server could know whether a write is stored, and it forgot. */
  onUncertain?: "resend" | "report" | undefined;
  /** Aborting begins the shutdown: no new writes, the accepted ones are delivered. */
  signal?: AbortSignal | undefined;
  /** Called for every accepted write that was not delivered. */
  onError?: OnError | undefined;
  /** Called for every accepted write that was delivered, a batch at a time. */
  onDelivery?: OnDelivery | undefined;
  /** Called for each change of the producer's `state`. */
  onState?: OnState | undefined;
}

/** Options of the official client that mean something else here, and what to do instead. */
const NOT_TAKEN: ReadonlyMap<string, string> = new Map([
  ["fetch", "`fetch` is not taken: requests are made by the native core; use `headers`, `url`, `caPem` and `proxy`"],
]);

/**
 * Checks options against the core's table and brings them into the core's form. `own` are handled
 * by the caller.
 */
export function givenOf(options: object, own: readonly string[]): Given {
  const variables = environment();
  const given: Given = { settings: [], headers: [], params: [], variables, askedHeaders: [], asked: [] };
  for (const [name, value] of Object.entries(optionsOf(options)) as [string, unknown][]) {
    if (value === undefined || own.includes(name)) continue;
    const refusal = NOT_TAKEN.get(name);
    if (refusal !== undefined) throw invalidArgument(name, refusal);
    if (name === "headers") addHeaders(given, value);
    else if (name === "params") addParams(given, value);
    else given.settings.push(...settingOf(name, value));
  }
  return given;
}

/** What this realm's environment says: a worker thread has one of its own, and so has each test of Jest. */
function environment(): string[] {
  return variableNames().flatMap((name) => [name, process.env[name] ?? ""]);
}

function addHeaders(given: Given, headers: unknown): void {
  for (const [name, value] of pairsOf("headers", "header", headers)) {
    if (typeof value === "string") {
      given.headers.push(name, value);
    } else {
      given.askedHeaders.push(name);
      given.asked.push(headerFunction(value));
    }
  }
}

function addParams(given: Given, params: unknown): void {
  for (const [name, value] of pairsOf("params", "parameter", params)) {
    if (typeof value !== "string") {
      const text = "give its value, functions are for `headers` alone";
      throw notSupported(`parameter \`${name}\`: ${text}`);
    }
    given.params.push(name, value);
  }
}

function settingOf(name: string, given: unknown): [string, string] {
  const row = optionTable().get(name);
  if (row === undefined) throw unknownOption(name);
  const value = plain(name, given);
  if (typeof value !== row.kind) {
    const article = row.kind === "boolean" ? "true or false" : `a ${row.kind}`;
    throw invalidArgument(name, `\`${name}\` takes ${article}, not ${shown(value)}`);
  }
  return [row.name, String(value)];
}

/** The richer types some options take in JavaScript. */
function plain(name: string, value: unknown): unknown {
  if (name === "url" && isUrl(value)) return value.href;
  if (name === "endpoints" && Array.isArray(value)) return value.map(endpoint).join(",");
  if (name === "expiresAt" && isValidDate(value)) return value.toISOString();
  return value;
}

function endpoint(value: unknown): string {
  if (isUrl(value)) return value.href;
  if (typeof value === "string" && value !== "") return value;
  throw invalidArgument("endpoints", `\`endpoints\` takes URLs as text, not ${shown(value)}`);
}

function unknownOption(name: string): Error {
  const known = [...optionTable().keys(), "headers", "params", "signal", ...CALLBACKS];
  const near = native.nearest(name, known);
  const hint = near === null ? "" : `; did you mean \`${near}\`?`;
  return invalidArgument(name, `there is no option \`${name}\`${hint}`);
}

/** Names and values, text or functions, from an object of them or from pairs. */
function pairsOf(option: string, what: string, given: unknown): [string, string | (() => unknown)][] {
  if (typeof given !== "object" || given === null) {
    throw invalidArgument(option, `\`${option}\` takes an object of names and values`);
  }
  const pairs: Iterable<unknown> =
    Symbol.iterator in given ? (given as Iterable<unknown>) : Object.entries(given);
  const found: [string, string | (() => unknown)][] = [];
  for (const pair of pairs) {
    const [name, value] = Array.isArray(pair) ? (pair as unknown[]) : [];
    if (typeof name !== "string") {
      // What it is may be a secret.
      throw invalidArgument(option, `\`${option}\` takes an object of names and values, or pairs`);
    }
    if (value === undefined) continue;
    if (typeof value !== "string" && typeof value !== "function") {
      throw invalidArgument(option, `the value of ${what} \`${name}\` is not text`);
    }
    found.push([name, value as string | (() => unknown)]);
  }
  return found;
}

/** The word for `live`, for the core, which checks it. */
export function liveOf(live: unknown): string {
  if (typeof live === "boolean") return live ? "auto" : "off";
  return typeof live === "string" ? live : shown(live);
}

/** The names of the callbacks. */
export const CALLBACKS = ["onError", "onDelivery", "onState"] as const;

/**
 * The callbacks, checked.
 * @internal
 */
export function callbacksOf(options: WriterOptions): Callbacks {
  for (const name of CALLBACKS) {
    const value: unknown = options[name];
    if (value !== undefined && typeof value !== "function") {
      throw invalidArgument(name, `\`${name}\` takes a function, not ${shown(value)}`);
    }
  }
  const { onError, onDelivery, onState } = options;
  return { onError, onDelivery, onState };
}
