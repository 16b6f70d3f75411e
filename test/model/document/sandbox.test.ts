import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { checkSandbox, readSandbox, readSandboxName } from '../../../src/model/document/sandbox.ts';
import { OffshootError } from '../../../src/model/errors.ts';
import { problemsOf, refusalOf } from './problems-of.ts';

/** The three fragments of the tutorial, put together. */
const tutorial = `name: xata-test
spec:
  cluster: local
  resources:
    - name: usersDb
      plugin: xata-branch
      params:
        parent-branch: "main"
  forks:
    - forkOf:
        kind: Deployment
        namespace: demo
        name: users-service
      customizations:
        env:
          - name: DATABASE_URL
            valueFrom:
              resource:
                name: usersDb
                outputKey: provision.connection-string
  endpoints:
    - name: users-api
      host: users-service.demo.svc
      port: 3000
      protocol: http
`;

const tutorialSandbox = {
  name: 'xata-test',
  spec: {
    cluster: 'local',
    resources: [{ name: 'usersDb', plugin: 'xata-branch', params: { 'parent-branch': 'main' } }],
    forks: [
      {
        forkOf: { kind: 'Deployment', namespace: 'demo', name: 'users-service' },
        customizations: {
          env: [
            {
              name: 'DATABASE_URL',
              valueFrom: { resource: { name: 'usersDb', outputKey: 'provision.connection-string' } },
            },
          ],
        },
      },
    ],
    endpoints: [{ name: 'users-api', host: 'users-service.demo.svc', port: 3000, protocol: 'http' }],
  },
};

const read = (text: string, set: readonly string[] = []) => readSandbox({ text, file: 'sb.yaml' }, { set });
const problems = (text: string, set?: readonly string[]) => problemsOf(() => read(text, set));

/** A sandbox named `sb` with these lines in its spec, which start on line 4. */
const withSpec = (lines: string) => `name: sb\nspec:\n  cluster: local\n${lines.replace(/^/gm, '  ')}`;
const fork = (more: string) =>
  withSpec(`forks:\n- forkOf: { kind: Deployment, namespace: d, name: w }\n  ${more}`);

describe('what is accepted', () => {
  test('the tutorial, word by word, as YAML, as JSON and as a value', () => {
    for (const checked of [
      read(tutorial),
      read(JSON.stringify(tutorialSandbox, undefined, '\t')),
      read(tutorial.replaceAll('\n', '\r\n')),
      checkSandbox(structuredClone(tutorialSandbox)),
    ]) {
      assert.deepEqual(checked, { sandbox: tutorialSandbox, warnings: [] });
    }
  });

  test('the reference template', () => {
    const text = `
name: "@{name}"
spec:
  cluster: "@{cluster}"
  ttl: {duration: 2d, offsetFrom: updatedAt}
  labels: {team: users}
  resources: [{name: usersDb, plugin: pg-branch@1.0.0, params: {parent-branch: main}}]
  forks:
  - forkOf: {kind: Deployment, namespace: demo, name: users-service}
    customizations:
      images: [{image: "@{image}"}]
      env: [{name: DATABASE_URL, valueFrom: {resource: {name: usersDb, outputKey: provision.connection-string}}}]
  defaultRouteGroup: {endpoints: [{name: users-api, target: "http://users-service.demo.svc:3000"}]}
`;
    const { sandbox } = read(text, ['name=pr-1', 'cluster=local', 'image=users:1', 'unused=x']);
    assert.equal(sandbox.name, 'pr-1');
    assert.equal(sandbox.spec.cluster, 'local');
    assert.deepEqual(sandbox.spec.forks?.[0]?.customizations?.images, [{ image: 'users:1' }]);
  });

  test('the result cannot be changed anywhere', () => {
    const { sandbox } = read(tutorial);
    const isFrozen = (value: unknown): boolean =>
      typeof value !== 'object' ||
      value === null ||
      (Object.isFrozen(value) && Object.values(value).every(isFrozen));
    assert.ok(isFrozen(sandbox));
  });

  test('null and empty parts ask for nothing', () => {
    const { sandbox } = read(
      withSpec(
        'forks:\nlocal: []\nvirtual: null\nmiddleware: []\nrouting: { forwards: [] }\nlocalMachineID: ""',
      ),
    );
    assert.deepEqual(sandbox.spec, { cluster: 'local' });
  });

  test('versions of plugins are completed', () => {
    const { sandbox } = read(
      withSpec('resources: [{name: a, plugin: p@v1.2}, {name: b, plugin: p@latest}, {name: c, plugin: p}]'),
    );
    assert.deepEqual(
      sandbox.spec.resources?.map(resource => resource.plugin),
      ['p@1.2.0', 'p@latest', 'p'],
    );
  });

  test('an empty ttl.offsetFrom is the default', () => {
    assert.deepEqual(read(withSpec('ttl: { duration: 90m, offsetFrom: "" }')).sandbox.spec.ttl, {
      duration: '90m',
    });
  });

  test('ports may be text, as templates make them, but params stay text', () => {
    const { sandbox } = read(
      withSpec(
        'endpoints: [{name: a, host: s.d.svc, port: "@{p}"}]\nresources: [{name: r, plugin: p, params: {port: "1"}}]',
      ),
      ['p=3000'],
    );
    assert.equal(sandbox.spec.endpoints?.[0]?.port, 3000);
    assert.deepEqual(sandbox.spec.resources?.[0]?.params, { port: '1' });
  });

  test('a deprecated field without effect is a warning', () => {
    const { sandbox, warnings } = read(withSpec('disableSandboxTrafficManager: true'));
    assert.deepEqual(warnings, [
      'sb.yaml:4:3: spec.disableSandboxTrafficManager: has no effect: it is deprecated',
    ]);
    assert.deepEqual(sandbox.spec, { cluster: 'local' });
  });
});

