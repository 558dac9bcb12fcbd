// The writer of entity state: one per stream path in a process.

import { Producer } from "./both.cjs";
import { DurstreamError, calling, invalidArgument } from "./errors.cjs";
import type { Issue } from "./errors.cjs";
import { Unsayable, isSerialised, shown, stringify } from "./json.cjs";
import { flushBeforeExit } from "./exit.cjs";
import { listenerOf } from "./failures.cjs";
import { closeResult } from "./lifecycle.cjs";
import type { CloseResult, FlushReport } from "./lifecycle.cjs";
import { native } from "./native.cjs";
import type { NativeState, NativeWait, NativeWrite, Payload } from "./native.cjs";
import { givenOf, onErrorOf } from "./options.cjs";
import type { OnError, PlaceOptions, WriterOptions } from "./options.cjs";
import type { Receipt, Reason } from "./receipt.cjs";
import { StreamSchema, validated } from "./schema.cjs";
import type { Collection, Collections, InferInput } from "./schema.cjs";
import { optionsOf, signalOf } from "./wait.cjs";
import type { WaitOptions } from "./wait.cjs";

/** The stream, its schema, and how to write. */
export interface StateProducerOptions<C extends Collections> extends PlaceOptions, WriterOptions {
  /** The stream's collections. */
  schema: StreamSchema<C>;
  /** The stable identity for deduplication: 1 to 256 visible ASCII characters. */
  producerId: string;
  /** Throw for a refused upsert or delete, in place of a rejected receipt. */
  strict?: boolean | undefined;
}

/** How a state producer is closed. */
export interface StateCloseOptions extends WaitOptions {
  /** End the *stream* too, for everybody. */
  endStream?: boolean | undefined;
}

/** The schema, `onError` and signal of one holder. */
interface Own {
  readonly schema: unknown;
  readonly signal: AbortSignal | undefined;
  readonly onError: OnError | undefined;
}

const OWN = ["schema", "signal", "onError"];
const TOKEN = Symbol("createDurableStream");

/**
 * Publishes the state of entities to one stream, each change exactly once, in call order. Each open
 * is a holder: while it is one, its `onError` is called for every write that is not delivered. Its
 * own validators check its writes, and its signal begins the end.
 */
export class StateProducer<C extends Collections = Collections> extends Producer {
  readonly #native: NativeState;
  readonly #upserters = new Map<string, NativeWrite>();
  readonly #schema: StreamSchema<C>;
  readonly #own: Own;
  /** Opens that returned this object: nothing tells them apart, so it lets go with the last one. */
  #opens = 1;

  /** @internal */
  constructor(token: symbol, state: NativeState, schema: StreamSchema<C>, own: Own) {
    if (token !== TOKEN) {
      throw invalidArgument("options", "open a state producer with createDurableStream");
    }
    super(state, own.onError, own.signal);
    this.#native = state;
    this.#schema = schema;
    this.#own = own;
  }

  /** @internal */
  static open<C extends Collections>(options: StateProducerOptions<C>): StateProducer<C> {
    const given = givenOf(options, OWN);
    const schema = StreamSchema.native(options.schema);
    const [signal, onError] = [signalOf(options.signal), onErrorOf(options.onError)];
    const own: Own = { schema: options.schema, signal, onError };
    const state = calling(() => new native.State(schema, given, listenerOf(onError)));
    const { url } = state;
    const handles = (opened.get(url) ?? []).filter((handle) => handle.deref() !== undefined);
    const known = handles
      .map((handle) => handle.deref())
      .find((handle) => handle !== undefined && handle.#isFor(state, own));
    let producer = known as StateProducer<C> | undefined;
    if (producer === undefined) {
      producer = new StateProducer<C>(TOKEN, state, options.schema, own);
      handles.push(new WeakRef(producer as unknown as StateProducer));
    } else {
      producer.#opens += 1;
      state.release();
    }
    opened.set(url, handles);
    flushBeforeExit();
    return producer;
  }

  /** Whether an open gets this object again: nothing tells the two holders apart. */
  #isFor(state: NativeState, own: Own): boolean {
    const { schema, signal, onError } = this.#own;
    const isLike = own.schema === schema && own.signal === signal && own.onError === onError;
    return isLike && this.#native.isSame(state);
  }

