/** The image of a door (door.ts): one program of 180 bytes, and nothing else. Pure. */

/** Machines that it runs on. */
export const doorMachines: readonly NodeJS.Architecture[] = ['x64'];

/** Where a network is to be mounted for it. */
export const DOOR_NETWORK = '/net';
export const DOOR_PROGRAM = '/door';

/** Layer of the image, as a tar file (POSIX.1-2024, pax: ustar). */
export function doorImage(): Buffer {
  const program = elf();
  const header = Buffer.alloc(BLOCK);
  header.write('door', 0);
  header.write('0000755\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${program.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148); // of the checksum, while it is counted
  header.write('0', 156);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((all, byte) => all + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  const padded = Buffer.alloc(Math.ceil(program.length / BLOCK) * BLOCK);
  program.copy(padded);
  return Buffer.concat([header, padded, Buffer.alloc(2 * BLOCK)]);
}

// --- internal -----------------------------------------------------------------------------------

const BLOCK = 512;
const LOADED_AT = 0x400000n;
const HEADERS_BYTES = 64 + 56;

/** x86-64, by the numbers of Linux: opens the network, steps into it, and sleeps until it is killed. */
const CODE = Buffer.from(
  [
    'b802000000', //     mov eax, 2               open
    '488d3d2b000000', // lea rdi, [rip + 43]      "/net"
    '31f6', //           xor esi, esi             O_RDONLY
    '0f05', //           syscall
    '89c7', //           mov edi, eax
    'be00000040', //     mov esi, 0x40000000      CLONE_NEWNET
    'b834010000', //     mov eax, 308             setns
    '0f05', //           syscall
    '85c0', //           test eax, eax
    '7509', //           jnz  + 9
    'b822000000', //     mov eax, 34              pause
    '0f05', //           syscall
    'ebf7', //           jmp  - 9
    'bf01000000', //     mov edi, 1
    'b83c000000', //     mov eax, 60              exit
    '0f05', //           syscall
    '2f6e657400', //     "/net"
  ].join(''),
  'hex',
);

/** elf(5): one segment that holds all of the file. */
function elf(): Buffer {
  const size = BigInt(HEADERS_BYTES + CODE.length);
  const file = Buffer.alloc(Number(size));
  Buffer.from('7f454c46020101', 'hex').copy(file);
  file.writeUInt16LE(2, 16); // ET_EXEC
  file.writeUInt16LE(62, 18); // EM_X86_64
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(LOADED_AT + BigInt(HEADERS_BYTES), 24); // entry
  file.writeBigUInt64LE(64n, 32); // program headers
  file.writeUInt16LE(64, 52);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(1, 56);
  file.writeUInt32LE(1, 64); // PT_LOAD
  file.writeUInt32LE(5, 68); // readable, executable
  file.writeBigUInt64LE(LOADED_AT, 80);
  file.writeBigUInt64LE(LOADED_AT, 88);
  file.writeBigUInt64LE(size, 96);
  file.writeBigUInt64LE(size, 104);
  file.writeBigUInt64LE(0x1000n, 112);
  CODE.copy(file, HEADERS_BYTES);
  return file;
}
