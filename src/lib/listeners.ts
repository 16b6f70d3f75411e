/** Those who want to be told something. */
export class Listeners<T> {
  readonly #listeners = new Set<(news: T) => void>();

  /** @returns the way to stop it */
  readonly add = (listener: (news: T) => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  readonly tell = (news: T): void => {
    for (const listener of [...this.#listeners]) listener(news);
  };
}
