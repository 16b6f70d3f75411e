/** Which address a Service gets: on a bridge of this machine, where pods are on it, else on the loopback interface. */
import type { Networks } from './drivers/network/contract.ts';
import { loopbackFor } from './lib/loopback.ts';
import type { ServiceAddresses } from './reconcile/baseline.ts';

/** Every Service has an IP of its own and keeps its port, as far as the machine allows. */
export function serviceAddresses(instance: string, networks: Networks | undefined): ServiceAddresses {
  const services = networks?.services;
  const privileged = process.getuid?.() === 0;
  const isLinux = process.platform === 'linux';
  const host = (service: string, attempt: number): string => {
    if (services !== undefined) return services.address(service, attempt);
    return isLinux ? loopbackFor(`${instance}/${service}`, attempt) : '127.0.0.1';
  };
  return {
    choose(service, port, taken) {
      // Ports below 1024 are not for ordinary users: 80 becomes 8080, 443 becomes 8443.
      const own = port < 1024 && !privileged ? port + 8_000 : port;
      for (let attempt = 0; ; attempt++) {
        const candidate = { host: host(service, attempt), port: isLinux ? own : own + attempt };
        if (!taken(candidate, { anyPort: services !== undefined })) return candidate;
      }
    },
    fits: address => (services === undefined ? address.host.startsWith('127.') : services.has(address.host)),
  };
}