describe('what is refused', () => {
  const cases: readonly (readonly [what: string, text: string, problems: readonly string[]])[] = [
    ['a list', '- a\n', ['1:1: expected an object, found a list']],
    ['a text', 'sandbox\n', ['1:1: expected an object, found a string']],
    ['an empty object', '{}', ['1:1: name: missing field "name"', '1:1: spec: missing field "spec"']],
    [
      'unknown fields at every depth',
      'name: sb\nspek: {}\nspec:\n  cluster: local\n  forkz: []\n  ttl: { duration: 1d, offsetFron: createdAt }\n',
      [
        '2:1: spek: unknown field "spek" (did you mean "spec"?)',
        '5:3: spec.forkz: unknown field "forkz" (did you mean "forks"?)',
        '6:24: spec.ttl.offsetFron: unknown field "offsetFron" (did you mean "offsetFrom"?)',
      ],
    ],
    [
      'a missing cluster',
      'name: sb\nspec: {}\n',
      [
        '2:1: spec.cluster: missing field "cluster"; write "cluster: local" when everything runs on one machine',
      ],
    ],
    [
      'wrong types',
      withSpec('description: 5\nforks: {}\nlabels: [a]'),
      [
        '4:16: spec.description: expected a string, found a number; put it in quotes',
        '5:10: spec.forks: expected a list, found an object',
        '6:11: spec.labels: expected an object, found a list',
      ],
    ],
    [
      'nothing where a text belongs',
      withSpec('labels: { a: }'),
      ['4:16: spec.labels.a: expected a string, found nothing'],
    ],
    [
      'ttl',
      withSpec('ttl: { duration: 4294967296m, offsetFrom: created }'),
      [
        '4:20: spec.ttl.duration: the number must fit into 32 bits',
        '4:45: spec.ttl.offsetFrom: expected "" or "createdAt" or "updatedAt", found "created" (did you mean "createdAt"?)',
      ],
    ],
    [
      'reserved labels',
      withSpec('labels: { signadot/x: a, signadot/github-repo: shop }'),
      [
        '4:25: spec.labels["signadot/x"]: labels with the prefix "signadot/" are reserved',
        '4:50: spec.labels["signadot/github-repo"]: must be OWNER/REPOSITORY',
        '4:50: spec.labels["signadot/github-repo"]: needs the label "signadot/github-pull-request" beside it',
      ],
    ],
    [
      'a pull request alone',
      withSpec('labels: { signadot/github-pull-request: "x" }'),
      [
        '4:43: spec.labels["signadot/github-pull-request"]: must be the number of a pull request',
        '4:43: spec.labels["signadot/github-pull-request"]: needs the label "signadot/github-repo" beside it',
      ],
    ],
    [
      'the fork of a Service',
      withSpec('forks: [{ forkOf: { kind: Service, namespace: d } }]'),
      [
        '4:13: spec.forks[0].forkOf.name: missing field "name"',
        '4:29: spec.forks[0].forkOf.kind: expected "Deployment" or "Rollout" or "ArgoRollout" or "StatefulSet" or "DaemonSet" or "ReplicaSet" or "ReplicationController" or "Pod", found "Service"',
      ],
    ],
    [
      'a baseline twice',
      withSpec('forks:\n- forkOf: &w { kind: Deployment, namespace: d, name: w }\n- forkOf: *w'),
      ['6:13: spec.forks[1].forkOf: the baseline workload "Deployment d/w" is used twice'],
    ],
    [
      'workload names twice',
      withSpec(
        'forks:\n- { name: a, forkOf: { kind: Deployment, namespace: d, name: w } }\n- { name: a, forkOf: { kind: Deployment, namespace: d, name: v } }',
      ),
      ['6:13: spec.forks[1].name: the workload name "a" is used twice'],
    ],
    [
      'resource names twice, and what is no plugin',
      withSpec('resources: [{ name: r, plugin: p }, { name: r, plugin: p@1.x }, { name: 9, plugin: -p }]'),
      [
        '4:47: spec.resources[1].name: the resource name "r" is used twice',
        '4:58: spec.resources[1].plugin: "1.x" is not a version, e.g. 1.2.0',
        '4:75: spec.resources[2].name: expected a string, found a number; put it in quotes',
        '4:86: spec.resources[2].plugin: a plugin name has only letters, digits and hyphens, a letter first and no hyphen last',
      ],
    ],
    [
      'endpoint names twice, in whatever section',
      withSpec(
        'endpoints: [{ name: e, host: s.d.svc, port: 1 }]\ndefaultRouteGroup: { endpoints: [{ name: e, target: "http://s.d.svc:1" }] }\nforks: [{ forkOf: { kind: Deployment, namespace: d, name: w }, endpoints: [{ name: e, port: 1 }] }]',
      ),
      [
        '4:23: spec.endpoints[0].name: the endpoint name "e" is used twice',
        '6:86: spec.forks[0].endpoints[0].name: the endpoint name "e" is used twice',
      ],
    ],
    [
      'endpoint names that are no part of a host',
      withSpec(
        'endpoints: [{ name: Users, host: s.d.svc, port: 1 }, { name: a--b, host: s.d.svc, port: 1 }]',
      ),
      [
        '4:23: spec.endpoints[0].name: becomes part of a host name: only lowercase letters, digits and single hyphens between them are allowed (did you mean "users"?)',
        '4:64: spec.endpoints[1].name: becomes part of a host name: only lowercase letters, digits and single hyphens between them are allowed',
      ],
    ],
    [
      'preview hosts that are too long',
      `name: ${'s'.repeat(30)}\nspec: { cluster: c, endpoints: [{ name: ${'e'.repeat(32)}, host: s.d.svc, port: 1 }] }`,
      [
        `2:41: spec.endpoints[0].name: the preview host label "${'e'.repeat(32)}--${'s'.repeat(30)}" has 64 characters, the most is 63`,
      ],
    ],
    [
      'targets',
      withSpec(
        `defaultRouteGroup:\n  endpoints:\n${[
          's.d.svc:1',
          'ftp://s.d.svc',
          'http://s.d.svc/x',
          'http://u@s.d.svc',
          'http://s.d.svc:0',
          'http://s.d.svc:99999',
          'http://example.com',
        ]
          .map((target, i) => `  - { name: e${i}, target: "${target}" }`)
          .join('\n')}`,
      ),
      Array.from(
        { length: 7 },
        (_, i) =>
          `${6 + i}:27: spec.defaultRouteGroup.endpoints[${i}].target: must be a URL such as http://users-service.demo.svc:3000, its host SERVICE.NAMESPACE.svc or WORKLOAD.NAMESPACE.deploy`,
      ),
    ],
    [
      'ports',
      withSpec(
        'endpoints: [{ name: a, host: s.d.svc, port: 0 }, { name: b, host: s.d.svc, port: 65536 }, { name: c, host: s.d.svc, port: 1.5 }, { name: d, host: s.d.svc, port: x }]',
      ),
      [
        '4:47: spec.endpoints[0].port: must be a whole number from 1 to 65535',
        '4:84: spec.endpoints[1].port: must be a whole number from 1 to 65535',
        '4:125: spec.endpoints[2].port: must be a whole number from 1 to 65535',
        '4:164: spec.endpoints[3].port: port is not int: "x"',
      ],
    ],
    [
      'env without and with too many values',
      fork(
        'customizations:\n    env:\n    - { name: A }\n    - { name: B, value: x, valueFrom: { secret: { name: s, key: k } } }\n    - { name: C, operation: delete, value: x }\n    - { name: D=, value: "" }\n    - { name: E, valueFrom: { secret: { name: s, key: k }, configMap: { name: c, key: k } } }\n    - { name: F, operation: remove }',
      ),
      [
        '8:9: spec.forks[0].customizations.env[0]: environment variable "A" needs exactly one of value, valueFrom',
        '9:9: spec.forks[0].customizations.env[1]: environment variable "B" needs exactly one of value, valueFrom',
        '10:9: spec.forks[0].customizations.env[2]: "operation: delete" takes no value',
        '11:17: spec.forks[0].customizations.env[3].name: must be the name of an environment variable, without "="',
        '12:31: spec.forks[0].customizations.env[4].valueFrom: needs exactly one of resource, fork, configMap, secret',
        '13:31: spec.forks[0].customizations.env[5].operation: expected "upsert" or "delete", found "remove"',
      ],
    ],
    [
      'references that lead nowhere',
      withSpec(
        'resources: [{ name: usersDb, plugin: p }]\nforks:\n- forkOf: { kind: Deployment, namespace: d, name: w }\n  customizations:\n    env:\n    - { name: A, valueFrom: { resource: { name: usersDB, outputKey: a.b } } }\n    - { name: B, valueFrom: { resource: { name: usersDb, outputKey: ab } } }\n    - { name: C, valueFrom: { fork: { forkOf: { kind: Deployment, namespace: d, name: x }, expression: "{{.Service.Host}}" } } }',
      ),
      [
        '9:51: spec.forks[0].customizations.env[0].valueFrom.resource.name: this sandbox has no resource "usersDB" (did you mean "usersDb"?)',
        '10:71: spec.forks[0].customizations.env[1].valueFrom.resource.outputKey: must be STEP.OUTPUT, e.g. provision.connection-string',
        '11:49: spec.forks[0].customizations.env[2].valueFrom.fork.forkOf: this sandbox has no fork of Deployment d/x',
      ],
    ],
    [
      'patches that are no patches',
      withSpec(
        `forks:\n${[
          'type: strategic, value: "a: ["',
          'type: json, value: "a: 1"',
          'type: merge, value: "[]"',
          'type: merg, value: "a: 1"',
          'type: merge, value: "# nothing"',
        ]
          .map(
            (patch, i) =>
              `- { forkOf: { kind: Deployment, namespace: d, name: w${i} }, customizations: { patch: { ${patch} } } }`,
          )
          .join('\n')}`,
      ),
      [
        '5:112: spec.forks[0].customizations.patch.value: the patch is not valid YAML: flow sequence in block collection must be sufficiently indented and end with a ] (line 1 of the patch)',
        '6:107: spec.forks[1].customizations.patch.value: a patch of type "json" is a list of operations',
        '7:108: spec.forks[2].customizations.patch.value: a patch of type "merge" is an object',
        '8:94: spec.forks[3].customizations.patch.type: expected "strategic" or "merge" or "json" or "signadot/env" or "signadot/image", found "merg" (did you mean "merge"?)',
        '9:108: spec.forks[4].customizations.patch.value: a patch of type "merge" is an object',
      ],
    ],
    [
      'only what is malformed itself, not what refers to it',
      withSpec(
        'resources: 5\nforks:\n- forkOf: { kind: Deployment, namespace: d, name: w }\n  customizations:\n    env:\n    - { name: A, valueFrom: { resource: { name: r, outputKey: a.b } } }\n    - { name: B, valueFrom: { fork: { forkOf: { kind: Deployment, namespace: d, name: x }, expression: x } } }\n- forkOf: 5',
      ),
      [
        '4:14: spec.resources: expected a list, found a number',
        '11:13: spec.forks[1].forkOf: expected an object, found a number',
      ],
    ],
    [
      'more forks than can be compared with each other',
      withSpec(`forks: [${Array(101).fill('{}').join(',')}]`),
      ['4:10: spec.forks: must have at most 100 items'],
    ],
  ];
  for (const [what, text, expected] of cases) {
    test(what, () => assert.deepEqual(problems(text), expected));
  }
});

