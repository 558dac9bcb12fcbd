// The schema of a stream of entity state: its collections, and how their values are validated.

import { inspect, types } from "node:util";

import { InvalidArgumentError, calling, invalidArgument } from "./errors.cjs";
import type { Issue } from "./errors.cjs";
import { Unsayable, escapePointer, shown, stringify, textOf } from "./json.cjs";
import type { Key } from "./key.cjs";
import { native } from "./native.cjs";
import type { NativeSchema } from "./native.cjs";
import { isRecord, isThenable } from "./realms.cjs";

/** A validator of the Standard Schema interface (zod, valibot, arktype and others). */
export interface StandardSchema {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    /** Gives `{ value }`, or `{ issues }` where it refuses. */
    readonly validate: (value: unknown) => unknown;
    readonly types?: { readonly input: unknown; readonly output: unknown } | undefined;
  };
}

/** A JSON Schema (drafts 4 to 2020-12), validated in the core. `true` takes any object. */
export type JsonSchema = boolean | { readonly [keyword: string]: unknown };

declare const VALUE: unique symbol;

/**
 * A JSON Schema that says what its values are in TypeScript, which `upsert` then asks for:
 * `{ type: "object" } as JsonSchemaOf<Shipment>`. Types alone: nothing is added to the schema, and the
 * two are not compared. `FromSchema` of the package json-schema-to-ts writes the type of a literal.
 */
export interface JsonSchemaOf<Value extends object> {
  readonly [keyword: string]: unknown;
  readonly [VALUE]?: Value;
}

/** A collection of entities. */
export interface CollectionDefinition {
  /**
   * How its values are validated. What a Standard Schema throws refuses the value, as the `cause` of
   * the receipt's error. One that answers with a promise is for `upsertAsync` alone: other calls do
   * not wait, and throw.
   */
  readonly schema: StandardSchema | JsonSchema;
  /** The `type` of its events. */
  readonly type: string;
  /** The field that holds the primary key, a {@link Key}. In the stream it is text, and so StreamDB gives it back. */
  readonly primaryKey: string;
}

/** Collections by their names. */
export type Collections = Readonly<Record<string, CollectionDefinition>>;

/** The type that `upsert` takes for a validator: its input type, if it has one. */
export type InferInput<S> = S extends {
  readonly "~standard": { readonly types?: { readonly input: infer Input } | undefined };
}
  ? unknown extends Input
    ? object
    : Input
  : S extends JsonSchemaOf<infer Value>
    ? Value
    : object;

/**
 * What `delete` takes for a validator: a key, or an entity, of which the primary key is enough. Where its
 * type is known a list is neither.
 */
export type KeyOrEntity<S> = object extends InferInput<S>
  ? Key | object
  : Key | (object & Partial<InferInput<S>> & { readonly [Symbol.iterator]?: never });

/** A collection ready to validate. */
export interface Collection {
  readonly primaryKey: string;
  /** Missing if the core validates. */
  readonly validator: Validator | undefined;
}

const TOKEN = Symbol("defineStreamSchema");

/** The collections of a stream, checked. Made by {@link defineStreamSchema}. */
export class StreamSchema<C extends Collections = Collections> {
  /** The definitions as given. */
  readonly collections: C;
  readonly #native: NativeSchema;
  readonly #ready = new Map<string, Collection>();

