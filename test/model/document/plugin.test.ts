import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { checkResourcePlugin, outputKeys, readResourcePlugin } from '../../../src/model/document/plugin.ts';
import { problemsOf } from './problems-of.ts';

const read = (text: string) => readResourcePlugin({ text, file: 'plugin.yaml' });
const problems = (text: string) => problemsOf(() => read(text));

/** A plugin with these steps; the first create step stands on line 4, the delete steps after the create steps. */
const withSteps = (create: readonly string[], remove: readonly string[] = []) =>
  [
    'name: p',
    'spec:',
    '  create:',
    ...create.map(step => `  - { ${step} }`),
    '  delete:',
    ...remove.map(step => `  - { ${step} }`),
  ].join('\n');

const from = (name: string, step: string, output: string) =>
  `{ name: ${name}, valueFromStep: { name: ${step}, output: ${output} } }`;
const made = (...names: readonly string[]) =>
  `[${names.map(name => `{ name: ${name}, valueFromPath: ${name} }`).join(', ')}]`;

describe('what is accepted', () => {
  test('the reference plugin, its scripts embedded', () => {
    const text = `
name: pg-branch@1.0
spec:
  runner: {image: postgres:16, namespace: signadot, podTemplateOverlay: "@{embed: ./pod.yaml}"}
  create:
  - name: provision
    inputs: [{name: parent-branch, valueFromSandbox: true, as: {env: PARENT_BRANCH}}]
    outputs: [{name: connection-string, valueFromPath: /tmp/url}, {name: branch, valueFromPath: /tmp/branch}]
    script: "@{embed: ./provision.sh}"
  delete:
  - name: deprovision
    inputs: [{name: branch, valueFromStep: {name: provision, output: branch}, as: {env: BRANCH}}]
    script: "@{embed: ./deprovision.sh}"
`;
    const plugin = readResourcePlugin(
      { text, file: 'plugin.yaml' },
      { dir: 'plugins', readFile: path => (path.endsWith('.yaml') ? '{ spec: {} }' : `content of ${path}`) },
    );
    assert.equal(plugin.name, 'pg-branch@1.0.0');
    assert.equal(plugin.spec.create?.[0]?.script, 'content of plugins/provision.sh');
    assert.equal(plugin.spec.runner?.podTemplateOverlay, '{ spec: {} }');
    assert.deepEqual(outputKeys(plugin.spec), ['provision.connection-string', 'provision.branch']);
    assert.ok(Object.isFrozen(plugin.spec.create?.[0]?.inputs?.[0]?.as));
  });

  test('built-in steps have all outputs of their action, or those that they list', () => {
    const plugin = read(
      withSteps(
        [
          'name: a, uses: branch/create',
          'name: b, uses: branch/create, outputs: [{ name: host }]',
          'name: c, script: x',
        ],
        ['name: d, uses: branch/delete', 'name: e, script: x, outputs: [{ name: o, valueFromPath: o }]'],
      ),
    );
    assert.deepEqual(outputKeys(plugin.spec), [
      'a.connection-string',
      'a.branch-name',
      'a.branch-id',
      'a.host',
      'a.port',
      'a.user',
      'a.password',
      'a.database',
      'b.host',
    ]);
  });

  test('inputs by file, by file and variable, and from delete steps', () => {
    read(
      withSteps(
        ['name: a, script: "echo no interpreter", outputs: [{ name: o, valueFromPath: out/o }]'],
        [
          `name: b, script: x, inputs: [{ name: i, valueFromStep: { name: a, output: o }, as: { path: in/i } }, { name: j, valueFromSandbox: true, as: { env: J, path: in/j } }], outputs: ${made('o')}`,
          `name: c, script: x, inputs: [${from('i', 'b', 'o')}]`,
        ],
      ),
    );
  });

  test('a value from elsewhere, without steps', () => {
    assert.deepEqual(checkResourcePlugin({ name: 'p', spec: {} }), { name: 'p', spec: {} });
  });
});

describe('names', () => {
  const accepted: readonly (readonly [name: string, complete: string])[] = [
    ['p', 'p'],
    ['Xata-Branch2', 'Xata-Branch2'],
    ['p@v1', 'p@1.0.0'],
    ['p@1.2', 'p@1.2.0'],
    ['p@1.2.3', 'p@1.2.3'],
    ['p@0.0.0', 'p@0.0.0'],
    ['p@1.0.0-rc.1', 'p@1.0.0-rc.1'],
  ];
  for (const [name, complete] of accepted) {
    test(name, () => assert.equal(checkResourcePlugin({ name, spec: {} }).name, complete));
  }
  const bare = 'a plugin name has only letters, digits and hyphens, a letter first and no hyphen last';
  const refused: readonly (readonly [name: string, why: string])[] = [
    ['', 'a plugin name has 1 to 253 characters'],
    ['p'.repeat(254), 'a plugin name has 1 to 253 characters'],
    ['9p', bare],
    ['p-', bare],
    ['p_q', bare],
    ['p@latest', '"latest" is not a version that can be published, e.g. 1.2.0 is'],
    ['p@', '"" is not a version, e.g. 1.2.0'],
    ['p@1@2', '"1@2" is not a version, e.g. 1.2.0'],
    ['p@01.0.0', '"01.0.0" is not a version, e.g. 1.2.0'],
    ['p@1.0.0.0', '"1.0.0.0" is not a version, e.g. 1.2.0'],
    ['p@1.0.0+build', '"1.0.0+build" is not a version, e.g. 1.2.0'],
  ];
  for (const [name, why] of refused) {
    test(name.slice(0, 20) || 'empty', () => {
      assert.deepEqual(
        problemsOf(() => checkResourcePlugin({ name, spec: {} })),
        [`name: ${why}`],
      );
    });
  }
});

