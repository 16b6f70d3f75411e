/**
 * The tutorial's service: users in PostgreSQL. It knows nothing of sandboxes: DATABASE_URL alone decides which
 * branch of the database it works on.
 *
 * Somebody waits for a fork's first answer, so the start is short: PostgreSQL's client is loaded and connected
 * when the port is open already, and compiled code is kept for the next start (where NODE_COMPILE_CACHE says).
 */
import { flushCompileCache } from 'node:module';
import type { AddressInfo } from 'node:net';
import express, { type NextFunction, type Request, type Response } from 'express';
import type { Pool } from 'pg';
import { call, propagation } from './propagate.ts';

const { DATABASE_URL, HOST = '127.0.0.1', PEER_URL, PORT = '3000', SIGNADOT_SANDBOX_NAME } = process.env;

if (!DATABASE_URL) {
  console.error('users-service needs DATABASE_URL, e.g. postgresql://user:password@host:5432/database');
  process.exit(2);
}

const app = express();
app.disable('x-powered-by');
app.use(propagation, express.json());

app.get('/health', (_req, res) => {
  res.json({ status: 'healthy', service: 'users-service' });
});

app.get('/users', async (_req, res) => {
  const { rows } = await (await database()).query(`SELECT ${columns} FROM users ORDER BY id`);
  res.json(rows);
});

app.post('/users', async (req, res) => {
  const user = readUser(req.body);
  if ('problem' in user) return void res.status(400).json({ error: user.problem });
  const { rows } = await (await database()).query(
    `INSERT INTO users (name, email) VALUES ($1, $2) ON CONFLICT (email) DO NOTHING RETURNING ${columns}`,
    [user.name, user.email],
  );
  if (rows.length === 0)
    res.status(409).json({ error: `a user with the email ${user.email} exists already` });
  else res.status(201).json(rows[0]);
});

/** Where am I? The branch is what the database server says of itself, not what somebody configured. */
app.get('/info', async (req, res) => {
  const { rows } = await (await database()).query(
    `SELECT current_setting('offshoot.branch_name', true) AS branch,
            current_setting('offshoot.branch', true) AS "branchId",
            current_database() AS database`,
  );
  res.json({
    service: 'users-service',
    ...rows[0],
    sandbox: SIGNADOT_SANDBOX_NAME ?? null,
    baggage: req.get('baggage') ?? null,
    // Another service's view of the same request, to see that the routing key was carried on.
    ...(PEER_URL === undefined ? {} : { peer: await (await call(new URL('/info', PEER_URL))).json() }),
  });
});

app.use((_req, res) => {
  res.status(404).json({ error: 'there is nothing at this path' });
});

app.use((error: Error & { status?: number }, _req: Request, res: Response, _next: NextFunction) => {
  const status = error.status ?? 500;
  if (status >= 500) console.error(error);
  res.status(status).json({ error: status < 500 ? error.message : 'something went wrong; see the log' });
});

const server = app.listen(Number(PORT), HOST, async error => {
  if (error !== undefined) throw error;
  console.log(`users-service listens on ${HOST}:${(server.address() as AddressInfo).port}`);
  try {
    await (await database()).query('SELECT 1');
  } catch (cause) {
    console.error('the database does not answer yet:', (cause as Error).message);
  }
  flushCompileCache();
});

process.once('SIGTERM', () => {
  server.close(async () => (await pool)?.end());
  server.closeIdleConnections();
});

// --- internal ------------------------------------------------------------------------------------

const columns = 'id, name, email, created_at, updated_at';

let pool: Promise<Pool> | undefined;

function database(): Promise<Pool> {
  pool ??= import('pg').then(({ default: pg }) => {
    const made = new pg.Pool({ connectionString: DATABASE_URL, connectionTimeoutMillis: 10_000 });
    // An idle connection may end at any time, e.g. when its branch goes to sleep; the next query makes another.
    made.on('error', cause => console.error('an idle connection ended:', cause.message));
    return made;
  });
  return pool;
}

function readUser(
  body: unknown,
): { readonly name: string; readonly email: string } | { readonly problem: string } {
  const { name, email } = (body ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof name !== 'string' || name.trim() === '' || name.length > 200)
    return { problem: 'name must be a text of 1 to 200 characters' };
  if (typeof email !== 'string' || email.length > 254 || !/^[^\s@]+@[^\s@]+$/.test(email))
    return { problem: 'email must be an address such as ann@example.com' };
  return { name: name.trim(), email };
}
