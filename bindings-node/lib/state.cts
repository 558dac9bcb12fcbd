// The writer of entity state: one per stream path in a process.

import { Producer } from "./both.cjs";
import { DurstreamError, calling, invalidArgument } from "./errors.cjs";
import { NOTHING, changeLater, changeOf, deleteOf, nameText } from "./changes.cjs";
import type { Change, Refusal, Verb } from "./changes.cjs";
import type { Control, EventOptions, OldValue, Said, ValueOptions } from "./event.cjs";
import { isSerialised, shown } from "./json.cjs";
import { flushBeforeExit } from "./exit.cjs";
import { listenerOf } from "./failures.cjs";
import { closeResult } from "./lifecycle.cjs";
import type { CloseResult, FlushReport } from "./lifecycle.cjs";
import { native } from "./native.cjs";
import type { NativeState, NativeWait, NativeWrite, Payload } from "./native.cjs";
import { CALLBACKS, callbacksOf, givenOf } from "./options.cjs";
import type { Callbacks, PlaceOptions, WriterOptions } from "./options.cjs";
import type { Receipt } from "./receipt.cjs";
import { StreamSchema } from "./schema.cjs";
import type { Collections, InferInput, KeyOrEntity } from "./schema.cjs";
import { currentContext, traced, tracedSaid } from "./trace.cjs";
import { Transaction, isSync } from "./transaction.cjs";
import type { Transacted } from "./transaction.cjs";
import { optionsOf, signalOf } from "./wait.cjs";
import type { WaitOptions } from "./wait.cjs";

/** The stream, its schema, and how to write. */
export interface StateProducerOptions<C extends Collections> extends PlaceOptions, WriterOptions {
  /** The stream's collections. */
  schema: StreamSchema<C>;
  /** The stable identity for deduplication: 1 to 256 visible ASCII characters. */
  producerId: string;
  /** Give each event that has no timestamp of its own the time of the call. */
  timestamps?: boolean | undefined;
  /**
   * What an upsert becomes: `upsert`, which the reference libraries take although the protocol's
   * published schema does not; or `strict`, by which every event passes that schema: `insert` for the
   * first upsert of a key that this producer makes, `update` after it, and no headers but `txid` and
   * `timestamp`.
   */
  operations?: "upsert" | "strict" | undefined;
  /** How many keys are remembered with `strict` operations, 1 000 000 unless told. */
  maxTrackedKeys?: number | undefined;
  /**
   * Events carry the context of the trace that their call belongs to, in the headers `traceparent` and
   * `tracestate`, unless `operations` is `strict`: that of OpenTelemetry's current span.
   */
  trace?: boolean | undefined;
  /** Throw for a refused upsert or delete, in place of a rejected receipt. */
  strict?: boolean | undefined;
}

/** How a state producer is closed. */
export interface StateCloseOptions extends WaitOptions {
  /** End the *stream* too, for everybody. */
  endStream?: boolean | undefined;
}

/** The schema, callbacks and signal of one holder. */
interface Own {
  readonly schema: unknown;
  readonly signal: AbortSignal | undefined;
  readonly callbacks: Callbacks;
}

