// What app.py does, where there is no Python.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const CODE = 'first';

createServer((_, response) => {
  const { colour } = JSON.parse(readFileSync('/etc/podinfo/config.json', 'utf8'));
  const motd = readFileSync('/etc/motd.d/podinfo', 'utf8').trim();
  response.end(JSON.stringify({ code: CODE, colour, motd, pod: process.env.POD_NAME }));
}).listen(9898, '0.0.0.0');
