// The context of the trace that a call belongs to, as OpenTelemetry has it.

import type { Change, Refusal } from "./changes.cjs";
import { NOTHING } from "./changes.cjs";
import type { Said } from "./event.cjs";

/** The version of OpenTelemetry's API that every copy of it in a process shares. */
const API = Symbol.for("opentelemetry.js.api.1");
/** Where it keeps the current span in a context. */
const SPAN = Symbol.for("OpenTelemetry Context Key SPAN");

/** What is there of it once a program has loaded it; nothing is loaded here. */
interface Api {
  context?: { active(): { getValue(key: symbol): unknown } };
}
interface SpanContext {
  traceId: string;
  spanId: string;
  traceFlags: number;
  traceState?: { serialize(): string };
}

let isSaid = false;

/** The context as names and values in turn; nothing where no span is the current one. */
export function currentContext(): string[] {
  try {
    const api = (globalThis as Record<symbol, unknown>)[API] as Api | undefined;
    const span = api?.context?.active().getValue(SPAN) as
      | { spanContext(): SpanContext }
      | undefined;
    if (span === undefined) return [];
    const { traceId, spanId, traceFlags, traceState } = span.spanContext();
    if (/^0*$/.test(traceId) || /^0*$/.test(spanId)) return []; // of no trace
    const flags = (traceFlags & 0xff).toString(16).padStart(2, "0");
    const parent = ["traceparent", `00-${traceId}-${spanId}-${flags}`];
    const state = traceState?.serialize();
    return state ? [...parent, "tracestate", state] : parent;
  } catch (error) {
    if (!isSaid) {
      isSaid = true; // tracing breaks no write
      process.emitWarning(`events go without a traceparent: ${String(error)}`, "DurstreamWarning");
    }
    return [];
  }
}

/** What is said beside a change, with the context of its call unless it was told one. */
export function tracedSaid(said: Said | undefined, context: string[]): Said | undefined {
  if (context.length === 0) return said;
  const { headers } = said ?? NOTHING;
  const names = headers.filter((_, n) => n % 2 === 0);
  if (names.includes("traceparent")) return said;
  const own = headers.filter((_, n) => names[n >> 1] !== "tracestate");
  return { ...(said ?? NOTHING), headers: [...own, ...context] };
}

/** A change with the context of its call. */
export function traced(change: Change | Refusal, context: string[]): Change | Refusal {
  if ("reason" in change || context.length === 0) return change;
  return { ...change, said: tracedSaid(change.said, context) };
}
