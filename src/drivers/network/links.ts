/** Bridges, pairs of interfaces, addresses and routes: what is asked of rtnetlink(7). Numbers from linux/if_link.h and rtnetlink.h. */
import {
  type Attribute,
  attributesOf,
  encodeAttributes,
  flags,
  type Message,
  type Netlink,
  textOf,
  u32,
} from '../../lib/netlink.ts';
import { ipBytes, ipText, type Range } from './range.ts';

export type Link = {
  readonly index: number;
  readonly name: string;
  /** The bridge that it is a port of, by index; 0: none. */
  readonly master: number;
};

export type Route = { readonly to: Range; readonly interface: number; readonly local: boolean };

export function links(netlink: Netlink): readonly Link[] {
  return netlink.ask({ type: GET_LINK, flags: flags.dump, header: linkHeader() }).map(linkOf);
}

export function linkNamed(netlink: Netlink, name: string): Link | undefined {
  try {
    const [answer] = netlink.ask({ type: GET_LINK, header: linkHeader(), attributes: [[NAME, name]] });
    return answer && linkOf(answer);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENODEV') return undefined;
    throw error;
  }
}

/** A bridge that is up. @param mac fixed: the kernel would change it with the ports, and neighbours remember it */
export const addBridge = (name: string, mac: Buffer, alias: string): Message =>
  change(NEW_LINK, flags.create | flags.exclusive, linkHeader({ up: true }), [
    [NAME, name],
    [HARDWARE_ADDRESS, mac],
    [ALIAS, alias],
    [LINK_INFO, [[INFO_KIND, 'bridge']]],
  ]);

/**
 * A pair of interfaces: one end here, up, as a port of `bridge`, the other end as `eth0` in the namespace that is open
 * as `namespace`; it can be set up only when there are both.
 */
export const addPair = (name: string, bridge: number, namespace: number, mac: Buffer): Message =>
  change(NEW_LINK, flags.create | flags.exclusive, linkHeader({ up: true }), [
    [NAME, name],
    [MASTER, u32(bridge)],
    [
      LINK_INFO,
      [
        [INFO_KIND, 'veth'],
        [
          INFO_DATA,
          [
            [
              VETH_PEER,
              withHeader(linkHeader(), [
                [NAME, inPod],
                [HARDWARE_ADDRESS, mac],
                [NAMESPACE_FD, u32(namespace)],
              ]),
            ],
          ],
        ],
      ],
    ],
  ]);

/** The interface of a pod that leads out. */
export const inPod = 'eth0';

export const setUp = (index: number): Message => change(NEW_LINK, 0, linkHeader({ index, up: true }), []);

export const removeLink = (name: string): Message => change(DEL_LINK, 0, linkHeader(), [[NAME, name]]);

/** Settings of IPv4 for one interface, by their numbers in linux/ip.h. They need no /proc/sys, which may be read-only. */
export const settings = { forwarding: 1, routeLocalnet: 26 } as const;

export const configure = (index: number, values: Readonly<Record<number, number>>): Message =>
  change(NEW_LINK, 0, linkHeader({ index }), [
    [
      AF_SPEC,
      [
        [
          AF_INET,
          [[INET_CONF, Object.entries(values).map(([key, value]): Attribute => [Number(key), u32(value)])]],
        ],
      ],
    ],
  ]);

/** What `configure` has set. */
export function setting(netlink: Netlink, index: number, key: number): number {
  const [answer] = netlink.ask({ type: GET_LINK, header: linkHeader({ index }) });
  const spec = attributesOf(attributesOf(answer!.body.subarray(LINK_BYTES)).get(AF_SPEC) ?? Buffer.alloc(0));
  const values = attributesOf(spec.get(AF_INET) ?? Buffer.alloc(0)).get(INET_CONF);
  return values === undefined ? 0 : values.readUInt32LE(4 * (key - 1));
}

export const addAddress = (index: number, ip: string, bits: number): Message =>
  change(
    NEW_ADDRESS,
    flags.create | flags.exclusive,
    Buffer.concat([Buffer.from([AF_INET, bits, 0, 0]), u32(index)]),
    [
      [ADDRESS_LOCAL, ipBytes(ip)],
      [ADDRESS, ipBytes(ip)],
    ],
  );

/** The addresses of an interface. */
export function addresses(netlink: Netlink, index: number): readonly string[] {
  return netlink
    .ask({ type: GET_ADDRESS, flags: flags.dump, header: Buffer.from([AF_INET, 0, 0, 0, 0, 0, 0, 0]) })
    .filter(({ body }) => body.readUInt32LE(4) === index)
    .flatMap(({ body }) => {
      const local = attributesOf(body.subarray(8)).get(ADDRESS_LOCAL);
      return local === undefined ? [] : [ipText(local.readUInt32BE())];
    });
}

