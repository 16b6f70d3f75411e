// Asks Redis one thing at a time: strings, numbers and lists of them.
import { connect } from 'node:net';

/** @param address `host:port` */
export function redis(address) {
  const [host, port] = address.split(':');
  const socket = connect(Number(port), host);
  const asked = [];
  let rest = '';
  socket.on('error', () => process.exit(1)); // it is started again
  socket.on('close', () => process.exit(1));
  socket.on('data', data => {
    rest += data;
    for (let read = parse(rest); read !== undefined && asked.length > 0; read = parse(rest)) {
      rest = rest.slice(read.length);
      asked.shift()(read.value);
    }
  });
  return (...words) =>
    new Promise(resolve => {
      asked.push(resolve);
      socket.write(
        `*${words.length}\r\n${words.map(word => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`,
      );
    });
}

/** One answer at the beginning of a text, with its length; undefined while it is not whole. */
function parse(text) {
  const line = /^([+:$*-])([^\r]*)\r\n/.exec(text);
  if (line === null) return undefined;
  const [whole, type, said] = line;
  if (type === '$') {
    const size = Number(said);
    if (size < 0) return { value: null, length: whole.length };
    const length = whole.length + size + 2;
    return text.length < length
      ? undefined
      : { value: text.slice(whole.length, whole.length + size), length };
  }
  if (type !== '*') return { value: said, length: whole.length };
  let length = whole.length;
  const value = [];
  for (let i = 0; i < Number(said); i++) {
    const item = parse(text.slice(length));
    if (item === undefined) return undefined;
    value.push(item.value);
    length += item.length;
  }
  return { value, length };
}
