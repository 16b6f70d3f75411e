// The guestbook's API: entries in memory.
import { createServer } from 'node:http';

const CODE = 'first';
const entries = [];

createServer((request, response) => {
  if (request.method === 'POST') entries.push(decodeURIComponent(request.url.slice(1)));
  response.end(JSON.stringify({ by: CODE, greeting: process.env.GREETING, entries }));
}).listen(Number(process.env.PORT ?? 8000), '0.0.0.0');
