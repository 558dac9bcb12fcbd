import { createStateSchema, createStreamDB } from "@durable-streams/state/db";

import { SERVER_PATH } from "./paths";
import { watchedFetch, type Connection } from "./watched-fetch";

export const STATUSES = ["created", "in_transit", "delivered"] as const;

export interface Shipment {
  id: string;
  orderId: string;
  status: (typeof STATUSES)[number];
}

export interface Change {
  key: string;
  /** Nothing where the shipment was removed. */
  shipment: Shipment | undefined;
}

export interface Listener {
  changed(changes: Change[]): void;
  /** So many events arrived. `isLive` where they were written just now, not before the page was opened. */
  received(count: number, isLive: boolean): void;
  connection(connection: Connection): void;
}

const RETRY_MS = 500;
/** The server is on this machine: it is asked again soon. */
const BACKOFF = { initialDelay: 100, maxDelay: 500, multiplier: 1.3 };

const schema = createStateSchema({
  shipments: {
    schema: { "~standard": { version: 1, vendor: "board", validate } },
    type: "shipment",
    primaryKey: "id",
  },
});

/** What a service writes was validated before it was written. */
function validate(value: unknown): { value: Shipment } {
  return { value: value as Shipment };
}

/** Keeps a service's shipments as its stream has them, until it is stopped. */
export class Follower {
  readonly #url: string;
  readonly #listener: Listener;
  #stop = () => {};
  #isStopped = false;

  constructor(stream: string, listener: Listener) {
    this.#url = `${location.origin}${SERVER_PATH}${stream}`;
    this.#listener = listener;
    void this.#start();
  }

  stop(): void {
    this.#isStopped = true;
    this.#stop();
  }

  /** A StreamDB that cannot read to the end of its stream once gives up: the next one tries. */
  async #start(): Promise<void> {
    while (!this.#isStopped) {
      const db = this.#open();
      try {
        await db.preload();
        return;
      } catch {
        db.close();
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  #open() {
    const listener = this.#listener;
    let offset = "";
    let isLive = false;
    const db = createStreamDB({
      live: "sse",
      streamOptions: {
        url: this.#url,
        contentType: "application/json",
        warnOnHttp: false,
        backoffOptions: BACKOFF,
        fetch: watchedFetch((connection) => listener.connection(connection)),
      },
      state: schema,
      onBatch({ items, offset: end, upToDate }) {
        // What a connection brought that was cut before it told the offset is brought once more.
        if (end !== offset) listener.received(items.length, isLive);
        offset = end;
        isLive ||= upToDate;
      },
    });
    db.collections.shipments.subscribeChanges(
      (changes) => {
        listener.changed(
          changes.map(({ type, key, value }) => ({
            key: String(key),
            shipment: type === "delete" ? undefined : value,
          })),
        );
      },
      { includeInitialState: true },
    );
    this.#stop = () => db.close();
    return db;
  }
}