/** What is each holder's own. */
export const OWN = ["schema", "signal", ...CALLBACKS];
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
  /** Whether events carry the context of their trace. */
  readonly #isTraced: boolean;
  /** The last change by `upsertAsync`. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Opens that returned this object: nothing tells them apart, so it lets go with the last one. */
  #opens = 1;

  /** @internal */
  constructor(
    token: symbol,
    state: NativeState,
    schema: StreamSchema<C>,
    own: Own,
    isTraced: boolean,
  ) {
    if (token !== TOKEN) {
      throw invalidArgument("options", "open a state producer with createDurableStream");
    }
    super(state, own.callbacks.onError, own.signal);
    this.#native = state;
    this.#schema = schema;
    this.#own = own;
    this.#isTraced = isTraced;
  }

  /** @internal */
  static open<C extends Collections>(options: StateProducerOptions<C>): StateProducer<C> {
    const given = givenOf(options, OWN);
    const schema = StreamSchema.native(options.schema);
    const [signal, callbacks] = [signalOf(options.signal), callbacksOf(options)];
    const own: Own = { schema: options.schema, signal, callbacks };
    const state = calling(() => new native.State(schema, given, listenerOf(callbacks)));
    const { url } = state;
    const handles = (opened.get(url) ?? []).filter((handle) => handle.deref() !== undefined);
    const known = handles
      .map((handle) => handle.deref())
      .find((handle) => handle !== undefined && handle.#isFor(state, own));
    let producer = known as StateProducer<C> | undefined;
    if (producer === undefined) {
      producer = new StateProducer<C>(TOKEN, state, options.schema, own, options.trace === true);
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
    const { schema, signal, callbacks } = this.#own;
    const isLike = own.schema === schema && own.signal === signal;
    const isSame = CALLBACKS.every((name) => own.callbacks[name] === callbacks[name]);
    return isLike && isSame && this.#native.isSame(state);
  }

  /** @internal */
  override leave(): void {
    super.leave();
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
   * full buffer, or something that an event cannot say (`invalid-headers`).
   */
  upsert<K extends keyof C & string>(
    collection: K,
    value: InferInput<C[K]["schema"]>,
    how?: ValueOptions,
  ): Receipt {
    return this.#put("upsert", collection, value, how);
  }

  /**
   * Publishes an entity's whole new state as `upsert` does, once its validator has answered with a
   * promise. Changes by `upsertAsync` stand in the stream in the order of its calls, however long each
   * validator takes; one that never answers holds up those behind it. Other calls are not held up, and
   * `flush` knows of the change only once the promise here is fulfilled. What is written is what the value
   * was at the call, or what the validator makes of it. Rejected where `upsert`
   * throws, and fulfilled with a rejected receipt where that returns one.
   */
  upsertAsync<K extends keyof C & string>(
    collection: K,
    value: InferInput<C[K]["schema"]>,
    how?: ValueOptions,
  ): Promise<Receipt> {
    const context = this.#isTraced ? currentContext() : [];
    const decided = changeLater(this.#schema, collection, value, how).then(
      (change) => () => this.#written("upsert", collection, traced(change, context)),
      (error: unknown) => (): never => {
        throw error;
      },
    );
    const receipt = this.#turn.then(() => decided).then((write) => write());
    this.#turn = receipt.catch(() => undefined);
    return receipt;
  }

  /** Publishes an entity that is new, otherwise as `upsert`: that it is new is the caller's word. */
  insert<K extends keyof C & string>(
    collection: K,
    value: InferInput<C[K]["schema"]>,
    how?: ValueOptions,
  ): Receipt {
    return this.#put("insert", collection, value, how);
  }

  /**
   * Publishes the whole new state of an entity that is there, otherwise as `upsert`: that it is there
   * is the caller's word.
   */
  update<K extends keyof C & string>(
    collection: K,
    value: InferInput<C[K]["schema"]>,
    how?: ValueOptions & OldValue<InferInput<C[K]["schema"]>>,
  ): Receipt {
    return this.#put("update", collection, value, how);
  }

  /**
   * Publishes entities' whole new states in order, each as `upsert`. With `strict`, the entities
   * behind a refused one are not written.
   */
  upsertMany<K extends keyof C & string>(
    collection: K,
    values: Iterable<InferInput<C[K]["schema"]>>,
    how?: EventOptions,
  ): Receipt[] {
    if (typeof Object(values)[Symbol.iterator] !== "function") {
      const text = `takes an iterable of entities, not ${shown(values)}`;
      throw invalidArgument("values", `\`values\` ${text}`);
    }
    return Array.from(values, (value) => this.#put("upsert", collection, value, how));
  }

  /** Publishes an entity's whole new state from JSON text, which reaches the stream unchanged. */
  upsertJson<K extends keyof C & string>(
    collection: K,
    text: string | Uint8Array,
    how?: ValueOptions,
  ): Receipt {
    if (isSerialised(text)) return this.#put("upsert", collection, text, how);
    const wrong = `the JSON text of an entity is a string or a Uint8Array, not ${shown(text)}`;
    const issues = ["", wrong];
    return this.#refuse(collection, { reason: "invalid-value", key: undefined, issues });
  }

  /**
   * Publishes that an entity is gone, by its key as `upsert` takes it, or by the primary key of the
   * entity.
   */
  delete<K extends keyof C & string>(
    collection: K,
    keyOrEntity: KeyOrEntity<C[K]["schema"]>,
    how?: EventOptions & OldValue<InferInput<C[K]["schema"]>>,
  ): Receipt {
    const change = deleteOf(this.#schema, collection, keyOrEntity, how);
    if ("reason" in change) return this.#refuse(collection, change);
    const { key } = change;
    const said = this.#isTraced ? tracedSaid(change.said, currentContext()) : change.said;
    if (said === undefined) return this.receiptOf(this.#native.delete(nameText(collection), key));
    return this.#change("delete", collection, "", { ...said, key });
  }

  /**
   * Publishes a message about the stream, in order with the changes. `offset` is the place in the
   * stream that it speaks of.
   */
  control(control: Control, { offset }: { offset?: string | undefined } = {}): Receipt {
    if (typeof control !== "string") {
      throw invalidArgument("control", `\`control\` takes text, not ${shown(control)}`);
    }
    if (offset !== undefined && typeof offset !== "string") {
      throw invalidArgument("offset", `\`offset\` takes text, not ${shown(offset)}`);
    }
    return this.receiptOf(calling(() => this.#native.control(control, offset)));
  }

  /**
   * Sends the changes that a function adds as one group: they travel in one request, nothing else of this
   * producer stands between them in the stream, and all of them are stored or none is. The function is
   * synchronous; what it throws is thrown, and nothing is sent. `txid` is the transaction's id, a new UUID
   * unless given: a reader that made the changes before waits for it (`awaitTxId`).
   *
   * A change that is refused makes the receipt a rejected one, which says of all refused changes; so does a
   * group that is larger than `maxWriteBytes`, `maxBatchItems` or the buffer (`too-large`).
   */
  transaction<T>(txid: string, add: (changes: Transaction<C>) => T): Transacted<T>;
  transaction<T>(add: (changes: Transaction<C>) => T): Transacted<T>;
  transaction<T>(
    ...given: [string, (changes: Transaction<C>) => T] | [(changes: Transaction<C>) => T]
  ): Transacted<T> {
    const [txid, add] = given.length === 1 ? [undefined, given[0]] : given;
    if (txid !== undefined && typeof txid !== "string") {
      throw invalidArgument("txid", `\`txid\` takes text, not ${shown(txid)}`);
    }
    if (typeof add !== "function") {
      throw invalidArgument("transaction", `\`transaction\` takes a function, not ${shown(add)}`);
    }
    const begun = calling(() => this.#native.begin(txid));
    try {
      const value = add(new Transaction(begun, this.#schema, this.#isTraced));
      if (!isSync(value)) {
        throw invalidArgument("transaction", "the function of a transaction is not asynchronous");
      }
      const committed = calling(() => begun.commit());
      const receipt = committed === null ? undefined : this.receiptOf(committed);
      return { txid: begun.txid, receipt, value };
    } finally {
      begun.rollback();
    }
  }

  /** Flushes and stops the producer, for all holders. With `endStream`, ends the stream. */
  close(options: StateCloseOptions & { endStream: true }): Promise<CloseResult>;
  close(options?: StateCloseOptions): Promise<FlushReport>;
  async close(options: StateCloseOptions = {}): Promise<FlushReport | CloseResult> {
    if (optionsOf(options).endStream) {
      const end = (): NativeWait => this.#native.closeStream();
      const result = await this.waiting<{ finalOffset: string | null }>("close", end, options);
      this.leave();
      return closeResult(result);
    }
    const close = (): NativeWait => {
      this.leave();
      return this.#native.close();
    };
    return this.waiting<FlushReport>("close", close, options);
  }

  /**
   * Ends now: pending writes settle as `cancelled` or `delivery-unknown`; with an outbox as `kept`, and
   * they stay there.
   */
  stop(): void {
    this.leave();
    calling(() => this.#native.stop());
  }

  /**
   * Flushes and lets this holder go; the last one lets the producer go, and the stream stays open. Its
   * `onError` is called for the writes accepted before, and for no later ones; the holder writes no
   * more, and ends nothing that others hold. Rejects as `flush` does; after a time limit it is let go
   * all the same, and what is pending is still delivered.
   */
  detach(options?: WaitOptions): Promise<FlushReport> {
    const detach = (): NativeWait => {
      const flushed = this.#native.flush();
      this.#opens -= 1;
      if (this.#opens <= 0) {
        this.leave();
        this.#native.release();
      }
      return flushed;
    };
    return this.waiting<FlushReport>("detach", detach, options);
  }

  /** Detaches at the end of `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.detach();
  }

  #put(verb: Verb, name: string, given: unknown, how: unknown): Receipt {
    const change = changeOf(this.#schema, name, given, how);
    return this.#written(verb, name, this.#isTraced ? traced(change, currentContext()) : change);
  }

  #written(verb: Verb, name: string, change: Change | Refusal): Receipt {
    if ("reason" in change) return this.#refuse(name, change);
    const { payload, said } = change;
    if (said === undefined && verb === "upsert") {
      return this.receiptOf(this.#upserter(name)(payload));
    }
    return this.#change(verb, name, payload, said ?? NOTHING);
  }

  #change(verb: Verb | "delete", name: string, value: Payload, said: Said): Receipt {
    const { txid, timestamp, headers, key, oldValue } = said;
    return this.receiptOf(
      this.#native.change(verb, name, value, headers, txid, timestamp, key, oldValue),
    );
  }

  #upserter(name: string): NativeWrite {
    let upsert = this.#upserters.get(name);
    if (upsert === undefined) {
      upsert = calling(() => this.#native.upserter(name));
      this.#upserters.set(name, upsert);
    }
    return upsert;
  }

  #refuse(name: string, { reason, key, issues, thrown }: Refusal): Receipt {
    const refuse = () => this.receiptOf(this.#native.refuse(nameText(name), reason, key, issues));
    return because(thrown, refuse);
  }
}

if (Symbol.asyncDispose === undefined) {
  Reflect.deleteProperty(StateProducer.prototype, "undefined");
}

/** This thread's handles by URL, to find the object that an open gets again. */
const opened = new Map<string, WeakRef<StateProducer>[]>();

/**
 * Opens the writer of entity state for a stream, or becomes a holder of the open one: there is one
 * per stream. An open with the `schema`, callbacks and `signal` of an earlier one gets the same
 * object, any other open a handle of its own. Only the header functions of the first open are
 * called. Sends nothing itself, so that it may start before its server does. Throws an
 * `InvalidArgumentError` for an option that is none, out of its range, or another one than the open
 * producer's.
 *
 * ```js
 * const schema = defineStreamSchema({ orders: { schema: true, type: "order", primaryKey: "id" } });
 * const producer = createDurableStream({
 *   url: "http://localhost:4437/v1/stream/hover-orders",
 *   schema,
 *   producerId: "order-service",
 * });
 * producer.upsert("orders", { id: "1", total: 5 });
 * await producer.close();
 * ```
 */
export function createDurableStream<C extends Collections>(
  options: StateProducerOptions<C>,
): StateProducer<C> {
  return StateProducer.open(options);
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
