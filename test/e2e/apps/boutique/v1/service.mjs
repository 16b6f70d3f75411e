// A service of the shop: gRPC without its library. It says who it is, and is asked for its health in gRPC's own way.
import { createServer } from 'node:http2';

const CODE = 'first';
const { NAME, PORT = '8080', CURRENCY = '', REDIS_ADDR } = process.env;
const redis = REDIS_ADDR && (await import('./redis-client.mjs')).redis(REDIS_ADDR);

const server = createServer();
server.on('stream', async (stream, headers) => {
  stream.on('error', () => {});
  stream.resume();
  const isHealth = headers[':path'] === '/grpc.health.v1.Health/Check';
  const carts = redis && !isHealth ? ` ${await redis('INCR', 'carts')}` : '';
  const body = isHealth
    ? Buffer.from([8, 1])
    : Buffer.from(`${NAME} ${CODE}${CURRENCY && ` ${CURRENCY}`}${carts}`);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(body.length, 1);
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.end(Buffer.concat([head, body]));
});
server.listen(Number(PORT));