describe('what is refused', () => {
  const cases: readonly (readonly [what: string, text: string, problems: readonly string[]])[] = [
    [
      'unknown fields',
      'name: p\nspecs: {}\nspec:\n  creat: []\n  runner: { imag: x }\n',
      [
        '2:1: specs: unknown field "specs" (did you mean "spec"?)',
        '4:3: spec.creat: unknown field "creat" (did you mean "create"?)',
        '5:13: spec.runner.imag: unknown field "imag" (did you mean "image"?)',
      ],
    ],
    ...(
      [
        ['no pod template', 'replicas: 3', 'a pod template has metadata and spec, and no "replicas"'],
        ['no map', '[]', 'at its text: it must be a map'],
        [
          'begun again',
          'spec: { restartPolicy: Always }',
          'restartPolicy must be Never: a step is begun again by us',
        ],
        [
          'names of ours',
          'spec: { volumes: [{ name: offshoot-given }] }',
          'the name "offshoot-given" in spec.volumes is reserved',
        ],
        [
          'another image',
          'spec: { containers: [{ name: main, image: b }] }',
          'its image of "main" is not that of runner.image',
        ],
        [
          'a name',
          'metadata: { name: x }',
          'pods of steps are named by us, and runner.namespace says where they are',
        ],
        [
          'no main',
          'spec: { containers: [{ name: main, $patch: delete }] }',
          'the container "main", which runs the script, must stay',
        ],
        ['no image', 'spec: { containers: [{ name: other }] }', 'the container "other" has no image'],
      ] as const
    ).map(([what, overlay, why]): [string, string, string[]] => [
      `a podTemplateOverlay with ${what}`,
      `name: p\nspec: { runner: { image: a, podTemplateOverlay: '${overlay}' } }\n`,
      [`2:49: spec.runner.podTemplateOverlay: ${why}`],
    ]),
    [
      'descriptions longer than 255 bytes',
      `name: p\nspec: { description: ${'ä'.repeat(128)} }\n`,
      ['2:22: spec.description: must have at most 255 bytes'],
    ],
    [
      'steps without name, with both or neither of script and uses',
      withSteps([
        'script: x',
        'name: b',
        'name: c, script: x, uses: branch/create',
        'name: d, uses: branch/creat',
      ]),
      [
        '4:5: spec.create[0].name: missing field "name"',
        '5:5: spec.create[1]: a step needs exactly one of script, uses',
        '6:5: spec.create[2]: a step needs exactly one of script, uses',
        '7:22: spec.create[3].uses: expected "branch/create" or "branch/delete", found "branch/creat" (did you mean "branch/create"?)',
      ],
    ],
    [
      'bad and repeated names',
      withSteps(
        [
          'name: a_b, script: x',
          `name: b, script: x, inputs: [{ name: i, valueFromSandbox: true }, { name: i, valueFromSandbox: true, as: { env: J } }], outputs: ${made('o', 'o')}`,
        ],
        ['name: b, script: x', `name: ${'n'.repeat(31)}, script: x`],
      ),
      [
        '4:13: spec.create[0].name: only letters, digits and hyphens are allowed, a letter first and no hyphen last',
        '5:81: spec.create[1].inputs[1].name: the input name "i" is used twice',
        '5:176: spec.create[1].outputs[1].name: the output name "o" is used twice',
        '7:13: spec.delete[0].name: the step name "b" is used twice',
        '8:13: spec.delete[1].name: must have at most 30 characters',
      ],
    ],
    [
      'inputs without or with two sources',
      withSteps([
        'name: a, script: x, inputs: [{ name: i }, { name: j, valueFromSandbox: false }, { name: k, valueFromSandbox: true, valueFromStep: { name: a, output: o } }]',
      ]),
      [
        '4:36: spec.create[0].inputs[0]: an input needs exactly one of "valueFromSandbox: true" and valueFromStep',
        '4:49: spec.create[0].inputs[1]: an input needs exactly one of "valueFromSandbox: true" and valueFromStep',
        '4:87: spec.create[0].inputs[2]: an input needs exactly one of "valueFromSandbox: true" and valueFromStep',
      ],
    ],
    [
      'inputs from nowhere',
      withSteps(
        [
          `name: provision, script: x, outputs: ${made('branch')}`,
          `name: b, script: x, inputs: [${from('i', 'provison', 'branch')}, ${from('j', 'provision', 'brnch')}, ${from('k', 'drop', 'o')}]`,
        ],
        [`name: drop, script: x, outputs: ${made('o')}, inputs: [${from('i', 'b', 'o')}]`],
      ),
      [
        '5:70: spec.create[1].inputs[0].valueFromStep.name: there is no step "provison" (did you mean "provision"?)',
        '5:153: spec.create[1].inputs[1].valueFromStep.output: step "provision" has no output "brnch" (did you mean "branch"?)',
        '5:198: spec.create[1].inputs[2].valueFromStep.name: a create step cannot take an output of the delete step "drop"',
        '7:126: spec.delete[0].inputs[0].valueFromStep.output: step "b" has no output "o"',
      ],
    ],
    [
      'outputs of a built-in step that it does not list',
      withSteps([
        'name: a, uses: branch/create, outputs: [{ name: host }]',
        `name: b, script: x, inputs: [${from('i', 'a', 'port')}]`,
      ]),
      ['5:81: spec.create[1].inputs[0].valueFromStep.output: step "a" has no output "port"'],
    ],
    [
      'circles, in each workflow one',
      withSteps(
        [
          `name: a, script: x, inputs: [${from('i', 'b', 'o')}], outputs: ${made('o')}`,
          `name: b, script: x, inputs: [${from('i', 'a', 'o')}], outputs: ${made('o')}`,
        ],
        [`name: c, script: x, inputs: [${from('i', 'c', 'o')}], outputs: ${made('o')}`],
      ),
      [
        '4:5: spec.create[0]: steps wait for each other in a circle: a → b → a',
        '7:5: spec.delete[0]: steps wait for each other in a circle: c → c',
      ],
    ],
    [
      'two inputs in the same variable or file',
      withSteps([
        'name: a, script: x, inputs: [{ name: db-url, valueFromSandbox: true }, { name: u, valueFromSandbox: true, as: { env: DB_URL } }, { name: v, valueFromSandbox: true, as: { path: in/v } }, { name: w, valueFromSandbox: true, as: { path: ./in/v } }]',
      ]),
      [
        '4:78: spec.create[0].inputs[1]: the environment variable "DB_URL" is used twice',
        '4:240: spec.create[0].inputs[3].as.path: the input path "in/v" is used twice',
      ],
    ],
    [
      'variables and paths that none can have',
      withSteps([
        'name: a, script: x, inputs: [{ name: i, valueFromSandbox: true, as: { env: "A=", path: "a\\0" } }], outputs: [{ name: o }, { name: p, valueFromPath: "" }]',
      ]),
      [
        '4:82: spec.create[0].inputs[0].as.env: must be the name of an environment variable, without "="',
        '4:94: spec.create[0].inputs[0].as.path: must be a path',
        '4:116: spec.create[0].outputs[0].valueFromPath: missing field "valueFromPath": the file that holds the output',
        '4:155: spec.create[0].outputs[1].valueFromPath: must be a path',
      ],
    ],
    [
      'what the built-in actions do not have',
      withSteps(
        [
          'name: a, uses: branch/create, inputs: [{ name: parent-brnch, valueFromSandbox: true, as: { env: P } }], outputs: [{ name: hosts }, { name: port, valueFromPath: p }]',
        ],
        ['name: b, uses: branch/delete, outputs: [{ name: host }]'],
      ),
      [
        '4:54: spec.create[0].inputs[0].name: "branch/create" has no input "parent-brnch" (did you mean "parent-branch"?)',
        '4:92: spec.create[0].inputs[0].as: "as" has no meaning in a step that uses "branch/create"',
        '4:129: spec.create[0].outputs[0].name: "branch/create" has no output "hosts" (did you mean "host"?)',
        '4:152: spec.create[0].outputs[1].valueFromPath: "valueFromPath" has no meaning in a step that uses "branch/create"',
        '6:55: spec.delete[0].outputs[0].name: "branch/delete" has no output "host"',
      ],
    ],
    [
      'only what is malformed itself, not what refers to it',
      `${withSteps([
        'name: a, script: x, outputs: 5',
        `name: b, script: x, inputs: [${from('i', 'a', 'o')}, ${from('j', 'c', 'o')}]`,
      ])} 5`,
      [
        '4:36: spec.create[0].outputs: expected a list, found a number',
        '6:11: spec.delete: expected a list, found a number',
      ],
    ],
    [
      'more steps than can be compared with each other',
      withSteps(Array.from({ length: 101 }, (_, i) => `name: s${i}, script: x`)),
      ['4:3: spec.create: must have at most 100 items'],
    ],
  ];
  for (const [what, text, expected] of cases) {
    test(what, () => assert.deepEqual(problems(text), expected));
  }
});
