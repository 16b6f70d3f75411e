import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readManifestFiles, readManifests } from '../../../src/model/document/manifest.ts';
import { leftOutLine, leftOutLines } from '../../../src/model/document/manifest-kinds.ts';
import type { Kept } from '../../../src/model/document/manifest-warnings.ts';
import type { Problem } from '../../../src/model/document/problem.ts';
import type { OffshootError } from '../../../src/model/errors.ts';
import type { ConfigMap, Deployment, Secret, Service } from '../../../src/model/kubernetes.ts';
import { problemsOf } from './problems-of.ts';

const read = (text: string) => readManifests({ text, file: 'k8s.yaml' });
const problems = (text: string) => problemsOf(() => read(text));
const only = <T>(text: string): T => {
  const { manifests } = read(text);
  assert.equal(manifests.length, 1);
  return manifests[0] as T;
};

/** A Deployment whose pod spec has these lines more, from line 11 on. */
const withPod = (lines: string, spec = '') => `apiVersion: apps/v1
kind: Deployment
metadata: { name: users }
spec:
  selector: { matchLabels: { app: users } }
  template:
    metadata: { labels: { app: users, tier: web } }
    spec:
      # what follows differs
${lines.replace(/^/gm, '      ')}
${spec.replace(/^/gm, '  ')}`;

const container = (more: string) =>
  withPod(`containers:\n- name: users\n  image: users:1\n${more.replace(/^/gm, '  ')}`);

