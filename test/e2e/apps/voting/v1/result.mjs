// Shows what was counted.
import { createServer } from 'node:http';
import { redis } from './redis-client.mjs';

const ask = redis('redis:6379');

createServer(async (_, response) => {
  response.end(JSON.stringify(await ask('LRANGE', 'counted', '0', '-1')));
}).listen(80, '0.0.0.0');
