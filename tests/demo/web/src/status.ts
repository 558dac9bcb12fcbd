import { STATUS_PATH } from "./paths";

export interface ServiceStatus {
  title: string;
  /** The path of its stream. */
  stream: string;
  /** How many events its stream had when it was read last. */
  stored: number;
  doing: "writing" | "finished" | "failed";
  /** 1, and 2 once it was started again. */
  run: number;
  /** The writes it has made; it may be a little ahead. */
  written: number;
  /** Those of runs that ended well: all are delivered. */
  settled: number;
  /** The writes that were delivered and are not in its stream. */
  lost: number;
  /** The events that are in its stream once more. */
  doubled: number;
}

export interface Status {
  /** How many shipments each service has. */
  shipments: number;
  /** How many writes each service makes. */
  writes: number;
  /** Since the demo began. */
  seconds: number;
  services: ServiceStatus[];
}

/** Nothing where the demo does not answer. */
export async function readStatus(): Promise<Status | undefined> {
  try {
    const response = await fetch(STATUS_PATH, { cache: "no-store" });
    return response.ok ? ((await response.json()) as Status) : undefined;
  } catch {
    return undefined;
  }
}