  #leave(): void {
    this.forgetSignal();
    const others = (opened.get(this.url) ?? []).filter((other) => {
      const producer: unknown = other.deref();
      return producer !== undefined && producer !== this;
    });
    if (others.length === 0) opened.delete(this.url);
    else opened.set(this.url, others);
  }

  /**
   * Publishes an entity's whole new state. A write that cannot be accepted gets a rejected receipt,
   * and nothing is sent: unknown collection, missing primary key, a value the schema refuses, a
   * full buffer.
   */
  upsert<K extends keyof C & string>(collection: K, value: InferInput<C[K]["schema"]>): Receipt {
    return this.#upsert(collection, value);
  }

  /** Publishes an entity's whole new state from JSON text, which reaches the stream unchanged. */
  upsertJson<K extends keyof C & string>(collection: K, text: string | Uint8Array): Receipt {
    if (isSerialised(text)) return this.#upsert(collection, text);
    const wrong = `the JSON text of an entity is a string or a Uint8Array, not ${shown(text)}`;
    return this.#refuse(collection, "invalid-value", undefined, wrong);
  }

  /** Publishes that an entity is gone, by its key as `upsert` takes it. */
  delete<K extends keyof C & string>(collection: K, key: string | number | boolean): Receipt {
    const text = ["number", "bigint", "boolean"].includes(typeof key) ? String(key) : key;
    if (typeof text !== "string" || (typeof key === "number" && !Number.isFinite(key))) {
      const wrong = `a key is text, a number, true or false, not ${shown(key)}`;
      return this.#refuse(collection, "invalid-key", undefined, wrong);
    }
    return this.receiptOf(this.#native.delete(nameText(collection), text));
  }

  /** Flushes and stops the producer, for all holders. With `endStream`, ends the stream. */
  close(options: StateCloseOptions & { endStream: true }): Promise<CloseResult>;
  close(options?: StateCloseOptions): Promise<FlushReport>;
  async close(options: StateCloseOptions = {}): Promise<FlushReport | CloseResult> {
    if (optionsOf(options).endStream) {
      const end = (): NativeWait => this.#native.closeStream();
      const result = await this.waiting<{ finalOffset: string | null }>("close", end, options);
      this.#leave();
      return closeResult(result);
    }
    const close = (): NativeWait => {
      this.#leave();
      return this.#native.close();
    };
    return this.waiting<FlushReport>("close", close, options);
  }

  /** Ends now: pending writes settle as `cancelled` or `delivery-unknown`. */
  stop(): void {
    this.#leave();
    calling(() => this.#native.stop());
  }

  /**
   * Flushes and lets this holder go at the end of `await using`; the last one lets the producer go.
   * Its `onError` is called for the writes accepted before, and for no later ones; the holder
   * writes no more, and ends nothing that others hold.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.waiting<FlushReport>("flush", () => {
      const flushed = this.#native.flush();
      this.#opens -= 1;
      if (this.#opens <= 0) {
        this.#leave();
        this.#native.release();
      }
      return flushed;
    });
  }

  #upsert(name: string, given: unknown): Receipt {
    const collection = this.#schema.get(name);
    if (collection === undefined) return this.#refuse(name, "invalid-entity", undefined);
    let payload: Payload;
    try {
      if (collection.validator === undefined) {
        payload = isSerialised(given) ? given : stringify(given);
      } else {
        const value = isSerialised(given) ? parse(given) : given;
        const verdict = validated(name, collection.validator, value);
        if ("issues" in verdict) {
          const { issues, thrown } = verdict;
          return because(thrown, () => this.#invalid(name, collection, value, issues));
        }
        // Text that the validator left unchanged stays as it is, byte for byte.
        const untouched = isSerialised(given) && verdict.value === value;
        payload = untouched ? given : stringify(verdict.value);
      }
    } catch (error) {
      if (!(error instanceof Unsayable)) throw error;
      const reason = error instanceof NotJson ? "invalid-value" : "serialization-failed";
      return this.#refuse(name, reason, keyOf(given, collection), error.message);
    }
    return this.receiptOf(this.#upserter(name)(payload));
  }

  #upserter(name: string): NativeWrite {
    let upsert = this.#upserters.get(name);
    if (upsert === undefined) {
      upsert = calling(() => this.#native.upserter(name));
      this.#upserters.set(name, upsert);
    }
    return upsert;
  }

  #invalid(name: string, collection: Collection, value: unknown, issues: Issue[]): Receipt {
    const key = keyOf(value, collection);
    if (key === undefined && typeof value === "object" && value !== null) {
      // The missing key comes first, whatever else is wrong with the entity.
      return this.#refuse(name, "invalid-key", undefined);
    }
    const flat = issues.flatMap((issue) => [issue.path, issue.message]);
    return this.receiptOf(this.#native.refuse(name, "invalid-value", key, flat));
  }

  /** Without a message the core says what is wrong: there is no such collection, or no key. */
  #refuse(name: string, reason: Reason, key: string | undefined, message?: string): Receipt {
    const issues = message === undefined ? [] : ["", message];
    return this.receiptOf(this.#native.refuse(nameText(name), reason, key, issues));
  }
}

if (Symbol.asyncDispose === undefined) {
  Reflect.deleteProperty(StateProducer.prototype, "undefined");
}

/** This thread's handles by URL, to find the object that an open gets again. */
const opened = new Map<string, WeakRef<StateProducer>[]>();

/**
 * Opens the writer of entity state for a stream, or becomes a holder of the open one: there is one
 * per stream. An open with the `schema`, `onError` and `signal` of an earlier one gets the same
 * object, any other open a handle of its own. Only the header functions of the first open are
 * called. Sends nothing itself, so that it may start before its server does.
 */
export function createDurableStream<C extends Collections>(
  options: StateProducerOptions<C>,
): StateProducer<C> {
  return StateProducer.open(options);
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
function nameText(name: unknown): string {
  return typeof name === "string" ? name : shown(name);
}

/** Makes what a validator threw the cause of the refusal's error, thrown or in the receipt. */
function because(thrown: { readonly cause: unknown } | undefined, refuse: () => Receipt): Receipt {
  const explain = (error: unknown): void => {
    if (thrown === undefined || !(error instanceof DurstreamError)) return;
    const { cause: value } = thrown;
    Object.defineProperty(error, "cause", { value, configurable: true, writable: true });
  };
  try {
    const receipt = refuse();
    explain(receipt.refusal?.error);
    return receipt;
  } catch (error) {
    explain(error);
    throw error;
  }
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
