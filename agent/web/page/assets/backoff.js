// How long to wait before the next try: twice as long each time, up to a cap,
// with some jitter so that many viewers of one agent don't come back at once.

export class Backoff {
  #first;
  #cap;
  #random;
  #tries = 0;

  /**
   * @param {{first?: number, cap?: number, random?: () => number}} [options]
   *   delays in milliseconds
   */
  constructor({ first = 500, cap = 15_000, random = Math.random } = {}) {
    this.#first = first;
    this.#cap = cap;
    this.#random = random;
  }

  /** @returns {number} milliseconds, between 3/4 and 5/4 of the planned delay */
  next() {
    const planned = Math.min(this.#cap, this.#first * 2 ** this.#tries);
    this.#tries++;
    return planned * (0.75 + this.#random() / 2);
  }

  /** Something worked: begin with short delays again. */
  reset() {
    this.#tries = 0;
  }
}
