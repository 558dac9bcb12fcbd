// The error classes: one per kind of the core's, same names in every language.

import { camelText, toCamel } from "./names.cjs";
import { isError } from "./realms.cjs";
import type { Receipt } from "./receipt.cjs";

/** One finding of a validator. */
export interface Issue {
  /** Where in the value, as a JSON Pointer (`/address/city`); empty for the whole value. */
  readonly path: string;
  /** The text: what is wrong there. */
  readonly message: string;
}

/**
 * The form in which errors come from the core.
 * @internal
 */
export interface ErrorFields {
  name: string;
  code: string;
  message: string;
  retryable: boolean;
  definite: boolean;
  reason?: string | null;
  url?: string | null;
  status?: number | null;
  option?: string;
  collection?: string;
  key?: string | null;
  issues?: Issue[];
  current_epoch?: number;
  expected_seq?: number;
  received_seq?: number;
  final_offset?: string | null;
  earliest_offset?: string | null;
  delivered?: number;
  undelivered?: number;
  kept?: number;
  cause?: ErrorFields;
}

/** The fields of an error; tests make theirs of a text alone, as of any error. */
function fieldsOf(given: ErrorFields | string | undefined, name: string): ErrorFields {
  if (typeof given === "object") return given;
  const words = name.replace(/Error$/, "").replace(/(?<=[a-z])(?=[A-Z])/g, "_");
  const code = words.toUpperCase();
  return { name, code, message: String(given ?? ""), retryable: false, definite: false };
}

/** The base class of every error of this library. */
export class DurstreamError extends Error {
  /** The kind as a constant, e.g. `STALE_EPOCH`. */
  readonly code: string;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** Whether it is certain that the data is *not* in the stream. */
  readonly definite: boolean;
  /** Why a write was turned away, e.g. `invalid-key`. */
  readonly reason: string | undefined;
  /** The HTTP status, where there was an answer. */
  readonly status: number | undefined;
  /** The stream's URL, without user info and query. */
  readonly url: string | undefined;
  /** The receipts of the messages that `appendMany` accepted before this error. */
  declare receipts?: readonly Receipt[];

  /** @internal */
  constructor(given?: ErrorFields | string, more?: ErrorOptions) {
    const fields = fieldsOf(given, new.target.name);
    const { message: text } = fields;
    const options = fields.cause === undefined ? more : { cause: errorFrom(fields.cause) };
    super(fields.url ? `${text} (${fields.url})` : text, options);
    Object.defineProperty(this, "name", { value: fields.name, configurable: true, writable: true });
    this.code = fields.code;
    this.retryable = fields.retryable;
    this.definite = fields.definite;
    this.reason = fields.reason ?? undefined;
    this.status = fields.status ?? undefined;
    this.url = fields.url ?? undefined;
  }
}

/** An option, URL, schema or argument is missing or wrong. */
export class InvalidArgumentError extends DurstreamError {
  /** The name of the option or argument. */
  readonly option: string;

  /** @internal */
  constructor(given?: ErrorFields | string, more?: ErrorOptions) {
    super(given, more);
    const fields = Object(given) as ErrorFields;
    this.option = fields.option ?? "";
  }
}

/** A value was refused before it was accepted: by the schema, for its key, or as no JSON. */
export class ValidationError extends DurstreamError {
  /** The collection, empty for plain appends. */
  readonly collection: string;
  /** The entity's key, where it was known. */
  readonly key: string | undefined;
  /** The findings of the validator. */
  readonly issues: readonly Issue[];

  /** @internal */
  constructor(given?: ErrorFields | string, more?: ErrorOptions) {
    super(given, more);
    const fields = Object(given) as ErrorFields;
    this.collection = fields.collection ?? "";
    this.key = fields.key ?? undefined;
    this.issues = fields.issues ?? [];
  }
}

/** A write is larger than the producer or the server takes. */
export class TooLargeError extends DurstreamError {}
/** The producer's buffer has no room for the write now. */
export class BufferFullError extends DurstreamError {}
/** The producer is closed, detached or stopped. */
export class ProducerClosedError extends DurstreamError {}

/** Another producer with the same id took over. */
export class StaleEpochError extends DurstreamError {
  /** The epoch the server has now. */
  readonly currentEpoch: number;

  /** @internal */
  constructor(given?: ErrorFields | string, more?: ErrorOptions) {
    super(given, more);
    const fields = Object(given) as ErrorFields;
    this.currentEpoch = fields.current_epoch ?? Number.NaN;
  }
}

/** The server expects another sequence number of this producer. */
export class SequenceGapError extends DurstreamError {
  /** The number the server expects. */
  readonly expectedSeq: number;
  /** The sequence number that was sent. */
  readonly receivedSeq: number;

  /** @internal */
  constructor(given?: ErrorFields | string, more?: ErrorOptions) {
    super(given, more);
    const fields = Object(given) as ErrorFields;
    this.expectedSeq = fields.expected_seq ?? Number.NaN;
    this.receivedSeq = fields.received_seq ?? Number.NaN;
  }
}

/** A `Stream-Seq` was not greater than the last one. */
export class SequenceConflictError extends DurstreamError {}

/** The stream has ended; nothing can be appended. */
export class StreamClosedError extends DurstreamError {
  /** Where the stream ended, if the server said so. */
  readonly finalOffset: string | undefined;

  /** @internal */
  constructor(given?: ErrorFields | string, more?: ErrorOptions) {
    super(given, more);
    const fields = Object(given) as ErrorFields;
    this.finalOffset = fields.final_offset ?? undefined;
  }
}

/** There is no stream at this URL. */
export class StreamNotFoundError extends DurstreamError {}
/**
 * The stream was deleted (of a read: `reason` is `gone`), or the server no longer keeps what a read
 * asked for (`offset-gone`).
 */
