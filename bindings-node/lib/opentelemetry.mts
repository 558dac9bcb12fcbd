// The same instance for `import`.
export type { MeterLike, MeterProviderLike } from "./opentelemetry.cjs";
export { observe } from "./opentelemetry.cjs";
