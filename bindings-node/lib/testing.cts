/**
 * Tests of a service without a server: a {@link Recorder} takes a server's place within the process.
 *
 * ```js
 * const recorder = new Recorder();
 * process.env.DURABLE_STREAMS_URL = recorder.url;
 * // the code under test opens its producers as ever, writes and flushes
 * const stream = await DurableStream.create({ streamPath: "/shipments", contentType: "application/json" });
 * await stream.append({ id: "ship_123" });
 * assert.deepEqual(recorder.events("/shipments"), [{ id: "ship_123" }]);
 * ```
 */
import { calling, invalidArgument } from "./errors.cjs";
import { shown } from "./json.cjs";
import { native } from "./native.cjs";
import type { NativeRecorder } from "./native.cjs";
import { ownBytes } from "./realms.cjs";

/** Why a recorder rejects writes. */
export type RejectReason = "refused" | "too-large" | "unauthorized";

/**
 * A server of streams within the process, without a socket, for the tests of a service.
 *
 * Whatever is opened below its `url` is the real thing: producers and streams validate, batch, repeat,
 * report and read as with any server. What arrived is read back with `events`; what happens to requests
 * is scripted. Streams are created as on a server, never expire, and cannot be forked.
 *
 * Recorders know nothing of each other: tests that run at the same time have one each. Once a recorder is
 * collected nothing is opened at its URL any more; what is open goes on, with everything delivered.
 */
export class Recorder {
  readonly #native: NativeRecorder = new native.Recorder();

  /** Its base URL, for the option `endpoints` or the environment variable `DURABLE_STREAMS_URL`. */
  get url(): string {
    return this.#native.url;
  }

  /**
   * The messages that a JSON stream received since `clear`, in their order, parsed; none where there is no
   * stream. The events of a transaction stand together and have one `txid`. What was accepted is there
   * once it is delivered: flush before. Throws a `NotSupportedError` for a stream that is not JSON: it has
   * `content`.
   */
  events<T = unknown>(path: string): T[] {
    const text = textOf("path", path);
    return JSON.parse(calling(() => this.#native.events(text))) as T[];
  }

  /**
   * The bytes that a stream received since `clear`; of a JSON stream, its messages as the text of one
   * array. Nothing where there is no stream.
   */
  content(path: string): Uint8Array {
    const text = textOf("path", path);
    return ownBytes(calling(() => this.#native.content(text)));
  }

  /**
   * Forgets what was received so far, for `events` and `content` alone: the streams and the sessions of
   * their producers stay as they are.
   */
  clear(): void {
    calling(() => this.#native.clear());
  }

  /**
   * From now on appends wait for their answers, as with a server that hangs: their writes stay pending.
   * Requests that wait longer than `requestTimeoutMs` are repeated, as ever.
   */
  hold(): void {
    calling(() => this.#native.hold());
  }

  /**
   * Answers the appends that are held, in their order, and holds no more. Throws an
   * `InvalidArgumentError` where it does not hold.
   */
  release(): void {
    calling(() => this.#native.release());
  }

  /**
   * From now on appends that contain a text, or all of them, are refused, and their writes are rejected for
   * this reason. As with any server, a producer parts a refused batch until the writes that contain the text
   * are alone. Credentials (`unauthorized`) are the whole producer's: it fails if no write was acknowledged
   * so far, else it waits until they are accepted.
   */
  reject(containing = "", reason: RejectReason = "refused"): void {
    const [text, why] = [textOf("containing", containing), textOf("reason", reason)];
    calling(() => this.#native.reject(text, why));
  }

  /**
   * From now on another producer holds every id: producers are fenced at their next append, and so is one
   * that restarts.
   */
  fence(): void {
    calling(() => this.#native.fence());
  }

  /**
   * The next `times` requests of any kind, or all of them, find nobody, as when no server listens. They are
   * repeated.
   */
  fail(times?: number): void {
    if (times !== undefined && !(Number.isSafeInteger(times) && times > 0)) {
      throw invalidArgument("times", `\`times\` takes a whole number from 1 on, not ${shown(times)}`);
    }
    calling(() => this.#native.fail(times));
  }

  /**
   * From now on everything is delivered again, as in the beginning: ends what `hold`, `reject`, `fence` and
   * `fail` began, and answers what is held.
   */
  deliver(): void {
    calling(() => this.#native.deliver());
  }
}

function textOf(name: string, value: unknown): string {
  if (typeof value === "string") return value;
  throw invalidArgument(name, `\`${name}\` takes text, not ${shown(value)}`);
}
