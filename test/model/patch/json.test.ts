/** RFC 6902; the cases follow its sections, and RFC 6901 for pointers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OffshootError } from '../../../src/model/errors.ts';
import { jsonPatch } from '../../../src/model/patch/json.ts';
import type { Json } from '../../../src/model/patch/tree.ts';

const document = { a: { b: 1, 'x/y': 2, 'm~n': 3, '': 4 }, list: ['p', 'q', 'r'], empty: null };

const applies: readonly (readonly [name: string, patch: Json, expected: Json])[] = [
  [
    'add sets a new member',
    [{ op: 'add', path: '/a/c', value: 5 }],
    { ...document, a: { ...document.a, c: 5 } },
  ],
  ['add overwrites a member', [{ op: 'add', path: '/empty', value: 5 }], { ...document, empty: 5 }],
  [
    'add inserts before',
    [{ op: 'add', path: '/list/1', value: 'n' }],
    { ...document, list: ['p', 'n', 'q', 'r'] },
  ],
  [
    'add at the length appends',
    [{ op: 'add', path: '/list/3', value: 'n' }],
    { ...document, list: ['p', 'q', 'r', 'n'] },
  ],
  [
    'add at - appends',
    [{ op: 'add', path: '/list/-', value: 'n' }],
    { ...document, list: ['p', 'q', 'r', 'n'] },
  ],
  ['add at the root replaces all', [{ op: 'add', path: '', value: [1] }], [1]],
  ['add takes null', [{ op: 'add', path: '/n', value: null }], { ...document, n: null }],
  ['remove takes a member', [{ op: 'remove', path: '/a' }], { list: ['p', 'q', 'r'], empty: null }],
  ['remove takes an element', [{ op: 'remove', path: '/list/0' }], { ...document, list: ['q', 'r'] }],
  ['remove takes a null', [{ op: 'remove', path: '/empty' }], { a: document.a, list: document.list }],
  ['replace sets a member', [{ op: 'replace', path: '/list', value: [] }], { ...document, list: [] }],
  [
    'replace sets an element',
    [{ op: 'replace', path: '/list/2', value: 'n' }],
    { ...document, list: ['p', 'q', 'n'] },
  ],
  ['replace at the root', [{ op: 'replace', path: '', value: { z: 1 } }], { z: 1 }],
  [
    'move renames',
    [{ op: 'move', from: '/empty', path: '/full' }],
    { a: document.a, list: document.list, full: null },
  ],
  [
    'move reorders after taking out',
    [{ op: 'move', from: '/list/0', path: '/list/2' }],
    { ...document, list: ['q', 'r', 'p'] },
  ],
  ['move to its own place', [{ op: 'move', from: '/list/1', path: '/list/1' }], document],
  ['copy', [{ op: 'copy', from: '/list/0', path: '/list/-' }], { ...document, list: ['p', 'q', 'r', 'p'] }],
  [
    'test passes whatever the order of members',
    [{ op: 'test', path: '', value: { list: ['p', 'q', 'r'], empty: null, a: document.a } }],
    document,
  ],
  ['~1 is a slash', [{ op: 'test', path: '/a/x~1y', value: 2 }], document],
  ['~0 is a tilde', [{ op: 'test', path: '/a/m~0n', value: 3 }], document],
  ['an empty token is a key', [{ op: 'test', path: '/a/', value: 4 }], document],
  [
    '~01 is ~1, not a slash',
    [
      { op: 'add', path: '/~01', value: 1 },
      { op: 'test', path: '', value: { ...document, '~1': 1 } },
    ],
    { ...document, '~1': 1 },
  ],
  [
    'operations see what earlier ones did',
    [
      { op: 'add', path: '/n', value: {} },
      { op: 'add', path: '/n/m', value: 1 },
    ],
    { ...document, n: { m: 1 } },
  ],
  ['no operation', [], document],
];

for (const [name, patch, expected] of applies) {
  test(`applies: ${name}`, () => assert.deepEqual(jsonPatch(document, patch), expected));
}

const fails: readonly (readonly [name: string, patch: Json, sentence: RegExp])[] = [
  ['not a list', { op: 'add' }, /at its text: it must be a list of operations/],
  ['not a map', [7], /at operation 0: it must be a map/],
  [
    'unknown op',
    [{ op: 'set', path: '' }],
    /at operation 0: "op" must be one of add, remove, replace, move, copy, test/,
  ],
  ['op from the prototype', [{ op: 'constructor', path: '' }], /"op" must be one of/],
  ['no path', [{ op: 'remove' }], /at operation 0 \(remove\): it needs "path"/],
  ['no value', [{ op: 'add', path: '/n' }], /it needs "value"/],
  ['no from', [{ op: 'move', path: '/n' }], /it needs "from"/],
  ['path without slash', [{ op: 'remove', path: 'a' }], /"path" must be empty or begin with "\/"/],
  ['stray tilde', [{ op: 'remove', path: '/a/~2' }], /"~" is written ~0/],
  [
    'absent member, second operation',
    [
      { op: 'test', path: '/empty', value: null },
      { op: 'replace', path: '/a/zz', value: 1 },
    ],
    /at operation 1 \(replace \/a\/zz\): \/a\/zz does not exist/,
  ],
  ['remove of an absent member', [{ op: 'remove', path: '/zz' }], /\/zz does not exist/],
  ['absent parent', [{ op: 'add', path: '/zz/a', value: 1 }], /\/zz does not exist/],
  [
    'inside a number',
    [{ op: 'add', path: '/a/b/c', value: 1 }],
    /\/a\/b is neither a map nor a list, so it holds no "c"/,
  ],
  ['inside null', [{ op: 'test', path: '/empty/c', value: 1 }], /\/empty is neither a map nor a list/],
  [
    'add beyond the end',
    [{ op: 'add', path: '/list/4', value: 1 }],
    /position 4 is past the end of the list/,
  ],
  ['replace at the end', [{ op: 'replace', path: '/list/3', value: 1 }], /position 3 is past the end/],
  ['replace at -', [{ op: 'replace', path: '/list/-', value: 1 }], /"-" is not a position in a list/],
  ['leading zero', [{ op: 'remove', path: '/list/01' }], /"01" is not a position/],
  ['negative position', [{ op: 'remove', path: '/list/-1' }], /"-1" is not a position/],
  ['length of a list', [{ op: 'test', path: '/list/length', value: 3 }], /"length" is not a position/],
  ['remove of everything', [{ op: 'remove', path: '' }], /the whole object cannot be removed/],
  ['move into itself', [{ op: 'move', from: '/a', path: '/a/b' }], /a value cannot be moved into itself/],
  [
    'test that fails',
    [{ op: 'test', path: '/list/0', value: 'P' }],
    /at operation 0 \(test \/list\/0\): the value there is another one/,
  ],
  ['test of number and text', [{ op: 'test', path: '/a/b', value: '1' }], /the value there is another one/],
  [
    'the prototype',
    [{ op: 'add', path: '/__proto__/polluted', value: 1 }],
    /the key "__proto__" is not allowed/,
  ],
  [
    'the constructor',
    [{ op: 'add', path: '/constructor/prototype/polluted', value: 1 }],
    /\/constructor does not exist/,
  ],
];

for (const [name, patch, sentence] of fails) {
  test(`fails: ${name}`, () => {
    const before = structuredClone(document);
    assert.throws(
      () => jsonPatch(document, patch),
      (error: unknown) =>
        error instanceof OffshootError &&
        error.code === 'fork/patch-failed' &&
        error.message.startsWith('patch: the json patch fails ') &&
        sentence.test(error.message),
    );
    assert.deepEqual(document, before);
    assert.equal(({} as Record<string, unknown>).polluted, undefined);
  });
}
