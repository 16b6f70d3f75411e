// The shop's front: asks all services by gRPC and carries the routing key on.
import { createServer } from 'node:http';
import { connect } from 'node:http2';
import { buffer } from 'node:stream/consumers';

const addresses = Object.entries(process.env).filter(([name]) => name.endsWith('_SERVICE_ADDR'));

async function ask(address, headers) {
  const session = connect(`http://${address}`);
  session.on('error', () => {});
  try {
    const stream = session.request({
      ':method': 'POST',
      ':path': '/shop.Shop/Say',
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    stream.end(Buffer.alloc(5));
    return (await buffer(stream)).subarray(5).toString();
  } finally {
    session.close();
  }
}

createServer(async (request, response) => {
  if (request.url === '/_healthz') return response.end('ok');
  const { baggage } = request.headers;
  const answers = await Promise.all(
    addresses.map(([, address]) =>
      ask(address, baggage && { baggage }).catch(error => `${address}: ${error.message}`),
    ),
  );
  response.end(JSON.stringify(answers.sort()));
}).listen(Number(process.env.PORT ?? 8080));
