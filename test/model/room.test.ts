import assert from 'node:assert/strict';
import { it } from 'node:test';
import {
  type BranchRoom,
  type Growing,
  hardLimit,
  isLow,
  isRelieved,
  isShort,
  isStarved,
  leftFor,
  limitOf,
  lowBytes,
  nearsLimit,
  nextLookMs,
  type Room,
  spareBytes,
  startRefusal,
  whoComesBack,
  whoStops,
} from '../../src/model/room.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** A pool of 2 GiB with a reserve of 64 MiB, of which `mib` are left for branches: low from 128, spare from 32. */
const left = (mib: number): Room => ({
  totalBytes: 2 * GIB,
  freeBytes: (mib + 64) * MIB,
  reserveBytes: 64 * MIB,
});
const plenty = left(1000);

const growing = (id: string, grownMib: number, more: Partial<Growing> = {}): Growing => ({
  id,
  root: false,
  bytes: 200 * MIB,
  grownBytes: grownMib * MIB,
  ...more,
});

it('limits a branch by its own number, its project, or half of everything; roots only by their own', () => {
  assert.equal(limitOf({ own: 1, project: 2, root: false }, plenty), 1);
  assert.equal(limitOf({ project: 2, root: false }, plenty), 2);
  assert.equal(limitOf({ root: false }, plenty), GIB);
  assert.equal(limitOf({ root: false }, { ...plenty, totalBytes: 10 * MIB }), 64 * MIB);
  assert.equal(limitOf({ own: 1, root: true }, plenty), 1);
  assert.equal(limitOf({ project: 2, root: true }, plenty), undefined);
});

it('lets a branch have more than its limit, for its end and its recovery', () => {
  for (const [limit, hard] of [
    [64, 128],
    [1024, 1024 + 128],
    [8192, 8192 + 512],
  ] as const)
    assert.equal(hardLimit(limit * MIB), hard * MIB);
});

it('knows when room is low, by the size of the whole', () => {
  assert.deepEqual([lowBytes(plenty), spareBytes(plenty)], [128 * MIB, 32 * MIB]);
  assert.deepEqual(
    [lowBytes({ ...plenty, totalBytes: 512 * MIB }), spareBytes({ ...plenty, totalBytes: 1 })],
    [96 * MIB, 32 * MIB],
  );
  assert.deepEqual(
    [lowBytes({ ...plenty, totalBytes: 2 ** 45 }), spareBytes({ ...plenty, totalBytes: 2 ** 45 })],
    [4 * GIB, 512 * MIB],
  );
  assert.deepEqual([isLow(left(128)), isLow(left(127)), leftFor(left(-10))], [false, true, -10 * MIB]);
  assert.deepEqual([isShort(left(256)), isShort(left(255))], [false, true]);
});

const stops: readonly {
  readonly name: string;
  readonly room: Room;
  readonly running: readonly Growing[];
  readonly stop: Readonly<Record<string, string>>;
}[] = [
  { name: 'nobody while there is room', room: plenty, running: [growing('a', 900)], stop: {} },
  {
    name: 'whoever has reached its limit, however much room there is, roots too',
    room: plenty,
    running: [
      growing('a', 0, { bytes: 512 * MIB, limitBytes: 512 * MIB }),
      growing('b', 0, { bytes: 511 * MIB, limitBytes: 512 * MIB }),
      growing('main', 0, { bytes: 600 * MIB, limitBytes: 512 * MIB, root: true }),
    ],
    stop: { a: 'limit', main: 'limit' },
  },
  {
    name: 'the one that has grown most when room is low',
    room: left(100),
    running: [growing('a', 30), growing('b', 90), growing('c', 0)],
    stop: { b: 'room' },
  },
  {
    name: 'nobody for small writes while some is left',
    room: left(100),
    running: [growing('a', 20), growing('b', 7)],
    stop: {},
  },
  {
    name: 'less growth is too much when less is left',
    room: left(40),
    running: [growing('a', 12), growing('b', 7)],
    stop: { a: 'room' },
  },
  {
    name: 'hardly any growth at the end',
    room: left(10),
    running: [growing('a', 5), growing('b', 3)],
    stop: { a: 'room' },
  },
  {
    name: 'never a root for others',
    room: left(-20),
    running: [growing('main', 500, { root: true })],
    stop: {},
  },
  {
    name: 'nobody who does not grow',
    room: left(-20),
    running: [growing('a', 0), growing('b', 3)],
    stop: {},
  },
  {
    name: 'first who is over its limit, since that may be enough',
    room: left(10),
    running: [growing('a', 50), growing('b', 0, { limitBytes: 64 * MIB })],
    stop: { b: 'limit' },
  },
];

