// Transactions: changes that reach the stream together, or not at all.

import { NOTHING, changeOf, deleteOf, nameText } from "./changes.cjs";
import type { Refusal, Verb } from "./changes.cjs";
import { calling } from "./errors.cjs";
import type { EventOptions, OldValue, Said, ValueOptions } from "./event.cjs";
import type { NativeTransaction, Payload } from "./native.cjs";
import { isThenable } from "./realms.cjs";
import type { Receipt } from "./receipt.cjs";
import { currentContext, traced, tracedSaid } from "./trace.cjs";
import type { Collections, InferInput, KeyOrEntity, StreamSchema } from "./schema.cjs";

/** What came of a transaction. */
export interface Transacted<T> {
  /** The transaction's id, which each of its changes has as its `txid`. */
  readonly txid: string;
  /**
   * The receipt of the last change, whose outcome is that of all: the others have the ids before it,
   * without a gap. Undefined where there were no changes.
   */
  readonly receipt: Receipt | undefined;
  /** What the function returned. */
  readonly value: T;
}

/**
 * The changes of a transaction, for the function that adds them. Its methods take what the producer's do;
 * a change that is refused makes the transaction's receipt a rejected one.
 */
export class Transaction<C extends Collections = Collections> {
  readonly #native: NativeTransaction;
  readonly #schema: StreamSchema<C>;
  readonly #isTraced: boolean;

  /** @internal */
  constructor(native: NativeTransaction, schema: StreamSchema<C>, isTraced: boolean) {
    this.#native = native;
    this.#schema = schema;
    this.#isTraced = isTraced;
  }

  /** The transaction's id. */
  get txid(): string {
    return this.#native.txid;
  }

  /** Adds an entity's whole new state. */
  upsert<K extends keyof C & string>(
    collection: K,
    value: InferInput<C[K]["schema"]>,
    how?: ValueOptions,
  ): void {
    this.#put("upsert", collection, value, how);
  }

  /** Adds an entity that is new. */
  insert<K extends keyof C & string>(
    collection: K,
    value: InferInput<C[K]["schema"]>,
    how?: ValueOptions,
  ): void {
    this.#put("insert", collection, value, how);
  }

  /** Adds the whole new state of an entity that is there. */
  update<K extends keyof C & string>(
    collection: K,
    value: InferInput<C[K]["schema"]>,
    how?: ValueOptions & OldValue<InferInput<C[K]["schema"]>>,
  ): void {
    this.#put("update", collection, value, how);
  }

  /** Adds that an entity is gone. */
  delete<K extends keyof C & string>(
    collection: K,
    keyOrEntity: KeyOrEntity<C[K]["schema"]>,
    how?: EventOptions & OldValue<InferInput<C[K]["schema"]>>,
  ): void {
    const change = deleteOf(this.#schema, collection, keyOrEntity, how);
    if ("reason" in change) return this.#refuse(collection, change);
    const said = this.#isTraced ? tracedSaid(change.said, currentContext()) : change.said;
    this.#change("delete", collection, "", { ...(said ?? NOTHING), key: change.key });
  }

  #put(verb: Verb, name: string, given: unknown, how: unknown): void {
    const context = this.#isTraced ? currentContext() : [];
    const change = traced(changeOf(this.#schema, name, given, how), context);
    if ("reason" in change) return this.#refuse(name, change);
    this.#change(verb, name, change.payload, change.said ?? NOTHING);
  }

  #change(verb: Verb | "delete", name: string, value: Payload, said: Said): void {
    const { txid, timestamp, headers, key, oldValue } = said;
    const collection = nameText(name);
    calling(() =>
      this.#native.change(verb, collection, value, headers, txid, timestamp, key, oldValue),
    );
  }

  #refuse(name: string, { reason, key, issues }: Refusal): void {
    calling(() => this.#native.refuse(nameText(name), reason, key, issues));
  }
}

/** Whether a function's value is there at once. */
export function isSync(value: unknown): boolean {
  if (!isThenable(value)) return true;
  // What it rejects with is nobody's: the transaction is rolled back.
  value.then(undefined, () => undefined);
  return false;
}
