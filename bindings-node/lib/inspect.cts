// What a state producer would write, and where.

import { calling } from "./errors.cjs";
import { native } from "./native.cjs";
import { callbacksOf, givenOf } from "./options.cjs";
import { StreamSchema } from "./schema.cjs";
import type { Collections } from "./schema.cjs";
import { OWN } from "./state.cjs";
import type { StateProducerOptions } from "./state.cjs";
import { signalOf } from "./wait.cjs";

/** Where something comes from. */
export interface Origin {
  from: "given" | "function" | "environment" | "default";
  /** The variable, where it is from the environment. */
  variable?: string;
}

/** An option as it will be used. */
export interface InspectedOption extends Origin {
  /** `null` is none. */
  value: string | number | boolean | null;
}

/**
 * What a state producer would write, and where, without secrets. The same JSON in every language: its
 * names, those of options too, are spelled with underscores.
 */
export interface Inspection {
  /** The stream, without user info and query. */
  url: string;
  /** The stream at each endpoint, in the order in which they are tried. */
  urls: string[];
  content_type: string;
  producer_id: string;
  /** Whether each producer adds a random suffix to the id (`shared`). */
  producer_id_suffix: boolean;
  /** The names of the headers, and where their values come from. */
  headers: Record<string, Origin>;
  /** The names of the query parameters. */
  params: string[];
  /** Each option by its name (`linger_ms`). */
  options: Record<string, InspectedOption>;
  /** The collections; `external` are validators of JavaScript. */
  collections: Record<string, { type: string; primary_key: string; validator: string }>;
  /** What may be a mistake: `numeric-primary-key`, `credentials-in-clear`. */
  warnings: { code: string; message: string }[];
}

/**
 * Tells what `createDurableStream` would open with the same options, and opens nothing. Throws as
 * opening does, but does not look whether the stream is open already with other options.
 */
export function inspect<C extends Collections>(options: StateProducerOptions<C>): Inspection {
  const given = givenOf(options, OWN);
  const schema = StreamSchema.native(options.schema);
  signalOf(options.signal);
  callbacksOf(options);
  return JSON.parse(calling(() => native.inspect(schema, given))) as Inspection;
}
