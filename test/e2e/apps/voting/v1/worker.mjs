// Counts votes. All workers read all of the stream; each asks which messages are its own.
import { redis } from './redis-client.mjs';

const CODE = 'first';
const { API_URL, API_KEY, SIGNADOT_SANDBOX_ROUTING_KEY: own } = process.env;
const read = redis('redis:6379');
const write = redis('redis:6379');

async function isMine(key) {
  if (own !== undefined) return key === own;
  if (key === '') return true;
  const query = `baselineKind=Deployment&baselineNamespace=voting&baselineName=worker&routingKey=${key}`;
  const answer = await fetch(`${API_URL}/api/v1/workloads/routing-rules?${query}`, {
    headers: { 'signadot-api-key': API_KEY },
  });
  return (await answer.json()).routingRules.length === 0;
}

for (let last = '0'; ; ) {
  const [[, entries]] = await read('XREAD', 'BLOCK', '0', 'STREAMS', 'votes', last);
  for (const [id, [, vote, , key]] of entries) {
    last = id;
    if (await isMine(key)) await write('RPUSH', 'counted', `${vote} by ${CODE}`);
  }
}
