/**
 * The shape of the sandbox document: all of Signadot's schema, also the parts that nothing carries out yet
 * (sandbox-unsupported.ts names them). Unknown fields are errors. Rules inside one object are here, rules
 * across the document in sandbox-rules.ts.
 */
import { z } from 'zod';
import { sandboxNameFor, sandboxNameProblem } from '../names.ts';
import { parseServiceHost } from '../service.ts';
import {
  boundedText,
  dnsName,
  envName,
  inCluster,
  label,
  line,
  list,
  longText,
  name,
  outputKey,
  params,
  path,
  port,
  shortList,
} from './fields.ts';
import { pluginNameProblem } from './plugin-name.ts';

const sandboxName = z.string().superRefine((value, issues) => {
  const lower = value.toLowerCase();
  const problem =
    lower !== value && sandboxNameProblem(lower) === undefined
      ? 'a sandbox name is written in lowercase'
      : sandboxNameProblem(value);
  if (problem === undefined) return;
  const params = value === '' ? {} : { suggestion: sandboxNameFor(value) };
  issues.addIssue({ code: 'custom', message: `"${value}" is not a sandbox name: ${problem}`, params });
});

const cluster = z
  .string({
    error: issue =>
      issue.input === undefined
        ? 'missing field "cluster"; write "cluster: local" when everything runs on one machine'
        : undefined,
  })
  .min(1, 'must not be empty; write "cluster: local" when everything runs on one machine')
  .max(255, 'must have at most 255 characters');

const REPO_LABEL = 'signadot/github-repo';
const PULL_REQUEST_LABEL = 'signadot/github-pull-request';

/** The prefix is Signadot's: the pair ties a sandbox to a pull request, one of them alone means nothing. */
const labels = params
  .superRefine((value, issues) => {
    const repo = value[REPO_LABEL];
    const pullRequest = value[PULL_REQUEST_LABEL];
    const report = (key: string, message: string) =>
      issues.addIssue({ code: 'custom', path: [key], message });
    for (const key of Object.keys(value)) {
      if (key.startsWith('signadot/') && key !== REPO_LABEL && key !== PULL_REQUEST_LABEL)
        report(key, 'labels with the prefix "signadot/" are reserved');
    }
    if (repo !== undefined && !/^[^/\s]+\/[^/\s]+$/.test(repo))
      report(REPO_LABEL, 'must be OWNER/REPOSITORY');
    if (pullRequest !== undefined && !/^\d+$/.test(pullRequest))
      report(PULL_REQUEST_LABEL, 'must be the number of a pull request');
    if (repo !== undefined && pullRequest === undefined)
      report(REPO_LABEL, `needs the label "${PULL_REQUEST_LABEL}" beside it`);
    if (pullRequest !== undefined && repo === undefined)
      report(PULL_REQUEST_LABEL, `needs the label "${REPO_LABEL}" beside it`);
  })
  .meta({
    ...params.meta(),
    ...inCluster(
      {
        rule: `self.all(key, !key.startsWith("signadot/") || key in ["${REPO_LABEL}", "${PULL_REQUEST_LABEL}"])`,
        message: 'labels with the prefix "signadot/" are reserved',
      },
      {
        rule: `("${REPO_LABEL}" in self) == ("${PULL_REQUEST_LABEL}" in self)`,
        message: `the labels "${REPO_LABEL}" and "${PULL_REQUEST_LABEL}" need each other`,
      },
    ),
  });

const ttl = z.strictObject({
  duration: z
    .string()
    .max(16, 'must have at most 16 characters')
    .regex(/^\d+[mhdw]$/, 'must be a whole number and one of m, h, d, w, e.g. 2d')
    .refine(value => !(Number.parseInt(value, 10) > 0xffff_ffff), 'the number must fit into 32 bits'),
  offsetFrom: z.enum(['', 'createdAt', 'updatedAt']).optional(),
});

