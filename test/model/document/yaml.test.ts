import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MAX_BYTES, parseYaml, parseYamlStream, readDocument } from '../../../src/model/document/yaml.ts';
import { problemsOf } from './problems-of.ts';

const read = (text: string) => readDocument({ text, file: 'a.yaml' }).value;
const problems = (text: string) => problemsOf(() => readDocument({ text, file: 'a.yaml' }));

describe('values', () => {
  const cases: readonly (readonly [what: string, text: string, value: unknown])[] = [
    ['YAML', 'a: 1\nb: [x, true, null, 1.5]\n', { a: 1, b: ['x', true, null, 1.5] }],
    ['JSON', '{\n\t"a": {\n\t\t"b": [1, "x"]\n\t}\n}\n', { a: { b: [1, 'x'] } }],
    ['Windows line ends', 'a: x\r\nb: |\r\n  one\r\n  two\r\n', { a: 'x', b: 'one\ntwo\n' }],
    ['a byte order mark', '\ufeffa: 1\n', { a: 1 }],
    ['words that YAML 1.1 took for booleans', 'a: yes\nb: on\n', { a: 'yes', b: 'on' }],
    [
      'modes of files, as kubectl takes them',
      'a: 0400\nb: 0o644\nc: 420\nd: 0\ne: "0400"\nf: 0888\n',
      { a: 256, b: 420, c: 420, d: 0, e: '0400', f: 888 },
    ],
    [
      'quoted texts that go on, and end, where their key begins',
      'a:\n  b: \'[\n  {\n    1}\n  ]\'\n  c: "x\n\n  y"\n',
      { a: { b: '[ { 1} ]', c: 'x\ny' } },
    ],
    ['dates stay text, also in YAML 1.1', '%YAML 1.1\n---\na: 2001-01-01\n', { a: '2001-01-01' }],
    ['keys as they are written', '8080: a\n1.0: b\ntrue: c\n', { '8080': 'a', '1.0': 'b', true: 'c' }],
    ['aliases', 'a: &x [1]\nb: *x\n', { a: [1], b: [1] }],
    ['the newest anchor before an alias', 'a: &x 1\nb: &x 2\nc: *x\n', { a: 1, b: 2, c: 2 }],
    ['merge keys', 'a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\n', { a: { p: 1, q: 2 }, b: { q: 3, p: 1 } }],
    [
      'merge keys with several sources',
      'a: &x {p: 1}\nb: &y {p: 2, q: 2}\nc: {<<: [*x, *y]}\n',
      { a: { p: 1 }, b: { p: 2, q: 2 }, c: { p: 1, q: 2 } },
    ],
    ['a document between markers', '---\na: 1\n...\n---\n', { a: 1 }],
    ['a text alone', 'just text\n', 'just text'],
  ];
  for (const [what, text, value] of cases) {
    test(what, () => assert.deepEqual(read(text), value));
  }
});

describe('places', () => {
  const { locate } = readDocument({
    file: 'a.yaml',
    text: 'name: x\nspec:\n  forks:\n    - name: a\n      at: &k { kind: D }\n    - {at: *k, <<: {more: 1}}\n',
  });
  const cases: readonly (readonly [path: (string | number)[], key: string, value: string])[] = [
    [[], '1:1', '1:1'],
    [['name'], '1:1', '1:7'],
    [['spec', 'forks'], '3:3', '4:5'],
    [['spec', 'forks', 0], '4:7', '4:7'],
    [['spec', 'forks', 0, 'at', 'kind'], '5:16', '5:22'],
    [['spec', 'forks', 1, 'at'], '6:8', '6:12'],
    [['spec', 'forks', 1, 'at', 'kind'], '5:16', '5:22'],
    [['spec', 'forks', 1, 'more'], '6:21', '6:27'],
    [['spec', 'missing', 'deep'], '2:1', '3:3'],
  ];
  for (const [path, key, value] of cases) {
    test(path.join('.') || 'the document', () => {
      const text = (part: 'key' | 'value') => Object.values(locate(path, part)).join(':');
      assert.equal(text('key'), key);
      assert.equal(text('value'), value);
    });
  }
});

test('in a stream the last of keys that stand twice counts, and each piece may begin with a mark', () => {
  const all = [...parseYamlStream('\ufeffa: 1\na: {b: 2, b: 3}\n---\n\ufeffc: 1\n', 100)];
  assert.deepEqual(
    all.flatMap(({ documents, errors }) => [...errors, ...documents.map(({ value }) => value)]),
    [{ a: { b: 3 } }, { c: 1 }],
  );
  assert.deepEqual(all[0]!.documents[0]!.repeated, [
    { line: 2, column: 11, message: 'duplicate key "b"' },
    { line: 2, column: 1, message: 'duplicate key "a"' },
  ]);
});

