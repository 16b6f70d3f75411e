/** Tells everybody who it is: in an answer, in one that does not end (`/lines`), and to each message of a WebSocket. */
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const who = process.env.WHO ?? 'nobody';
const lineEveryMs = 100;

const server = createServer((request, response) => {
  request.on('error', () => {});
  response.on('error', () => {});
  if (request.url !== '/lines') return void response.end(who);
  const timer = setInterval(() => response.write(`${who}\n`), lineEveryMs);
  response.on('close', () => clearInterval(timer));
});
new WebSocketServer({ server }).on('connection', socket => {
  socket.on('error', () => {});
  socket.on('message', () => socket.send(who));
});
server.listen(Number(process.env.PORT), '127.0.0.1');