/** The way to `to`. @param before also before what the network takes for its own, such as 127.0.0.0/8 */
export const addRoute = (
  { first, bits }: Pick<Range, 'first' | 'bits'>,
  gateway: string,
  before = false,
): Message =>
  change(
    NEW_ROUTE,
    flags.create | flags.exclusive,
    routeHeader({ bits, ...(before && { table: TABLE_LOCAL }) }),
    [...(bits === 0 ? [] : [[DESTINATION, ipBytes(ipText(first))] as const]), [GATEWAY, ipBytes(gateway)]],
  );

export const everywhere = { first: 0, bits: 0 } as const;

/** All addresses of `range` are this machine's own. @throws EEXIST when they are somebody's already */
export const addLocalRange = (range: Range, index: number): Message =>
  change(
    NEW_ROUTE,
    flags.create | flags.exclusive,
    routeHeader({ bits: range.bits, table: TABLE_LOCAL, scope: SCOPE_HOST, type: RTN_LOCAL }),
    [
      [DESTINATION, ipBytes(ipText(range.first))],
      [OUT_INTERFACE, u32(index)],
    ],
  );

/** All IPv4 routes of this machine, in all tables, its own addresses included. */
export function routes(netlink: Netlink): readonly Route[] {
  return netlink
    .ask({ type: GET_ROUTE, flags: flags.dump, header: routeHeader({ bits: 0, table: 0, type: 0 }) })
    .filter(({ type }) => type === NEW_ROUTE)
    .map(({ body }) => {
      const found = attributesOf(body.subarray(12));
      const [bits, first] = [body.readUInt8(1), found.get(DESTINATION)?.readUInt32BE() ?? 0];
      return {
        to: { text: `${ipText(first)}/${bits}`, first, bits },
        interface: found.get(OUT_INTERFACE)?.readUInt32LE() ?? 0,
        local: body.readUInt8(7) === RTN_LOCAL,
      };
    });
}

// --- internal -----------------------------------------------------------------------------------

// linux/rtnetlink.h
const [NEW_LINK, DEL_LINK, GET_LINK] = [16, 17, 18] as const;
const [NEW_ADDRESS, GET_ADDRESS] = [20, 22] as const;
const [NEW_ROUTE, GET_ROUTE] = [24, 26] as const;
const [DESTINATION, OUT_INTERFACE, GATEWAY] = [1, 4, 5] as const;
const [TABLE_MAIN, TABLE_LOCAL] = [254, 255] as const;
const SCOPE_HOST = 254;
const [RTN_UNICAST, RTN_LOCAL] = [1, 2] as const;
const PROTOCOL_STATIC = 4;
// linux/if_link.h, linux/if_addr.h, linux/veth.h
const [HARDWARE_ADDRESS, NAME, MASTER, LINK_INFO, ALIAS, AF_SPEC, NAMESPACE_FD] = [
  1, 3, 10, 18, 20, 26, 28,
] as const;
const [INFO_KIND, INFO_DATA, VETH_PEER, INET_CONF] = [1, 2, 1, 1] as const;
const [ADDRESS, ADDRESS_LOCAL] = [1, 2] as const;
const AF_INET = 2;
const LINK_BYTES = 16;
const IFF_UP = 1;

const change = (type: number, more: number, header: Buffer, attributes: readonly Attribute[]): Message => ({
  ...{ type, flags: flags.acknowledge | more, header, attributes },
});

/** struct ifinfomsg */
function linkHeader({ index = 0, up = false }: { index?: number; up?: boolean } = {}): Buffer {
  return u32(0, index, up ? IFF_UP : 0, up ? IFF_UP : 0);
}

/** struct rtmsg */
function routeHeader({
  bits = 0,
  table = TABLE_MAIN as number,
  scope = 0,
  type = RTN_UNICAST as number,
}): Buffer {
  return Buffer.from([AF_INET, bits, 0, 0, table, PROTOCOL_STATIC, scope, type, 0, 0, 0, 0]);
}

/** Attributes behind a header inside an attribute. */
function withHeader(header: Buffer, attributes: readonly Attribute[]): Buffer {
  return Buffer.concat([header, encodeAttributes(attributes)]);
}

const linkOf = ({ body }: { readonly body: Buffer }): Link => {
  const found = attributesOf(body.subarray(LINK_BYTES));
  return {
    index: body.readUInt32LE(4),
    name: textOf(found.get(NAME)),
    master: found.get(MASTER)?.readUInt32LE() ?? 0,
  };
};
