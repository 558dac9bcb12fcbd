const BUCKET_MS = 500;
const BUCKETS = 60;
/** Over so many buckets a rate is taken. */
const RATE_BUCKETS = 4;

/** How many events came lately. */
export class Rate {
  #counts = new Array<number>(BUCKETS).fill(0);
  #bucket = bucketNow();

  add(count: number): void {
    this.#turn();
    this.#counts[BUCKETS - 1]! += count;
  }

  /** Over the last two seconds. */
  perSecond(): number {
    this.#turn();
    // The last bucket is not full yet.
    const full = this.#counts.slice(-RATE_BUCKETS - 1, -1);
    return (full.reduce((sum, count) => sum + count, 0) * 1000) / (RATE_BUCKETS * BUCKET_MS);
  }

  /** The counts of the last half minute, the oldest first. */
  history(): readonly number[] {
    this.#turn();
    return this.#counts;
  }

  #turn(): void {
    const now = bucketNow();
    const gone = Math.min(now - this.#bucket, BUCKETS);
    this.#bucket = now;
    this.#counts.splice(0, gone);
    this.#counts.push(...new Array<number>(gone).fill(0));
  }
}

function bucketNow(): number {
  return Math.floor(performance.now() / BUCKET_MS);
}
