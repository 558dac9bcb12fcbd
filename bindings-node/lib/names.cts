// Option names: the core says `linger_ms`, JavaScript `lingerMs`.

import { native } from "./native.cjs";

/** A row of the core's option table. */
export interface OptionRow {
  readonly name: string;
  readonly kind: "number" | "boolean" | "string";
  readonly scopes: readonly string[];
}

/** The core's options, reasons and error classes, and the variables it looks at. */
export interface Vocabulary {
  readonly options: readonly OptionRow[];
  readonly reasons: readonly string[];
  readonly errors: readonly string[];
  readonly variables: readonly string[];
}

export function vocabulary(): Vocabulary {
  return JSON.parse(native.vocabulary()) as Vocabulary;
}

let table: ReadonlyMap<string, OptionRow> | undefined;

/** The core's option table by JavaScript's names. */
export function optionTable(): ReadonlyMap<string, OptionRow> {
  if (table === undefined) {
    table = new Map(vocabulary().options.map((row) => [toCamel(row.name), row]));
  }
  return table;
}

let variables: readonly string[] | undefined;

/** The variables of the environment that the core looks at. */
export function variableNames(): readonly string[] {
  return (variables ??= vocabulary().variables);
}

/** `linger_ms` as `lingerMs`. */
export function toCamel(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** A text of the core with the options in it spelled JavaScript's way. */
export function camelText(text: string): string {
  return text.replace(/`([a-z0-9]+(?:_[a-z0-9]+)+)`/g, (whole, name: string) => {
    const camel = toCamel(name);
    return optionTable().get(camel)?.name === name ? `\`${camel}\`` : whole;
  });
}