describe('names', () => {
  const cases: readonly (readonly [name: string, why: string])[] = [
    ['Xata-Test', 'a sandbox name is written in lowercase (did you mean "xata-test"?)'],
    ['a--b', 'it contains "--", which separates endpoint and sandbox in preview hosts (did you mean "a-b"?)'],
    ['a'.repeat(31), 'it has 31 characters, the most is 30 (did you mean "aaaaaaaaaaaaaaaaaaaaa-61c60b48"?)'],
    [
      'feature/Login_2',
      'only lowercase letters, digits and hyphens are allowed, a letter first and no hyphen last (did you mean "feature-login-2"?)',
    ],
    ['', 'it is empty'],
    [
      '9a',
      'only lowercase letters, digits and hyphens are allowed, a letter first and no hyphen last (did you mean "x-9a"?)',
    ],
    [
      'a-',
      'only lowercase letters, digits and hyphens are allowed, a letter first and no hyphen last (did you mean "a"?)',
    ],
  ];
  for (const [name, why] of cases) {
    test(JSON.stringify(name), () => {
      assert.deepEqual(problems(`name: "${name}"\nspec: { cluster: local }\n`), [
        `1:7: name: "${name}" is not a sandbox name: ${why}`,
      ]);
    });
  }
});

describe('what is not supported yet', () => {
  const w = '{ kind: Deployment, namespace: d, name: w }';
  const cases: readonly (readonly [what: string, spec: string, problems: readonly string[]])[] = [
    [
      'local',
      `local: [{ name: l, from: ${w}, mappings: [{ port: 1, toLocal: "localhost:2" }] }]`,
      ['4:3: spec.local: a local workload is not supported yet'],
    ],
    [
      'virtual',
      `virtual: [{ name: v, workload: ${w} }]`,
      ['4:3: spec.virtual: a virtual workload is not supported yet'],
    ],
    [
      'middleware',
      'middleware: [{ name: trafficwatch, args: [{ name: options, value: x }], match: [{ workload: "*" }] }]',
      ['4:3: spec.middleware: middleware is not supported yet'],
    ],
    [
      'routing.forwards',
      'routing: { forwards: [{ name: f, port: 1, toLocal: "localhost:2" }] }',
      ['4:14: spec.routing.forwards: a forward is not supported yet'],
    ],
    [
      'connection',
      'connection: { devboxId: x }',
      ['4:3: spec.connection: a connection to a devbox is not supported yet'],
    ],
    [
      'localMachineID',
      'localMachineID: x',
      ['4:3: spec.localMachineID: localMachineID is not supported yet'],
    ],
    [
      'patch types',
      `forks: [{ forkOf: ${w}, customizations: { patch: { type: signadot/env, value: x } } }]`,
      ['4:99: spec.forks[0].customizations.patch.type: the patch type "signadot/env" is not supported yet'],
    ],
    [
      'protocols',
      `endpoints: [{ name: a, host: s.d.svc, port: 1, protocol: grpc }]\nforks: [{ forkOf: ${w}, endpoints: [{ name: b, port: 1, protocol: https }] }]\ndefaultRouteGroup: { endpoints: [{ name: c, target: "grpc://s.d.svc:1" }] }`,
      [
        '4:60: spec.endpoints[0].protocol: the protocol "grpc" is not supported yet',
        '5:108: spec.forks[0].endpoints[0].protocol: the protocol "https" is not supported yet',
        '6:55: spec.defaultRouteGroup.endpoints[0].target: the protocol "grpc" is not supported yet',
      ],
    ],
  ];
  for (const [what, spec, expected] of cases) {
    test(what, () => {
      assert.deepEqual(
        refusalOf(() => read(withSpec(spec))),
        { code: 'document/not-supported', problems: expected },
      );
    });
  }

  test('it is checked all the same, and reported beside other problems', () => {
    const text = withSpec(
      `resources: []\nforks: [{ forkOf: ${w} }]\nlocal:\n- name: l\n  from: ${w}\n  mappings: [{ port: 0, toLocal: 2 }]\n  env: [{ name: A, valueFrom: { resource: { name: r, outputKey: a.b } } }]\n  files: [{ path: f }, { path: g, valueFrom: { resource: { name: r } } }]\nmiddleware: [{ name: m, args: [{ name: a, valueFrom: { forwrd: x } }] }]`,
    );
    assert.deepEqual(problems(text), [
      '6:3: spec.local: a local workload is not supported yet',
      '8:11: spec.local[0].from: the baseline workload "Deployment d/w" is used twice',
      '9:24: spec.local[0].mappings[0].port: must be a whole number from 1 to 65535',
      '9:36: spec.local[0].mappings[0].toLocal: expected a string, found a number; put it in quotes',
      '10:53: spec.local[0].env[0].valueFrom.resource.name: this sandbox has no resource "r"',
      '11:13: spec.local[0].files[0]: a file needs exactly one of value, valueFrom',
      '11:68: spec.local[0].files[1].valueFrom.resource.name: this sandbox has no resource "r"',
      '12:3: spec.middleware: middleware is not supported yet',
      '12:45: spec.middleware[0].args[0].valueFrom.forward: missing field "forward"',
      '12:58: spec.middleware[0].args[0].valueFrom.forwrd: unknown field "forwrd" (did you mean "forward"?)',
    ]);
  });
});

