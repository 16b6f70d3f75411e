/**
 * How a cluster is reached and who we are there: by a kubeconfig (the file of kubectl), or as a pod's service account.
 * Ways of login: certificate, token, file with a token, program (`exec`, client.authentication.k8s.io). What kubectl itself
 * has given up (`auth-provider`), and proxies, are refused with a sentence.
 */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { OffshootError } from '../model/errors.ts';
import { yaml } from '../model/yaml-package.ts';
import { type ExecLogin, execTokens, fileTokens, type Tokens } from './tokens.ts';

export type ClusterAccess = {
  /** e.g. https://10.0.0.1:6443, without a path at its end. */
  readonly server: string;
  /** PEM; absent: those that Node trusts. */
  readonly authorities?: string;
  readonly certificate?: { readonly certificate: string; readonly key: string };
  readonly tokens?: Tokens;
  /** Name that the server's certificate must be for; absent: the host of `server`. */
  readonly serverName?: string;
  /** The kubeconfig says that anybody may be the server. */
  readonly insecure?: boolean;
  /** That of the context, or of the pod. */
  readonly namespace: string;
};

const serviceAccount = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * As a pod's service account. Its token is renewed by the kubelet, so the file is read again and again.
 * @param host, port of KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT
 * @param directory where the kubelet has put token, ca.crt and namespace
 * @throws OffshootError kubernetes/config
 */
export async function podAccess(
  host: string,
  port: number,
  directory = serviceAccount,
): Promise<ClusterAccess> {
  const read = (name: string) => readText(resolve(directory, name));
  const [authorities, namespace] = await Promise.all([read('ca.crt'), read('namespace')]);
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    authorities,
    namespace: namespace.trim(),
    tokens: fileTokens(resolve(directory, 'token')),
  };
}

/**
 * By a kubeconfig.
 * @param context default: its current one
 * @param env what a login program is run with
 * @throws OffshootError kubernetes/config
 */
export async function kubeconfigAccess(
  file: string,
  { context, env }: { readonly context?: string; readonly env: Readonly<Record<string, string | undefined>> },
): Promise<ClusterAccess> {
  const wrong = (why: string) => new OffshootError('kubernetes/config', { file, why });
  const { parse } = yaml();
  let config: Kubeconfig;
  try {
    config = (parse(await readText(file)) ?? {}) as Kubeconfig;
  } catch (error) {
    if (error instanceof OffshootError) throw error;
    throw wrong((error as Error).message.split('\n')[0]!);
  }
  const named = <T>(list: unknown, name: string | undefined, part: string): T => {
    const items: readonly { name?: string }[] = Array.isArray(list) ? list : [];
    const found = items.find(item => item?.name === name) as Record<string, T> | undefined;
    const value = found?.[part];
    if (typeof value === 'object' && value !== null) return value;
    throw wrong(name === undefined ? `no ${part} is named` : `there is no ${part} "${name}"`);
  };
  const chosen = named<Context>(config.contexts, context ?? config['current-context'], 'context');
  const cluster = named<Cluster>(config.clusters, chosen.cluster, 'cluster');
  const user = chosen.user === undefined ? {} : named<User>(config.users, chosen.user, 'user');
  if (!/^https?:\/\/./.test(cluster.server ?? '')) throw wrong(`"${cluster.server}" is no URL of a server`);
  if (cluster['proxy-url'] !== undefined) throw wrong('ways through a proxy are not supported');
  if (user['auth-provider'] !== undefined)
    throw wrong('"auth-provider" is not supported: use a login program (exec), as kubectl does');
  if (user.username !== undefined) throw wrong('no cluster takes user name and password any more');

  const base = dirname(resolve(file));
  const material = async (data: string | undefined, path: string | undefined) => {
    if (data !== undefined) return Buffer.from(data, 'base64').toString();
    return path === undefined ? undefined : readText(resolve(base, path));
  };
  const [authorities, certificate, key] = await Promise.all([
    material(cluster['certificate-authority-data'], cluster['certificate-authority']),
    material(user['client-certificate-data'], user['client-certificate']),
    material(user['client-key-data'], user['client-key']),
  ]);
  const tokens = tokensOf(user, base, env);
  return {
    server: cluster.server!.replace(/\/+$/, ''),
    namespace: chosen.namespace ?? 'default',
    ...(authorities !== undefined && { authorities }),
    ...(certificate !== undefined && key !== undefined && { certificate: { certificate, key } }),
    ...(cluster['tls-server-name'] !== undefined && { serverName: cluster['tls-server-name'] }),
    ...(cluster['insecure-skip-tls-verify'] === true && { insecure: true }),
    ...(tokens !== undefined && { tokens }),
  };
}

/** The one of `KUBECONFIG`, of several the first (kubectl would merge them), else where kubectl has it. */
export const kubeconfigFile = ({ KUBECONFIG, HOME }: Readonly<Record<string, string | undefined>>): string =>
  KUBECONFIG?.split(delimiter).find(Boolean) ?? join(HOME || homedir(), '.kube', 'config');

// --- internal -----------------------------------------------------------------------------------

type Kubeconfig = {
  readonly 'current-context'?: string;
  readonly contexts?: unknown;
  readonly clusters?: unknown;
  readonly users?: unknown;
};
type Context = { readonly cluster?: string; readonly user?: string; readonly namespace?: string };
type Cluster = {
  readonly server?: string;
  readonly 'certificate-authority'?: string;
  readonly 'certificate-authority-data'?: string;
  readonly 'insecure-skip-tls-verify'?: boolean;
  readonly 'tls-server-name'?: string;
  readonly 'proxy-url'?: string;
};
type User = {
  readonly 'client-certificate'?: string;
  readonly 'client-certificate-data'?: string;
  readonly 'client-key'?: string;
  readonly 'client-key-data'?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly username?: string;
  readonly exec?: ExecLogin;
  readonly 'auth-provider'?: unknown;
};

/** In kubectl's order: a file goes before the token that stands beside it. */
function tokensOf(
  user: User,
  base: string,
  env: Readonly<Record<string, string | undefined>>,
): Tokens | undefined {
  const { token, tokenFile, exec } = user;
  if (tokenFile !== undefined) return fileTokens(resolve(base, tokenFile));
  if (token !== undefined) return { get: async () => token, refused() {} };
  return exec === undefined ? undefined : execTokens(exec, base, env);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const why = `it cannot be read (${(cause as NodeJS.ErrnoException).code})`;
    throw new OffshootError('kubernetes/config', { file, why }, { cause });
  }
}
