/** `npm run bench [-- NAME…]`: the figures of docs/benchmarks.md, or some of them, in one run. Raw results go to bench/results/. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { main as branch } from './branch.ts';
import { main as branchList } from './branch-list.ts';
import { main as branchbench } from './branchbench.ts';
import { main as branches } from './branches.ts';
import { main as data } from './data.ts';
import { main as deploy } from './deploy.ts';
import { main as edit } from './edit.ts';
import { main as env } from './env.ts';
import { main as gateway } from './gateway.ts';
import { root } from './home.ts';
import { main as images } from './images.ts';
import { main as kubernetes } from './kubernetes.ts';
import { main as logs } from './logs.ts';
import { main as memory } from './memory.ts';
import { main as passThrough } from './pass-through.ts';
import { main as router } from './router.ts';
import { networks, main as sandbox } from './sandbox.ts';
import { main as scale } from './scale.ts';
import { main as start } from './start.ts';
import { main as starts } from './starts.ts';
import { main as store } from './store.ts';

const benches = {
  sandbox: () => sandbox([]),
  networks: () => networks([]),
  deploy: () => deploy([]),
  data: () => data([]),
  branch: () => branch([]),
  starts: () => starts([]),
  gateway: () => gateway([]),
  router: () => router([]),
  'pass-through': () => passThrough([]),
  start: () => start([]),
  edit: () => edit([]),
  env: () => env([]),
  logs: () => logs([]),
  images: () => images([]),
  store: () => store([]),
  memory: () => memory(),
  branches: () => branches([]),
  branchbench: () => branchbench([]),
  'branch-list': () => branchList([]),
  scale: () => scale([]),
  kubernetes: () => kubernetes([]),
} as const;

const wanted = process.argv.slice(2);
const unknown = wanted.filter(name => !(name in benches));
if (unknown.length > 0) {
  console.error(
    `unknown: ${unknown.join(', ')}; choose from ${Object.keys(benches).join(', ')}, or none for all`,
  );
  process.exit(2);
}

const machine = {
  cpu: cpus()[0]?.model,
  cores: cpus().length,
  memoryGb: Math.round(totalmem() / 2 ** 30),
  node: process.version,
};
const results: Record<string, unknown> = { at: new Date().toISOString(), machine };
console.log(`${machine.cores} × ${machine.cpu}, ${machine.memoryGb} GB, Node ${machine.node}`);
for (const [name, run] of Object.entries(benches)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.log(`\n${name}`);
  results[name] = await run();
}
const dir = join(root, 'bench', 'results');
mkdirSync(dir, { recursive: true });
const file = join(dir, `${new Date().toISOString().replaceAll(':', '-')}.json`);
writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
console.log(`\nraw results: ${file}`);
