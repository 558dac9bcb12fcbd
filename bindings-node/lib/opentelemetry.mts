// The same instance for `import`.
export type {
  MeterLike,
  MeterProviderLike,
  SpanLike,
  TracerLike,
  TracerProviderLike,
} from "./opentelemetry.cjs";
export { observe, traceBatches } from "./opentelemetry.cjs";
