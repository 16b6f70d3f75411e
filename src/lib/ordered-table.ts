/** Things by name that keep an order of their own, in lists that stay the same as long as nothing in them changes. */

/** In order of their seats: that in which they came, unless it is said otherwise. */
export class Table<T> {
  readonly #seats = new Map<string, { seat: number; object: T }>();
  readonly #onEmpty: (() => void) | undefined;
  #next = 0;
  /** Until something changes. */
  #list: readonly T[] | undefined;

  constructor(onEmpty?: () => void) {
    this.#onEmpty = onEmpty;
  }

  get(name: string): T | undefined {
    return this.#seats.get(name)?.object;
  }

  list(): readonly T[] {
    this.#list ??= Object.freeze(
      [...this.#seats.values()].sort((a, b) => a.seat - b.seat).map(({ object }) => object),
    );
    return this.#list;
  }

  /** @param seat its place in the order; default: the one it has, or the last */
  set(name: string, object: T | undefined, seat = this.#seats.get(name)?.seat ?? this.#next): number {
    this.#list = undefined;
    if (object !== undefined) this.#seats.set(name, { seat, object });
    else if (this.#seats.delete(name) && this.#seats.size === 0) this.#onEmpty?.();
    this.#next = Math.max(this.#next, seat + 1);
    return seat;
  }
}
