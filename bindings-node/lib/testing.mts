// The same instance for `import`.
export type { RejectReason } from "./testing.cjs";
export { Recorder } from "./testing.cjs";
