/**
 * Metrics of all producers of this process, and spans of their batches, for OpenTelemetry, whose API
 * (`@opentelemetry/api`, 1.3 or later) is an optional peer dependency. `docs/metrics.md` says what each
 * instrument means; they are read when the SDK collects, and cost nothing else.
 *
 * ```js
 * import { observe, traceBatches } from "durstream/opentelemetry";
 *
 * observe(); // with the global meter provider, once
 * traceBatches(); // with the global tracer provider, for producers with the option `trace`
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

/** What is taken of OpenTelemetry's `TracerProvider`. */
export interface TracerProviderLike {
  /** The tracer of a library. */
  getTracer(name: string, version?: string): TracerLike;
}

/** What is taken of OpenTelemetry's `Tracer`. */
export interface TracerLike {
  /** Begins a span. */
  startSpan(name: string, options?: any): SpanLike;
}

/** What is taken of OpenTelemetry's `Span`. */
export interface SpanLike {
  /** Says how what it shows ended. */
  setStatus(status: any): unknown;
  /** Ends it. */
  end(endTime?: any): void;
}

type Attributes = Record<string, string | number>;
type Time = [seconds: number, nanoseconds: number];
interface Batch {
  name: string;
  started: Time;
  ended: Time;
  attributes: Attributes;
  links: [traceparent: string, tracestate: string | null][];
  error: string | null;
}
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

/** Numbers of OpenTelemetry's own: `SpanKind.PRODUCER`, `SpanStatusCode.ERROR`. */
const [PRODUCER, ERROR] = [3, 2];

/**
 * Makes a span of each settled batch of the producers with the option `trace`, of kind producer and linked to
 * the spans that its writes were made in, with the global tracer provider unless one is given. They come
 * as callbacks do, on this thread. Whether that is so: without OpenTelemetry a warning says so once, and
 * nothing else happens. Of several calls the last one counts.
 */
export function traceBatches(tracerProvider?: TracerProviderLike): boolean {
  try {
    const api = (globalThis as Record<symbol, unknown>)[API] as { trace?: TracerProviderLike };
    const provider = tracerProvider ?? api?.trace;
    if (provider === undefined) return warnOnce("no tracer provider is registered or given", TRACED);
    const tracer = provider.getTracer("durstream", native.version());
    native.setBatchObserver((text) => {
      try {
        show(tracer, JSON.parse(text) as Batch);
      } catch (error) {
        warnOnce(String(error), TRACED); // tracing breaks no write
      }
    });
    return true;
  } catch (error) {
    return warnOnce(String(error), TRACED);
  }
}

function show(tracer: TracerLike, { name, started, ended, attributes, links, error }: Batch): void {
  const span = tracer.startSpan(name, {
    kind: PRODUCER,
    root: true, // its writes may be of several traces
    startTime: started,
    attributes,
    links: links.map(([parent, state]) => ({ context: contextOf(parent, state) })),
  });
  if (error !== null) span.setStatus({ code: ERROR, message: error });
  span.end(ended);
}

function contextOf(traceparent: string, tracestate: string | null): object {
  const [, traceId, spanId, flags = "00"] = traceparent.split("-");
  const context = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
  return tracestate === null ? context : { ...context, traceState: stateOf(tracestate) };
}

/** A `tracestate` that is only handed on. */
function stateOf(text: string): object {
  const pairs = new Map(text.split(",").map((pair) => pair.trim().split("=", 2) as [string, string]));
  const own = {
    serialize: () => text,
    get: (key: string) => pairs.get(key),
    set: () => own,
    unset: () => own,
  };
  return own;
}

const OBSERVED = "producers are not observed";
const TRACED = "batches are not traced";

function warnOnce(why: string, what = OBSERVED): false {
  if (!said.has(what + why)) {
    said.add(what + why);
    const text = `${what}: OpenTelemetry is not there, or too old (${why})`;
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
