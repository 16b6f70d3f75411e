/**
 * Questions of pods for names, where they have no other way out: they come to the bridge's address, and the name server
 * of this machine is asked for them.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Log } from '../../lib/log.ts';
import { nameServer } from '../../lib/name-server.ts';
import type { Book } from '../book.ts';
import type { Pods } from '../pods.ts';

export type Names = { close(): void };

export function answerNames({ book, pods, log }: { book: Book; pods: Pods; log: Log }): Names {
  const questions = new Set<Socket>();
  let listening: { readonly at: string; readonly socket?: Socket } | undefined;
  let retry: NodeJS.Timeout | undefined;
  let closed = false;

  const ask = (question: Buffer, { address, port }: RemoteInfo, answerBy: Socket): void => {
    if (questions.size >= MAX_QUESTIONS) return; // it is asked again
    const socket = createSocket('udp4');
    questions.add(socket);
    const over = () => {
      clearTimeout(timer);
      if (questions.delete(socket)) socket.close();
    };
    const timer = setTimeout(over, ANSWER_MS);
    socket.on('error', over);
    const server = nameServer();
    socket.on('message', (answer, from) => {
      if (from.address !== server || from.port !== NAMES) return; // nobody that we have asked
      answerBy.send(answer, port, address, () => {});
      over();
    });
    socket.send(question, NAMES, server, error => error && over());
  };

  const open = async (): Promise<void> => {
    clearTimeout(retry);
    const way = pods.way();
    const at = way && `${way.network} ${way.outpost} ${way.gateway}`;
    if (closed || listening?.at === at) return;
    listening?.socket?.close();
    listening = at === undefined ? undefined : { at };
    if (way === undefined || at === undefined) return;
    try {
      const socket = await pods.datagrams({ host: way.gateway, port: NAMES });
      socket.on('error', err => log.warn({ err }, 'names of pods cannot be asked for'));
      socket.on('message', (question, from) => ask(question, from, socket));
      if (closed || listening?.at !== at) socket.close();
      else listening = { at, socket };
    } catch (err) {
      log.warn({ err }, 'names of pods cannot be asked for');
      listening = undefined;
      retry = setTimeout(open, RETRY_MS);
    }
  };
  void open();
  const unsubscribe = book.onChange(changed => {
    if (changed.some(({ kind }) => kind === 'setting')) void open();
  });
  return {
    close() {
      closed = true;
      unsubscribe();
      clearTimeout(retry);
      listening?.socket?.close();
      for (const socket of questions) socket.close();
      questions.clear();
    },
  };
}

// --- internal ---

const NAMES = 53;
/** As long as a resolver waits for one answer (resolv.conf(5), timeout). */
const ANSWER_MS = 5_000;
const MAX_QUESTIONS = 1_000;
const RETRY_MS = 1_000;
