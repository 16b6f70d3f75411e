/** Images that containers are made of: there already, or pulled, once for all who wait for one. */
import { orAborted } from '../../lib/wait.ts';
import { type EngineApi, EngineRefusal } from './api.ts';
import { EngineProblem, type News, type PullPolicy } from './contract.ts';

export type Pull = (
  api: EngineApi,
  image: string,
  policy: PullPolicy,
  signal: AbortSignal,
  tell: (news: News) => void,
) => Promise<void>;

/** @throws by the returned function: EngineProblem ErrImagePull, ErrImageNeverPull; the signal's reason */
export function pulls(): Pull {
  const going = new Map<string, Going>();

  return async (api, image, policy, signal, tell) => {
    if (policy !== 'Always' && (await api.hasImage(image))) return;
    if (policy === 'Never')
      throw new EngineProblem(
        'ErrImageNeverPull',
        `the image "${image}" is not in the engine, and its imagePullPolicy is Never`,
      );
    tell({ reason: 'Pulling', message: `the image "${image}" is pulled` });
    const known = going.get(image) ?? begin(api, image);
    known.tell.add(tell);
    try {
      await orAborted(known.done, signal);
    } catch (error) {
      signal.throwIfAborted();
      const why = (error as Error).message;
      throw new EngineProblem(
        'ErrImagePull',
        error instanceof EngineRefusal
          ? `the image "${image}" cannot be pulled: ${why}`
          : `the image "${image}" cannot be pulled: the engine does not answer (${why})`,
      );
    } finally {
      known.tell.delete(tell);
    }
  };

  function begin(api: EngineApi, image: string): Going {
    const listeners = new Set<(news: News) => void>();
    const told = (news: News) => {
      for (const tell of listeners) tell(news);
    };
    const done = api
      .pull(image, AbortSignal.timeout(PULL_MS), ({ status, current, total }) => {
        const much = total > 0 ? `, ${inMegabytes(current)} of ${inMegabytes(total)} MB` : '';
        told({ reason: 'Pulling', message: `the image "${image}" is pulled: ${status}${much}` });
      })
      .finally(() => going.delete(image));
    done.catch(() => {}); // told to those who wait
    const made = { done, tell: listeners };
    going.set(image, made);
    return made;
  }
}

// --- internal -----------------------------------------------------------------------------------

type Going = { readonly done: Promise<void>; readonly tell: Set<(news: News) => void> };

const PULL_MS = 30 * 60_000;

const inMegabytes = (bytes: number): number => Math.round(bytes / 1e6);
