/** What the registry can do on this machine, in the words of `offshoot doctor`. */
import type { Controller, Groups } from '../../lib/cgroups.ts';
import type { Capability } from '../contract.ts';

export function capabilitiesOf(found: Groups | { readonly why: string }): readonly Capability[] {
  const name = 'processes/groups';
  const limits = 'processes/limits';
  if ('why' in found) {
    const detail =
      `no control groups (${found.why}): each process is known by pid and start time; what leaves its process ` +
      'group and outlives its parent is not found again, and servers of a killed PostgreSQL end by themselves';
    const nothing = 'limits of memory and CPU are not kept, for want of control groups';
    return [
      { name, ok: false, detail },
      { name: limits, ok: false, detail: nothing },
    ];
  }
  const words: Readonly<Record<Controller, string>> = { memory: 'memory', cpu: 'CPU' };
  const missing = (['memory', 'cpu'] as const).filter(controller => !found.keeps.includes(controller));
  const detail =
    missing.length === 0
      ? 'limits of memory and CPU are kept'
      : `limits of ${missing.map(one => words[one]).join(' and ')} are not kept: no controller for them in ${found.homes[0]}`;
  return [
    { name, ok: true, detail: `each part has a control group in ${found.homes[0]}` },
    { name: limits, ok: missing.length === 0, detail },
  ];
}
