import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { injectKey, keepKeys, routingKeysOf } from '../../src/model/carriers.ts';

const custom = ['x-team-key'];

suite('routingKeysOf', () => {
  const cases: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ['no carrier', ['Accept', '*/*'], []],
    ['a baggage member', ['baggage', 'sd-routing-key=abc123'], ['abc123']],
    ['any case of the header name', ['BaGGage', 'sd-routing-key=abc123'], ['abc123']],
    ['among other members', ['baggage', 'user=7,sd-routing-key=abc123,tenant=x'], ['abc123']],
    ['white space around everything', ['baggage', 'a=b ,\t sd-routing-key \t=  abc123\t, c=d'], ['abc123']],
    ['properties after the value', ['baggage', 'sd-routing-key=abc123 ; ttl=5;flag'], ['abc123']],
    ['a percent-encoded value', ['baggage', 'sd-routing-key=%61bc123'], ['abc123']],
    ['several baggage headers', ['baggage', 'a=b', 'Baggage', 'sd-routing-key=abc123'], ['abc123']],
    ['the older member sd-sandbox', ['baggage', 'sd-sandbox=abc123'], ['abc123']],
    ['the oldest member sd-workspace', ['baggage', 'sd-workspace=abc123'], ['abc123']],
    ['tracestate', ['tracestate', 'vendor=x,sd-routing-key=abc123'], ['abc123']],
    ['ot-baggage-sd-routing-key', ['ot-baggage-sd-routing-key', 'abc123'], ['abc123']],
    ['ot-baggage-sd-sandbox', ['ot-baggage-sd-sandbox', 'abc123'], ['abc123']],
    ['uberctx-sd-routing-key', ['uberctx-sd-routing-key', 'abc123'], ['abc123']],
    ['uberctx-sd-sandbox', ['Uberctx-Sd-Sandbox', ' abc123 '], ['abc123']],
    ['a configured header', ['X-Team-Key', 'abc123'], ['abc123']],
    ['a plain header joined by a proxy', ['x-team-key', 'abc123, def456'], ['abc123', 'def456']],
    ['one key in several carriers', ['baggage', 'sd-routing-key=k', 'tracestate', 'sd-routing-key=k'], ['k']],
    [
      'several keys: baggage, tracestate, plain',
      ['x-team-key', 'c', 'tracestate', 'sd-routing-key=b', 'baggage', 'sd-routing-key=a,sd-sandbox=a2'],
      ['a', 'a2', 'b', 'c'],
    ],
    ['a longer member name', ['baggage', 'sd-routing-key2=abc,xsd-routing-key=abc'], []],
    ['another case of the member name', ['baggage', 'SD-Routing-Key=abc123'], []],
    ['a property that looks like a member', ['baggage', 'a=b;sd-routing-key=abc123'], []],
    ['a key in the value of another member', ['baggage', 'a=sd-routing-key=abc123'], []],
    ['a member without a value', ['baggage', 'sd-routing-key,sd-routing-key=,=abc123'], []],
    ['a value that is no key', ['baggage', 'sd-routing-key=Not a key!,sd-sandbox=ABC,sd-workspace=pr-1'], []],
    ['broken percent-encoding, the rest is read', ['baggage', 'sd-routing-key=%zz,sd-sandbox=k'], ['k']],
    ['a value that is too long', ['baggage', `sd-routing-key=${'a'.repeat(33)}`], []],
    ['the longest value', ['baggage', `sd-routing-key=${'a'.repeat(32)}`], ['a'.repeat(32)]],
    ['percent-encoding is not known to tracestate', ['tracestate', 'sd-routing-key=%61'], []],
    ['empty members are none', ['baggage', ',, ,sd-routing-key=k,'], ['k']],
  ];
  for (const [name, headers, keys] of cases)
    test(name, () => assert.deepEqual(routingKeysOf(headers, custom), keys));

  test('a configured header means nothing where it is not configured', () => {
    assert.deepEqual(routingKeysOf(['x-team-key', 'abc123']), []);
  });

  test('a key is found wherever it stands: one that was overlooked would lead to the baseline', () => {
    const members = Array.from({ length: 200 }, (_, i) => `m${i}=${'v'.repeat(50)}`).join(',');
    assert.deepEqual(routingKeysOf(['baggage', `${members},sd-routing-key=k`]), ['k']);
    assert.deepEqual(routingKeysOf(['baggage', members, 'baggage', 'sd-routing-key=k']), ['k']);
    assert.deepEqual(routingKeysOf(['tracestate', `${members},sd-routing-key=k`]), ['k']);
  });
});

suite('injectKey', () => {
  const carriers = (key: string) => [
    ...['ot-baggage-sd-routing-key', key, 'ot-baggage-sd-sandbox', key],
    ...['uberctx-sd-routing-key', key, 'uberctx-sd-sandbox', key, 'x-team-key', key],
  ];

  test('sets the key in every carrier', () => {
    assert.deepEqual(injectKey(['Accept', '*/*'], 'new', custom), [
      ...['Accept', '*/*', 'baggage', 'sd-routing-key=new', 'tracestate', 'sd-routing-key=new'],
      ...carriers('new'),
    ]);
  });

  test('removes every other routing key, well-formed or not, and keeps the other members in order', () => {
    const headers = [
      ...[
        'Baggage',
        'a=1;p=q,sd-routing-key=old,b=2',
        'X',
        'y',
        'baggage',
        'sd-sandbox=%zz, c=3 ,sd-workspace=old',
      ],
      ...[
        'tracestate',
        'v1=x,sd-routing-key=old,v2=y',
        'OT-Baggage-SD-Routing-Key',
        'old',
        'x-team-key',
        'old',
      ],
    ];
    assert.deepEqual(injectKey(headers, 'new', custom), [
      ...['X', 'y', 'baggage', 'sd-routing-key=new,a=1;p=q,b=2,c=3'],
      ...['tracestate', 'sd-routing-key=new,v1=x,v2=y'],
      ...carriers('new'),
    ]);
  });

  test('what was injected is what is read, however full the carriers were', () => {
    const full = Array.from({ length: 100 }, (_, i) => `m${i}=v`).join(',');
    const headers = injectKey(['baggage', full, 'tracestate', full], 'new', custom);
    assert.deepEqual(routingKeysOf(headers, custom), ['new']);
    const tracestate = headers[headers.indexOf('tracestate') + 1]!;
    assert.equal(tracestate.split(',').length, 32);
  });
});

suite('keepKeys', () => {
  test('headers that hold the keys stay as they are', () => {
    for (const headers of [
      ['X', 'y', 'baggage', 'a=1, sd-routing-key=k;p'],
      ['tracestate', 'sd-routing-key=k'],
    ])
      assert.equal(keepKeys(headers, ['k']), headers);
    const none = ['baggage', 'a=1'];
    assert.equal(keepKeys(none, []), none);
  });

  test('keys whose carrier was taken out stand in baggage, in their order', () => {
    assert.deepEqual(keepKeys(['X', 'y'], ['k']), ['X', 'y', 'baggage', 'sd-routing-key=k']);
    const headers = ['X-Team-Key', 'c', 'baggage', 'a=1,sd-sandbox=a', 'tracestate', 'v=1'];
    const kept = keepKeys(headers, ['a', 'b', 'c'], custom);
    assert.deepEqual(kept, [
      ...['X-Team-Key', 'c', 'tracestate', 'v=1'],
      ...['baggage', 'sd-routing-key=a,sd-routing-key=b,sd-routing-key=c,a=1'],
    ]);
    assert.deepEqual(routingKeysOf(kept, custom), ['a', 'b', 'c']);
  });
});
