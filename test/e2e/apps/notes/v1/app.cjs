// Notes in PostgreSQL: `migrate` brings the tables up to date, as an ORM does it; `serve` answers.
const { createServer } = require('node:http');
const { Client } = require('pg');

const CODE = 'first';
const migrations = [
  ['001_notes', 'CREATE TABLE notes (id serial PRIMARY KEY, body text NOT NULL)'],
  ['002_by', `ALTER TABLE notes ADD COLUMN by_${CODE} text NOT NULL DEFAULT 'nobody'`],
];

async function query(work) {
  const client = new Client({ connectionString: process.env.DATABASE_URL });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function migrate(client) {
  await client.query('CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)');
  for (const [name, sql] of migrations) {
    const id = `${name}_${CODE}`;
    const { rowCount } = await client.query('SELECT FROM migrations WHERE name IN ($1, $2)', [name, id]);
    if (rowCount > 0) continue;
    await client.query('BEGIN');
    await client.query(sql);
    await client.query('INSERT INTO migrations VALUES ($1)', [name === '001_notes' ? name : id]);
    await client.query('COMMIT');
    console.log('applied', name);
  }
}

async function notes(client) {
  const { rows } = await client.query('SELECT * FROM notes ORDER BY id');
  const { rows: columns } = await client.query(
    "SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'notes' ORDER BY 1",
  );
  const { TITLE } = process.env;
  return {
    code: CODE,
    title: TITLE,
    notes: rows.map(row => row.body),
    columns: columns.map(({ name }) => name),
  };
}

if (process.argv[2] === 'migrate') void query(migrate);
else
  createServer(async (request, response) => {
    try {
      if (request.url === '/healthz') return response.end('ok');
      if (request.method === 'POST')
        await query(client => client.query('INSERT INTO notes (body) VALUES ($1)', [request.url.slice(1)]));
      response.end(JSON.stringify(await query(notes)));
    } catch (error) {
      response.writeHead(500).end(error.message);
    }
  }).listen(Number(process.env.PORT ?? 3000), '0.0.0.0');