/** Those of Signadot first; `ArgoRollout` is an older spelling of Rollout. */
const FORKABLE = [
  ...(['Deployment', 'Rollout', 'ArgoRollout'] as const),
  ...(['StatefulSet', 'DaemonSet', 'ReplicaSet', 'ReplicationController', 'Pod'] as const),
];

const workload = z.strictObject({
  kind: z.enum(FORKABLE, {
    error: ({ input }) =>
      input === 'Job' || input === 'CronJob'
        ? `a ${input} cannot be forked: it runs to its end, and no request ever reaches it`
        : undefined,
  }),
  namespace: label,
  name: dnsName,
});

const keyRef = z.strictObject({ name: dnsName, key: line, optional: z.boolean().optional() });

const ONE_SOURCE = 'needs exactly one of resource, fork, configMap, secret';

const valueFrom = z
  .strictObject({
    resource: z.strictObject({ name: line, outputKey }).optional(),
    fork: z.strictObject({ forkOf: workload, expression: line }).optional(),
    configMap: keyRef.optional(),
    secret: keyRef.optional(),
  })
  .refine(value => Object.keys(value).length === 1, ONE_SOURCE)
  .meta(
    inCluster({
      rule: '[has(self.resource), has(self.fork), has(self.configMap), has(self.secret)].exists_one(has, has)',
      message: ONE_SOURCE,
    }),
  );

const DELETES = 'has(self.operation) && self.operation == "delete"';

const env = z
  .strictObject({
    name: envName,
    container: line.optional(),
    operation: z.enum(['upsert', 'delete']).optional(),
    value: longText.optional(),
    valueFrom: valueFrom.optional(),
  })
  .superRefine((entry, issues) => {
    const report = (message: string) => issues.addIssue({ code: 'custom', message });
    if (entry.operation === 'delete') {
      // Clients that write every field send an empty value along.
      if (entry.valueFrom !== undefined || (entry.value ?? '') !== '')
        report('"operation: delete" takes no value');
    } else if ((entry.value === undefined) === (entry.valueFrom === undefined)) {
      report(`environment variable "${entry.name}" needs exactly one of value, valueFrom`);
    }
  })
  .meta(
    inCluster(
      {
        rule: `!(${DELETES}) || !has(self.valueFrom) && (!has(self.value) || self.value == "")`,
        message: '"operation: delete" takes no value',
      },
      {
        rule: `${DELETES} || has(self.value) != has(self.valueFrom)`,
        messageExpression:
          '"environment variable \\"" + self.name + "\\" needs exactly one of value, valueFrom"',
      },
    ),
  );

const endpointName = z
  .string()
  .max(60, 'must have at most 60 characters')
  .superRefine((value, issues) => {
    const lower = value.toLowerCase();
    const valid = (candidate: string) => /^[a-z0-9]+(-[a-z0-9]+)*$/.test(candidate);
    if (valid(value)) return;
    const message =
      'becomes part of a host name: only lowercase letters, digits and single hyphens between them are allowed';
    const params = valid(lower) ? { suggestion: lower } : {};
    issues.addIssue({ code: 'custom', message, params });
  });

const protocol = z.enum(['http', 'https', 'grpc']);

