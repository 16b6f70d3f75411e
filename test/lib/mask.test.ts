import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createMask, maskIn, maskUrls } from '../../src/lib/mask.ts';

describe('a mask', () => {
  it('hides a value that contains another one completely, and leaves words as short as any alone', () => {
    assert.equal(maskIn('abcdef abcd a abc', ['abcd', 'abcdef', 'a', 'abc']), '*** *** a abc');
    assert.equal(maskIn('12345678', ['1234567', '345678']), '***', 'such as overlap are one');
    assert.equal(maskIn('anything', []), 'anything');
  });

  const secret = 'p$ss/wö"rd\\+1?ü';
  const quoted: Readonly<Record<string, string>> = {
    'as it is': secret,
    'in JSON': JSON.stringify({ secret }),
    'in a URL': `postgresql://u:${encodeURIComponent(secret)}@h/d`,
    'in a URL, in small letters': encodeURIComponent(secret).toLowerCase(),
    'in a form': String(new URLSearchParams({ secret })),
    'in base64': Buffer.from(secret).toString('base64'),
    'in basic auth': `Basic ${Buffer.from(`user:${secret}`).toString('base64')}`,
    'in the middle of base64': Buffer.from(`us:${secret}:and more`).toString('base64url'),
  };
  for (const [how, text] of Object.entries(quoted)) {
    it(`hides a value ${how}`, () => {
      const masked = maskIn(`before ${text} after`, [secret]);
      assert.match(masked, /^before .*\*\*\*.* after$/);
      const bytes = masked.split(/[^\w+/=-]+/).map(word => Buffer.from(word, 'base64').toString());
      for (const seen of [masked, ...bytes]) assert.doesNotMatch(seen, /ss\/w|%2Fw|ö"r/);
    });
  }

  it('hides a value of several lines also line by line, and what it is in base64 of such', () => {
    const key = [
      '-----BEGIN KEY-----',
      'MIIEvQIBADANBgkqhkiG9w0',
      'AgEAAoIBAQC7VJTUt9Us8cKj',
      '-----END KEY-----',
    ].join('\n');
    assert.equal(maskIn(`a\r\n  ${key.split('\n')[2]}\r\nb`, [key]), 'a\r\n  ***\r\nb');
    const folded = Buffer.from(key).toString('base64').replace(/.{76}/g, '$&\n').split('\n');
    assert.equal(maskIn(folded[0]!, [key]), '***');
    assert.match(maskIn('-----BEGIN KEY-----', [key]), /BEGIN/, 'which is no secret');
  });

  it('knows of each owner what was said last', () => {
    const mask = createMask();
    mask.set('a', ['first', 'shared']);
    mask.set('b', ['shared']);
    mask.set('a', ['second']);
    assert.equal(mask.text('first second shared'), 'first *** ***');
    mask.set('b', []);
    assert.equal(mask.text('first second shared'), 'first *** shared');
  });

  it('finds the same as a search for each value does, in texts and values by chance', () => {
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((seed / 2 ** 31) * below);
    };
    const word = (length: number) => Array.from({ length }, () => 'abcö'[random(4)]).join('');
    for (let round = 0; round < 300; round++) {
      const values = Array.from({ length: 1 + random(5) }, () => word(4 + random(4)));
      const text = word(60);
      const covered = new Set<number>();
      for (const value of values) {
        for (let at = text.indexOf(value); at >= 0; at = text.indexOf(value, at + 1))
          for (let i = at; i < at + value.length; i++) covered.add(i);
      }
      const expected = [...text]
        .map((c, i) => (covered.has(i) ? '*' : c))
        .join('')
        .replace(/\*+/g, '***');
      assert.equal(maskIn(text, values), expected, values.join(' '));
    }
  });
});

it('the password of a URL is hidden, whatever it is', () => {
  assert.equal(maskUrls('see postgresql://u:p$&w@h:1/d?x=y'), 'see postgresql://u:***@h:1/d?x=y');
});
