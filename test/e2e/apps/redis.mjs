// What the shapes need of Redis, in its protocol (RESP 2): PING, SET, GET, INCR, RPUSH, LRANGE, XADD, and XREAD with BLOCK.
import { createServer } from 'node:net';

const values = new Map();
const streams = new Map();
const waiting = new Set();

const bulk = text => (text === undefined ? '$-1\r\n' : `$${Buffer.byteLength(text)}\r\n${text}\r\n`);
const list = items => `*${items.length}\r\n${items.join('')}`;

function xread(args, answer) {
  const at = args.findIndex(word => /^streams$/i.test(word));
  const [name, after] = [args[at + 1], args[at + 2]];
  const entries = (streams.get(name) ?? []).filter(
    ({ id }) => Number(id.split('-')[0]) > Number(after.split('-')[0]),
  );
  if (entries.length === 0) return false;
  const shown = entries.map(({ id, fields }) => list([bulk(id), list(fields.map(bulk))]));
  answer(list([list([bulk(name), list(shown)])]));
  return true;
}

const commands = {
  PING: () => '+PONG\r\n',
  SET: (name, value) => {
    values.set(name, value);
    return '+OK\r\n';
  },
  GET: name => bulk(values.get(name)),
  INCR: name => {
    values.set(name, String(Number(values.get(name) ?? 0) + 1));
    return `:${values.get(name)}\r\n`;
  },
  RPUSH: (name, ...items) => {
    values.set(name, [...(values.get(name) ?? []), ...items]);
    return `:${values.get(name).length}\r\n`;
  },
  LRANGE: name => list((values.get(name) ?? []).map(bulk)),
  XADD: (name, _, ...fields) => {
    const all = streams.get(name) ?? [];
    const id = `${all.length + 1}-0`;
    streams.set(name, [...all, { id, fields }]);
    for (const one of waiting) if (xread(one.args, one.answer)) waiting.delete(one);
    return bulk(id);
  },
};

createServer(socket => {
  let rest = '';
  const answer = text => socket.writable && socket.write(text);
  socket.on('error', () => {});
  socket.on('close', () => {
    for (const one of waiting) if (one.answer === answer) waiting.delete(one);
  });
  socket.on('data', data => {
    rest += data;
    for (;;) {
      const head = /^\*(\d+)\r\n/.exec(rest);
      if (head === null) return;
      const args = [];
      let at = head[0].length;
      for (let i = 0; i < Number(head[1]); i++) {
        const length = /^\$(\d+)\r\n/.exec(rest.slice(at));
        if (length === null) return;
        const from = at + length[0].length;
        const to = from + Number(length[1]);
        if (rest.length < to + 2) return;
        args.push(rest.slice(from, to));
        at = to + 2;
      }
      rest = rest.slice(at);
      run(args, answer);
    }
  });
}).listen(Number(process.env.PORT ?? 6379));

function run([word, ...args], answer) {
  const name = word.toUpperCase();
  if (name === 'XREAD') {
    if (!xread(args, answer)) waiting.add({ args, answer });
  } else answer(commands[name]?.(...args) ?? `-ERR unknown command '${word}'\r\n`);
}
