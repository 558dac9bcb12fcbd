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
interface Row {
  name: string;
  kind: "counter" | "gauge";
  unit: string;
  meaning: string;
}
/** What each instrument observes, by its name. */
type Observations = Record<string, [value: number, attributes: Attributes][]>;

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
  const made = rows.map(({ name, kind, unit, meaning: description }): [string, unknown] => {
    const options = { unit, description };
    return kind === "counter"
      ? [name, meter.createObservableCounter(name, options)]
      : [name, meter.createObservableGauge(name, options)];
  });
  const observeAll = (result: Result): void => {
    try {
      const all = JSON.parse(calling(() => native.observations())) as Observations;
      for (const [name, instrument] of made) {
        for (const [value, attributes] of all[name] ?? []) result.observe(instrument, value, attributes);
      }
    } catch (error) {
      warnOnce(String(error)); // the SDK goes on with the others
    }
  };
  meter.addBatchObservableCallback(observeAll, made.map(([, instrument]) => instrument));
}
