/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Publishes data to durable streams, exactly once.
 *
 * {@link IdempotentProducer} writes bytes or JSON, {@link createDurableStream} the state of
 * entities, {@link DurableStream} is a stream by its URL, {@link StreamReader} reads one. Importing
 * does nothing: threads and sockets come with the first open.
 */
export { DurableStream } from "./stream.cjs";
export type {
  AppendOptions,
  CloseOptions,
  CreateOptions,
  DurableStreamOptions,
  HeadResult,
  HeadResultExists,
  HeadResultNotFound,
} from "./stream.cjs";
export type { ReadableSource, Source } from "./sink.cjs";
export type { WritableOptions } from "./writable.cjs";
export { Chunk, StreamReader } from "./reader.cjs";
export type { ReadOptions } from "./reader.cjs";
export { IdempotentProducer } from "./producer.cjs";
export type { IdempotentProducerOptions } from "./producer.cjs";
export { StateProducer, createDurableStream } from "./state.cjs";
export { inspect } from "./inspect.cjs";
export type { InspectedOption, Inspection, Origin } from "./inspect.cjs";
export { Transaction } from "./transaction.cjs";
export type { Transacted } from "./transaction.cjs";
export type { StateCloseOptions, StateProducerOptions } from "./state.cjs";
export type { Control, EventOptions, OldValue, ValueOptions } from "./event.cjs";
export type { Key } from "./key.cjs";
export { StreamSchema, defineStreamSchema } from "./schema.cjs";
export type {
  CollectionDefinition,
  Collections,
  InferInput,
  KeyOrEntity,
  JsonSchema,
  JsonSchemaOf,
  StandardSchema,
} from "./schema.cjs";
export { Receipt } from "./receipt.cjs";
export type { Outcome, Reason, Status } from "./receipt.cjs";
export { setExitTimeout } from "./exit.cjs";
export { setLogger } from "./log.cjs";
export type { LogLevel, LogLine, Logger, LoggerOptions } from "./log.cjs";
export {
  flushAll,
  pendingCount,
  setBufferBudget,
  shutdown,
  statsPrometheus,
} from "./lifecycle.cjs";
export type {
  CloseResult,
  Distribution,
  FlushReport,
  Lifecycle,
  PrometheusOptions,
  Snapshot,
  Stats,
} from "./lifecycle.cjs";
export type { HeaderFunction, HeaderValue } from "./header.cjs";
export type {
  Delivery,
  Failure,
  HeadersRecord,
  OnDelivery,
  OnError,
  OnState,
  ParamsRecord,
  PlaceOptions,
  RequestOptions,
  StateChange,
  WriterOptions,
} from "./options.cjs";
export type { Message } from "./json.cjs";
export type { WaitOptions } from "./wait.cjs";
export {
  BufferFullError,
  ConflictError,
  DeliveryError,
  DurstreamError,
  ForkedError,
  InternalError,
  InvalidArgumentError,
  NotSupportedError,
  OutboxDamagedError,
  OutboxFailedError,
  OutboxInUseError,
  ProducerClosedError,
  ProtocolError,
  SequenceConflictError,
  SequenceGapError,
  StaleEpochError,
  StreamClosedError,
  StreamExistsError,
  StreamGoneError,
  StreamNotFoundError,
  TimeoutError,
  TooLargeError,
  TransportError,
  UnauthorizedError,
  ValidationError,
} from "./errors.cjs";
export type { Issue } from "./errors.cjs";
