// Receipts: the results of writes.

import { DurstreamError, ProducerClosedError, errorFrom } from "./errors.cjs";
import type { ErrorFields } from "./errors.cjs";
import type { NativeReceipts, Written } from "./native.cjs";
import { settled } from "./wait.cjs";

/** The final status of a write. */
export type Status = "delivered" | "delivery-unknown" | "rejected" | "cancelled" | "forgotten" | "kept";

/** Every {@link Reason}, in the core's order. */
export const REASONS = [
  "invalid-entity",
  "invalid-key",
  "invalid-value",
  "serialization-failed",
  "too-large",
  "buffer-count-exceeded",
  "buffer-bytes-exceeded",
  "producer-stopping",
  "producer-stopped",
  "producer-failed",
  "refused",
  "unauthorized",
  "not-found",
  "conflict",
  "sequence-conflict",
  "expired",
  "fenced",
  "stream-closed",
  "gone",
  "retry-exhausted",
  "producer-limit",
  "would-deadlock",
  "offset-gone",
  "invalid-headers",
  "outbox-full",
] as const;

/** Why a write was not delivered, or a call not done. */
export type Reason = (typeof REASONS)[number];

/** The outcome of one write. */
export interface Outcome {
  readonly status: Status;
  /** Why it was not delivered. */
  readonly reason?: Reason;
  /** Delivered, and the server said that it had the write already. */
  readonly duplicate: boolean;
  /** Delivered, and possibly twice: see `onUncertain`. */
  readonly maybeDuplicate: boolean;
  /** Requests sent for it; 0 if no caller waited before it settled. */
  readonly attempts: number;
  /**
   * An offset behind the write, if it was delivered: that after its own batch where it is still
   * known, else a later one. A reader that has come that far has the write.
   */
  readonly offset?: string;
  /** The error, if it was not delivered. */
  readonly error?: DurstreamError;
}

/**
 * An outcome in the core's form.
 * @internal
 */
export interface OutcomeFields {
  status: Status;
  reason: Reason | null;
  duplicate: boolean;
  maybeDuplicate: boolean;
  attempts: number;
  offset: string | null;
  error: ErrorFields | null;
}

/** @internal */
export function outcomeFrom(fields: OutcomeFields): Outcome {
  const { status, duplicate, maybeDuplicate, attempts } = fields;
  return {
    status,
    ...(fields.reason === null ? {} : { reason: fields.reason }),
    duplicate,
    maybeDuplicate,
    attempts,
    ...(fields.offset === null ? {} : { offset: fields.offset }),
    ...(fields.error === null ? {} : { error: errorFrom(fields.error) }),
  };
}

/** The number of a write, and the wait for its outcome. Costs nothing until asked; no thenable. */
export class Receipt {
  /** The number of the write, from 1 in call order; 0 if it was not accepted. */
  readonly id: number;
  /** Whether the write was accepted. */
  readonly accepted: boolean;
  readonly #source: NativeReceipts | Outcome;
  #completion: Promise<Outcome> | undefined;

  /** @internal */
  constructor(id: number, source: NativeReceipts | Outcome) {
    this.id = id;
    this.accepted = id !== 0;
    this.#source = source;
  }

  /** Why it was not accepted; undefined if it was. */
  get refusal(): Outcome | undefined {
    return this.accepted ? undefined : (this.#source as Outcome);
  }

  /** The outcome, once it is settled. Made at first use, and never rejected. */
  get completion(): Promise<Outcome> {
    this.#completion ??= this.accepted
      ? outcomeOf(this.#source as NativeReceipts, this.id)
      : Promise.resolve(this.#source as Outcome);
    return this.#completion;
  }
}

async function outcomeOf(source: NativeReceipts, id: number): Promise<Outcome> {
  try {
    return outcomeFrom(await settled<OutcomeFields>("the write", () => source.wait(id)));
  } catch (error) {
    // The library was shut down before: the outcome stays unknown.
    const common = { duplicate: false, maybeDuplicate: false, attempts: 0 };
    const reason = error instanceof ProducerClosedError ? "producer-stopped" : "producer-failed";
    return {
      status: "delivery-unknown",
      reason,
      ...common,
      ...(error instanceof DurstreamError ? { error } : {}),
    };
  }
}

/**
 * The receipt of a native write; throws where it is an error.
 * @internal
 */
export function receiptOf(written: Written, source: NativeReceipts): Receipt {
  if (typeof written === "number") return new Receipt(written, source);
  const answer = JSON.parse(written) as { refused?: OutcomeFields; error?: ErrorFields };
  if (answer.refused !== undefined) return new Receipt(0, outcomeFrom(answer.refused));
  throw errorFrom(answer.error as ErrorFields);
}

/**
 * The receipt of a write that the facade could not hand over.
 * @internal
 */
export function rejectedReceipt(error: unknown): Receipt {
  if (!(error instanceof DurstreamError)) throw error;
  const flags = { duplicate: false, maybeDuplicate: false, attempts: 0 };
  return new Receipt(0, { status: "rejected", reason: error.reason as Reason, ...flags, error });
}
