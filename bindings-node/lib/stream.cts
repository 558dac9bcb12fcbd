// A stream by its URL.

import { ValidationError, calling, invalidArgument, notSupported } from "./errors.cjs";
import { Unsayable, serialise } from "./json.cjs";
import type { Message } from "./json.cjs";
import { closeResult, flushBeforeExit } from "./lifecycle.cjs";
import type { CloseResult } from "./lifecycle.cjs";
import { native } from "./native.cjs";
import type { NativeStream, Payload } from "./native.cjs";
import { settingsOf } from "./options.cjs";
import type { PlaceOptions, RequestOptions } from "./options.cjs";
import { outcomeFrom } from "./receipt.cjs";
import type { Outcome, OutcomeFields } from "./receipt.cjs";
import { settled, signalOf } from "./wait.cjs";
import type { WaitOptions } from "./wait.cjs";

/** Which stream, and how to reach it. */
export interface DurableStreamOptions extends PlaceOptions, RequestOptions {
  /** The stream's content type, set at creation; by default `application/octet-stream`. */
  contentType?: string | undefined;
  /** How often create, append and close repeat a request after a transient failure; 8. */
  maxRetries?: number | undefined;
  /** Query parameters added to `url`. */
  params?: Readonly<Record<string, string | undefined>> | undefined;
  /** Ends every wait of this handle. */
  signal?: AbortSignal | undefined;
  /** Taken for the official client's sake: appends always travel together. */
  batching?: boolean | undefined;
  /** Taken for the official client's sake: a browser's matter. */
  warnOnHttp?: boolean | undefined;
}

/** The same with the stream's first content. */
export interface CreateOptions extends DurableStreamOptions {
  /** The stream's first content. */
  body?: Message | undefined;
  /** Creating a stream that is closed already is not supported. */
  closed?: false | undefined;
}

/** How one append waits. */
export interface AppendOptions extends WaitOptions {
  /** The stream's own content type, if given at all. */
  contentType?: string | undefined;
}

/** How a stream is ended. */
export interface CloseOptions extends WaitOptions {
  /** A last message, in the same request as the end. */
  body?: Message | undefined;
  /** The stream's own content type, if given at all. */
  contentType?: string | undefined;
}

const OWN = ["params", "signal", "batching", "warnOnHttp", "body", "closed"];

/** A stream by its URL: create it, append to it, end it. */
export class DurableStream {
  readonly #native: NativeStream;
  readonly #signal: AbortSignal | undefined;

  /** A handle on a stream that exists or will exist. Sends nothing. */
  constructor(options: DurableStreamOptions) {
    const { settings, headers } = settingsOf(options, OWN);
    this.#signal = signalOf(options.signal);
    addParams(settings, options.params);
    this.#native = calling(() => new native.Stream(settings, headers));
    flushBeforeExit();
  }

  /** Creates the stream; one with the same configuration that is there already is fine. */
  static async create(options: CreateOptions): Promise<DurableStream> {
    const stream = new DurableStream(options);
    if (options.closed as boolean | undefined) {
      throw notSupported("`closed`: create the stream, then close it");
    }
    const body = options.body === undefined ? "" : stream.#payload(options.body);
    await settled("create", () => stream.#native.create(body), stream.#waiting());
    return stream;
  }

  /** A handle on a stream that exists or will exist. Sends nothing. */
  static async connect(options: DurableStreamOptions): Promise<DurableStream> {
    return new DurableStream(options);
  }

  /** The URL, without user info and query. */
  get url(): string {
    return this.#native.url;
  }

  /** The content type, as given. */
  get contentType(): string {
    return this.#native.contentType;
  }

  /** Appends one message, or what a promise of one resolves to, and waits for its outcome. */
  async append(message: Message | PromiseLike<Message>, options: AppendOptions = {}): Promise<Outcome> {
    const given = isThenable(message) ? await message : message;
    this.#checkAppend(options);
    const payload = this.#payload(given);
    const waiting = this.#waiting(options);
    return outcomeFrom(
      await settled<OutcomeFields>("append", () => this.#native.append(payload), waiting),
    );
  }

  /** Ends the stream: what was appended before is delivered first. */
  async close(options: CloseOptions = {}): Promise<CloseResult> {
    this.#checkAppend(options);
    const body = options.body === undefined ? undefined : this.#payload(options.body);
    const waiting = this.#waiting(options);
    return closeResult(await settled("close", () => this.#native.close(body), waiting));
  }

  #waiting(options: WaitOptions = {}): WaitOptions {
    const { signal = this.#signal, timeoutMs } = options;
    return { signal: signalOf(signal), timeoutMs };
  }

  #checkAppend(options: AppendOptions): void {
    for (const name of ["seq", "producerId", "producerEpoch", "producerSeq"]) {
      if (name in options) {
        throw notSupported(`\`${name}\` is not supported: an append has an identity of its own`);
      }
    }
    const { contentType } = options;
    if (contentType !== undefined && contentType !== this.contentType) {
      throw invalidArgument("contentType", "`contentType` differs from the stream's");
    }
  }

  #payload(message: unknown): Payload {
    try {
      return serialise(message, this.#native.isJson);
    } catch (error) {
      throw error instanceof Unsayable ? unsayable(error, this.url) : error;
    }
  }

  /** @internal */
  static native(stream: unknown): NativeStream {
    if (stream instanceof DurableStream) return stream.#native;
    throw invalidArgument("stream", "the stream is a DurableStream");
  }
}

function unsayable(error: Unsayable, url: string): ValidationError {
  return new ValidationError({
    name: "ValidationError",
    code: "VALIDATION",
    message: error.message,
    reason: "serialization-failed",
    retryable: false,
    definite: true,
    url,
    issues: [{ path: "", message: error.message }],
  });
}

function addParams(settings: string[], params: DurableStreamOptions["params"]): void {
  if (params === undefined) return;
  const at = settings.indexOf("url") + 1;
  const given = settings[at];
  const url = at === 0 ? undefined : parsed(given);
  if (url === undefined) return; // the core says what is wrong with it
  for (const [name, value] of Object.entries(params) as [string, unknown][]) {
    if (value === undefined) continue;
    if (typeof value !== "string") {
      throw invalidArgument("params", `\`params\`: the value of \`${name}\` is not text`);
    }
    url.searchParams.set(name, value);
  }
  settings[at] = url.href;
}

function parsed(url: string | undefined): URL | undefined {
  try {
    return new URL(url ?? "");
  } catch {
    return undefined;
  }
}

function isThenable(value: unknown): value is PromiseLike<Message> {
  return (
    typeof value === "object" &&
    value !== null &&
    typeof (value as { then?: unknown }).then === "function"
  );
}
