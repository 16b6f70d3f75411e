// npm packages cannot hold links: makes those that PostgreSQL's package lists, where packages were installed without us.
import { linkPostgres } from '../scripts/bootstrap/postgres.mjs';

linkPostgres();