export class StreamGoneError extends DurstreamError {
  /** The earliest offset that can still be read, if the server said so. */
  readonly earliestOffset: string | undefined;

  /** @internal */
  constructor(given?: ErrorFields | string, more?: ErrorOptions) {
    super(given, more);
    const fields = Object(given) as ErrorFields;
    this.earliestOffset = fields.earliest_offset ?? undefined;
  }
}
/** A stream with another configuration is at this URL. */
export class StreamExistsError extends DurstreamError {}
/** The server refused the request as conflicting, e.g. for its content type. */
export class ConflictError extends DurstreamError {}
/** The server did not accept the credentials. */
export class UnauthorizedError extends DurstreamError {}
/** The server or this library does not do what was asked. */
export class NotSupportedError extends DurstreamError {}
/** The server's answer breaks the protocol. */
export class ProtocolError extends DurstreamError {}
/** No usable answer: connection refused or cut, or a server-side failure that persisted. */
export class TransportError extends DurstreamError {}
/** A time limit ran out. */
export class TimeoutError extends DurstreamError {}

/** Some writes since the last flush were not delivered; `cause` is the first reason. */
export class DeliveryError extends DurstreamError {
  /** Writes delivered. */
  readonly delivered: number;
  /** Writes refused, cancelled, unknown, kept, or turned away by a full buffer. */
  readonly undelivered: number;
  /** Of these, the writes that stay in the outbox: they are delivered once the producer is opened again. */
  readonly kept: number;
  declare readonly cause: DurstreamError;

  /** @internal */
  constructor(given?: ErrorFields | string, more?: ErrorOptions) {
    super(given, more);
    const fields = Object(given) as ErrorFields;
    this.delivered = fields.delivered ?? 0;
    this.undelivered = fields.undelivered ?? 0;
    this.kept = fields.kept ?? 0;
  }
}

/** The handle was inherited through `fork`; open another one in the child. */
export class ForkedError extends DurstreamError {}
/** A bug in this library, caught at the boundary. */
export class InternalError extends DurstreamError {}
/** Another process, or another producer of this one, has the outbox open. The error names it. */
export class OutboxInUseError extends DurstreamError {}
/** A file of the outbox does not say what it should. The error names the file and the place. */
export class OutboxDamagedError extends DurstreamError {}
/** The outbox cannot be made, opened, written or made durable, or a newer version made it. */
export class OutboxFailedError extends DurstreamError {}

/**
 * Every class by its name.
 * @internal
 */
export const CLASSES: Readonly<Record<string, typeof DurstreamError>> = {
  InvalidArgumentError,
  ValidationError,
  TooLargeError,
  BufferFullError,
  ProducerClosedError,
  StaleEpochError,
  SequenceGapError,
  SequenceConflictError,
  StreamClosedError,
  StreamNotFoundError,
  StreamGoneError,
  StreamExistsError,
  ConflictError,
  UnauthorizedError,
  NotSupportedError,
  ProtocolError,
  TransportError,
  TimeoutError,
  DeliveryError,
  ForkedError,
  InternalError,
  OutboxInUseError,
  OutboxDamagedError,
  OutboxFailedError,
};

/**
 * The error of the core's fields, with options spelled JavaScript's way.
 * @internal
 */
export function errorFrom(fields: ErrorFields): DurstreamError {
  const own = { ...fields, message: camelText(fields.message) };
  if (fields.option !== undefined) own.option = toCamel(fields.option);
  return new (CLASSES[fields.name] ?? DurstreamError)(own);
}

/**
 * A wrong option or argument.
 * @internal
 */
export function invalidArgument(option: string, message: string): InvalidArgumentError {
  const fixed = { name: "InvalidArgumentError", code: "INVALID_ARGUMENT" };
  const texts = { option: bounded(option), message: bounded(message) };
  return new InvalidArgumentError({ ...fixed, ...texts, retryable: false, definite: true });
}

/** How many characters a text of an error has, whatever name is in it: as short as the core's. */
const MAX_TEXT = 600;

function bounded(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}…`;
}

/** @internal */
export function notSupported(message: string): NotSupportedError {
  const fixed = { name: "NotSupportedError", code: "NOT_SUPPORTED" };
  const text = bounded(message);
  return new NotSupportedError({ ...fixed, message: text, retryable: false, definite: true });
}

/** @internal */
export function timedOut(what: string, timeoutMs: number): TimeoutError {
  const message = `${what} did not finish within ${timeoutMs} ms; it goes on`;
  const fixed = { name: "TimeoutError", code: "TIMEOUT" };
  return new TimeoutError({ ...fixed, message, retryable: true, definite: false });
}

/**
 * Calls the native addon; its exceptions become errors of this library.
 * @internal
 */
export function calling<T>(call: () => T): T {
  try {
    return call();
  } catch (thrown) {
    throw errorOf(thrown);
  }
}

/** What the addon's glue says of an argument: the facade has let something through. */
function internal(thrown: Error): InternalError {
  const fixed = { name: "InternalError", code: "INTERNAL", retryable: false, definite: false };
  const error = new InternalError({ ...fixed, message: bounded(thrown.message) });
  Object.defineProperty(error, "cause", { value: thrown, configurable: true, writable: true });
  return error;
}

function errorOf(thrown: unknown): unknown {
  // The addon's exceptions are of the realm that loaded it first.
  const text = isError(thrown) ? thrown.message : String(thrown);
  let fields: ErrorFields;
  try {
    fields = JSON.parse(text) as ErrorFields;
  } catch {
    return isError(thrown) && "code" in thrown ? internal(thrown) : thrown;
  }
  return errorFrom(fields);
}
