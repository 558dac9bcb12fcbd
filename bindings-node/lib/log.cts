// The log: lines of the core on their way to a function of the program's.

import { invalidArgument } from "./errors.cjs";
import { shown } from "./json.cjs";
import { native } from "./native.cjs";
import type { NativeLogLines } from "./native.cjs";
import { isError, isThenable } from "./realms.cjs";
import { optionsOf } from "./wait.cjs";

const levels: readonly LogLevel[] = ["error", "warn", "info", "debug", "trace"];

/**
 * How much a line of the log matters: `error` a producer ended by itself and has no `onError`; `warn`
 * something needs attention; `info` something is well again; `debug` a step of a producer; `trace` a
 * request with its answer.
 */
export type LogLevel = "error" | "warn" | "info" | "debug" | "trace";

/** A line of the log. It has no credentials, and nothing of what was written. */
export interface LogLine {
  readonly level: LogLevel;
  /** For a person; it stands alone. */
  readonly message: string;
  /** The part of the library. */
  readonly target: "producer" | "connection" | "process";
  /** The URL of the stream that it is about, without user info and query. */
  readonly stream?: string;
  /** The id of the producer that it is about. */
  readonly producerId?: string;
  /** The epoch of that producer's session. */
  readonly epoch?: number;
  /** Failed attempts in a row. */
  readonly attempt?: number;
}

/** Receives the log, a line at a time. */
export type Logger = (line: LogLine) => void;

/** Which lines a logger receives. */
export interface LoggerOptions {
  /** The log has lines of this level and of those that matter more: `info` unless given. */
  level?: LogLevel;
}

let lines: NativeLogLines | undefined;
let isWatching = false;

/**
 * Sends the library's log to a function in place of standard error, where `undefined` sends it again.
 * The process has one log: the last function that any thread has set gets it, on that thread, until
 * the thread ends. At the end of the process it gets the last lines synchronously.
 *
 * Nothing waits for it. What it does not take, since it throws, or since the event loop is so far
 * behind that 1 024 lines wait, goes to standard error. It may use the library; a logger that writes
 * each line with a producer should not have the level `trace`, whose lines are about such writes.
 */
export function setLogger(logger: Logger | undefined, options: LoggerOptions = {}): void {
  if (logger !== undefined && typeof logger !== "function") {
    throw invalidArgument("logger", `\`logger\` takes a function or undefined, not ${shown(logger)}`);
  }
  const { level = "info" } = optionsOf(options);
  const number = levels.indexOf(level) + 1;
  if (number === 0) {
    throw invalidArgument("level", `\`level\` takes ${levels.join(", ")}, not ${shown(level)}`);
  }
  lines?.end();
  native.setLogLevel(number);
  const own = new native.LogLines(() => {
    if (logger !== undefined) tell(own, logger);
  });
  lines = own;
  if (logger === undefined) {
    own.end();
    return;
  }
  current = logger;
  if (isWatching) return;
  isWatching = true;
  // Behind what the program's own listeners do, which may write.
  process.on("exit", endLog);
}

let current: Logger | undefined;

/**
 * Gives the rest of the log out, where the event loop has ended.
 * @internal
 */
export function endLog(): void {
  if (lines === undefined) return;
  native.drainLog();
  if (current !== undefined) tell(lines, current);
  lines.end();
}

let isFailureTold = false;

function tell(own: NativeLogLines, logger: Logger): void {
  for (const text of own.take()) {
    const line = JSON.parse(text) as LogLine;
    try {
      const result: unknown = logger(line);
      if (isThenable(result)) Promise.resolve(result).catch((thrown: unknown) => notTaken(line, thrown));
    } catch (thrown) {
      notTaken(line, thrown);
    }
  }
}

function notTaken(line: LogLine, thrown: unknown): void {
  native.logToStderr(line.message);
  if (isFailureTold) return;
  isFailureTold = true;
  const text = isError(thrown) ? (thrown.stack ?? thrown.message) : String(thrown);
  process.emitWarning(`the logger failed, and standard error has what it did not take: ${text}`, "DurstreamWarning");
}
