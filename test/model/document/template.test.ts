import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatPath } from '../../../src/model/document/problem.ts';
import { expandTemplate, type TemplateOptions } from '../../../src/model/document/template.ts';

const files: Readonly<Record<string, string | Uint8Array>> = {
  'specs/step.sh': '#!/bin/sh\necho "@{name}"\n',
  'specs/abs/list.yaml': '- a\n- {b: 1}\n',
  'up.txt': 'up',
  'specs/image.png': new Uint8Array([0x89, 0x50, 0xff]),
  'specs/broken.yaml': 'a: [1\n',
  'specs/two.yaml': 'a: 1\n---\nb: 1\n',
  'specs/big': 'x'.repeat(1024 * 1024 + 1),
  'specs/half': 'x'.repeat(1024 * 1024),
};

const options = (set: readonly string[] = []): TemplateOptions => ({
  set,
  dir: 'specs',
  readFile: path => {
    const content = files[path];
    if (content === undefined) throw new Error('ENOENT: no such file');
    return content;
  },
});

const expand = (value: unknown, set?: readonly string[]) => expandTemplate(value, options(set));

function findings(value: unknown, set?: readonly string[]): readonly string[] {
  return expand(value, set).findings.map(({ path, message, suggestion }) =>
    [formatPath(path), message, ...(suggestion === undefined ? [] : [suggestion])].join(' | '),
  );
}

describe('what a directive becomes', () => {
  const cases: readonly (readonly [what: string, text: string, value: unknown, set?: readonly string[]])[] = [
    ['a variable', '@{name}', 'x', ['name=x']],
    ['several in one text', 'a-@{p}-@{q}-z', 'a-1-2-z', ['p=1', 'q=2']],
    ['spaces around the name', '@{  name }', 'x', ['name=x']],
    ['only the first = separates', '@{url}', 'http://h/?a=b', ['url=http://h/?a=b']],
    ['an empty value', '<@{e}>', '<>', ['e=']],
    ['the same definition twice', '@{n}', '1', ['n=1', 'n=1']],
    ['names with dots, hyphens and digits', '@{a.b-c_9}', 'x', ['a.b-c_9=x']],
    ['values are not expanded again', '@{a}', '@{b}', ['a=@{b}']],
    ['no directive without content', '@{} @ {x} @{', '@{} @ {x} @{'],
    ['up to the first }', '@{a}}', 'x}', ['a=x']],
    ['raw', 'v@{n[raw]}', 'v1', ['n=1']],
    ['yaml', '@{n[yaml]}', { a: [1] }, ['n={a: [1]}']],
    ['yaml of nothing', '@{n[yaml]}', null, ['n=']],
    ['binary', '@{n [binary]}', 'aGk=', ['n=hi']],
    ['a file, as it is', '@{embed: step.sh}', '#!/bin/sh\necho "@{name}"\n'],
    ['a file inside a text', '<@{embed:step.sh}>', '<#!/bin/sh\necho "@{name}"\n>'],
    ['a file as structure', '@{embed[yaml]: abs/list.yaml}', ['a', { b: 1 }]],
    ['a file as base64', '@{embed[binary]: image.png}', 'iVD/'],
    ['an absolute path is joined too', '@{embed[yaml]: /abs/list.yaml}', ['a', { b: 1 }]],
    ['a path out of the folder', '@{embed: ../up.txt}', 'up'],
  ];
  for (const [what, text, value, set] of cases) {
    test(what, () =>
      assert.deepEqual(expand({ deep: [text] }, set), { value: { deep: [value] }, findings: [] }),
    );
  }
  test('keys and other values stay', () => {
    const value = { '@{name}': 1, b: true, c: null };
    assert.deepEqual(expand(value, ['name=x']).value, value);
  });
});

describe('what is refused', () => {
  const cases: readonly (readonly [
    what: string,
    value: unknown,
    found: readonly string[],
    set?: readonly string[],
  ])[] = [
    [
      'all variables without a value, each at its place',
      { a: '@{imgae}', b: ['x-@{b}-@{c}'] },
      [
        'a | unexpanded variable: imgae | image',
        'b[0] | unexpanded variable: b',
        'b[0] | unexpanded variable: c',
      ],
      ['image=x'],
    ],
    ['bad names', '@{9x} @{a b}', [' | invalid variable name: "9x"', ' | invalid variable name: "a b"']],
    [
      'definitions that contradict each other',
      'x',
      [' | conflicting variable defs: "n" is set to different values'],
      ['n=1', 'n=2'],
    ],
    ['definitions with a bad name', 'x', [' | invalid variable name: "1n"'], ['1n=1']],
    ['definitions without a value', 'x', [' | variable "n" is set without a value: write n=VALUE'], ['n']],
    ['other operations', '@{embd: x}', [' | unsupported operation: "embd" | embed']],
    ['other encodings', '@{n[yml]}', [' | invalid encoding: "yml" | yaml'], ['n=1']],
    [
      'structure inside a text',
      'a @{embed[yaml]: step.sh}',
      [' | invalid encoding: embed yaml does not work as part of a larger string'],
    ],
    [
      'base64 inside a text',
      '@{n[binary]} ',
      [' | invalid encoding: n binary does not work as part of a larger string'],
      ['n=1'],
    ],
    ['files that are not there', '@{embed: no}', [' | cannot read "specs/no": ENOENT: no such file']],
    ['files that are too large', '@{embed: big}', [' | "specs/big" is larger than 1024 KiB']],
    [
      'bytes as text',
      '@{embed: image.png}',
      [' | file "image.png" is not UTF-8 text; the encoding [binary] takes any bytes'],
    ],
    [
      'structure that is not YAML',
      '@{embed[yaml]: broken.yaml}',
      [
        ' | file "broken.yaml" is not valid YAML: flow sequence in block collection must be sufficiently indented and end with a ]',
      ],
    ],
    [
      'structure of two documents',
      '@{embed[yaml]: two.yaml}',
      [' | file "two.yaml" holds more than one YAML document'],
    ],
    ['more than 4 MiB in all', '@{embed: half}'.repeat(5), [' | the directives put in more than 4096 KiB']],
  ];
  for (const [what, value, found, set] of cases) {
    test(what, () => assert.deepEqual(findings(value, set), found));
  }
  test('files where nobody reads any', () => {
    assert.deepEqual(
      expandTemplate('@{embed: step.sh}', {}).findings.map(finding => finding.message),
      ['files cannot be embedded here'],
    );
  });
  test('no sentence repeats the value of a variable', () => {
    assert.deepEqual(findings('@{x[yaml]}', ['x=*s3cret', 'x=s3cret']), [
      ' | conflicting variable defs: "x" is set to different values',
      ' | variable "x" is not valid YAML',
    ]);
  });
});

test('what cannot be expanded stays, the rest is put in', () => {
  assert.equal(expand('@{a}-@{b}-@{a}', ['a=1']).value, '1-@{b}-1');
});

test('a long text of openings is read in one go', () => {
  const text = '@{'.repeat(500_000);
  assert.equal(expand(text).value, text);
});
