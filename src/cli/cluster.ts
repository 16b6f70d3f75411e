/**
 * The way to an installation in a cluster: through its API server, to which everybody has a way who has a kubeconfig. RBAC
 * decides who may: a token of the account that visitors are, and requests to the Service of the controller
 * (docs/kubernetes.md). Loaded only when a context is named.
 */
import type { Connection, Way } from '../client/index.ts';
import { OffshootError } from '../model/errors.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** @param context of the kubeconfig; `.` is its current one */
export function clusterConnection(env: Env, context: string): Connection {
  const name = env.OFFSHOOT_INSTALLATION || 'offshoot';
  const namespace = env.OFFSHOOT_NAMESPACE || 'offshoot';
  let opening: Promise<() => Promise<Way>> | undefined;
  const open = async (): Promise<() => Promise<Way>> => {
    const [{ kubeconfigAccess, kubeconfigFile }, { clusterClient, refused }, { agentTo }, { apiAudience }] =
      await Promise.all([
        import('../kubernetes/access.ts'),
        import('../kubernetes/client.ts'),
        import('../kubernetes/transport.ts'),
        import('../kubernetes/visitors.ts'),
      ]);
    const chosen = context === '.' ? {} : { context };
    const access = await kubeconfigAccess(kubeconfigFile(env), { ...chosen, env });
    const client = clusterClient(access);
    const agent = agentTo(access);
    const account = { namespace, name: `${name}-user` };
    const service = `https:${name}:api`;
    const base = `${access.server}/api/v1/namespaces/${namespace}/services/${service}/proxy`;
    let token: { readonly value: string; readonly until: number } | undefined;
    return async () => {
      if (token === undefined || performance.now() > token.until) {
        const value = await client.accountToken(account, apiAudience, TOKEN_SECONDS);
        token = { value, until: performance.now() + (TOKEN_SECONDS * 1_000) / 2 };
      }
      const own = await access.tokens?.get();
      return {
        ...{ base, agent, apiKey: token.value },
        headers: own === undefined ? {} : { authorization: `Bearer ${own}` },
        refused(status, body) {
          if (!isStatus(body)) return undefined;
          const place = { namespace, name: service, subresource: 'proxy' };
          const services = { group: '', version: 'v1', plural: 'services' };
          return refused({ status, body: Buffer.from(body) }, { verb: 'get', resource: services, place });
        },
      };
    };
  };
  return {
    url: `${name} in namespace ${namespace} of ${context === '.' ? 'the current context' : `context ${context}`}`,
    apiKey: '',
    async way() {
      opening ??= open();
      return (await opening)();
    },
  };
}

/** Why a command is not for a cluster; undefined: it is. */
export const notInCluster = (command: string): OffshootError | undefined => {
  const instead = elsewhere[command];
  return instead === undefined ? undefined : new OffshootError('kubernetes/elsewhere', { command, instead });
};

// --- internal -----------------------------------------------------------------------------------

/** The least that API servers give. */
const TOKEN_SECONDS = 600;

const elsewhere: Readonly<Record<string, string>> = {
  up: 'the chart starts it: "helm install"',
  down: 'the chart ends it: "helm uninstall"',
  deploy: '"kubectl apply" deploys there, and Offshoot reads what is there',
  undeploy: '"kubectl delete" does that there',
  env: 'forks run images there, not folders: "offshoot sandbox apply" makes a sandbox of an image of the branch',
  git: 'its hooks are for environments of folders',
  image: 'images come from the registry there',
  disk: 'claims are the cluster\'s: "kubectl get persistentvolumeclaims"',
  gateway: 'the chart runs it',
  sidecar: 'the webhook puts it beside a program',
  controller: 'the chart runs it',
  identity: 'pods prove who they are by the token of their account',
  sql: 'there is no way through the API server for it: "kubectl port-forward service/offshoot-gateway 5432" and psql',
};

/** An object `Status` of the API server, and no body of ours. */
function isStatus(text: string): boolean {
  try {
    return (JSON.parse(text) as { readonly kind?: string }).kind === 'Status';
  } catch {
    return false;
  }
}
