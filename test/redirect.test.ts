/** Rules by which connections to a pod's ports come to its sidecar: in a machine of its own, with a neighbour who connects. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type ExecError, resultOf } from '../src/lib/exec.ts';
import type { NetNamespace } from '../src/lib/net-namespace.ts';
import { until } from '../src/lib/wait.ts';
import { OffshootError } from '../src/model/errors.ts';
import { ask, neighbour, noNetworks, own, serve, testMachine } from './support/networks.ts';

const missing = process.getuid?.() === 0 ? await noNetworks() : 'only root makes machines of its own';
const program = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));

async function redirect({ within }: NetNamespace, ...args: readonly string[]): Promise<string> {
  const argv = [process.execPath, program, 'redirect', ...args];
  const started = within(() => spawn(argv[0]!, argv.slice(1), { stdio: 'pipe' }));
  const { stderr } = await resultOf(started, argv, { deadlineMs: 60_000 });
  return stderr;
}

async function pod(t: TestContext) {
  const machine = await testMachine();
  t.after(() => machine[Symbol.asyncDispose]());
  for (const [port, name, host = '0.0.0.0'] of [
    [8080, 'program'],
    [9090, 'metrics'],
    [17_401, 'sidecar', '::'],
  ] as const) {
    const serving = await serve(machine.inside, host, port, name);
    t.after(() => serving[Symbol.asyncDispose]());
  }
  return machine;
}

test('what comes from outside gets to the sidecar, what is made inside does not, and probes pass by', {
  skip: missing ?? false,
}, async t => {
  const { inside, outside } = await pod(t);
  assert.equal(await ask(outside, own, 8080), `program ${neighbour}`);
  const said = await redirect(inside, '--port', '17401:8080', '--direct', '17451:8080');
  assert.match(said, /connections to 8080 go to the sidecar/);
  const seen = {
    outside: await ask(outside, own, 8080),
    direct: await ask(outside, own, 17_451),
    another: await ask(outside, own, 9090),
    itself: await ask(inside, own, 8080),
    loopback: await ask(inside, '127.0.0.1', 8080),
  };
  assert.deepEqual(seen, {
    outside: `sidecar ${neighbour}`,
    direct: `program ${neighbour}`,
    another: `metrics ${neighbour}`,
    // So the sidecar reaches the program, and never itself.
    itself: `program ${own}`,
    loopback: 'program 127.0.0.1',
  });
  await redirect(inside, '--port', '17401:9090');
  assert.equal(await ask(outside, own, 9090), `sidecar ${neighbour}`, 'once more: what was said last counts');
  assert.equal(await ask(outside, own, 8080), `program ${neighbour}`);
});

test('the same for IPv6', { skip: missing ?? false }, async t => {
  const { inside, outside } = await pod(t);
  const addresses = ({ within }: NetNamespace) =>
    within(() => readFileSync('/proc/thread-self/net/if_inet6', 'utf8')).split('\n');
  /** Its flags are 80 once nobody else claims it (linux/if_addr.h: IFA_F_PERMANENT). */
  const linkLocal = (place: NetNamespace) =>
    until(
      () =>
        addresses(place)
          .find(one => /^fe80.*\s80\s+(up0|eth0)$/.test(one))
          ?.slice(0, 32),
      {
        ...{ what: 'an address', deadlineMs: 60_000 },
      },
    );
  if (!addresses(inside).some(one => one.includes('up0'))) return t.skip('this kernel has no IPv6');
  await linkLocal(outside);
  const address = (await linkLocal(inside)).replace(/(.{4})(?!$)/g, '$1:');
  const program = await serve(inside, '::', 8081, 'program');
  t.after(() => program[Symbol.asyncDispose]());
  await redirect(inside, '--port', '17401:8081', '--direct', '17451:8081');
  const hear = (port: number) => ask(outside, `${address}%eth0`, port, { from: '::' });
  assert.match(await hear(8081), /^sidecar fe80::/);
  assert.match(await hear(17_451), /^program fe80::/);
});

test('says what the kernel does not allow', { skip: missing ?? false }, async t => {
  const { inside } = await pod(t);
  const argv = ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin', process.execPath, program];
  const args = [...argv, 'redirect', '--port', '17401:8080'];
  const started = inside.within(() => spawn(args[0]!, args.slice(1), { stdio: 'pipe' }));
  await assert.rejects(resultOf(started, args, { deadlineMs: 60_000 }), ({ stderr }: ExecError) =>
    stderr.includes(new OffshootError('proxy/no-rules', { why: 'EPERM' }).message),
  );
});
