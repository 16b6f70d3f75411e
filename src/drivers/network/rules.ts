/**
 * Tables of nftables, told to the kernel directly: there need not be a program for it. A table is always
 * replaced as a whole, in one transaction. Numbers from linux/netfilter/nf_tables.h and nfnetlink.h.
 */
import {
  type Attribute,
  attributesOf,
  be16,
  be32,
  flags,
  type Message,
  type Netlink,
  textOf,
} from '../../lib/netlink.ts';
import { ipBytes, ipText, type Range } from './range.ts';

export type Chain = {
  readonly name: string;
  readonly hook: 'prerouting' | 'output' | 'postrouting';
  readonly type: 'filter' | 'nat';
  /** After others of its kind, in whatever table. */
  readonly last?: true;
  readonly rules: readonly Rule[];
};

/** Matches, all of which must be true, and at the end what is done then. */
export type Rule = readonly (readonly Expression[])[];

/** Of which packets; `both` is IPv4 and IPv6. */
export type Family = keyof typeof FAMILIES;

/** @throws EOPNOTSUPP and its like on a kernel without nf_tables; EPERM */
export function replaceTable(
  netlink: Netlink,
  table: string,
  chains: readonly Chain[],
  family: Family = 'IPv4',
): void {
  const change = changeOf(family);
  const own = change(NEW_TABLE, flags.create, [[1, table]]);
  netlink.ask(
    BEGIN,
    own, // so that there is one to delete
    change(DEL_TABLE, 0, [[1, table]]),
    own,
    ...chains.flatMap(({ name, hook, type, rules, last }) => [
      change(NEW_CHAIN, flags.create, [
        [1, table],
        [3, name],
        [
          4,
          [
            [1, be32(HOOKS[hook])],
            [2, be32(PRIORITIES[`${type} ${hook}`]! + (last ? 1 : 0))],
          ],
        ],
        [7, type],
      ]),
      ...rules.map(rule =>
        change(NEW_RULE, flags.create | flags.append, [
          [1, table],
          [2, name],
          [
            4,
            rule.flat().map(
              ([kind, data]): Attribute => [
                1,
                [
                  [1, kind],
                  [2, data],
                ],
              ],
            ),
          ],
        ]),
      ),
    ]),
    END,
  );
}

/** One that is not there is a success. */
export function removeTable(netlink: Netlink, table: string): void {
  const change = changeOf('IPv4');
  netlink.ask(BEGIN, change(NEW_TABLE, flags.create, [[1, table]]), change(DEL_TABLE, 0, [[1, table]]), END);
}

/** Names of all tables of the family. */
export function tables(netlink: Netlink): readonly string[] {
  return netlink
    .ask({ type: GET_TABLE, flags: flags.dump, header: FAMILIES.IPv4 })
    .map(({ body }) => textOf(attributesOf(body.subarray(FAMILIES.IPv4.length)).get(1)));
}

// --- what rules are made of ----------------------------------------------------------------------

export const from = {
  interface: (name: string) => interfaceIs(META_IN, EQUAL, name),
  notInterface: (name: string) => interfaceIs(META_IN, UNEQUAL, name),
};
export const to = {
  interface: (name: string) => interfaceIs(META_OUT, EQUAL, name),
  notInterface: (name: string) => interfaceIs(META_OUT, UNEQUAL, name),
};

export const source = {
  in: (range: Range) => addressIn(SOURCE_OFFSET, EQUAL, range),
  notIn: (range: Range) => addressIn(SOURCE_OFFSET, UNEQUAL, range),
};
export const destination = {
  in: (range: Range) => addressIn(DESTINATION_OFFSET, EQUAL, range),
  notIn: (range: Range) => addressIn(DESTINATION_OFFSET, UNEQUAL, range),
};

export const tcp = (): readonly Expression[] =>
  is(
    [
      'meta',
      [
        [1, be32(REGISTER)],
        [2, be32(META_PROTOCOL)],
      ],
    ],
    EQUAL,
    Buffer.from([TCP]),
  );

export const tcpPort = (port: number): readonly Expression[] => [
  ...tcp(),
  ...is(payload(TRANSPORT, DESTINATION_PORT_OFFSET, 2), EQUAL, be16(port)),
];

export const drop = (): readonly Expression[] => verdict(NF_DROP);
/** No rule of this chain that comes later counts. */
export const leave = (): readonly Expression[] => verdict(NF_ACCEPT);

/** The connection goes to `ip` instead. @param port default: the same */
export const sendTo = (ip: string, port?: number): readonly Expression[] => [
  ['immediate', immediate(REGISTER, ipBytes(ip))],
  ...(port === undefined ? [] : [['immediate', immediate(PORT_REGISTER, be16(port))] as const]),
  [
    'nat',
    [
      [1, be32(NAT_DESTINATION)],
      [2, be32(NFPROTO_IPV4)],
      [3, be32(REGISTER)],
      ...(port === undefined ? [] : [[5, be32(PORT_REGISTER)] as const]),
    ],
  ],
];

/** The connection goes to this port of whoever it has come to. */
export const redirectTo = (port: number): readonly Expression[] => [
  ['immediate', immediate(REGISTER, be16(port))],
  ['redir', [[1, be32(REGISTER)]]],
];

