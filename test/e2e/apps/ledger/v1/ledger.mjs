// A database of its own kind: appends lines to a file of its disk, and shows them.
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const CODE = 'first';
const file = `${process.env.LEDGER_DATA}/ledger`;

createServer((request, response) => {
  if (request.method === 'POST') appendFileSync(file, `${request.url.slice(1)}\n`);
  const lines = existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n') : [];
  response.end(
    JSON.stringify({
      code: CODE,
      name: process.env.HOSTNAME,
      cluster: readFileSync('/config/name', 'utf8'),
      lines,
    }),
  );
}).listen(7000, '0.0.0.0');