  /** @internal */
  constructor(token: symbol, collections: C) {
    if (token !== TOKEN) throw invalidArgument("schema", "make a schema with defineStreamSchema");
    if (typeof collections !== "object" || collections === null) {
      const text = `takes an object of collections by their names, not ${shown(collections)}`;
      throw invalidArgument("schema", `\`schema\` ${text}`);
    }
    this.collections = collections;
    this.#native = new native.Schema();
    for (const [name, definition] of Object.entries(collections)) this.#add(name, definition);
    if (this.#ready.size === 0) throw invalidArgument("schema", "the schema has no collections");
  }

  #add(name: string, definition: CollectionDefinition): void {
    const wrong = (what: string): Error =>
      invalidArgument("schema", `collection \`${name}\` ${what}`);
    if (typeof definition !== "object" || definition === null) {
      const fields = "`schema`, `type` and `primaryKey`";
      throw wrong(`takes an object with ${fields}, not ${shown(definition)}`);
    }
    const { schema, type, primaryKey } = definition;
    if (typeof type !== "string") throw wrong(`takes text as its \`type\`, not ${shown(type)}`);
    if (typeof primaryKey !== "string") {
      throw wrong(`takes text as its \`primaryKey\`, not ${shown(primaryKey)}`);
    }
    const validator = validatorOf(schema);
    let text: string | undefined;
    if (validator === undefined) {
      if (typeof schema !== "boolean" && !isRecord(schema)) {
        const kinds = "a Standard Schema or a JSON Schema";
        throw wrong(`takes ${kinds} as its \`schema\`, not ${shown(schema)}`);
      }
      try {
        text = stringify(schema);
      } catch (error) {
        throw error instanceof Unsayable ? wrong(`has no JSON Schema: ${error.message}`) : error;
      }
    }
    calling(() => this.#native.add(name, type, primaryKey, text));
    this.#ready.set(name, { primaryKey, validator });
  }

  /** @internal */
  get(name: string): Collection | undefined {
    return this.#ready.get(name);
  }

  /** @internal */
  static native(schema: unknown): NativeSchema {
    if (schema instanceof StreamSchema) return schema.#native;
    const text = schema === undefined ? "is missing" : `takes a StreamSchema, not ${shown(schema)}`;
    throw invalidArgument("schema", `\`schema\` ${text}: make it with defineStreamSchema`);
  }
}

/** Declares the collections of a stream: for each its schema, event type and primary key. */
export function defineStreamSchema<C extends Collections>(collections: C): StreamSchema<C> {
  return new StreamSchema(TOKEN, collections);
}

const ASYNCHRONOUS = "validates asynchronously: only `upsertAsync` waits for that";

/** A validator outside the core. */
export interface Validator {
  validate(value: unknown): unknown;
  /** The verdict of its own synchronous way, where it has one; undefined where that does not do. */
  again?: (value: unknown) => Verdict | undefined;
}

/** The validator of a Standard Schema; undefined for anything else. */
function validatorOf(schema: unknown): Validator | undefined {
  // arktype's schemas are functions.
  if ((typeof schema !== "object" && typeof schema !== "function") || schema === null) {
    return undefined;
  }
  const standard = (schema as Partial<StandardSchema>)["~standard"];
  if (typeof standard?.validate !== "function") return undefined;
  const { safeParse } = schema as { safeParse?: unknown };
  const validate = (value: unknown): unknown => standard.validate(value);
  if (standard.vendor !== "zod" || typeof safeParse !== "function") return { validate };
  return { validate, again: (value) => zodVerdict(schema as ZodSchema, value) };
}

interface ZodSchema {
  safeParse(value: unknown, how: { jitless: true }): { data?: unknown; error?: { issues?: unknown } };
}

/**
 * What zod's synchronous parse says, which throws where a transform or refinement does. Its Standard
 * Schema answers with a promise there, which is still pending although it will be rejected.
 */
function zodVerdict(schema: ZodSchema, value: unknown): Verdict | undefined {
  try {
    // What zod compiles stumbles over promises in ways of its own.
    const { data, error } = schema.safeParse(value, { jitless: true });
    return error === undefined ? { value: data } : { issues: issuesOf(error.issues) };
  } catch (thrown) {
    // The exception by which it says that it would have to wait.
    return textOf(thrown).includes(".parseAsync") ? undefined : thrownVerdict(thrown);
  }
}

/** The validated value, or the issues the validator found, and what it threw. */
export type Verdict =
  | { readonly value: unknown }
  | { readonly issues: Issue[]; readonly thrown?: { readonly cause: unknown } };

/** Asks a Standard Schema. An exception is an issue; a promise that may be fulfilled is no answer. */
export function validated(name: string, validator: Validator, value: unknown): Verdict {
  try {
    const result = validator.validate(value);
    return isThenable(result) ? promised(name, validator, value, result) : verdictOf(result);
  } catch (thrown) {
    if (thrown instanceof InvalidArgumentError) throw thrown;
    return thrownVerdict(thrown);
  }
}

/** Asks a Standard Schema, and waits for its answer. An exception or a rejection is an issue. */
export async function validatedLater(validator: Validator, value: unknown): Promise<Verdict> {
  try {
    return verdictOf(await validator.validate(value));
  } catch (thrown) {
    return thrownVerdict(thrown);
  }
}

function thrownVerdict(cause: unknown): Verdict {
  return { issues: [{ path: "", message: textOf(cause) }], thrown: { cause } };
}

/**
 * The verdict where a validator gave a promise. A rejected one stands for an exception: zod gives one
 * where a transform or a refinement throws.
 */
function promised(
  name: string,
  validator: Validator,
  value: unknown,
  result: PromiseLike<unknown>,
): Verdict {
  Promise.resolve(result).catch(() => undefined); // nobody else waits for it
  const again = validator.again?.(value);
  if (again !== undefined) return again;
  // A promise tells its state to nobody but the inspector.
  const shown = types.isPromise(result) ? inspect(result, { depth: 0, customInspect: false }) : "";
  const rejected = /^[^{]*\{\s*<rejected>\s*(.*)/.exec(shown);
  if (rejected !== null) {
    return { issues: [{ path: "", message: `the validator rejected: ${rejected[1]}` }] };
  }
  throw invalidArgument("schema", `collection \`${name}\` ${ASYNCHRONOUS}`);
}

function verdictOf(result: unknown): Verdict {
  if (typeof result !== "object" || result === null) {
    return { issues: [{ path: "", message: "the validator gave no result" }] };
  }
  const { issues } = result as { issues?: unknown };
  if (issues === undefined || issues === null) return { value: (result as { value: unknown }).value };
  return { issues: issuesOf(issues) };
}

function issuesOf(given: unknown): Issue[] {
  const issues: Issue[] = [];
  for (const issue of Array.isArray(given) ? (given as unknown[]) : []) {
    const { message, path } = Object(issue) as { message?: unknown; path?: unknown };
    const parts = Array.isArray(path) ? (path as unknown[]) : [];
    issues.push({
      path: parts.map((part) => `/${escapePointer(String(keyOf(part)))}`).join(""),
      message: String(message ?? "the value was refused"),
    });
  }
  return issues;
}

/** A step of an issue's path: a key, or an object that holds one. */
function keyOf(part: unknown): unknown {
  return typeof part === "object" && part !== null ? (part as { key?: unknown }).key : part;
}
