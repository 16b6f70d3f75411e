/** Those who want to be told something. One that throws harms none of the others. */
export class Listeners<T> {
  readonly #listeners = new Set<(news: T) => void>();
  readonly #failed: (error: unknown) => void;

  /** @param failed told what a listener has thrown, once all have been told; default: it is thrown on */
  constructor(failed: (error: unknown) => void = throwOn) {
    this.#failed = failed;
  }

  /** @returns the way to stop it */
  readonly add = (listener: (news: T) => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  readonly tell = (news: T): void => {
    const errors: unknown[] = [];
    for (const listener of [...this.#listeners]) {
      try {
        listener(news);
      } catch (error) {
        errors.push(error);
      }
    }
    for (const error of errors) this.#failed(error);
  };
}

// --- internal ------------------------------------------------------------------------------------

function throwOn(error: unknown): never {
  throw error;
}
