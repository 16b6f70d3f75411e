// Takes votes, and puts each into a stream with the routing key that it came with.
import { createServer } from 'node:http';
import { redis } from './redis-client.mjs';

const ask = redis('redis:6379');

createServer(async (request, response) => {
  const key = /sd-routing-key=([^,;]+)/.exec(request.headers.baggage ?? '')?.[1] ?? '';
  await ask('XADD', 'votes', '*', 'vote', request.url.slice(1), 'key', key);
  response.end(`voted by ${process.env.OPTION_A}`);
}).listen(80, '0.0.0.0');