describe('templates', () => {
  test('places survive expansion, and what could not be expanded is not judged', () => {
    const text =
      'name: "@{nmae}"\nspec:\n  cluster: "@{cluster}"\n  labels: "@{labels[yaml]}"\n  endpoints: [{ name: a, host: s.d.svc, port: "@{port}" }]\n  forks: "@{embed[yaml]: forks.yaml}"\n';
    const forks = '- forkOf: { kind: Deployment, namespace: d, name: w }\n  customisations: {}\n';
    const found = problemsOf(() =>
      readSandbox(
        { text, file: 'sb.yaml' },
        { set: ['name=x', 'cluster=', 'labels={a: 1}'], readFile: () => forks },
      ),
    );
    assert.deepEqual(found, [
      '1:7: name: unexpanded variable: nmae (did you mean "name"?)',
      '3:12: spec.cluster: must not be empty; write "cluster: local" when everything runs on one machine',
      '4:11: spec.labels.a: expected a string, found a number; put it in quotes',
      '5:47: spec.endpoints[0].port: unexpanded variable: port',
      '6:3: spec.forks[0].customisations: unknown field "customisations" (did you mean "customizations"?)',
    ]);
  });

  test('for the name alone the rest needs no variables', () => {
    const name = (text: string, set: readonly string[] = []) =>
      readSandboxName({ text, file: 'sb.yaml' }, { set });
    assert.equal(name('name: "pr-@{n}"\nspec: { cluster: "@{cluster}" }\n', ['n=1']), 'pr-1');
    assert.deepEqual(
      problemsOf(() => name('name: "pr-@{n}"\n')),
      ['1:7: name: unexpanded variable: n'],
    );
    assert.deepEqual(
      problemsOf(() => name('spec: {}\n')),
      ['1:1: name: missing field "name"'],
    );
    assert.deepEqual(
      problemsOf(() => name('- x\n')),
      ['1:1: name: missing field "name"'],
    );
  });
});

