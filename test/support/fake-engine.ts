/** The peer of `drivers/engine` where no container engine is: Docker's API on a unix socket, whose containers are processes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';

export type FakeEngine = AsyncDisposable & {
  /** Bodies of `POST /containers/create`. */
  readonly created: readonly Readonly<Record<string, unknown>>[];
  /** Names of containers that are there. */
  readonly containers: ReadonlyMap<string, unknown>;
};

type Container = { readonly labels: Readonly<Record<string, string>>; process?: ChildProcess };

/** @param images that it has @param lines of the answer to a pull, after which it has the image unless one is an error */
export async function fakeEngine(
  socket: string,
  images: readonly string[],
  lines: readonly object[] = [],
): Promise<FakeEngine> {
  const has = new Set(images);
  const created: Readonly<Record<string, unknown>>[] = [];
  const containers = new Map<string, Container>();
  const server = createServer(async (request, response) => {
    const [status, value] = await answer(request);
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(value === undefined ? undefined : typeof value === 'string' ? value : JSON.stringify(value));
  });
  server.listen(socket);
  await once(server, 'listening');
  return {
    created,
    containers,
    async [Symbol.asyncDispose]() {
      for (const { process } of containers.values()) process?.kill('SIGKILL');
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };

  async function answer(request: IncomingMessage): Promise<readonly [number, unknown?]> {
    const { pathname, searchParams } = new URL(request.url!, 'http://engine');
    const isFile = request.headers['content-type'] === 'application/x-tar';
    const sent = await text(request);
    const body = isFile ? {} : JSON.parse(sent || '{}');
    const [, kind, id = '', verb] = /^\/([^/]+)(?:\/(.+?))?(?:\/(json|start))?$/.exec(pathname) ?? [];
    if (kind === '_ping') return [200, 'OK'];
    if (kind === 'version') return [200, { Version: '28.0.0', Components: [{ Name: 'Engine' }] }];
    // An image for doors must be there: this one is one of those that map users.
    if (isFile) return [500, { message: 'not here' }];
    if (kind === 'images' && id === 'create') {
      if (!lines.some(line => 'error' in line)) has.add(searchParams.get('fromImage')!);
      return [200, lines.map(line => `${JSON.stringify(line)}\n`).join('')];
    }
    if (kind === 'images') return has.has(decodeURIComponent(id)) ? [200, {}] : missing;
    if (kind !== 'containers') return missing;
    if (id === 'create') {
      created.push(body);
      containers.set(searchParams.get('name')!, { labels: body.Labels });
      return [201, { Id: searchParams.get('name') }];
    }
    if (id === 'json') return [200, [...containers.keys()].map(Id => ({ Id }))];
    const container = containers.get(id);
    if (container === undefined) return missing;
    if (request.method === 'DELETE') {
      container.process?.kill('SIGKILL');
      containers.delete(id);
      return [204];
    }
    if (verb === 'start') {
      container.process = spawn('sleep', ['1000'], { stdio: 'ignore' });
      await once(container.process, 'spawn');
      return [204];
    }
    const { process } = container;
    const runs = process !== undefined && process.exitCode === null && process.signalCode === null;
    const State = { Status: runs ? 'running' : 'exited', Running: runs, OOMKilled: false, ExitCode: 143 };
    return [200, { State: { ...State, Pid: process?.pid ?? 0 } }];
  }
}

// --- internal -----------------------------------------------------------------------------------

const missing = [404, { message: 'No such thing' }] as const;