/** Protocol and host of an endpoint's target; undefined when it is not a URL of just protocol, host and port. */
export function parseTarget(value: string): { readonly protocol: string; readonly host: string } | undefined {
  const url = URL.parse(value);
  if (url === null || url.port === '0' || !/^(https?|grpc):\/\/[^/?#@\s]+\/?$/.test(value)) return undefined;
  return { protocol: url.protocol.slice(0, -1), host: url.hostname };
}

const HOST_RULE = 'SERVICE.NAMESPACE.svc or WORKLOAD.NAMESPACE.deploy';

const host = z
  .string()
  .max(320, 'must have at most 320 characters')
  .refine(value => parseServiceHost(value) !== undefined, `must be a host of the cluster: ${HOST_RULE}`);

const target = line.refine(value => {
  const parsed = parseTarget(value);
  return parsed !== undefined && parseServiceHost(parsed.host) !== undefined;
}, `must be a URL such as http://users-service.demo.svc:3000, its host ${HOST_RULE}`);

const fork = z.strictObject({
  name: name(30).optional(),
  forkOf: workload,
  customizations: z
    .strictObject({
      images: list(z.strictObject({ container: line.optional(), image: line })).optional(),
      env: list(env).optional(),
      patch: z
        .strictObject({
          type: z.enum(['strategic', 'merge', 'json', 'signadot/env', 'signadot/image']),
          value: longText.min(1, 'must not be empty'),
        })
        .optional(),
    })
    .optional(),
  volumes: z
    .strictObject({
      disks: z.enum(['copy', 'empty']).optional(),
      hostPath: z.enum(['read', 'write']).optional(),
    })
    .optional(),
  endpoints: list(z.strictObject({ name: endpointName, port, protocol: protocol.optional() })).optional(),
});

const hostAndPort = line.regex(/^[^\s/]*:\d{1,5}$/, 'must be HOST:PORT, e.g. localhost:3000');

const fileKeyRef = z.strictObject({
  name: dnsName,
  // Absent: the whole map, as a directory.
  key: line.optional(),
  optional: z.boolean().optional(),
});

const local = z.strictObject({
  name: name(30),
  from: workload,
  mappings: list(z.strictObject({ port, toLocal: hostAndPort, appProtocol: line.optional() })).optional(),
  env: list(env).optional(),
  files: list(
    z
      .strictObject({
        path,
        value: longText.optional(),
        valueFrom: z
          .strictObject({
            configMap: fileKeyRef.optional(),
            secret: fileKeyRef.optional(),
            resource: z.strictObject({ name: line, outputKey: outputKey.optional() }).optional(),
          })
          .refine(
            value => Object.keys(value).length === 1,
            'needs exactly one of configMap, secret, resource',
          )
          .optional(),
      })
      .refine(
        file => (file.value === undefined) !== (file.valueFrom === undefined),
        'a file needs exactly one of value, valueFrom',
      ),
  ).optional(),
});

const middleware = z.strictObject({
  name: line,
  args: list(
    z
      .strictObject({
        name: line,
        value: longText.optional(),
        valueFrom: z.strictObject({ forward: line }).optional(),
      })
      .refine(
        arg => (arg.value === undefined) !== (arg.valueFrom === undefined),
        'an argument needs exactly one of value, valueFrom',
      ),
  ).optional(),
  match: list(z.strictObject({ workload: line })).optional(),
});

const resource = z.strictObject({
  name: name(63),
  plugin: line.superRefine((value, issues) => {
    const message = pluginNameProblem(value, { latest: true });
    if (message !== undefined) issues.addIssue({ code: 'custom', message });
  }),
  params: params.optional(),
});

export const sandboxSchema = z.strictObject({
  name: sandboxName,
  spec: z.strictObject({
    cluster,
    description: boundedText(4096).optional(),
    labels: labels.optional(),
    ttl: ttl.optional(),
    resources: shortList(resource).optional(),
    forks: shortList(fork).optional(),
    defaultRouteGroup: z
      .strictObject({ endpoints: list(z.strictObject({ name: endpointName, target })).optional() })
      .optional(),
    endpoints: list(
      z.strictObject({ name: endpointName, host, port, protocol: protocol.optional() }),
    ).optional(),
    local: shortList(local).optional(),
    virtual: list(z.strictObject({ name: name(30), workload })).optional(),
    middleware: list(middleware).optional(),
    routing: z
      .strictObject({
        forwards: list(
          z.strictObject({ name: name(30), port, toLocal: hostAndPort, appProtocol: line.optional() }),
        ).optional(),
      })
      .optional(),
    connection: z.strictObject({ devboxId: boundedText(255).optional() }).optional(),
    localMachineID: boundedText(255).optional(),
    disableSandboxTrafficManager: z.boolean().optional(),
  }),
});

export type SandboxDocument = z.infer<typeof sandboxSchema>;