describe('values from elsewhere', () => {
  test('problems have a path but no place', () => {
    const body = { name: 'sb', spec: { cluster: 'local', forkz: [] }, routingKey: 'x' };
    assert.deepEqual(
      problemsOf(() => checkSandbox(body, 'the body')),
      ['spec.forkz: unknown field "forkz" (did you mean "forks"?)', 'routingKey: unknown field "routingKey"'],
    );
  });

  test('text is no port there', () => {
    const body = {
      name: 'sb',
      spec: { cluster: 'c', endpoints: [{ name: 'a', host: 's.d.svc', port: '1' }] },
    };
    assert.deepEqual(
      problemsOf(() => checkSandbox(body)),
      ['spec.endpoints[0].port: must be a whole number from 1 to 65535'],
    );
  });

  for (const value of [undefined, null, 1, 'x', [], () => {}]) {
    test(`${typeof value} ${JSON.stringify(value)}`, () => {
      assert.match(problemsOf(() => checkSandbox(value)).join(), /^(expected an object, found|missing)/);
    });
  }

  test('nested deeper than a stack', () => {
    const nested = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const body: unknown = JSON.parse(`{"name": "sb", "spec": {"cluster": "c", "labels": {"a": ${nested}}}}`);
    assert.deepEqual(
      problemsOf(() => checkSandbox(body)),
      ['spec.labels.a: expected a string, found a list'],
    );
  });
});

