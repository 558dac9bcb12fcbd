// The exports of the native addon (bindings-node/src). Results and errors cross as JSON text.

import { addon } from "./addon.cjs";

/** A wait for one result. */
export interface NativeWait {
  /** The result's text; empty if the wait was cancelled. Never rejects. */
  done(): Promise<string>;
  /** The result's text if it is there already; then `done` is not called any more. */
  now(): string | null;
  cancel(): void;
  /** The error, as JSON, of a caller whose time ran out. */
  overdue(what: string, timeoutMs: number): string;
}

/** The id of an accepted write, or JSON text: `{"refused":outcome}` or `{"error":error}`. */
export type Written = number | string;
export type Payload = string | Uint8Array;
/** A function that holds its producer: cheaper than a method of a class. */
export type NativeWrite = (message: Payload) => Written;
export type NativeCallback = (text: string, payload: Uint8Array) => void;

/** A callback, the number by which its reports are found, and which reports it hears. */
export interface NativeListener {
  number: number;
  call: NativeCallback;
  onError: boolean;
  onDelivery: boolean;
  onState: boolean;
}

/** A failure that the event loop did not come to. */
export interface NativeFailure {
  readonly number: number;
  readonly text: string;
  readonly payload: Uint8Array;
}

/** Takes a header's value for one request, once. */
export interface NativeAnswer {
  give(value: string): void;
  fail(why: string): void;
}
export type NativeAsked = (answer: NativeAnswer) => void;

/** An options object in the core's form. */
export interface Given {
  /** Options, headers and query parameters: name, value, name, value. */
  settings: string[];
  headers: string[];
  params: string[];
  /** The variables of this realm's environment that the core looks at. */
  variables: string[];
  /** The names of the headers whose values are functions, and the function of each. */
  askedHeaders: string[];
  asked: NativeAsked[];
}

export interface NativeStream {
  create(body: Payload): NativeWait;
  head(): NativeWait;
  append(message: Payload, seq?: string): NativeWait;
  close(message?: Payload): NativeWait;
  delete(): NativeWait;
  read(offset: string | undefined, live: string): NativeReader;
  /** The error of a message that could not be serialised, as JSON text. */
  unserialisable(why: string): string;
  readonly url: string;
  readonly contentType: string | null;
  /** Whether messages are known to be JSON values. */
  readonly isJson: boolean;
  /** Whether values may be appended, as JSON. */
  readonly takesValues: boolean;
}

/** The messages of one source on their way. */
export interface NativeSink {
  state(): "ready" | "full" | "failed";
  /** Whether there was room for it. */
  startSend(message: Payload): boolean;
  refuse(why: string): void;
  ready(): NativeWait;
  stopped(): NativeWait;
  close(): NativeWait;
}

export interface NativeReader {
  next(): NativeStep;
  readonly offset: string | null;
  readonly upToDate: boolean;
  readonly streamClosed: boolean;
}

/** A wait for whether there is a chunk, to be taken then. */
export interface NativeStep extends NativeWait {
  take(): NativeChunk | null;
}

export interface NativeChunk {
  data(): Uint8Array;
  json(): string;
  readonly offset: string;
  readonly upToDate: boolean;
  readonly streamClosed: boolean;
}

/** The waits of a producer's receipts, which hold nothing open. */
export interface NativeReceipts {
  wait(id: number): NativeWait;
}

/** The methods of both producers. */
export interface NativeWriter {
  receipts(): NativeReceipts;
  flush(): NativeWait;
  ready(): NativeWait;
  restart(): NativeWait;
  discardOutbox(): NativeWait;
  beginShutdown(): void;
  stop(): void;
  snapshot(): string;
  stats(): string;
  statsPrometheus(openmetrics: boolean): string;
  readonly producerId: string;
  readonly url: string;
}

export interface NativeProducer extends NativeWriter {
  appender(): NativeWrite;
  /** For the text of `stringifyPlain` alone, which is not checked again. */
  jsonAppender(): NativeWrite;
  refuse(text: string): Written;
  /** Null where there are no messages. */
  appendGroup(messages: Payload[]): Written | null;
  /** Accepts a message; null if there is no room for it now. */
  offer(message: Payload): Written | null;
  close(message?: Payload): NativeWait;
  detach(): NativeWait;
}

export interface NativeSchema {
  add(name: string, type: string, primaryKey: string, jsonSchema?: string): void;
}

/** Changes that stay together. */
export interface NativeTransaction {
  readonly txid: string;
  change(
    operation: string,
    collection: string,
    value: Payload,
    headers: string[],
    txid?: string,
    timestamp?: string,
    key?: string,
    oldValue?: Payload,
  ): void;
  refuse(collection: string, reason: string, key: string | undefined, issues: string[]): void;
  /** Null where there are no changes. */
  commit(): Written | null;
  rollback(): void;
}

export interface NativeState extends NativeWriter {
  isSame(other: NativeState): boolean;
  release(): void;
  upserter(collection: string): NativeWrite;
  delete(collection: string, key: string): Written;
  /** `value` is ignored to delete; `headers` are names and values in turn. */
  change(
    operation: string,
    collection: string,
    value: Payload,
    headers: string[],
    txid?: string,
    timestamp?: string,
    key?: string,
    oldValue?: Payload,
  ): Written;
  control(control: string, offset?: string): Written;
  begin(txid?: string): NativeTransaction;
  refuse(collection: string, reason: string, key: string | undefined, issues: string[]): Written;
  close(): NativeWait;
  closeStream(): NativeWait;
}

export interface NativeLogLines {
  take(): string[];
  end(): void;
}

export interface NativeRecorder {
  readonly url: string;
  events(path: string): string;
  content(path: string): Uint8Array;
  clear(): void;
  hold(): void;
  release(): void;
  reject(containing: string, reason: string): void;
  fence(): void;
  fail(times?: number): void;
  deliver(): void;
}

export interface Native {
  Stream: new (given: Given) => NativeStream;
  AppendSink: new (stream: NativeStream, seq?: string) => NativeSink;
  Producer: new (
    stream: NativeStream,
    id: string,
    given: Given,
    listener?: NativeListener,
  ) => NativeProducer;
  Schema: new () => NativeSchema;
  State: new (schema: NativeSchema, given: Given, listener?: NativeListener) => NativeState;
  /** The key of a value, given as JSON, or why it makes none. */
  keyOfJson(json: string): { key?: string; why?: string };
  Recorder: new () => NativeRecorder;
  inspect(schema: NativeSchema, given: Given): string;
  version(): string;
  vocabulary(): string;
  nearest(name: string, known: string[]): string | null;
  pendingCount(): number;
  setBufferBudget(bytes: number): void;
  statsPrometheus(openmetrics: boolean): string;
  instruments(): string;
  observations(): string;
  setBatchObserver(call: (batch: string) => void): void;
  LogLines: new (call: () => void) => NativeLogLines;
  setLogLevel(level: number): void;
  drainLog(): void;
  logToStderr(line: string): void;
  /** Ends, too, only once `onError` was called for what was not delivered. */
  flushAll(timeoutMs: number): NativeWait;
  /** Waits until `onError` was called for every failure so far. */
  told(): NativeWait;
  /** Does what `durstream-outbox` does with these arguments; what went wrong. */
  outboxTool(words: string[]): string | null;
  isIdle(): boolean;
  isTold(): boolean;
  stopAll(): void;
  endNow(isTold: boolean): void;
  takeFailures(): NativeFailure[];
  shutdown(timeoutMs: number): Promise<string>;
}

export const native = addon() as Native;
