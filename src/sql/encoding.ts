/** Text in the encodings that a session may be told to speak. */

/** @param encoding `client_encoding`; one that this machine does not know is read as UTF-8 */
export function decoderOf(encoding: string): (bytes: Buffer) => string {
  if (encoding === 'UTF8' || encoding === 'SQL_ASCII') return utf8;
  if (encoding === 'LATIN1') return bytes => bytes.toString('latin1');
  const label =
    LABELS[encoding] ??
    encoding
      .toLowerCase()
      .replace(/^win(?=\d)/, 'windows-')
      .replace(/^koi8([ru])$/, 'koi8-$1');
  try {
    const decoder = new TextDecoder(label);
    return bytes => decoder.decode(bytes);
  } catch {
    return utf8;
  }
}

// --- internal -----------------------------------------------------------------------------------

const utf8 = (bytes: Buffer): string => bytes.toString('utf8');

/** PostgreSQL's names of the parts of ISO 8859 (PostgreSQL, "Character Set Support"), and others that are called otherwise. */
const LABELS: Readonly<Record<string, string>> = {
  ...{
    LATIN2: 'iso-8859-2',
    LATIN3: 'iso-8859-3',
    LATIN4: 'iso-8859-4',
    LATIN5: 'iso-8859-9',
    LATIN6: 'iso-8859-10',
  },
  ...{ LATIN7: 'iso-8859-13', LATIN8: 'iso-8859-14', LATIN9: 'iso-8859-15', LATIN10: 'iso-8859-16' },
  ...{
    ISO_8859_5: 'iso-8859-5',
    ISO_8859_6: 'iso-8859-6',
    ISO_8859_7: 'iso-8859-7',
    ISO_8859_8: 'iso-8859-8',
  },
  ...{
    EUC_JP: 'euc-jp',
    EUC_KR: 'euc-kr',
    EUC_CN: 'gbk',
    SJIS: 'shift_jis',
    WIN866: 'ibm866',
    UHC: 'euc-kr',
  },
};