for (const { name, room, running, stop } of stops)
  it(`stops ${name}`, () => assert.deepEqual(Object.fromEntries(whoStops(room, running)), stop));

const branch = (more: Partial<BranchRoom> = {}): BranchRoom => ({
  id: 'a',
  root: false,
  bytes: 100 * MIB,
  ...more,
});

it('starts nobody who would have to stop at once', () => {
  assert.equal(startRefusal(plenty, branch()), undefined);
  assert.equal(startRefusal(plenty, branch({ limitBytes: 107 * MIB })), 'limit');
  assert.equal(startRefusal(plenty, branch({ limitBytes: 108 * MIB })), undefined);
  assert.equal(startRefusal(left(31), branch()), 'room');
  assert.equal(startRefusal(left(32), branch()), undefined);
  assert.equal(startRefusal(left(-64), branch({ root: true })), undefined);
});

it('brings back whose limit was raised, and as many as there is room for of those that room was missing for', () => {
  const stopped = [
    { ...branch({ id: 'a' }), why: 'room' as const },
    { ...branch({ id: 'b' }), why: 'room' as const },
    { ...branch({ id: 'c', limitBytes: 64 * MIB }), why: 'limit' as const },
    { ...branch({ id: 'd', limitBytes: 640 * MIB }), why: 'limit' as const },
    { ...branch({ id: 'e', limitBytes: 640 * MIB }), why: 'limit' as const },
  ];
  assert.deepEqual(whoComesBack(left(161), stopped), ['a', 'd', 'e']);
  assert.deepEqual(whoComesBack(left(511), stopped), ['a', 'd', 'e']);
  assert.deepEqual(whoComesBack(left(512), stopped), ['a', 'b', 'd', 'e']);
  assert.deepEqual(whoComesBack(left(159), stopped), ['d', 'e'], 'more is needed than what made them stop');
  assert.deepEqual(whoComesBack(left(10), stopped), []);
});

it('says when a failure may be for want of room, and when that is over for certain', () => {
  const at = (mib: number) => [isStarved(left(mib)), isRelieved(left(mib))];
  assert.deepEqual([-64, 31, 32, 63, 64].map(at), [
    [true, false],
    [true, false],
    [false, false],
    [false, false],
    [false, true],
  ]);
});

it('says when a branch comes near its limit', () => {
  assert.equal(nearsLimit(branch()), false);
  assert.equal(nearsLimit(branch({ limitBytes: 512 * MIB })), false);
  assert.equal(nearsLimit(branch({ bytes: 410 * MIB, limitBytes: 512 * MIB })), true);
});

it('looks again before anybody can have got there', () => {
  assert.equal(nextLookMs(left(10_000), []), 10_000);
  assert.equal(nextLookMs(left(10_000), [], true), 500, 'somebody waits for room');
  assert.equal(nextLookMs(left(628), []), 1_000);
  assert.equal(nextLookMs(left(0), []), 100);
  assert.equal(nextLookMs(left(10_000), [growing('a', 0, { bytes: 412 * MIB, limitBytes: 512 * MIB })]), 200);
});
