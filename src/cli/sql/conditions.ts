/** `\if`, `\elif`, `\else`, `\endif`: which parts of a script count. */
import type { UsageError } from '../output.ts';

export type Conditions = {
  active(): boolean;
  /** @returns whether `name` is one of them @throws UsageError */
  take(name: string, words: () => readonly string[], refuse: (why: string) => UsageError): boolean;
  /** @throws UsageError when one is open */
  end(refuse: (why: string) => UsageError): void;
};

export function createConditions(): Conditions {
  const open: { state: 'yes' | 'not yet' | 'no more'; last: boolean }[] = [];
  const active = () => open.every(({ state }) => state === 'yes');
  const holds = (words: readonly string[], refuse: (why: string) => UsageError): boolean => {
    const word = words.join(' ').toLowerCase();
    if (/^(t(r(ue?)?)?|y(es?)?|on|1)$/.test(word)) return true;
    if (/^(f(a(l(se?)?)?)?|no?|of?f?|0)$/.test(word)) return false;
    throw refuse(`"${word}" is neither true nor false`);
  };
  return {
    active,
    take(name, words, refuse) {
      const inner = open.at(-1);
      switch (name) {
        case 'if':
          // In a part that does not count nothing is looked at.
          open.push({
            state: !active() ? 'no more' : holds(words(), refuse) ? 'yes' : 'not yet',
            last: false,
          });
          return true;
        case 'elif':
        case 'else':
          if (inner === undefined || inner.last) throw refuse('there is no \\if before it');
          if (inner.state === 'yes') inner.state = 'no more';
          else if (inner.state === 'not yet' && (name === 'else' || holds(words(), refuse)))
            inner.state = 'yes';
          inner.last = name === 'else';
          return true;
        case 'endif':
          if (open.pop() === undefined) throw refuse('there is no \\if before it');
          return true;
      }
      return false;
    },
    end(refuse) {
      if (open.length > 0) throw refuse('an \\if has no \\endif');
    },
  };
}