describe('what is refused', () => {
  const cases: readonly (readonly [what: string, text: string, problems: readonly string[]])[] = [
    ['an empty file', '', ['there is no document in it']],
    ['only comments', '# nothing\n---\n', ['there is no document in it']],
    ['two documents', 'a: 1\n---\nb: 1\n', ['3:1: one document is expected, this is one of 2']],
    ['tabs', 'a:\n\tb: 1\n', ['2:1: tabs are not allowed as indentation']],
    [
      'every syntax error at once',
      'a: @x\nb: "\\q"\n',
      ['1:4: plain value cannot start with reserved character @', '2:5: invalid escape sequence \\q'],
    ],
    [
      'duplicate keys, also when they only read alike',
      'a: 1\nb: {"8": 1, 8: 2}\na: 2\n',
      ['2:13: duplicate key "8"', '3:1: duplicate key "a"'],
    ],
    [
      'keys that are no text',
      '? [a]\n: 1\n: 2\n',
      ['1:3: a key must be plain text', '3:1: a key must be plain text'],
    ],
    ['prototypes', 'a: {__proto__: {b: 1}}\n', ['1:5: the key "__proto__" is not allowed']],
    ['tags', 'a: !!binary aGk=\n', ['1:4: unresolved tag: tag:yaml.org,2002:binary']],
    ['unknown aliases', 'a: *x\n', ['1:4: there is no anchor "&x" before this alias']],
    ['circles', 'a: &x [*x]\n', ['1:8: there is no anchor "&x" before this alias']],
    ['merging what is no map', 'a: {<<: 1}\n', ['1:9: "<<" needs a mapping or a list of mappings']],
  ];
  for (const [what, text, expected] of cases) {
    test(what, () => assert.deepEqual(problems(text), expected));
  }
});

describe('hostile text', () => {
  const tooDeep = ['it is nested deeper than 100 levels'];
  const bomb = ['a: &a [x, x, x, x, x, x, x, x, x]']
    .concat([...'bcdefghi'].map((c, i) => `${c}: &${c} [${Array(9).fill(`*${'abcdefgh'[i]}`).join(', ')}]`))
    .join('\n');

  test('a billion laughs', () => {
    assert.match(problems(bomb).join(), /^\d+:\d+: aliases stand for more than 10000 values$/);
  });
  test('nested deeper than the parser has stack for', () => {
    assert.deepEqual(problems('['.repeat(50_000)), tooDeep);
    assert.deepEqual(problems('- '.repeat(50_000)), tooDeep);
  });
  test('nested deeper than is sensible, directly or through aliases', () => {
    assert.deepEqual(problems(`${'['.repeat(102)}${']'.repeat(102)}`), [`1:102: ${tooDeep[0]}`]);
    const aliases = Array.from({ length: 102 }, (_, i) => `k${i + 1}: &k${i + 1} [*k${i}]`);
    assert.match(problems(['k0: &k0 []', ...aliases].join('\n')).join(), /^\d+:\d+: it is nested deeper/);
  });
  test('as deep as is allowed', () => {
    assert.equal(parseYaml(`${'['.repeat(100)}${']'.repeat(100)}`).errors.length, 0);
  });
  test('larger than 1 MiB in bytes', () => {
    const text = `a: ${'ä'.repeat(MAX_BYTES / 2)}`;
    assert.ok(text.length < MAX_BYTES);
    assert.deepEqual(problems(text), ['the text is larger than 1024 KiB']);
  });
  test('more problems than arguments fit into a call', () => {
    assert.equal(parseYaml('a: 1\n'.repeat(150_000)).errors.length, 149_999);
  });
});

describe('a stream', () => {
  const read = (text: string, maxBytes = 1_000) => [...parseYamlStream(text, maxBytes)];

  test('comes document by document, with the lines of the whole text', () => {
    const parts = read('# head\na: 1\n---\nb: 2\n--- # more\nc:\n  - |\n    ---\n  - 3\n');
    const documents = parts.flatMap(part => part.documents);
    assert.deepEqual(
      documents.map(({ value }) => value),
      [{ a: 1 }, { b: 2 }, { c: ['---\n', 3] }],
    );
    assert.deepEqual(documents[2]?.locate(['c', 1]), { line: 9, column: 5 });
    assert.equal(parts.length, 3);
  });

  test('may be longer than one document may be', () => {
    const document = `a: ${'x'.repeat(600)}\n`;
    const long = Array.from({ length: 50 }, () => document).join('---\n');
    assert.equal(read(long).flatMap(part => part.documents).length, 50);
    assert.deepEqual(
      read(`a: 1\n---\na: ${'x'.repeat(2_000)}\n`).flatMap(part => part.errors),
      [{ line: 2, column: 1, message: 'the text is larger than 0.9765625 KiB' }],
    );
  });

  test('with directives is read as one', () => {
    const text = '%YAML 1.2\n---\na: 1\n...\n%YAML 1.2\n---\nb: 2\n';
    const values = read(text).flatMap(part => part.documents.map(({ value }) => value));
    assert.deepEqual(values, [{ a: 1 }, { b: 2 }]);
  });
});
