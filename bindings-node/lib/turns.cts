// Calls that keep their order, although what some of them hand over comes later.

/** A place in the order of calls. */
export interface Turn {
  /** Settled once everything before was handed over or given up; undefined if nothing is before. */
  readonly before: Promise<void> | undefined;
  /** Hands on: this call has handed over, or given up. */
  done(): void;
}

/** Who is before whom. */
export class Turns {
  #last: Promise<void> | undefined;

  /** Settled once everybody who took a place has handed over; undefined if nobody has to. */
  get last(): Promise<void> | undefined {
    return this.#last;
  }

  /** Takes the next place. */
  take(): Turn {
    const before = this.#last;
    let done = (): void => undefined;
    const own = new Promise<void>((resolve) => {
      done = resolve;
    });
    const last = before === undefined ? own : before.then(() => own);
    this.#last = last;
    void last.then(() => {
      if (this.#last === last) this.#last = undefined;
    });
    return { before, done };
  }
}