test('the error says how many problems there are and what to do', () => {
  try {
    read('name: sb\nspec: {}\nx: 1\n');
    assert.fail('it was accepted');
  } catch (error) {
    assert.ok(error instanceof OffshootError);
    assert.equal(error.message, 'sb.yaml is not valid: 2 problems');
    assert.equal(error.row.exit, 2);
    assert.equal(error.toBody().problems?.length, 2);
  }
});

test('every kind that serves can be forked; ArgoRollout is an older name', () => {
  const forkOf = (kind: string) => ({ kind, namespace: 'd', name: kind.toLowerCase() });
  const kinds = ['Rollout', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'ReplicationController', 'Pod'];
  const valueFrom = { fork: { forkOf: forkOf('ArgoRollout'), expression: '{{.Service.Host}}' } };
  const env = [{ name: 'A', valueFrom }];
  const forks = [
    { forkOf: forkOf('ArgoRollout'), volumes: { disks: 'empty', hostPath: 'write' } },
    ...kinds.slice(1).map(kind => ({ forkOf: forkOf(kind), customizations: { env } })),
  ];
  const { sandbox } = checkSandbox({ name: 'x', spec: { cluster: 'c', forks } });
  assert.deepEqual(
    sandbox.spec.forks?.map(fork => fork.forkOf.kind),
    kinds,
  );
  assert.deepEqual(sandbox.spec.forks?.[0]?.volumes, { disks: 'empty', hostPath: 'write' });
  const from = sandbox.spec.forks?.[1]?.customizations?.env?.[0]?.valueFrom;
  assert.equal(from !== undefined && 'fork' in from && from.fork.forkOf.kind, 'Rollout');
});

test('what runs to its end cannot be forked', () => {
  for (const kind of ['Job', 'CronJob']) {
    const forks = [{ forkOf: { kind, namespace: 'd', name: 'w' } }];
    assert.throws(
      () => checkSandbox({ name: 'x', spec: { cluster: 'c', forks } }),
      (error: { problems?: readonly { path: string; message: string }[] }) => {
        assert.deepEqual(
          error.problems?.map(({ path, message }) => `${path}: ${message}`),
          [
            `spec.forks[0].forkOf.kind: a ${kind} cannot be forked: it runs to its end, and no request ever reaches it`,
          ],
        );
        return true;
      },
    );
  }
});
