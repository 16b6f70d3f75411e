// The guestbook's pages, made here from what the API says; the headers of tracing are carried on.
import { createServer } from 'node:http';

createServer(async (request, response) => {
  if (request.url === '/healthz') return response.end('ok');
  const { baggage } = request.headers;
  const answer = await fetch(process.env.API_URL, { headers: baggage ? { baggage } : {} });
  const { by, greeting, entries } = await answer.json();
  response.writeHead(answer.status, { 'content-type': 'text/html' });
  response.end(
    `<h1>${greeting}</h1><ul>${entries.map(entry => `<li>${entry}</li>`).join('')}</ul><footer>${by}</footer>`,
  );
}).listen(80, '0.0.0.0');
