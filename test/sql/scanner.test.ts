import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createScanner, type Token } from '../../src/sql/scanner.ts';

type Options = { readonly variables?: Readonly<Record<string, string>>; readonly standardStrings?: boolean };

function tokensOf(text: string, { variables = {}, standardStrings = true }: Options = {}): Token[] {
  const scanner = createScanner({
    variable: name => (Object.hasOwn(variables, name) ? variables[name] : undefined),
    standardStrings: () => standardStrings,
  });
  const tokens: Token[] = [];
  text.split(/(?<=\n)/).forEach((line, i) => {
    scanner.feed(line, i + 1);
    for (let token = scanner.next(); token !== undefined; token = scanner.next()) tokens.push(token);
  });
  const last = scanner.end();
  return last === undefined ? tokens : [...tokens, last];
}

const statementsOf = (text: string, options?: Options) =>
  tokensOf(text, options).map(token => (token.kind === 'statement' ? token.text : `\\${token.name}`));

const whole: Readonly<Record<string, string>> = {
  'semicolons in strings': "select 'a;''b;'",
  'semicolons in names': 'select 1 as "a;""b;"',
  'strings with backslashes': String.raw`select e'a\';b\\', E'\'' || 'x'`,
  'a backslash in a plain string': String.raw`select '\'`,
  'a name that ends with e before a string': String.raw`select type'\'`,
  'strings over several lines': "select 'a;\nb;\n'",
  'dollar quotes': 'do $$ begin; select 1; end; $$',
  'dollar quotes with tags': 'do $a$ x; $$ y; $b$ z; $a$',
  'dollars that quote nothing': 'select a$b$c, $1, 1$$',
  'comments that nest': 'select 1 /* ; /* ; */ ; */ + 1',
  'comments to the end of the line': 'select 1 -- ; not yet\n + 1',
  'an operator that looks like a comment begins': 'select 5 - -3, a->b, a/b*c',
  parentheses: 'create rule r as on insert to t do also (select 1; select 2)',
  'bodies in SQL':
    'create function f() returns int begin atomic select 1; select case when true then 2 end; end',
  'bodies in SQL of what is replaced': 'create or replace procedure p() begin atomic; select 1; end',
  'casts, slices and assignments': 'select a::text, b[1:2], c := 3, \'x\'::"char"',
  'other bytes than ASCII': 'select \'\xc3\xa4;\', "\xe9;"',
};
for (const [what, text] of Object.entries(whole))
  test(`one statement: ${what}`, () => {
    assert.deepEqual(statementsOf(`${text};`), [text]);
    assert.deepEqual(statementsOf(text), [text]);
    assert.deepEqual(statementsOf(`${text};select 2`), [text, 'select 2']);
  });

test('begin is a block only in the body of a function', () => {
  assert.deepEqual(statementsOf('begin; select 1; end; create table begin_t (a int); commit;'), [
    ...['begin', 'select 1', 'end', 'create table begin_t (a int)', 'commit'],
  ]);
});

test('statements have the line of their first word; nothing is none', () => {
  assert.deepEqual(tokensOf('-- a\n\n/* b\n*/ select 1;;\n ; -- c\nselect\n2;\n'), [
    { kind: 'statement', text: 'select 1', line: 4 },
    { kind: 'statement', text: 'select\n2', line: 6 },
  ]);
  assert.deepEqual(tokensOf('-- only a comment;\n/* ; */'), []);
});

test('old strings, with backslashes', () => {
  const text = String.raw`select '\';'`;
  assert.deepEqual(statementsOf(`${text};`, { standardStrings: false }), [text]);
});

test('what is said to psql, anywhere outside of quotes', () => {
  assert.deepEqual(tokensOf("\\restrict abc\r\nselect 1 \\g\n\\set x 'a b'\nselect '\\n';\n\\.\n"), [
    { kind: 'command', name: 'restrict', rest: 'abc', line: 1 },
    { kind: 'command', name: 'g', rest: '', line: 2 },
    { kind: 'command', name: 'set', rest: "x 'a b'", line: 3 },
    { kind: 'statement', text: "select 1 select '\\n'", line: 2 },
    { kind: 'command', name: '.', rest: '', line: 5 },
  ]);
  assert.deepEqual(statementsOf('select 1\\; select 2;'), ['select 1; select 2']);
});

test('variables', () => {
  const options = { variables: { id: '5', name: `O'Ne"il` } };
  const text = `select :id, :'name', :"name", :none, :'none', a::id, ':id', ":id", :{?id}, :{?none};`;
  assert.deepEqual(statementsOf(text, options), [
    `select 5, 'O''Ne"il', "O'Ne""il", :none, :'none', a::id, ':id', ":id", TRUE, FALSE`,
  ]);
});
