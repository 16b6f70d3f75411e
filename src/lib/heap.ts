/** A queue whose least item comes first, and from whose middle an item can be taken: a binary heap that knows places. */
export class Heap<T> {
  readonly #items: T[] = [];
  readonly #places = new Map<T, number>();
  readonly #before: (a: T, b: T) => boolean;

  /** @param before a strict order that does not change while items are in the heap */
  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before;
  }

  get size(): number {
    return this.#items.length;
  }

  /** O(log n). An item that is in already stays where it is. */
  push(item: T): void {
    if (this.#places.has(item)) return;
    this.#items.push(item);
    this.#rise(this.#items.length - 1);
  }

  /** Takes the least item. O(log n) */
  pop(): T | undefined {
    const [first] = this.#items;
    if (first !== undefined) this.delete(first);
    return first;
  }

  /** O(log n). @returns whether it was in */
  delete(item: T): boolean {
    const at = this.#places.get(item);
    if (at === undefined) return false;
    this.#places.delete(item);
    const last = this.#items.pop()!;
    if (at === this.#items.length) return true;
    this.#put(last, at);
    this.#sink(at);
    this.#rise(this.#places.get(last)!);
    return true;
  }

  #put(item: T, at: number): void {
    this.#items[at] = item;
    this.#places.set(item, at);
  }

  #rise(at: number): void {
    const item = this.#items[at]!;
    for (; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#before(item, this.#items[parent]!)) break;
      this.#put(this.#items[parent]!, at);
      at = parent;
    }
    this.#put(item, at);
  }

  #sink(at: number): void {
    const items = this.#items;
    const item = items[at]!;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && this.#before(items[child + 1]!, items[child]!)) child++;
      if (!this.#before(items[child]!, item)) break;
      this.#put(items[child]!, at);
      at = child;
    }
    this.#put(item, at);
  }
}
