// The end of the process or of a worker: pending writes get a moment, and what is given up is told.

import { anyListens, tellRest } from "./failures.cjs";
import { native } from "./native.cjs";
import type { NativeWait, NativeWriter } from "./native.cjs";
import { clearTimeout, now, setTimeout } from "./timers.cjs";
import { checkTimeout } from "./wait.cjs";

/** How long pending writes get when nothing else keeps Node alive. */
let exitTimeoutMs = 3000;
/** As good as no limit, and what a timer and the core take. */
const LONGEST_MS = 2 ** 31 - 1 - 1000;
/** How long it takes at most to give up what is left, and to tell `onError`. */
const TELLING_MS = 1000;

/**
 * Sets how long pending writes and streams being ended get once nothing else keeps Node alive, in
 * milliseconds: 3 000 until set; with 0 it does not wait. What is given up then is told to `onError`
 * first; a line on standard error says how much it is. A worker thread gives up its own writes alone.
 *
 * `process.exit` waits for nothing: in the main thread it gives up what is pending, tells `onError`,
 * synchronously, and says so on standard error. A worker's writes go on when it calls
 * `process.exit` or is terminated, as long as the process does, but nobody is told of them.
 */
export function setExitTimeout(timeoutMs: number): void {
  checkTimeout(timeoutMs);
  exitTimeoutMs = Math.min(timeoutMs, LONGEST_MS);
}

let isMain: boolean | undefined;

/** Whether this is the main thread. The module that says so takes as long to load as a third of this package. */
function isMainThread(): boolean {
  return (isMain ??= (require("node:worker_threads") as typeof import("node:worker_threads")).isMainThread);
}

/** This thread's producers, which end with it. Those that were collected deliver what they took. */
const writers = new Set<WeakRef<NativeWriter>>();
let full = 64;

/** Makes a producer one of this thread's. */
export function endsHere(writer: NativeWriter): void {
  if (isMainThread()) return; // the process ends with it, and all of it is looked at
  if (writers.size >= full) {
    for (const own of writers) if (own.deref() === undefined) writers.delete(own);
    full = Math.max(64, 2 * writers.size);
  }
  writers.add(new WeakRef(writer));
}

function busyWriters(): NativeWriter[] {
  const own = [...writers].map((writer) => writer.deref()).filter((writer) => writer !== undefined);
  return own.filter((writer) => {
    const { bufferedWrites, state } = JSON.parse(writer.snapshot()) as Record<string, unknown>;
    return bufferedWrites !== 0 || state === "stopping";
  });
}

let watching = false;

/** Lets pending writes end before Node does. Called at the first open. */
export function flushBeforeExit(): void {
  if (watching) return;
  watching = true;
  /** When the end that was begun is over, whatever is left. */
  let until: number | undefined;
  /** Whether the log has what is left. */
  let isSaid = false;
  // Emitted again after each wait, until none is begun.
  process.on("beforeExit", () => {
    if (isMainThread() ? native.isIdle() : native.isTold() && busyWriters().length === 0) {
      until = undefined;
      isSaid = false;
      return;
    }
    until ??= now() + exitTimeoutMs + TELLING_MS;
    if (isSaid || now() >= until) return;
    if (isMainThread()) void endOfProcess().then((all) => (isSaid = !all));
    else void endOfWorker();
  });
  // First: the program's own listeners look at what `onError` was told.
  process.prependListener("exit", () => {
    if (isMainThread() && !isSaid && !native.isIdle()) native.endNow(anyListens());
    tellRest();
  });
}

/** Whether nothing was given up. If something was, the core has said how much. */
async function endOfProcess(): Promise<boolean> {
  if (await bounded([native.flushAll(exitTimeoutMs)], exitTimeoutMs + TELLING_MS)) return true;
  if (anyListens()) {
    native.stopAll();
    await bounded([native.flushAll(TELLING_MS)], TELLING_MS);
  }
  return false;
}

async function endOfWorker(): Promise<void> {
  const flushed = busyWriters().map((writer) => writer.flush());
  await bounded(flushed, exitTimeoutMs);
  for (const writer of busyWriters()) writer.stop();
  const stopped = busyWriters().map((writer) => writer.flush());
  await bounded([...stopped, native.told()], TELLING_MS);
}

/** Waits for all, up to a limit; whether it was kept and none failed. */
async function bounded(waits: NativeWait[], limitMs: number): Promise<boolean> {
  const timer = setTimeout(() => {
    for (const wait of waits) wait.cancel();
  }, limitMs);
  const texts = await Promise.all(waits.map((wait) => wait.done()));
  clearTimeout(timer);
  return texts.every((text) => text !== "" && !("error" in (JSON.parse(text) as object)));
}