/**
 * A share of all connections, between 0 and 1: those whose port of origin is among the first of 256 classes. The lowest
 * bit does not count, because Linux gives clients even ports first.
 */
export function sourcePortShare(share: number): readonly Expression[] {
  const load = payload(TRANSPORT, SOURCE_PORT_OFFSET, 2);
  const [, below] = is(load, LESS, be16(Math.round(share * 256) << 1));
  return [load, masked(be16(0x1fe)), below!];
}

/** It goes elsewhere than its client has asked for. */
export function sentOn(): readonly Expression[] {
  const status: Expression = [
    'ct',
    [
      [1, be32(REGISTER)],
      [2, be32(CONNTRACK_STATUS)],
    ],
  ];
  const [load, differs] = is(status, UNEQUAL, Buffer.alloc(4));
  return [load!, masked(hostOrder32(DESTINATION_CHANGED)), differs!];
}

/** The connection seems to come from the interface that it leaves by. */
export const masquerade = (): readonly Expression[] => [['masq', []]];

// --- internal -----------------------------------------------------------------------------------

type Expression = readonly [kind: string, data: readonly Attribute[]];

const SUBSYSTEM = 10 << 8;
const [NEW_TABLE, GET_TABLE, DEL_TABLE, NEW_CHAIN, NEW_RULE] = [0, 1, 2, 3, 6].map(n => SUBSYSTEM | n) as [
  number,
  number,
  number,
  number,
  number,
];
const NFPROTO_IPV4 = 2;
/** struct nfgenmsg; NFPROTO_INET */
const FAMILIES = { IPv4: Buffer.from([NFPROTO_IPV4, 0, 0, 0]), both: Buffer.from([1, 0, 0, 0]) } as const;
const BATCH = Buffer.from([0, 0, 0, 10]);
const BEGIN: Message = { type: 0x10, header: BATCH };
const END: Message = { type: 0x11, header: BATCH };

// linux/netfilter.h and netfilter_ipv4.h (the order of hooks; what the names dstnat, srcnat and raw mean)
const HOOKS = { prerouting: 0, output: 3, postrouting: 4 } as const;
const PRIORITIES: Readonly<Record<string, number>> = {
  'filter prerouting': -300,
  'nat prerouting': -100,
  'nat output': -100,
  'nat postrouting': 100,
};

const [VERDICT_REGISTER, REGISTER, PORT_REGISTER] = [0, 1, 2];
const [EQUAL, UNEQUAL, LESS] = [0, 1, 2];
const [NF_DROP, NF_ACCEPT] = [0, 1];
const [META_IN, META_OUT, META_PROTOCOL] = [6, 7, 16];
const [NETWORK, TRANSPORT] = [1, 2];
const [SOURCE_OFFSET, DESTINATION_OFFSET] = [12, 16];
const [SOURCE_PORT_OFFSET, DESTINATION_PORT_OFFSET] = [0, 2];
/** NFT_CT_STATUS, and of it IPS_DST_NAT (nf_conntrack_common.h). */
const [CONNTRACK_STATUS, DESTINATION_CHANGED] = [2, 32];
const TCP = 6;
const NAT_DESTINATION = 1;
const INTERFACE_BYTES = 16;

const changeOf =
  (family: Family) =>
  (type: number, more: number, attributes: readonly Attribute[]): Message => ({
    ...{ type, flags: flags.acknowledge | more, header: FAMILIES[family], attributes },
  });

const is = (load: Expression, how: number, value: Buffer): readonly Expression[] => [
  load,
  [
    'cmp',
    [
      [1, be32(REGISTER)],
      [2, be32(how)],
      [3, [[1, value]]],
    ],
  ],
];

const verdict = (code: number): readonly Expression[] => [
  [
    'immediate',
    [
      [1, be32(VERDICT_REGISTER)],
      [2, [[2, [[1, be32(code)]]]]],
    ],
  ],
];

const payload = (base: number, offset: number, bytes: number): Expression => [
  'payload',
  [
    [1, be32(REGISTER)],
    [2, be32(base)],
    [3, be32(offset)],
    [4, be32(bytes)],
  ],
];

function interfaceIs(which: number, how: number, name: string): readonly Expression[] {
  const padded = Buffer.alloc(INTERFACE_BYTES);
  padded.write(name);
  return is(
    [
      'meta',
      [
        [1, be32(REGISTER)],
        [2, be32(which)],
      ],
    ],
    how,
    padded,
  );
}

function addressIn(offset: number, how: number, { first, bits }: Range): readonly Expression[] {
  const mask = be32(bits === 0 ? 0 : -1 << (32 - bits));
  const [load, compare] = is(payload(NETWORK, offset, 4), how, ipBytes(ipText(first)));
  return [load!, masked(mask), compare!];
}

const masked = (mask: Buffer): Expression => [
  'bitwise',
  [
    [1, be32(REGISTER)],
    [2, be32(REGISTER)],
    [3, be32(mask.length)],
    [4, [[1, mask]]],
    [5, [[1, Buffer.alloc(mask.length)]]],
  ],
];

const immediate = (register: number, value: Buffer): readonly Attribute[] => [
  [1, be32(register)],
  [2, [[1, value]]],
];

function hostOrder32(value: number): Buffer {
  return Buffer.from(Uint32Array.of(value).buffer);
}
