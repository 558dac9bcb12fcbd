/**
 * Metrics of all producers of this process for OpenTelemetry, whose API (`@opentelemetry/api`, 1.3 or later)
 * is an optional peer dependency. `docs/metrics.md` says what each instrument means; they are read when the
 * SDK collects, and cost nothing else.
 *
 * ```js
 * import { observe } from "durstream/opentelemetry";
 *
 * observe(); // with the global meter provider, once
 * ```
 */

import { calling } from "./errors.cjs";
import { native } from "./native.cjs";

/** What is taken of OpenTelemetry's `MeterProvider`. */
export interface MeterProviderLike {
  /** The meter of a library. */
  getMeter(name: string, version?: string): MeterLike;
}

/** What is taken of OpenTelemetry's `Meter`. */
export interface MeterLike {
  /** An instrument that only grows. */
  createObservableCounter(name: string, options?: { description?: string; unit?: string }): unknown;
  /** An instrument that is as it is now. */
  createObservableGauge(name: string, options?: { description?: string; unit?: string }): unknown;
  /** Has one function observe several instruments. */
  addBatchObservableCallback(callback: (result: any) => void, instruments: any[]): void;
}

type Attributes = Record<string, string | number>;
interface Result {
  observe(instrument: unknown, value: number, attributes?: Attributes): void;
}
interface Distribution {
  count: number;
  sum: number;
  p50: number;
  p90: number;
  p99: number;
  max: number;
}
interface Observed {
  stream: string;
  id: string;
  state: string;
  stats: Record<string, unknown> & { delivered: number; undelivered: Record<string, number> };
}
interface Row {
  instrument: string;
  kind: "counter" | "gauge" | "distribution";
  name: string;
  unit: string;
  meaning: string;
  attribute: [string, string] | null;
  divisor: number;
}
/** Observes what one row has to say of a producer. */
type Observer = (result: Result, producer: Observed, attributes: Attributes) => void;

const SENT = "messaging.client.sent.messages";
const QUANTILES = [["p50", 0.5], ["p90", 0.9], ["p99", 0.99], ["max", 1]] as const;
/** The version of OpenTelemetry's API that every copy of it in a process shares. */
const API = Symbol.for("opentelemetry.js.api.1");

const observed = new WeakSet<object>();
const said = new Set<string>();

/**
 * Makes the instruments of all producers of this process, with the global meter provider unless one is
 * given. Whether they are there: without OpenTelemetry, or with one that is too old, a warning says so
 * once, and nothing else happens. A second call with the same provider changes nothing.
 */
export function observe(meterProvider?: MeterProviderLike): boolean {
  try {
    const api = (globalThis as Record<symbol, unknown>)[API] as { metrics?: MeterProviderLike };
    const provider = meterProvider ?? api?.metrics;
    if (provider === undefined) return warnOnce("no meter provider is registered or given");
    if (observed.has(provider)) return true;
    make(provider.getMeter("durstream", native.version()));
    observed.add(provider);
    return true;
  } catch (error) {
    return warnOnce(String(error));
  }
}

function warnOnce(why: string): false {
  if (!said.has(why)) {
    said.add(why);
    const text = `producers are not observed: OpenTelemetry is not there, or too old (${why})`;
    process.emitWarning(text, "DurstreamWarning");
  }
  return false;
}

function make(meter: MeterLike): void {
  const rows = JSON.parse(calling(() => native.instruments())) as Row[];
  const made = new Map<string, unknown>();
  const instrument = (kind: Row["kind"], name: string, unit: string, description: string) => {
    const known = made.get(name);
    if (known !== undefined) return known;
    const options = { unit, description };
    const fresh =
      kind === "counter"
        ? meter.createObservableCounter(name, options)
        : meter.createObservableGauge(name, options);
    made.set(name, fresh);
    return fresh;
  };
  const observers = rows.map((row) => observerOf(row, instrument));
  const state = instrument("gauge", "durstream.state", "1", "The state that a producer is in is 1.");
  observers.push((result, producer, attributes) => {
    result.observe(state, 1, { ...attributes, state: producer.state });
  });
  const observeAll = (result: Result): void => {
    try {
      const all = JSON.parse(calling(() => native.allStats())) as Observed[];
      for (const producer of all) {
        const attributes = attributesOf(producer);
        for (const observer of observers) observer(result, producer, attributes);
      }
    } catch (error) {
      warnOnce(String(error)); // the SDK goes on with the others
    }
  };
  meter.addBatchObservableCallback(observeAll, [...made.values()]);
}

function observerOf(
  { instrument: name, kind, name: field, unit, meaning, attribute, divisor }: Row,
  instrument: (kind: Row["kind"], name: string, unit: string, meaning: string) => unknown,
): Observer {
  if (kind === "distribution") {
    const count = instrument("counter", `${name}.count`, "{measurement}", meaning);
    const sum = instrument("counter", `${name}.sum`, unit, meaning);
    const gauge = instrument("gauge", name, unit, meaning);
    return (result, { stats }, attributes) => {
      const found = stats[field] as Distribution;
      result.observe(count, found.count, attributes);
      result.observe(sum, found.sum / divisor, attributes);
      if (found.count === 0) return;
      for (const [part, quantile] of QUANTILES) {
        result.observe(gauge, found[part] / divisor, { ...attributes, quantile });
      }
    };
  }
  if (name === SENT) {
    const sent = instrument("counter", name, "{message}", meaning);
    return (result, { stats }, attributes) => {
      const sending = {
        ...attributes,
        "messaging.operation.name": "append",
        "messaging.operation.type": "send",
      };
      result.observe(sent, stats.delivered, sending);
      for (const [reason, count] of Object.entries(stats.undelivered)) {
        result.observe(sent, count, { ...sending, "error.type": reason });
      }
    };
  }
  const own = instrument(kind, name, unit, meaning);
  const more: Attributes = attribute === null ? {} : { [attribute[0]]: attribute[1] };
  return (result, { stats }, attributes) => {
    result.observe(own, (stats[field] as number) / divisor, { ...attributes, ...more });
  };
}

function attributesOf({ stream, id }: Observed): Attributes {
  const { hostname, port, pathname } = new URL(stream);
  return {
    "messaging.system": "durable_streams",
    "messaging.destination.name": pathname,
    "messaging.client.id": id,
    "server.address": hostname,
    ...(port === "" ? {} : { "server.port": Number(port) }),
  };
}
