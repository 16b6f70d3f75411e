/**
 * What zstd has packed, unpacked: any number of frames, one after another (RFC 8878 §3.1), as `cat`, pzstd and resumed writers leave
 * them. Node's decompressor (24.21) stops behind the first, without a word; so they are told apart here, and each gets one of its own.
 */
import { PassThrough, pipeline, Readable } from 'node:stream';
import { createZstdDecompress } from 'node:zlib';

/** @throws Error when a frame is none, or ends in the middle */
export async function* unzstd(packed: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const input = createInput(packed);
  try {
    for (let magic = await input.atMost(4); magic.length > 0; magic = await input.atMost(4)) {
      if (magic.length < 4) throw cut();
      const number = magic.readUInt32LE();
      if (number >>> 4 === SKIPPABLE)
        for await (const _ of input.pieces((await input.exactly(4)).readUInt32LE()));
      else if (number !== MAGIC) throw new Error('what follows a frame of zstd is none');
      else {
        const frame = Readable.from(frameOf(magic, input));
        yield* pipeline(frame, createZstdDecompress(), new PassThrough(), () => {}) as AsyncIterable<Buffer>;
      }
    }
  } finally {
    await input.end();
  }
}

// --- internal -----------------------------------------------------------------------------------

const MAGIC = 0xfd2fb528;
/** The last four bits are anybody's. */
const SKIPPABLE = 0x184d2a5;

const cut = () => new Error('unexpected end of file');

/** The bytes of one frame; of what is in them, only what says where it ends is looked at. */
async function* frameOf(magic: Buffer, { exactly, pieces }: Input): AsyncGenerator<Buffer> {
  yield magic;
  const descriptor = await exactly(1);
  yield descriptor;
  const flags = descriptor[0]!;
  const isSingle = (flags & 0x20) !== 0;
  const sizeBytes = flags >> 6 === 0 ? Number(isSingle) : 1 << (flags >> 6);
  yield* pieces(Number(!isSingle) + [0, 1, 2, 4][flags & 3]! + sizeBytes);
  for (let isLast = false; !isLast; ) {
    const head = await exactly(3);
    yield head;
    const block = head.readUIntLE(0, 3);
    isLast = (block & 1) === 1;
    // One byte again and again is written once.
    yield* pieces(((block >> 1) & 3) === 1 ? 1 : block >> 3);
  }
  if ((flags & 4) !== 0) yield await exactly(4);
}

type Input = {
  /** @returns less where the end is */
  atMost(bytes: number): Promise<Buffer>;
  /** @throws Error at the end */
  exactly(bytes: number): Promise<Buffer>;
  /** So many bytes, as they come. @throws Error at the end */
  pieces(bytes: number): AsyncGenerator<Buffer>;
  end(): Promise<void>;
};

function createInput(bytes: AsyncIterable<Buffer>): Input {
  const iterator = bytes[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  /** @returns undefined at the end */
  const some = async (most: number): Promise<Buffer | undefined> => {
    while (rest.length === 0) {
      const { done, value } = await iterator.next();
      if (done) return undefined;
      rest = value;
    }
    const piece = rest.subarray(0, most);
    rest = rest.subarray(piece.length);
    return piece;
  };
  const input: Input = {
    async atMost(count) {
      const found: Buffer[] = [];
      for (let left = count; left > 0; ) {
        const piece = await some(left);
        if (piece === undefined) break;
        found.push(piece);
        left -= piece.length;
      }
      return found.length === 1 ? found[0]! : Buffer.concat(found);
    },
    async exactly(count) {
      const found = await input.atMost(count);
      if (found.length < count) throw cut();
      return found;
    },
    async *pieces(count) {
      for (let left = count; left > 0; ) {
        const piece = await some(left);
        if (piece === undefined) throw cut();
        left -= piece.length;
        yield piece;
      }
    },
    async end() {
      await iterator.return?.();
    },
  };
  return input;
}
