import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import { inTurns } from '../lib/turns.ts';
import { connectionString, MOST_SLEEP_AFTER_SECONDS } from '../model/branch.ts';
import { OffshootError } from '../model/errors.ts';
import type { HistoryView } from '../model/view.ts';
import {
  branchAddress,
  branchesOf,
  createBranch,
  deleteBranch,
  findBranch,
  limitBranch,
  protectBranch,
  renameBranch,
  requireProject,
  restartBranch,
  rotatePassword,
} from '../rules/branches.ts';
import { timeAfter, ttlBranch } from '../rules/expiry.ts';
import { keepHistory, momentOf } from '../rules/history.ts';
import { ancestorOf, resetBranch } from '../rules/reset.ts';
import { changeBranchSettings } from '../rules/settings.ts';
import { callBranch, partSilent, sleepBranchAfter, untilAsleep } from '../rules/sleep.ts';
import { trashBranch } from '../rules/trash.ts';
import type { Stored } from '../store/contract.ts';
import { branchPortRoutes } from './branch-port.ts';
import type { ApiContext } from './context.ts';
import { checked, flag } from './input.ts';
import { answer, type Routes } from './routes.ts';
import { branchView, sizedBranchView } from './views.ts';

/** Whose the branch is; it goes with its owner. */
const owner = z
  .string()
  .regex(/^sandbox\/[a-z0-9-]{1,30}$/, 'must be sandbox/NAME')
  .optional();
const limitBytes = z.int().positive();
/** 0: never. */
export const sleepAfterSeconds = z.number().min(0).max(MOST_SLEEP_AFTER_SECONDS);
const body = z.strictObject({
  name: z.string(),
  parent: z.string().default('main'),
  owner,
  limitBytes: limitBytes.optional(),
  sleepAfterSeconds: sleepAfterSeconds.optional(),
  /** As sandboxes have it, e.g. `2h`. */
  ttl: z.string().max(16).optional(),
  /** RFC 3339: it begins as what its parent held then. */
  at: z.string().max(40).optional(),
});
/** null: as its project says. */
const limitBody = z.strictObject({ limitBytes: limitBytes.nullable() });
/** `now`: for good, not into the trash. */
const deleteQuery = z.strictObject({ force: flag, owner, now: flag, recursive: flag });
/** From now on; null: it stays. */
const ttlBody = z.strictObject({ ttl: z.string().max(16).nullable() });
/** null: as its project says. */
const sleepAfterBody = z.strictObject({ sleepAfterSeconds: sleepAfterSeconds.nullable() });
/** null: never. */
const silentAfterBody = z.strictObject({ silentAfterSeconds: sleepAfterSeconds.nullable() });
/** See model/server-settings.ts. What is not named stays; null: as without. */
export const settingsBody = z.strictObject({
  settings: z.record(z.string().min(1).max(63), z.string().max(253).nullable()),
});
/** Its sessions end. */
const sleepBody = z.strictObject({ force: z.boolean().optional() });
const nameBody = z.strictObject({ name: z.string() });
const protectionBody = z.strictObject({ protected: z.boolean() });
/** `to`: name or id of an ancestor; absent: its parent. */
const resetBody = z.strictObject({
  to: z.string().optional(),
  at: z.string().max(40).optional(),
  force: z.boolean().optional(),
});
const restoreBody = z.strictObject({ at: z.string().max(40), force: z.boolean().optional() });
/** null: none. */
const historyBody = z.strictObject({
  history: z
    .strictObject({ keepSeconds: z.number().positive(), everySeconds: z.number().positive().optional() })
    .nullable(),
});
const rotateQuery = z.strictObject({ keepSessions: flag });

/** Aborts when nobody waits for the answer any more, and after half a minute. */
function untilClosed(response: ServerResponse): AbortSignal {
  const left = new AbortController();
  response.once('close', () => left.abort(new Error('the client left')));
  return AbortSignal.any([left.signal, AbortSignal.timeout(SLEEP_MS)]);
}
const SLEEP_MS = 30_000;

type Params = { project: string; branch: string };

/** A server that is overloaded answers late. */
const INSIGHT_MS = 20_000;

