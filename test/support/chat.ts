/**
 * Tells everybody who it is: to each message of a WebSocket (8080), to each call of gRPC and to each message of a
 * stream of it (9090). Asked to end, it takes nobody new, and goes when the last one has left.
 */
import { createServer } from 'node:http';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { WebSocketServer } from 'ws';
import { chatMethods } from './chat-methods.ts';

const who = [process.env.TEXT, process.argv[2], crypto.randomUUID()].join(' ');

const web = createServer((_, response) => response.end(who));
const sockets = new WebSocketServer({ server: web }).on('connection', socket => {
  socket.on('error', () => {});
  socket.on('message', () => socket.send(who));
});

const grpc = new Server();
grpc.addService(chatMethods, {
  ask: ((_: unknown, done: (error: null, answer: string) => void) => done(null, who)) as never,
  chat: ((call: NodeJS.ReadWriteStream) => {
    call.on('error', () => {});
    call.on('data', () => call.write(who));
    call.on('end', () => call.end());
  }) as never,
});
grpc.bindAsync(`0.0.0.0:${process.env.PORT_9090}`, ServerCredentials.createInsecure(), error => {
  if (error) throw error;
  web.listen(process.env.PORT_8080); // last, because a connection to its first port counts as ready
});

process.on('SIGTERM', async () => {
  const calls = new Promise<unknown>(resolve => grpc.tryShutdown(resolve));
  const open = [...sockets.clients].map(socket => new Promise(resolve => socket.once('close', resolve)));
  web.close();
  await Promise.all([calls, ...open]);
  process.exit();
});
