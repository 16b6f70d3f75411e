import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Heap } from '../../src/lib/heap.ts';
import { chance } from '../support/random.ts';

it('gives items in order, whatever is put in and taken out between', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const { below, pick, often } = chance(seed);
    const heap = new Heap<{ readonly n: number }>((a, b) => a.n < b.n);
    let kept: { readonly n: number }[] = [];
    for (let i = 0; i < 300; i++) {
      if (often(60) || kept.length === 0) {
        const item = { n: below(1_000) };
        kept.push(item);
        heap.push(item);
        heap.push(item); // once is enough
      } else if (often(50)) {
        const item = pick(kept);
        assert.equal(heap.delete(item), true);
        assert.equal(heap.delete(item), false);
        kept = kept.filter(k => k !== item);
      } else {
        const least = Math.min(...kept.map(k => k.n));
        const item = heap.pop()!;
        assert.equal(item.n, least, `seed ${seed}`);
        kept = kept.filter(k => k !== item);
      }
      assert.equal(heap.size, kept.length);
    }
    const rest = kept.map(() => heap.pop()!.n);
    assert.deepEqual(
      rest,
      kept.map(k => k.n).sort((a, b) => a - b),
    );
    assert.equal(heap.pop(), undefined);
  }
});
