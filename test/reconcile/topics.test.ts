import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createTopics, type Waits } from '../../src/reconcile/topics.ts';

/** Topics whose waiters have names; `woken` is emptied by reading. */
function testTopics() {
  let woken: string[] = [];
  const waiters = new Map<string, { readonly name: string; readonly waits: Waits }>();
  const topics = createTopics<{ readonly name: string; readonly waits: Waits }>(w => woken.push(w.name));
  const waiter = (name: string) => {
    const known = waiters.get(name) ?? { name, waits: new Map() };
    waiters.set(name, known);
    return known;
  };
  return {
    ...topics,
    woken() {
      const names = woken;
      woken = [];
      return names;
    },
    end: (name: string, until: readonly string[], begun: number) => topics.settle(waiter(name), until, begun),
    /** A look at each name during which nothing happens. */
    wait(names: readonly string[], ...until: readonly string[]) {
      for (const name of names) assert.equal(topics.settle(waiter(name), until, topics.begin()), false);
    },
  };
}

describe('a topic that is told', () => {
  it('wakes who waits for it, oldest first, and only once', () => {
    const t = testTopics();
    t.wait(['c', 'a', 'b'], 'x');
    t.wait(['d'], 'y');
    t.tell('x');
    assert.deepEqual(t.woken(), ['c', 'a', 'b']);
    t.tell('x');
    assert.deepEqual(t.woken(), []);
    t.tell('y');
    assert.deepEqual(t.woken(), ['d']);
  });

  it('wakes no more than it has something for', () => {
    const t = testTopics();
    t.wait(['a', 'b', 'c'], 'x');
    t.tell('x', 2);
    assert.deepEqual(t.woken(), ['a', 'b']);
    t.tell('x', 2);
    assert.deepEqual(t.woken(), ['c']);
  });

  it('does not wake who waits for something else by now', () => {
    const t = testTopics();
    t.wait(['a', 'b'], 'x', 'y');
    t.wait(['a'], 'y');
    t.wait(['b']);
    t.tell('x');
    assert.deepEqual(t.woken(), []);
    t.tell('y');
    assert.deepEqual(t.woken(), ['a']);
  });

  it('may be one of several that are waited for', () => {
    const t = testTopics();
    t.wait(['a'], 'x', 'y');
    t.tell('y');
    assert.deepEqual(t.woken(), ['a']);
    t.wait(['a'], 'x', 'y');
    t.tell('x');
    assert.deepEqual(t.woken(), ['a']);
  });
});

describe('what is told during a look', () => {
  it('is not lost for who waits for it at the end', () => {
    const t = testTopics();
    const begun = t.begin();
    t.tell('x');
    assert.equal(t.end('a', ['x'], begun), true);
    t.wait(['a'], 'x');
    t.tell('x');
    assert.deepEqual(t.woken(), ['a']);
  });

  it('counts for looks that began before it only', () => {
    const t = testTopics();
    const early = t.begin();
    t.tell('x');
    const late = t.begin();
    assert.equal(t.end('late', ['x'], late), false);
    assert.equal(t.end('early', ['x'], early), true);
  });

  it('reaches as many as it has something for', () => {
    const t = testTopics();
    const looks = ['a', 'b', 'c'].map(name => ({ name, begun: t.begin() }));
    t.tell('x', 1);
    t.tell('x', 1);
    assert.deepEqual(
      looks.map(({ name, begun }) => t.end(name, ['x'], begun)),
      [true, true, false],
    );
  });

  it('goes to who waits already before it goes to who may', () => {
    const t = testTopics();
    t.wait(['a'], 'x');
    const begun = t.begin();
    t.tell('x', 1);
    assert.deepEqual(t.woken(), ['a']);
    assert.equal(t.end('b', ['x'], begun), false);
  });

  it('is seen by a waiter that is looked at for another reason', () => {
    const t = testTopics();
    t.wait(['a'], 'x');
    const begun = t.begin();
    t.tell('x');
    assert.equal(t.end('a', ['x'], begun), true);
  });

  it('a second time is no less a word', () => {
    const t = testTopics();
    t.wait(['a'], 'x');
    t.tell('x');
    const begun = t.begin();
    t.tell('x');
    assert.equal(t.end('a', ['x'], begun), true);
  });

  it('is not remembered when it was told of many things', () => {
    const t = testTopics();
    const early = t.begin();
    const waited = 'x500';
    for (let i = 0; i < 1_000; i++) t.tell(`x${i}`);
    const late = t.begin();
    assert.equal(t.end('a', [waited], early), true);
    for (let i = 0; i < 1_000; i++) t.tell(`y${i}`);
    assert.equal(t.end('b', [waited, 'y999'], late), true);
    assert.equal(t.end('c', [waited], t.begin()), false);
  });
});

describe('a place in the line', () => {
  it('is kept by who looked in vain', () => {
    const t = testTopics();
    t.wait(['a', 'b', 'c'], 'x');
    t.tell('x', 1);
    t.wait(['a'], 'x');
    t.wait(['b'], 'x');
    t.tell('x', 2);
    assert.deepEqual(t.woken(), ['a', 'a', 'b']);
  });

  it('is lost by who has waited for nothing meanwhile', () => {
    const t = testTopics();
    t.wait(['a', 'b'], 'x');
    t.wait(['a']);
    t.wait(['a'], 'x');
    t.tell('x', 1);
    assert.deepEqual(t.woken(), ['b']);
  });
});

describe('a word for one', () => {
  it('is passed on by who does not wait any more', () => {
    const t = testTopics();
    t.wait(['a', 'b', 'c'], 'x');
    t.tell('x', 1);
    t.wait(['a']);
    assert.deepEqual(t.woken(), ['a', 'b']);
    t.wait(['b'], 'x');
    assert.deepEqual(t.woken(), [], 'it was not there for b');
    t.tell('x', 1);
    assert.deepEqual(t.woken(), ['b']);
  });

  it('that came during its look, too', () => {
    const t = testTopics();
    t.wait(['a', 'b'], 'x');
    const begun = t.begin();
    t.tell('x', 1);
    t.end('a', ['y'], begun);
    assert.deepEqual(t.woken(), ['a', 'b']);
  });

  it('that came before it stood in the line, too', () => {
    const t = testTopics();
    const [a, b] = [t.begin(), t.begin()];
    t.tell('x', 1);
    assert.equal(t.end('a', ['x'], a), true);
    assert.equal(t.end('b', ['x'], b), false);
    t.wait(['a']);
    assert.deepEqual(t.woken(), ['b']);
  });
});