describe('what is read', () => {
  test('several documents, empty ones between them, and Lists', () => {
    const { manifests } = read(`---
# nothing
---
{apiVersion: v1, kind: Namespace, metadata: {name: demo}}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: demo}, data: {k: v}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
`);
    assert.deepEqual(
      manifests.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`),
      ['Namespace /demo', 'ConfigMap demo/a', 'ConfigMap default/a'],
    );
    assert.ok(Object.isFrozen(manifests) && Object.isFrozen(manifests[1]?.metadata));
  });

  test('nothing', () =>
    assert.deepEqual(read('# nothing\n'), { manifests: [], files: [], warnings: [], leftOut: [] }));

  test('a Deployment, with defaults and with the fields that we do not know', () => {
    const deployment = only<Deployment>(
      withPod(
        `terminationGracePeriodSeconds: 5
containers:
- name: users
  image: users:1
  command: [node]
  ports: [{ name: http, containerPort: 3000 }]
  envFrom: [{ prefix: A_, configMapRef: { name: c } }, { secretRef: { name: s, optional: true } }]
  env: [{ name: A, value: "1" }, { name: A }, { name: C, valueFrom: { fieldRef: { fieldPath: metadata.name } } }]
  readinessProbe: { httpGet: { port: http }, periodSeconds: 2 }
  livenessProbe: { tcpSocket: { port: 3000 } }
  startupProbe: { exec: { command: [test] }, failureThreshold: 30 }
  terminationMessagePath: /dev/null`,
        'strategy: { type: Recreate }',
      ),
    );
    assert.equal(deployment.metadata.namespace, 'default');
    assert.equal(deployment.spec.replicas, 1);
    assert.deepEqual(deployment.spec.strategy, { type: 'Recreate' });
    assert.equal(deployment.spec.template.spec.terminationGracePeriodSeconds, 5);
    const [users] = deployment.spec.template.spec.containers;
    assert.equal(users?.terminationMessagePath, '/dev/null');
    const defaults = {
      initialDelaySeconds: 0,
      periodSeconds: 10,
      timeoutSeconds: 1,
      successThreshold: 1,
      failureThreshold: 3,
    };
    assert.deepEqual(users?.readinessProbe, { ...defaults, httpGet: { port: 'http' }, periodSeconds: 2 });
    assert.deepEqual(users?.livenessProbe, { ...defaults, tcpSocket: { port: 3000 } });
    assert.deepEqual(users?.startupProbe, { ...defaults, exec: { command: ['test'] }, failureThreshold: 30 });
  });

  test('a Service; targetPort is the port where it says nothing, 0 or an empty text', () => {
    const service = only<Service>(
      'apiVersion: v1\nkind: Service\nmetadata: { name: users }\nspec: { selector: { app: users }, ports: [{ name: a, port: 80 }, { name: b, port: 81, targetPort: http }, { name: c, port: 82, targetPort: 0 }, { name: d, port: 83, targetPort: "" }] }\n',
    );
    assert.deepEqual(service.spec.ports, [
      { name: 'a', port: 80, targetPort: 80 },
      { name: 'b', port: 81, targetPort: 'http' },
      { name: 'c', port: 82, targetPort: 82 },
      { name: 'd', port: 83, targetPort: 83 },
    ]);
  });

  test('a Secret: base64 and plain text together, the plain text wins', () => {
    const secret = only<Secret>(
      'apiVersion: v1\nkind: Secret\nmetadata: { name: s }\ntype: Opaque\ndata:\n  a: w6Q=\n  b: b2xk\n  c: |\n    bG9u\n    Zw==\nstringData: { b: new }\n',
    );
    assert.deepEqual(secret.data, { a: 'ä', b: 'new', c: 'long' });
    assert.equal('stringData' in secret, false);
    assert.equal(secret.type, 'Opaque');
  });
});

describe('what clusters and their tools write', () => {
  test('a text without a value is empty; a selector needs no other half', () => {
    const map = only<ConfigMap>(
      'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {x: }, annotations: }\ndata: {A: , B: b}\n',
    );
    assert.deepEqual([map.data, map.metadata.labels], [{ A: '', B: 'b' }, { x: '' }]);
    const selecting = withPod('containers: [{name: a, image: a}]').replace(
      'selector: { ',
      'selector: { matchExpressions: null, ',
    );
    assert.equal(read(selecting).manifests.length, 1);
    const service =
      'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}], selector: {app: }}\n';
    assert.deepEqual(only<Service>(service).spec.selector, { app: '' });
  });

  test('modes in octal', () => {
    const volume = 'volumes: [{name: v, configMap: {name: c, defaultMode: 0755}}]';
    const { spec } = only<Deployment>(withPod(`containers: [{name: a, image: a}]\n${volume}`));
    assert.equal(spec.template.spec.volumes?.[0]?.configMap?.defaultMode, 0o755);
  });

  test('of a key that stands twice the last one counts, with a warning', () => {
    const { manifests, warnings } = read(
      'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {A: a}\ndata: {A: b}\n',
    );
    assert.deepEqual((manifests[0] as ConfigMap).data, { A: 'b' });
    assert.deepEqual(warnings, [
      {
        text: 'k8s.yaml:5:1: duplicate key "data"; the last one counts',
        id: 'k8s.yaml duplicate key "data"',
      },
    ]);
  });

  test('a generated name is the same for the same content, and another for another', () => {
    const nameOf = (value: string) =>
      only<ConfigMap>(
        `apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: run-}\ndata: {A: ${value}}\n`,
      ).metadata.name;
    assert.match(nameOf('a'), /^run-[0-9a-f]{5}$/);
    assert.equal(nameOf('a'), nameOf('a'));
    assert.notEqual(nameOf('a'), nameOf('b'));
  });

  test('hooks of an installation are applied, those of other times left out', () => {
    const hooked = (name: string, key: string, hook: string) =>
      `{apiVersion: v1, kind: ConfigMap, metadata: {name: ${name}, annotations: {${key}: "${hook}"}}}`;
    const { manifests, leftOut } = read(
      [
        hooked('migrate', 'helm.sh/hook', 'pre-install, pre-upgrade'),
        hooked('test', 'helm.sh/hook', 'test'),
        hooked('both', 'helm.sh/hook', 'post-delete,post-upgrade'),
        hooked('gone', 'helm.sh/hook', 'pre-delete'),
        hooked('sync', 'argocd.argoproj.io/hook', 'PreSync'),
        hooked('fail', 'argocd.argoproj.io/hook', 'SyncFail'),
      ].join('\n---\n'),
    );
    assert.deepEqual(
      manifests.map(m => m.metadata.name),
      ['migrate', 'both', 'sync'],
    );
    assert.deepEqual(
      leftOut.map(({ name, effect }) => [name, effect]),
      [
        ['test', 'hook'],
        ['gone', 'hook'],
        ['fail', 'hook'],
      ],
    );
    assert.match(
      leftOutLines(leftOut)[0]!,
      /^left out: 3 ConfigMap: hooks of Helm or Argo CD that do not belong/,
    );
  });

  test('files of a folder that hold no object are left out, and refused where they are named', () => {
    const compose = { file: 'k8s/compose.yaml', text: 'services: {web: {image: a}}\n' };
    const patch = { file: 'k8s/patch.json', text: '[{"op": "remove", "path": "/x"}]' };
    const { leftOut } = readManifestFiles([
      { ...compose, found: true },
      { ...patch, found: true },
    ]);
    assert.deepEqual(leftOutLines(leftOut), [
      'left out: 1 compose.yaml, 1 patch.json: without apiVersion and kind, so no objects of Kubernetes',
    ]);
    assert.equal(
      leftOutLine(leftOut[0]!),
      'k8s/compose.yaml: without apiVersion and kind, so no objects of Kubernetes',
    );
    assert.deepEqual(
      problemsOf(() => readManifestFiles([compose])),
      ['1:1: kind: missing field "kind"'],
    );
    const half = { file: 'k8s/half.yaml', text: 'kind: ConfigMap\n', found: true };
    assert.notDeepEqual(
      problemsOf(() => readManifestFiles([half])),
      [],
    );
  });
});

describe('what is left out', () => {
  const object = (apiVersion: string, kind: string, name = 'web') =>
    `{apiVersion: ${apiVersion}, kind: ${kind}, metadata: {name: ${name}, namespace: demo}}`;
  const cluster = [
    ...[object('v1', 'ServiceAccount'), object('networking.k8s.io/v1', 'Ingress')],
    ...[object('autoscaling/v2', 'HorizontalPodAutoscaler'), object('acme.io/v1', 'Anything', '[1]')],
    // Custom resources with the names of kinds that we read.
    ...[object('serving.knative.dev/v1', 'Service'), object('acme.io/v1', 'Deployment')],
    // Whose template stands elsewhere.
    `{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: web}, spec: {workloadRef: {name: web}}}`,
    ...[
      object('argoproj.io/v1alpha1', 'Workflow'),
      object('acme.io/v1', 'Rollout'),
      '{apiVersion: acme.io/v1, kind: Bare}',
    ],
  ];

  test('other kinds: without an effect, or not run yet', () => {
    const { manifests, leftOut, warnings } = read(cluster.join('\n---\n'));
    assert.deepEqual([manifests, warnings], [[], []]);
    assert.deepEqual(leftOut[1], {
      ...{ kind: 'Ingress', apiVersion: 'networking.k8s.io/v1', namespace: 'demo', name: 'web' },
      ...{ effect: 'none', file: 'k8s.yaml', line: 3, column: 1 },
    });
    const without = 'no effect where containers run as processes';
    assert.deepEqual(leftOutLines(leftOut), [
      'left out: 2 Rollout, 1 Workflow: does not run here yet',
      `left out: 1 ServiceAccount, 1 Ingress, 1 HorizontalPodAutoscaler, 1 Anything, 1 Service.serving.knative.dev, 1 Deployment.acme.io, 1 Bare: ${without}`,
    ]);
    assert.equal(leftOutLine(leftOut[0]!), `k8s.yaml:1:1: ServiceAccount demo/web: ${without}`);
    assert.equal(leftOutLine(leftOut[3]!), `k8s.yaml:7:1: Anything demo: ${without}`);
    assert.equal(leftOutLine(leftOut.at(-1)!), `k8s.yaml:19:1: Bare: ${without}`);
    assert.deepEqual(leftOutLines([]), []);
  });

  test('items of lists of any kind', () => {
    const list = (kind: string, ...items: string[]) =>
      `{apiVersion: v1, kind: ${kind}, items: [${items.join(', ')}]}`;
    const configMaps = list('ConfigMapList', '{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}');
    const { manifests, leftOut } = read(list('List', configMaps, list('List', cluster[0]!)));
    assert.equal(manifests[0]?.metadata.name, 'c');
    assert.deepEqual([leftOut[0]?.line, leftOut[0]?.kind], [1, 'ServiceAccount']);
    // Not a list, whatever its name.
    assert.equal(read(object('acme.io/v1', 'AllowList')).leftOut.length, 1);
  });

  test('a file of Kustomize, which need not say what it is', () => {
    const kustomization = { file: 'k8s/kustomization.yaml', text: 'resources: [web.yaml]\n' };
    assert.deepEqual(readManifestFiles([kustomization]).leftOut.map(leftOutLine), [
      'k8s/kustomization.yaml:1:1: Kustomization: the folder is deployed as it is; -k renders it',
    ]);
    assert.equal(problemsOf(() => readManifests({ ...kustomization, file: 'k8s/web.yaml' })).length, 1);
  });

  test('is refused when that is asked for', () => {
    const source = { file: 'k8s.yaml', text: `${object('v1', 'ConfigMap')}\n---\n${cluster[1]}` };
    assert.equal(readManifestFiles([source]).manifests.length, 1);
    assert.throws(() => readManifestFiles([source], { strict: true }), {
      code: 'document/not-supported',
      problems: [
        {
          ...{ file: 'k8s.yaml', line: 3, column: 1, path: '' },
          message: 'Ingress demo/web: no effect where containers run as processes',
        },
      ],
    });
  });

  test('what is left out is told in one line, whatever its name', () => {
    const { leftOut } = read('{apiVersion: x.io/v1, kind: X, metadata: {name: "a\\n\\rok: b"}}');
    assert.equal(
      leftOutLine(leftOut[0]!),
      'k8s.yaml:1:1: X a ok: b: no effect where containers run as processes',
    );
  });

  test('a list of one kind, whose items need not say which', () => {
    const { manifests } = read('{apiVersion: v1, kind: ConfigMapList, items: [{metadata: {name: c}}]}');
    assert.deepEqual([manifests[0]?.kind, manifests[0]?.metadata.name], ['ConfigMap', 'c']);
  });

  test('a binary value of a Secret, with a warning', () => {
    const { manifests, warnings } = read(
      '{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: /w==, b: YQ==}}',
    );
    assert.deepEqual((manifests[0] as Secret).data, { a: '\uFFFD', b: 'a' });
    assert.deepEqual((manifests[0] as Secret).binaryData, { a: '/w==' }, 'for files');
    assert.deepEqual(
      warnings.map(({ text }) => text),
      ['k8s.yaml:1:60: data.a: the value is binary; in a variable, what is no text of it becomes U+FFFD'],
    );
  });

  test('an empty namespace', () => {
    const text = '{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: ""}}';
    assert.equal(read(text).manifests[0]?.metadata.namespace, 'default');
  });
});

describe('warnings', () => {
  const where = 'where containers run as processes';
  const at = 'spec.template.spec';
  const cases: readonly (readonly [what: string, text: string, warnings: readonly string[]])[] = [
    [
      'none for an ordinary Deployment',
      container(
        'resources: { requests: { cpu: 1 }, limits: { cpu: 500m, memory: 64Mi } }\nlifecycle: {}\nreadinessProbe: { grpc: { port: 1 } }\nenv: [{ name: A, valueFrom: { resourceFieldRef: { resource: limits.cpu } } }]',
      ),
      [],
    ],
    [
      'none for replicas',
      withPod('containers: [{ name: a, image: a }]\nhostNetwork: false\nvolumes: []', 'replicas: 3'),
      [],
    ],
    [
      'parts of the pod',
      withPod(
        'containers: [{ name: a, image: a }]\nvolumes: [{ name: v, emptyDir: {} }]\ninitContainers: [{ name: i, image: i }]\nsecurityContext: { runAsUser: 1 }\nhostNetwork: true',
      ),
      [
        `k8s.yaml:13:7: ${at}.securityContext: the security context is not applied to programs of this machine ${where}`,
      ],
    ],
    [
      'parts of a container',
      container(
        'resources: { limits: { hugepages-2Mi: 1 } }\nsecurityContext: { privileged: true }\nlifecycle: { preStop: { exec: { command: [x] } } }',
      ),
      [
        `k8s.yaml:14:9: ${at}.containers[0].securityContext: the security context is not applied to programs of this machine ${where}`,
        `k8s.yaml:13:32: ${at}.containers[0].resources.limits.hugepages-2Mi: this limit is not kept here, see "offshoot doctor"`,
      ],
    ],
  ];
  for (const [what, text, warnings] of cases) {
    test(what, () =>
      assert.deepEqual(
        read(text).warnings.map(warning => warning.text),
        warnings,
      ),
    );
  }
});

test('warns that a port is chosen where pods share the network of the machine', () => {
  const text = container('ports: [{ containerPort: 80 }]');
  const warnings = (keeps: Kept[]) =>
    readManifestFiles([{ text, file: 'k8s.yaml' }], { keeps }).warnings.map(warning => warning.text);
  assert.deepEqual(warnings(['ports', 'processes']), []);
  assert.deepEqual(warnings(['processes']), [
    `k8s.yaml:13:9: spec.template.spec.containers[0].ports: pods share the network of this machine, so the program must listen at $PORT, see "offshoot doctor"`,
  ]);
});

test('warns about volumes where the machine cannot mount them', () => {
  const text = withPod(
    'containers: [{ name: a, image: a, volumeMounts: [{ name: v, mountPath: /v }] }]\nvolumes: [{ name: v, emptyDir: {} }]',
  );
  const about = (keeps: readonly Kept[]) =>
    readManifestFiles([{ text, file: 'k8s.yaml' }], { keeps }).warnings.map(one =>
      one.text.replace(/^\S+ /, ''),
    );
  assert.deepEqual(about(['processes', 'volumes']), []);
  assert.deepEqual(about(['processes']), [
    'spec.template.spec.containers[0].volumeMounts: volumes are not mounted on this machine, see "offshoot doctor", where containers run as processes',
  ]);
});

test('warns of Services where their names do not resolve', () => {
  const text =
    'apiVersion: v1\nkind: Service\nmetadata: { name: users, namespace: demo }\nspec: { ports: [{ port: 80 }] }\n';
  const about = (keeps: readonly Kept[]) =>
    readManifestFiles([{ text, file: 'k8s.yaml' }], { keeps }).warnings.map(one =>
      one.text.replace(/^\S+ /, ''),
    );
  assert.deepEqual(about(['names']), []);
  assert.deepEqual(about([]), [
    'metadata.name: it does not resolve on this machine: programs find Services by their variables, see "offshoot doctor"',
  ]);
});

test('warns about volumes in memory where the machine has them on the disk', () => {
  const text = withPod(
    'containers: [{ name: a, image: a }]\nvolumes: [{ name: v, emptyDir: { medium: Memory } }]',
  );
  const about = (keeps: readonly Kept[]) =>
    readManifestFiles([{ text, file: 'k8s.yaml' }], { keeps }).warnings.map(one =>
      one.text.replace(/^\S+ /, ''),
    );
  assert.deepEqual(about(['volumes', 'memory-volumes', 'processes']), []);
  assert.deepEqual(about(['volumes', 'processes']), [
    'spec.template.spec.volumes[0].emptyDir.medium: it is on the disk here, without a limit, see "offshoot doctor"',
  ]);
});

test('warns about processes that are not kept apart, unless those of the machine are asked for', () => {
  const about = (pod: string) =>
    readManifestFiles([{ text: withPod(pod), file: 'k8s.yaml' }], { keeps: ['volumes'] }).warnings.map(one =>
      one.text.replace(/^\S+ /, ''),
    );
  assert.deepEqual(about('containers: [{ name: a, image: a }]'), [
    'spec.template.spec: its programs see the processes of this machine, and others see what they have in their environment, see "offshoot doctor"',
  ]);
  assert.deepEqual(about('containers: [{ name: a, image: a }]\nhostPID: true'), []);
});

test('warns about limits that the machine does not keep', () => {
  const source = {
    file: 'k8s.yaml',
    text: container('resources: { limits: { cpu: 1, memory: 64Mi }, requests: { memory: 1Gi } }'),
  };
  const about = (keeps: readonly ('memory' | 'cpu')[]) =>
    readManifestFiles([source], { keeps: [...keeps, 'processes'] }).warnings.map(
      ({ text }) => /limits\.(\S+): /.exec(text)?.[1],
    );
  assert.deepEqual(
    [about(['memory', 'cpu']), about(['cpu']), about([])],
    [[], ['memory'], ['cpu', 'memory']],
  );
});

describe('what is refused', () => {
  const path = 'spec.template.spec.containers[0]';
  const cases: readonly (readonly [what: string, text: string, problems: readonly string[]])[] = [
    [
      'no object',
      'x\n---\n[]\n',
      [
        '1:1: expected an object with apiVersion, kind and metadata',
        '3:1: expected an object with apiVersion, kind and metadata',
      ],
    ],
    [
      'what is no object of any kind',
      'kind: Ingress\n---\nkind: Deploymnt\n---\nmetadata: {}\n---\nkind: 5\n---\nkind: List\n---\nkind: constructor\n',
      [
        '1:1: apiVersion: missing field "apiVersion" of Ingress',
        '3:1: apiVersion: missing field "apiVersion" of Deploymnt (did you mean "Deployment"?)',
        '5:1: kind: missing field "kind"',
        '7:7: kind: expected a string',
        '9:1: items: a List needs a list of items',
        '11:1: apiVersion: missing field "apiVersion" of constructor',
      ],
    ],
    [
      'slips in groups whose kinds are all known',
      'apiVersion: apps/v1\nkind: Deploymnt\n---\napiVersion: v1\nkind: Ingress\n---\napiVersion: v1\nkind: ServicAccount\n---\napiVersion: 1\nkind: Ingress\n',
      [
        '2:7: kind: apps/v1 has no kind Deploymnt (did you mean "Deployment"?)',
        '5:7: kind: v1 has no kind Ingress',
        '8:7: kind: v1 has no kind ServicAccount (did you mean "ServiceAccount"?)',
        '10:13: apiVersion: expected a string',
      ],
    ],
    [
      'limits that are no quantities',
      container('resources: { limits: { memory: much, cpu: -1 }, requests: { cpu: [] } }'),
      [
        '13:40: spec.template.spec.containers[0].resources.limits.memory: must be a quantity such as 500m or 256Mi',
        '13:51: spec.template.spec.containers[0].resources.limits.cpu: must be a quantity such as 500m or 256Mi',
        '13:74: spec.template.spec.containers[0].resources.requests.cpu: must be a quantity such as 500m or 256Mi',
      ],
    ],
    [
      'another apiVersion, bad names',
      'apiVersion: apps/v1\nkind: Service\nmetadata: { name: 9users, namespace: Demo }\nspec: {}\n',
      [
        '1:13: apiVersion: expected "v1", found "apps/v1"',
        '3:19: metadata.name: the name of a Service starts with a letter',
        '3:38: metadata.namespace: only lowercase letters, digits and hyphens are allowed, no hyphen first or last',
      ],
    ],
    [
      'labels and annotations that are no text',
      'apiVersion: v1\nkind: Namespace\nmetadata: { name: a, labels: { a: 1 }, annotations: { b: true, c: } }\n',
      [
        '3:35: metadata.labels.a: expected a string, found a number; put it in quotes',
        '3:58: metadata.annotations.b: expected a string, found a boolean; put it in quotes',
      ],
    ],
    ['no containers', withPod('containers: []'), ['10:19: spec.template.spec.containers: must not be empty']],
    [
      'containers without image or with the same name',
      withPod('containers:\n- { name: a }\n- { name: a, image: "" }'),
      [
        `11:9: ${path}.image: missing field "image"`,
        '12:17: spec.template.spec.containers[1].name: the container name "a" is used twice',
        '12:27: spec.template.spec.containers[1].image: must not be empty',
      ],
    ],
    [
      'ports and probes',
      container(
        'ports: [{ name: http, containerPort: 70000 }, { name: http, containerPort: 1 }]\nreadinessProbe: { httpGet: { port: htp } }\nlivenessProbe: { periodSeconds: -1, tcpSocket: { port: http } }\nstartupProbe: { tcpSocket: { port: 0 }, exec: { command: [] } }',
      ),
      [
        `13:46: ${path}.ports[0].containerPort: must be a whole number from 1 to 65535`,
        `13:63: ${path}.ports[1].name: the port name "http" is used twice`,
        `14:44: ${path}.readinessProbe.httpGet.port: the container has no port named "htp" (did you mean "http"?)`,
        `15:41: ${path}.livenessProbe.periodSeconds: must not be negative`,
        `16:44: ${path}.startupProbe.tcpSocket.port: must be a whole number from 1 to 65535 or the name of a port`,
        `16:66: ${path}.startupProbe.exec.command: must not be empty`,
      ],
    ],
    [
      'a probe with no or two ways to ask',
      container('readinessProbe: {}\nlivenessProbe: { tcpSocket: { port: 1 }, httpGet: { port: 1 } }'),
      [
        `13:25: ${path}.readinessProbe: a probe needs exactly one of httpGet, tcpSocket, exec, grpc`,
        `14:24: ${path}.livenessProbe: a probe needs exactly one of httpGet, tcpSocket, exec, grpc`,
      ],
    ],
    [
      'environment',
      container(
        'env: [{ name: A, value: 3000 }, { name: B, value: x, valueFrom: { fieldRef: { fieldPath: a } } }, { name: C, valueFrom: {} }]\nenvFrom: [{}]',
      ),
      [
        `13:33: ${path}.env[0].value: expected a string, found a number; put it in quotes`,
        `13:41: ${path}.env[1]: an environment variable cannot have both value and valueFrom`,
        `13:129: ${path}.env[2].valueFrom: needs exactly one source`,
        `14:19: ${path}.envFrom[0]: needs exactly one of configMapRef, secretRef`,
      ],
    ],
    [
      'a selector that does not select its own pods',
      withPod('containers: [{ name: a, image: a }]').replace(
        '{ app: users } }',
        '{ app: user, tier: web } }',
      ),
      ['5:35: spec.selector.matchLabels.app: the template\'s labels do not have "app: user"'],
    ],
    [
      'only what is malformed itself, not what refers to it',
      container('ports: [5]\nreadinessProbe: { httpGet: { port: http } }').replace(
        'app: users, tier',
        'app: 5, tier',
      ),
      [
        '7:32: spec.template.metadata.labels.app: expected a string, found a number; put it in quotes',
        `13:17: ${path}.ports[0]: expected an object, found a number`,
      ],
    ],
    [
      'an empty selector',
      withPod('containers: [{ name: a, image: a }]').replace('{ matchLabels: { app: users } }', '{}'),
      ['5:13: spec.selector: the selector is empty'],
    ],
    [
      'Services',
      'apiVersion: v1\nkind: Service\nmetadata: { name: s }\nspec: { ports: [{ port: 80, targetPort: "80" }, { name: a, port: 80 }, { name: a, port: 81 }] }\n',
      [
        '4:17: spec.ports[0]: each of several ports needs a name',
        '4:41: spec.ports[0].targetPort: must be a whole number from 1 to 65535 or the name of a port',
        '4:66: spec.ports[1].port: the port "TCP 80" is used twice',
        '4:80: spec.ports[2].name: the port name "a" is used twice',
      ],
    ],
    [
      'Secrets, without repeating them',
      'apiVersion: v1\nkind: Secret\nmetadata: { name: s }\ndata: { a: hunter2, b: d4==x, c: 5, "d/e": aGk= }\n',
      [
        '4:12: data.a: must be base64; plain text belongs under stringData',
        '4:24: data.b: must be base64; plain text belongs under stringData',
        '4:34: data.c: expected a string, found a number; put it in quotes',
        '4:37: data["d/e"]: a key has only letters, digits, "-", "_" and "."',
      ],
    ],
    [
      'text that is not YAML, beside other problems',
      'a: [\n---\nkind: Ingress\n',
      [
        '2:1: flow sequence in block collection must be sufficiently indented and end with a ]',
        '3:1: apiVersion: missing field "apiVersion" of Ingress',
      ],
    ],
  ];
  for (const [what, text, expected] of cases) {
    test(what, () => assert.deepEqual(problems(text), expected));
  }
});

describe('several files', () => {
  const namespace = (name: string, labels = '{}') =>
    `{apiVersion: v1, kind: Namespace, metadata: {name: ${name}, labels: ${labels}}}\n`;

  test('are read in their order', () => {
    const { manifests } = readManifestFiles([
      { file: 'b.yaml', text: namespace('b') },
      { file: 'a.yaml', text: namespace('a') },
    ]);
    assert.deepEqual(
      manifests.map(manifest => manifest.metadata.name),
      ['b', 'a'],
    );
  });

  test('may repeat an object; it is read once', () => {
    const sources = ['a.yaml', 'b.yaml'].map(file => ({ file, text: namespace('x') }));
    assert.equal(readManifestFiles(sources).manifests.length, 1);
  });

  test('may hold different objects of one name: the last one counts, also of a List, and it is told', () => {
    const sources = [
      { file: 'a.yaml', text: namespace('x') },
      {
        file: 'b.yaml',
        text: `${namespace('y')}---\n{kind: List, items: [\n${namespace('x', '{a: b}')}]}\n`,
      },
    ];
    const { manifests, files, warnings } = readManifestFiles(sources);
    assert.deepEqual(
      manifests.map(({ metadata }) => [metadata.name, metadata.labels]),
      [
        ['y', {}],
        ['x', { a: 'b' }],
      ],
    );
    assert.deepEqual(files, ['b.yaml', 'b.yaml']);
    const sentence = 'items[0].metadata.name: Namespace x stands already at a.yaml:1, and differs';
    const [first] = warnings;
    assert.deepEqual(
      warnings.map(({ text }) => text),
      [`b.yaml:4:52: ${sentence}; the last one counts`],
    );
    const moved = sources.map(({ file, text }) => ({ file, text: `\n\n${text}` }));
    assert.equal(readManifestFiles(moved).warnings[0]?.id, first?.id);
    assert.throws(() => readManifestFiles(sources, { strict: true }), { code: 'document/invalid' });
  });

  test('report the problems of all', () => {
    const texts = ['kind: Ingress\n', namespace('x'), 'kind: Secret\n'];
    const sources = texts.map((text, i) => ({ file: `${i}.yaml`, text }));
    assert.throws(
      () => readManifestFiles(sources),
      (error: OffshootError) => {
        assert.equal(error.message, 'the text of 2 files is not valid: 3 problems');
        assert.equal(error.hint, 'mend what the problems name, then repeat');
        assert.deepEqual(
          new Set((error.problems as Problem[]).map(({ file }) => file)),
          new Set(['0.yaml', '2.yaml']),
        );
        return true;
      },
    );
  });
});
