/** Admission together: who asks for a sidecar gets one, and bad documents are refused. */
import type { Baseline } from '../baseline/contract.ts';
import type { ClusterClient } from '../kubernetes/client.ts';
import { type InformerState, informer } from '../kubernetes/informer.ts';
import { type KubernetesObject, resources } from '../kubernetes/resource.ts';
import { wantsSidecar } from '../kubernetes/sidecar-names.ts';
import type { Log } from '../lib/log.ts';
import { orAborted } from '../lib/wait.ts';
import type { Address } from '../model/route.ts';
import type { AdmissionRequest, Verdict } from './admission.ts';
import { injection, type NewPod, type SidecarSettings } from './inject.ts';
import { keepRegistration } from './registration.ts';
import { openWebhook, type WebhookOptions } from './server.ts';
import { validateDocument } from './validate.ts';

export type AdmissionOptions = {
  /** Closed by whoever made it. */
  readonly client: ClusterClient;
  readonly baseline: Baseline;
  readonly at: Address;
  /** Of both webhook configurations, see registration.ts. */
  readonly name: string;
  readonly certificate: WebhookOptions['certificate'];
  readonly settings: SidecarSettings;
  /** Told how fresh it is, as soon as that can be said. */
  readonly onOpening?: (states: () => readonly InformerState[]) => void;
  readonly signal: AbortSignal;
  readonly log: Log;
};

export type Admission = Address & { close(): Promise<void> };

/** Resolves when the API server has been told whom to ask, if that could be done. @throws OffshootError host/port-taken; the signal's reason */
export async function openAdmission(o: AdmissionOptions): Promise<Admission> {
  const { client, baseline, certificate, settings, log } = o;
  await using opened = new AsyncDisposableStack();
  const namespaces = informer<KubernetesObject['metadata']>({
    ...{ client, resource: resources.Namespace, log },
    keep: ({ metadata }) => metadata,
  });
  opened.defer(() => namespaces.close());
  o.onOpening?.(() => [namespaces.state()]);
  await orAborted(namespaces.synced, o.signal);

  function inject({ object, namespace = '', operation, kind }: AdmissionRequest): Verdict {
    const pod = object as NewPod | null;
    if (operation !== 'CREATE' || kind.kind !== 'Pod' || !pod?.spec?.containers) return { allowed: true };
    const around = namespaces.get(namespace) ?? {};
    const { labels = {} } = around as Partial<KubernetesObject['metadata']>;
    if (!wantsSidecar(pod.metadata, around)) return { allowed: true };
    const services = baseline.list('Service', namespace).map(found => found.object);
    return {
      allowed: true,
      patch: injection(pod, { namespace, namespaceLabels: labels, services }, settings),
    };
  }

  const server = await openWebhook({
    ...{ ...o.at, certificate, log },
    answers: { '/inject': inject, '/validate': request => validateDocument(request, baseline) },
  });
  opened.defer(() => server.close());
  const registration = keepRegistration({
    ...{ client, name: o.name, authorities: settings.authorities, onChange: certificate.onChange, log },
  });
  opened.defer(() => registration.close());
  await orAborted(registration.tried, o.signal);
  const { host, port } = server;
  const closing = opened.move();
  return { host, port, close: () => closing.disposeAsync() };
}
