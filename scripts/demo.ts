/**
 * Plays the tutorial from beginning to end on this machine, with everything real, in a data directory of
 * its own that is removed at the end. `--once` ends after the clean-up, `--json` prints one object.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { defaultPorts } from '../src/config.ts';
import { freeOr } from './demo/ports.ts';
import { playTutorial, type Step, type Tutorial } from './demo/tutorial.ts';

const values = readArguments();
if (values.help) {
  console.log('npm run demo                     play the tutorial, stay up until Ctrl-C');
  console.log('npm run demo -- --once [--json]  play it, clean up, exit');
  process.exit(0);
}

const root = fileURLToPath(new URL('..', import.meta.url));
const say = (text: string) => {
  if (!values.json) console.log(text);
};

process.exitCode = await main();

async function main(): Promise<number> {
  const home = chooseHome();
  const wasThere = existsSync(home) && home === process.env.OFFSHOOT_HOME;
  const env = {
    ...process.env,
    OFFSHOOT_HOME: home,
    OFFSHOOT_API_PORT: process.env.OFFSHOOT_API_PORT ?? (await freeOr(defaultPorts.api)),
    OFFSHOOT_HTTP_PORT: process.env.OFFSHOOT_HTTP_PORT ?? (await freeOr(defaultPorts.http)),
    OFFSHOOT_POSTGRES_PORT: process.env.OFFSHOOT_POSTGRES_PORT ?? (await freeOr(defaultPorts.postgres)),
  };
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => stop.abort());

  const steps: Step[] = [];
  const onStep = (step: Step) => {
    steps.push(step);
    say(
      `${step.ok ? '✓' : '✗'} ${step.name.padEnd(52)} ${`${step.ms.toFixed(0)} ms`.padStart(8)}   ${step.result}`,
    );
  };
  const tutorial: Tutorial = { root, env, signal: stop.signal, onStep };
  let ok = true;
  try {
    say(`Playing examples/users-service in ${home}\n`);
    const { urls, key, finish } = await playTutorial(tutorial);
    if (!values.once) {
      say(stayingUp(env, urls, key));
      await new Promise<void>(resolve => {
        // An open timer keeps the process alive until Ctrl-C.
        const timer = setInterval(() => {}, 60_000);
        stop.signal.addEventListener('abort', () => {
          clearInterval(timer);
          resolve();
        });
        if (stop.signal.aborted) resolve();
      });
      say('');
    }
    await finish();
  } catch (error) {
    ok = false;
    if (!stop.signal.aborted)
      console.error(`\nthe demo failed: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    const started = performance.now();
    // Whatever happened: nothing stays. `down` also ends what a killed daemon left.
    const down = spawnSync(join(root, 'offshoot'), ['down'], {
      env,
      encoding: 'utf8',
      timeout: 120_000,
    });
    if (down.status !== 0) {
      ok = false;
      console.error(down.stderr);
    } else {
      removeHome(home, wasThere);
      const result = 'processes, mounts and files are gone';
      onStep({ name: 'everything removed', ms: performance.now() - started, ok: true, result });
    }
  }
  if (values.json) console.log(JSON.stringify({ ok, steps }, null, 2));
  else if (ok && values.once) say(`\nAll ${steps.length} steps passed.`);
  return ok ? 0 : 1;
}

/** Never data that is there already: the demo ends with removing what it made. */
function chooseHome(): string {
  const wanted = process.env.OFFSHOOT_HOME;
  if (wanted && (!existsSync(wanted) || readdirSync(wanted).length === 0)) return wanted;
  if (wanted) say(`OFFSHOOT_HOME (${wanted}) holds data, so the demo takes a folder of its own\n`);
  return mkdtempSync(join(tmpdir(), 'offshoot-demo-'));
}

/** A folder that the demo was given stays, as empty as it was. */
function removeHome(home: string, wasThere: boolean): void {
  const made = wasThere ? readdirSync(home).map(entry => join(home, entry)) : [home];
  for (const path of made) rmSync(path, { recursive: true, force: true });
}

function stayingUp(
  env: Record<string, string | undefined>,
  urls: { preview: string; baseline: string },
  key: string,
): string {
  return `
It stays up until Ctrl-C.

  preview   ${urls.preview}
  baseline  ${urls.baseline}
  API key   ${key}

Try, in another terminal:
  export OFFSHOOT_HOME=${env.OFFSHOOT_HOME}
  curl -H 'signadot-api-key: ${key}' ${urls.preview}/users
  curl ${urls.baseline}/users
  ./offshoot branch list
  ./offshoot sql sb-xata-test -c 'select id, name from users'
  ./offshoot sandbox get xata-test
  ./offshoot sandbox delete xata-test`;
}

function readArguments(): { readonly once?: boolean; readonly json?: boolean; readonly help?: boolean } {
  try {
    return parseArgs({
      options: { once: { type: 'boolean' }, json: { type: 'boolean' }, help: { type: 'boolean' } },
    }).values;
  } catch (error) {
    console.error(`${(error as Error).message}; the demo knows --once, --json and --help`);
    process.exit(2);
  }
}
