/** From the environment to the configuration. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { readConfig, variables } from '../src/config.ts';
import { OffshootError } from '../src/model/errors.ts';

const home = { OFFSHOOT_HOME: '/data' };
const read = (env: Record<string, string>, uid = 1000) => readConfig({ ...home, ...env }, uid);

test('defaults', () => {
  const { instance, runtimeDir, ...rest } = read({});
  assert.deepEqual(rest, {
    home: '/data',
    host: '127.0.0.1',
    advertised: '127.0.0.1',
    tls: undefined,
    cleartext: false,
    apiPort: 7400,
    httpPort: 7480,
    postgresPort: 7432,
    domain: 'localhost',
    volumes: undefined,
    poolBytes: undefined,
    minFreeBytes: 256 * 1024 ** 2,
    reserveBytes: undefined,
    preparedServers: 0,
    trashMs: 24 * 3_600_000,
    postgresBin: undefined,
    cgroup: undefined,
    engine: { why: 'only a daemon of root can put containers into the networks of pods' },
    network: '10.208.0.0/12',
    hostPorts: [],
    customHeaders: [],
    headerBytes: 64 * 1024,
    deletedKeysMs: 86_400_000,
    keepRevoked: false,
    drainMs: 3_600_000,
    feedPort: undefined,
    logLevel: 'info',
  });
  assert.match(instance, /^[0-9a-f]{10}$/);
  assert.ok(runtimeDir.endsWith(instance));
});

test('networks of pods', () => {
  assert.equal(read({ OFFSHOOT_NETWORK: 'host' }).network, 'host');
  assert.equal(read({ OFFSHOOT_NETWORK: '172.30.0.0/16' }).network, '172.30.0.0/16');
  for (const wrong of ['10.208.0.1/12', '10.208.0.0', '300.0.0.0/8', '10.0.0.0/30', '0.0.0.0/0', 'none'])
    assert.throws(
      () => read({ OFFSHOOT_NETWORK: wrong }),
      /it must be a range such as 10\.208\.0\.0\/12/,
      wrong,
    );
  assert.deepEqual(read({ OFFSHOOT_HOST_PORTS: '6379, 9200' }).hostPorts, [6379, 9200]);
  for (const wrong of ['redis', '0', '70000', '1-2'])
    assert.throws(() => read({ OFFSHOOT_HOST_PORTS: wrong }), /it must be port numbers/, wrong);
});

test('container engines', () => {
  const usual = ['/var/run/docker.sock', '/run/podman/podman.sock'];
  assert.deepEqual(read({}, 0).engine, usual);
  const env = { DOCKER_HOST: 'unix:///tmp/d.sock', XDG_RUNTIME_DIR: '/run/user/0' };
  assert.deepEqual(read(env, 0).engine, ['/tmp/d.sock', ...usual, '/run/user/0/podman/podman.sock']);
  assert.deepEqual(read({ DOCKER_HOST: 'tcp://elsewhere:2375' }, 0).engine, usual);
  assert.deepEqual(read({ ...env, OFFSHOOT_ENGINE: 'unix:///mine.sock' }, 0).engine, ['/mine.sock']);
  assert.deepEqual(read({ OFFSHOOT_ENGINE: '/mine.sock' }, 0).engine, ['/mine.sock']);
  assert.ok('why' in read({ OFFSHOOT_ENGINE: 'none' }, 0).engine);
  assert.throws(
    () => read({ OFFSHOOT_ENGINE: 'tcp://far' }, 0),
    /it must be the path of a unix socket, or none/,
  );
});

test('the data directory', () => {
  const homeOf = (env: Record<string, string>, uid: number) => readConfig(env, uid).home;
  assert.equal(homeOf({ HOME: '/eve' }, 1000), '/eve/.local/share/offshoot');
  assert.equal(homeOf({ HOME: '/eve', XDG_DATA_HOME: '/xdg' }, 1000), '/xdg/offshoot');
  assert.equal(homeOf({ HOME: '/root' }, 0), '/var/lib/offshoot');
  assert.equal(homeOf({ HOME: '/root', OFFSHOOT_HOME: 'here' }, 0), join(process.cwd(), 'here'));
  assert.equal(homeOf({ HOME: '/eve', OFFSHOOT_HOME: '' }, 1000), '/eve/.local/share/offshoot');
});

test('data directories do not share anything', () => {
  const [a, b] = [read({ OFFSHOOT_HOME: '/a' }), read({ OFFSHOOT_HOME: '/b' })];
  assert.notEqual(a.instance, b.instance);
  assert.notEqual(a.runtimeDir, b.runtimeDir);
  assert.deepEqual(read({ OFFSHOOT_HOME: '/a/' }), a);
});

test('unix sockets fit below the runtime directory', {
  skip: process.platform === 'win32' && 'no unix',
}, () => {
  const long = `/run/user/${'x'.repeat(100)}`;
  for (const [env, uid] of [
    [{}, 0],
    [{}, 1000],
    [{ XDG_RUNTIME_DIR: '/run/user/1000' }, 1000],
    [{ XDG_RUNTIME_DIR: long, OFFSHOOT_HOME: long }, 1000],
  ] as const)
    assert.ok(read(env, uid).runtimeDir.length <= 60, read(env, uid).runtimeDir);
});

test('values', () => {
  const config = read({
    OFFSHOOT_HOST: '0.0.0.0',
    OFFSHOOT_ADVERTISE: 'Dev-Box.example.com',
    OFFSHOOT_TLS_CERT: '/etc/tls/cert.pem',
    OFFSHOOT_TLS_KEY: '/etc/tls/key.pem',
    OFFSHOOT_API_PORT: '0',
    OFFSHOOT_HTTP_PORT: '65535',
    OFFSHOOT_POSTGRES_PORT: '',
    OFFSHOOT_DOMAIN: 'dev.example.com',
    OFFSHOOT_VOLUMES: 'copy',
    OFFSHOOT_POOL_SIZE: '20G',
    OFFSHOOT_MIN_FREE: '512mib',
    OFFSHOOT_TRASH: '7d',
    OFFSHOOT_PREPARED: '12',
    OFFSHOOT_POSTGRES_BIN: '/usr/lib/postgresql/18/bin',
    OFFSHOOT_HEADERS: ' X-Key, x-other ,',
    OFFSHOOT_LOG: 'debug',
  });
  assert.deepEqual([config.host, config.advertised], ['0.0.0.0', 'Dev-Box.example.com']);
  assert.deepEqual(config.tls, { cert: '/etc/tls/cert.pem', key: '/etc/tls/key.pem' });
  assert.deepEqual([config.apiPort, config.httpPort, config.postgresPort], [0, 65_535, 7432]);
  assert.equal(config.domain, 'dev.example.com');
  assert.equal(config.volumes, 'copy');
  assert.equal(config.poolBytes, 20 * 1024 ** 3);
  assert.equal(config.minFreeBytes, 512 * 1024 ** 2);
  assert.equal(config.trashMs, 7 * 86_400_000);
  assert.equal(config.preparedServers, 12);
  assert.throws(() => read({ OFFSHOOT_PREPARED: 'many' }), /OFFSHOOT_PREPARED/);
  assert.equal(config.postgresBin, '/usr/lib/postgresql/18/bin');
  assert.deepEqual(config.customHeaders, ['x-key', 'x-other']);
  assert.equal(config.logLevel, 'debug');
  assert.ok(Object.isFrozen(config));
});

test('the data path', () => {
  const { deletedKeysMs, keepRevoked, drainMs } = read({
    ...{ OFFSHOOT_DELETED_KEYS: 'baseline', OFFSHOOT_REVOKED_KEYS: 'keep', OFFSHOOT_DRAIN: '90s' },
  });
  assert.deepEqual([deletedKeysMs, keepRevoked, drainMs], [0, true, 90_000]);
  assert.equal(read({ OFFSHOOT_DELETED_KEYS: '10m' }).deletedKeysMs, 600_000);
  assert.equal(read({ OFFSHOOT_DRAIN: '999d' }).drainMs, 2 ** 31 - 1, 'no timer is longer');
});

test('beyond this machine nothing is served in clear text without a word', () => {
  const refusal = (env: Record<string, string>): string => {
    try {
      read(env);
      return 'none';
    } catch (error) {
      assert.equal((error as OffshootError).row.exit, 2);
      return (error as OffshootError).code;
    }
  };
  for (const host of ['127.0.0.1', '127.9.9.9', 'localhost', ''])
    assert.equal(refusal({ OFFSHOOT_HOST: host }), 'none');
  const generated = { OFFSHOOT_TLS: 'generated' };
  const files = { OFFSHOOT_TLS_CERT: '/c', OFFSHOOT_TLS_KEY: '/k' };
  const cleartext = { OFFSHOOT_CLEARTEXT: 'allow' };
  for (const host of ['10.0.0.1', 'dev.example.com', '128.0.0.1', '127.0.0.1.example.com']) {
    assert.equal(refusal({ OFFSHOOT_HOST: host }), 'host/clear-text', host);
    for (const how of [generated, files, cleartext])
      assert.equal(refusal({ OFFSHOOT_HOST: host, ...how }), 'none');
  }
  for (const host of ['0.0.0.0', '0']) {
    assert.equal(refusal({ OFFSHOOT_HOST: host }), 'host/clear-text');
    assert.equal(refusal({ OFFSHOOT_HOST: host, ...generated }), 'host/nameless', 'nobody connects to it');
    assert.equal(refusal({ OFFSHOOT_HOST: host, ...generated, OFFSHOOT_ADVERTISE: '10.0.0.1' }), 'none');
  }
  assert.equal(refusal({ ...generated, ...files }), 'config/invalid', 'one or the other');
  assert.equal(refusal({ OFFSHOOT_TLS_CERT: '/c' }), 'config/invalid', 'a certificate without its key');
  assert.equal(refusal({ OFFSHOOT_TLS_KEY: '/k' }), 'config/invalid');
});

test('previews live below the name that is advertised, if it is one', () => {
  const domainOf = (env: Record<string, string>) => read(env).domain;
  assert.equal(domainOf({ OFFSHOOT_ADVERTISE: 'Dev.example.com' }), 'dev.example.com');
  assert.equal(domainOf({ OFFSHOOT_ADVERTISE: '10.0.0.1' }), 'localhost');
  assert.equal(domainOf({ OFFSHOOT_ADVERTISE: 'a.example', OFFSHOOT_DOMAIN: 'b.example' }), 'b.example');
});

test('what is not valid is named with its value', () => {
  const bad: Readonly<Record<string, readonly string[]>> = {
    OFFSHOOT_HOST: ['a b', 'http://x', '::1'],
    OFFSHOOT_ADVERTISE: ['a b', 'http://x', '::1', 'x:80'],
    OFFSHOOT_TLS: ['yes', 'none'],
    OFFSHOOT_CLEARTEXT: ['yes', '1'],
    OFFSHOOT_API_PORT: ['x', '-1', '65536', '80.5', '1e3', '0x50', ' '],
    OFFSHOOT_HTTP_PORT: ['http'],
    OFFSHOOT_POSTGRES_PORT: ['99999'],
    OFFSHOOT_DOMAIN: ['Upper.example', 'a_b', '.x', 'x.', 'x:80', 'a b'],
    OFFSHOOT_VOLUMES: ['zfs'],
    OFFSHOOT_POOL_SIZE: ['big', '-1G', '1.5G', '10 X'],
    OFFSHOOT_MIN_FREE: ['G'],
    OFFSHOOT_TRASH: ['1', '24 h', '-1h', '00'],
    OFFSHOOT_HEADER_SIZE: ['4K', '2M', 'much'],
    OFFSHOOT_HEADERS: ['x key', 'x:key', 'schlüssel'],
    OFFSHOOT_DELETED_KEYS: ['1', '1w', '-1d', 'never'],
    OFFSHOOT_REVOKED_KEYS: ['yes'],
    OFFSHOOT_DRAIN: ['1.5h'],
    OFFSHOOT_LOG: ['loud'],
  };
  for (const [name, values] of Object.entries(bad)) {
    assert.ok(name in variables, `${name} is in the help`);
    for (const value of values) {
      assert.throws(
        () => read({ [name]: value }),
        (error: unknown) =>
          error instanceof OffshootError &&
          error.code === 'config/invalid' &&
          error.row.exit === 2 &&
          error.message.startsWith(`${name}=${value} is not valid: `),
        `${name}=${value}`,
      );
    }
  }
});
