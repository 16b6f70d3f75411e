/**
 * Keeps the certificates of our authority in the webhook configurations that the chart has made, so that the API server
 * knows whom it asks. Only that field is ours; each configuration is known by its name, and no other is touched.
 */
import { type ClusterClient, isCode } from '../kubernetes/client.ts';
import { type KubernetesObject, type Resource, resources } from '../kubernetes/resource.ts';
import type { Log } from '../lib/log.ts';
import { repeat } from '../lib/repeat.ts';

export type RegistrationOptions = {
  /** Closed by whoever made it. */
  readonly client: ClusterClient;
  /** Of both configurations; one that is not there is none of ours. */
  readonly name: string;
  /** PEM. */
  readonly authorities: () => string;
  /** Calls when those change; returns the way to stop that. */
  readonly onChange: (listener: () => void) => () => void;
  readonly log: Log;
};

export type Registration = {
  /** Resolves when it was done, or could not be done, for the first time. */
  readonly tried: Promise<void>;
  close(): Promise<void>;
};

/** From now on, until it is closed; also when somebody puts another one in their place, e.g. an upgrade of the chart. */
export function keepRegistration({
  client,
  name,
  authorities,
  onChange,
  log,
}: RegistrationOptions): Registration {
  const wanted = () => Buffer.from(authorities()).toString('base64');
  const keep = async (resource: Resource): Promise<void> => {
    const known = await client.get<Configuration>(resource, { name });
    const webhooks = known?.webhooks ?? [];
    const caBundle = wanted();
    if (webhooks.every(({ clientConfig }) => clientConfig.caBundle === caBundle)) return;
    const trusting = webhooks.map(one => ({ ...one, clientConfig: { ...one.clientConfig, caBundle } }));
    await client.replace(resource, { ...known!, webhooks: trusting });
    log.info({ webhooks: name }, 'the API server is told whom it asks');
  };
  const tried = Promise.withResolvers<void>();
  const looking = repeat(
    async () => {
      try {
        await keep(resources.MutatingWebhookConfiguration);
        await keep(resources.ValidatingWebhookConfiguration);
      } catch (error) {
        // Another controller, or an upgrade, was first.
        if (!isCode(error, 'kubernetes/conflict')) throw error;
        return RETRY_MS;
      }
      tried.resolve();
      return LOOK_MS;
    },
    err => {
      tried.resolve();
      const why = 'the API server cannot be told whom it asks: pods start without a sidecar';
      log.warn({ err, webhooks: name }, why);
    },
    RETRY_MS,
  );
  const stop = onChange(() => looking.now());
  return {
    tried: tried.promise,
    async close() {
      stop();
      await looking.stop();
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

const LOOK_MS = 30_000;
const RETRY_MS = 2_000;

type Configuration = KubernetesObject & {
  readonly webhooks?: readonly { readonly clientConfig: { readonly caBundle?: string } }[];
};
