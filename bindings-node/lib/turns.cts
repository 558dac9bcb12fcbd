// Calls that keep their order, although some of them get their message later.

/** A place in the order of calls. */
export interface Turn {
  /** Settled once every call before has handed over or given up; undefined if there is none. */
  readonly before: Promise<void> | undefined;
  /** Hands on: this call has handed over, or given up. */
  done(): void;
}

/** The order of calls. */
export class Turns {
  #last: Promise<void> | undefined;

  /** Settled once every call that took a place has handed over; undefined if none has to. */
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
