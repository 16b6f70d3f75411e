/** Programs of ours in pods that end as by SIGKILL, which nobody can send to the first process of a container from inside. */
import type { Installation } from './installation.ts';

/**
 * Ends its process at once; the kernel kills all others of its container, and the kubelet starts that again.
 * @param role the command of our program that runs there
 */
export const crash = async (
  c: Pick<Installation, 'kubectl'>,
  pod: string,
  role: 'controller' | 'gateway' | 'branches',
): Promise<void> => {
  await c.kubectl('exec', pod, '--', 'node', '-e', crashing, role).catch(() => {}); // it goes with it
};

// --- internal ------------------------------------------------------------------------------------

const crashing = `
  const { readdirSync, readFileSync } = require('node:fs');
  const role = process.argv[1];
  const args = pid => { try { return readFileSync('/proc/' + pid + '/cmdline', 'utf8').split('\\0'); } catch { return []; } };
  const pid = readdirSync('/proc').find(name => /^\\d+$/.test(name) && name !== String(process.pid) && args(name).includes(role));
  process.kill(Number(pid), 'SIGUSR1'); // node opens its inspector
  const again = async () => {
    try {
      const [{ webSocketDebuggerUrl }] = await (await fetch('http://127.0.0.1:9229/json/list')).json();
      const socket = new WebSocket(webSocketDebuggerUrl);
      // With a debugger it would wait for that to leave.
      const params = { expression: 'setTimeout(() => process.reallyExit(137), 100)' };
      socket.onopen = () => socket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params }));
      socket.onmessage = () => socket.close();
    } catch { setTimeout(again, 20); }
  };
  again();
`;