export function branchRoutes(routes: Routes, context: ApiContext): void {
  const { store, gateway, branches, trash, ports } = context;
  const path = '/projects/:project/branches';

  const find = ({ project, branch }: Params): Stored<'branch'> => {
    requireProject(store, project);
    const found = findBranch(store, project, branch);
    if (found === undefined) throw new OffshootError('api/not-found', { kind: 'branch', name: branch });
    return found;
  };

  /** What `branch` held at `at` is known. @throws OffshootError history/* */
  const reached = async (branch: Stored<'branch'>, at: string): Promise<string> => {
    if (branches.history === undefined) throw new OffshootError('history/in-a-cluster');
    return momentOf(branch, at, await branches.history(branch.name), new Date());
  };

  const historyView = async (branch: Stored<'branch'>): Promise<HistoryView> => ({
    name: branch.spec.name,
    history: branch.spec.history ?? null,
    reach: (await branches.history?.(branch.name)) ?? null,
  });

  routes.get<{ project: string }>(path, async ({ params }) => {
    requireProject(store, params.project);
    const now = await branches.space();
    return inTurns(branchesOf(store, params.project), b => sizedBranchView(store, b, now));
  });

  routes.post<{ project: string }>(path, async request => {
    const { name, parent, owner, limitBytes, sleepAfterSeconds, ttl, at } = checked(body, request.body);
    if (ttl !== undefined && owner !== undefined)
      throw new OffshootError('branch/bad-ttl', { ttl, why: `it goes with ${owner.replace('/', ' ')}` });
    const { project } = request.params;
    const from = at === undefined ? undefined : findBranch(store, project, parent);
    const moment = from && (await reached(from, at!));
    const wish = {
      project,
      name,
      parent,
      ...(owner !== undefined && { owner }),
      ...(limitBytes !== undefined && { limitBytes }),
      ...(sleepAfterSeconds !== undefined && { sleepAfterSeconds }),
      ...(ttl !== undefined && { scheduledDeleteTime: timeAfter(ttl, new Date()) }),
      ...(moment !== undefined && { moment }),
    };
    const branch = await createBranch(store, wish, branches.stock);
    return answer(201, branchView(store, branch));
  });

  routes.get<Params>(`${path}/:branch`, async ({ params }) => {
    const branch = find(params);
    const [now, logicalBytes] = await Promise.all([branches.space(), branches.logicalBytes?.(branch.name)]);
    const { size, ...seen } = sizedBranchView(store, branch, now);
    const portProblem = seen.port === null ? undefined : ports?.problem(branch.name);
    const view = { ...seen, ...(portProblem !== undefined && { portProblem }) };
    if (size === undefined) return view;
    if (logicalBytes === undefined) return { ...view, size };
    // What it has written over may be counted still.
    return { ...view, size: { ...size, logicalBytes, sharedBytes: Math.max(0, logicalBytes - size.bytes) } };
  });

  routes.get<Params>(`${path}/:branch/insight`, async ({ params }) => {
    const branch = find(params);
    const within = AbortSignal.timeout(INSIGHT_MS);
    const [now, insight] = await Promise.all([branches.space(), branches.insight(branch.name, within)]);
    return { ...sizedBranchView(store, branch, now), insight: insight ?? null };
  });

  routes.put<Params>(`${path}/:branch/limit`, async ({ params, body }) => {
    const branch = find(params);
    await limitBranch(store, branch, checked(limitBody, body).limitBytes ?? undefined);
    return sizedBranchView(store, store.get('branch', branch.name) ?? branch, await branches.space());
  });

  routes.put<Params>(`${path}/:branch/settings`, async ({ params, body }) => {
    const branch = find(params);
    await changeBranchSettings(store, branch, checked(settingsBody, body).settings);
    return branchView(store, store.get('branch', branch.name) ?? branch);
  });

  routes.delete<Params>(`${path}/:branch`, async ({ params, query }) => {
    const branch = find(params);
    const { force, owner, now, recursive } = checked(deleteQuery, query);
    // What belongs to a sandbox is made anew with it.
    const keep = !now && trash.keepMs > 0 && branch.spec.owner === undefined;
    if (branch.deletedAt === undefined && keep)
      await trashBranch(store, branch, trash.keepMs, new Date(), { recursive });
    else if (branch.deletedAt === undefined)
      await deleteBranch(store, branch, { force, recursive, ...(owner !== undefined && { asOwner: owner }) });
    return answer(202, branchView(store, store.get('branch', branch.name) ?? branch));
  });

  routes.get<Params>(
    `${path}/:branch/credentials`,
    async ({ params, query }) => {
      const branch = find(params);
      const address = branchAddress(store, branch, gateway());
      const { check } = checked(z.strictObject({ check: flag }), query);
      const { role } = requireProject(store, branch.spec.project).spec;
      const { verifier } = branch.secret;
      const known =
        check && verifier !== undefined ? await branches.opens?.(branch.name, { role, verifier }) : undefined;
      return {
        ...{ ...address, connectionString: connectionString(address) },
        /** Somebody has set another one by SQL. */
        ...(known === false && { outdated: true }),
      };
    },
    { tellsSecrets: true },
  );

  routes.post<Params>(`${path}/:branch/rotate-password`, async ({ params, query }) => {
    const branch = find(params);
    // A fork that was given the old password would lose its database.
    const { owner, name } = branch.spec;
    if (owner !== undefined)
      throw new OffshootError('branch/owned', { name, owner: owner.replace('/', ' ') });
    const { keepSessions } = checked(rotateQuery, query);
    await rotatePassword(store, branch.name, { keepSessions });
    return answer(202, branchView(store, branch));
  });

  routes.put<Params>(`${path}/:branch/ttl`, async ({ params, body }) => {
    const branch = find(params);
    await ttlBranch(store, branch, checked(ttlBody, body).ttl ?? undefined, new Date());
    return branchView(store, store.get('branch', branch.name) ?? branch);
  });

  routes.put<Params>(`${path}/:branch/name`, async ({ params, body }) =>
    branchView(store, await renameBranch(store, find(params), checked(nameBody, body).name)),
  );

  routes.put<Params>(`${path}/:branch/protection`, async ({ params, body }) => {
    const branch = find(params);
    await protectBranch(store, branch, checked(protectionBody, body).protected);
    return branchView(store, store.get('branch', branch.name) ?? branch);
  });

  routes.post<Params>(`${path}/:branch/reset`, async ({ params, body }) => {
    const { to, at, force } = checked(resetBody, body ?? {});
    const branch = find(params);
    const moment = at === undefined ? undefined : await reached(ancestorOf(store, branch, to), at);
    const wish = {
      ...(to !== undefined && { to }),
      ...(moment !== undefined && { moment }),
      ...(force !== undefined && { force }),
    };
    return answer(202, branchView(store, await resetBranch(store, branch, wish, new Date())));
  });

  routes.post<Params>(`${path}/:branch/restore`, async ({ params, body }) => {
    const { at, force } = checked(restoreBody, body);
    const branch = find(params);
    const moment = await reached(branch, at);
    const wish = { itself: true, moment, ...(force !== undefined && { force }) };
    return answer(202, branchView(store, await resetBranch(store, branch, wish, new Date())));
  });

  routes.get<Params>(`${path}/:branch/history`, async ({ params }) => historyView(find(params)));

  routes.put<Params>(`${path}/:branch/history`, async ({ params, body }) => {
    const { history } = checked(historyBody, body);
    if (branches.history === undefined) throw new OffshootError('history/in-a-cluster');
    return historyView(await keepHistory(store, find(params).name, history ?? undefined));
  });

  routes.put<Params>(`${path}/:branch/sleep-after`, async ({ params, body }) => {
    const branch = find(params);
    const { sleepAfterSeconds } = checked(sleepAfterBody, body);
    await sleepBranchAfter(store, branch.name, sleepAfterSeconds ?? undefined);
    return branchView(store, store.get('branch', branch.name) ?? branch);
  });

  routes.put<Params>(`${path}/:branch/silent-after`, async ({ params, body }) => {
    const branch = find(params);
    const { silentAfterSeconds } = checked(silentAfterBody, body);
    // A gateway apart does not check logins, and so cannot log in anew.
    if (ports === undefined) throw new OffshootError('branch/silence-not-here');
    await partSilent(store, branch.name, silentAfterSeconds ?? undefined);
    await context.routed();
    return branchView(store, store.get('branch', branch.name) ?? branch);
  });

  branchPortRoutes(routes, path, find, context);

  /** Answers when it sleeps. */
  routes.post<Params>(`${path}/:branch/sleep`, async ({ params, body, response }) => {
    const { force = false } = checked(sleepBody, body ?? {});
    const call = { wanted: 'asleep', ...(force && { force }) } as const;
    const { name: id } = await callBranch(store, find(params).name, call);
    return branchView(store, await untilAsleep(store, id, untilClosed(response)));
  });

  routes.post<Params>(`${path}/:branch/wake`, async ({ params }) =>
    answer(202, branchView(store, await callBranch(store, find(params).name, { wanted: 'awake' }))),
  );

  routes.post<Params>(`${path}/:branch/restart`, async ({ params }) => {
    const branch = await restartBranch(store, find(params).name);
    return answer(202, branchView(store, branch));
  });
}
