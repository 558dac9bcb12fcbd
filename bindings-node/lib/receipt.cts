// What a write returns.

import { DurstreamError, ProducerClosedError, errorFrom } from "./errors.cjs";
import type { ErrorFields } from "./errors.cjs";
import type { NativeReceipts, Written } from "./native.cjs";
import { settled } from "./wait.cjs";

/** What finally became of a write. */
export type Status = "delivered" | "delivery-unknown" | "rejected" | "cancelled" | "forgotten";

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
] as const;

/** Why a write was not delivered, or a call not done. */
export type Reason = (typeof REASONS)[number];

/** The settled fate of one write. */
export interface Outcome {
  readonly status: Status;
  /** Why, where it was not delivered. */
  readonly reason?: Reason;
  /** Delivered, and the server said it had it already. */
  readonly duplicate: boolean;
  /** Delivered, and possibly twice: see `onUncertain`. */
  readonly maybeDuplicate: boolean;
  /** Requests it took; 0 where nobody asked before it settled. */
  readonly attempts: number;
  /** The stream's offset after its batch, where somebody asked before it settled. */
  readonly offset?: string;
  /** The error, where it was not delivered. */
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

/** A number, and the way to what became of the write. Costs nothing until looked at; no thenable. */
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

  /** The outcome, once it is settled. Made at first sight, and never rejected. */
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
    // The library was shut down meanwhile: nobody will know any more.
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
 * The receipt of a write the facade could not even hand over.
 * @internal
 */
export function rejectedReceipt(error: unknown): Receipt {
  if (!(error instanceof DurstreamError)) throw error;
  const reason = REASONS.find((known) => known === error.reason) ?? "producer-failed";
  const flags = { duplicate: false, maybeDuplicate: false, attempts: 0 };
  return new Receipt(0, { status: "rejected", reason, ...flags, error });
}
