/**
 * Whether a session may lose its server without noticing: it says nothing, waits for nothing, and its server has nothing
 * of it that another session with the same login would not have. What SQL can tell is asked in the session itself; what
 * it cannot is seen in what the client says: variables of its own (`SET app.user = …`), `currval`, `setseed`.
 */
import type { Socket } from 'node:net';
import { cstring, encodeMessage, int32, type Message, readMessage } from './messages.ts';

export type Watch = {
  /** Bytes of the client, in order. */
  client(chunk: Buffer): void;
  /** Bytes of the server from the end of the login on. */
  server(chunk: Buffer): void;
  /** Both have said their last message whole, and the server waits for the next, outside of a transaction. */
  isIdle(): boolean;
  /** The client has said something whose consequences nobody can ask for. */
  isBound(): boolean;
  /** Its newest statement without a name, which it may use again ("Extended Query"). */
  unnamed(): Buffer | undefined;
};

export function watchSession(): Watch {
  let owed = 0;
  let open = false;
  let status = 'I';
  let bound = false;
  let unnamed: Buffer | undefined;
  const client = frames({
    keep: type => type === 'Q' || type === 'P',
    message(type, body) {
      if (type === 'Q' || type === 'S' || type === 'F') owed++;
      open = !(type === 'Q' || type === 'S' || type === 'F' || type === 'X');
      if (type === 'F' || (body === undefined && (type === 'Q' || type === 'P'))) bound = true;
      if (type === 'Q') unnamed = undefined;
      if (type === 'P' && body?.[0] === 0) unnamed = encodeMessage('P', body);
      if (body !== undefined && BINDING.test(body.toString('latin1'))) bound = true;
    },
  });
  const server = frames({
    keep: type => type === 'Z',
    message(type, body) {
      if (type !== 'Z') return;
      owed--;
      status = body!.toString('latin1');
    },
  });
  return {
    client: client.take,
    server: server.take,
    isIdle: () => owed === 0 && !open && status === 'I' && client.isWhole() && server.isWhole(),
    isBound: () => bound,
    unnamed: () => unnamed,
  };
}

/**
 * Asks an idle session, whose socket nobody else reads, for what it holds. Its unnamed statement stays.
 * @param pass gets what the server says besides
 * @returns whether it holds nothing
 */
export async function holdsNothing(
  server: Socket,
  pass: (message: Message) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const [none, name] = [Buffer.of(0, 0), cstring(STATEMENT)];
  server.write(
    Buffer.concat([
      encodeMessage('P', name, cstring(QUESTION), none),
      encodeMessage('B', cstring(''), name, none, none, none),
      encodeMessage('E', cstring(''), int32(0)),
      encodeMessage('C', Buffer.from('S'), name),
      encodeMessage('S'),
    ]),
  );
  let nothing = false;
  for (;;) {
    const message = await readMessage(server, signal);
    const { type, body } = message;
    if (type === 'D') nothing = body.toString('latin1', 6) === 't';
    if (type === 'E') nothing = false;
    if (PASSED.has(type)) pass(message);
    if (type === 'Z') return nothing && body.toString('latin1') === 'I';
  }
}

// --- internal ------------------------------------------------------------------------------------

/** Longest statement whose text is looked at, in bytes; who says more is left alone. */
const MAX_TEXT = 1 << 20;

/** "Message Flow", "Asynchronous Operations". */
const PASSED = new Set(['N', 'S', 'A']);

const BINDING =
  /set_config|currval|lastval|setseed|\bload\b|\bset\s+(?:session\s+|local\s+)?["\w]+\s*\.|pg_export_snapshot/i;

const STATEMENT = 'offshoot_silence';

/** One row with one value. Functions that could set variables are looked for in the database's own, by their text. */
const QUESTION = `select
  not exists (select from pg_catalog.pg_prepared_statements where name operator(pg_catalog.<>) '${STATEMENT}')
  and not exists (select from pg_catalog.pg_cursors where is_holdable)
  and not exists (select from pg_catalog.pg_locks
    where pid operator(pg_catalog.=) pg_catalog.pg_backend_pid() and locktype operator(pg_catalog.=) 'advisory')
  and not exists (select from pg_catalog.pg_listening_channels())
  and pg_catalog.pg_my_temp_schema() operator(pg_catalog.=) 0
  and not exists (select from pg_catalog.pg_settings where source operator(pg_catalog.=) 'session')
  and session_user operator(pg_catalog.=) current_user
  and pg_catalog.current_setting('role') operator(pg_catalog.=) 'none'
  and not exists (select from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid operator(pg_catalog.=) p.prolang
    where p.oid operator(pg_catalog.>=) 16384 and (
      l.lanname operator(pg_catalog.<>) all (array['internal', 'c', 'sql', 'plpgsql'])
      or p.prosqlbody is not null
      or p.prosrc operator(pg_catalog.~*) 'set_config|setseed|\\mset\\s+(session\\s+)?["\\w]+\\s*\\.'))`;

type Frames = {
  take(chunk: Buffer): void;
  /** The last message has come to its end. */
  isWhole(): boolean;
};

/** @param o.message gets each message when it is whole, with its body where `keep` wants it and it is not too long */
function frames(o: {
  keep: (type: string) => boolean;
  message: (type: string, body: Buffer | undefined) => void;
}): Frames {
  let head: Buffer = Buffer.alloc(0);
  let type = '';
  let left = 0;
  let kept: Buffer[] | undefined;
  const end = () => o.message(type, kept && Buffer.concat(kept));
  return {
    isWhole: () => head.length === 0 && left === 0,
    take(chunk) {
      let at = 0;
      while (at < chunk.length) {
        if (left === 0) {
          const more = chunk.subarray(at, at + HEAD - head.length);
          head = Buffer.concat([head, more]);
          at += more.length;
          if (head.length < HEAD) return;
          type = String.fromCharCode(head[0]!);
          left = Math.max(0, head.readUInt32BE(1) - 4);
          kept = o.keep(type) && left <= MAX_TEXT ? [] : undefined;
          head = Buffer.alloc(0);
          if (left === 0) end();
          continue;
        }
        const part = chunk.subarray(at, at + left);
        // Not the chunk itself, which is of a pool that others write to.
        kept?.push(Buffer.from(part));
        at += part.length;
        left -= part.length;
        if (left === 0) end();
      }
    },
  };
}

const HEAD = 5;
