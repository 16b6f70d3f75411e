/** Made-up people and places: which one is chosen by bytes of a digest. All of it is ASCII, and no address of it is anybody's. */

export type FakeKind =
  | 'name'
  | 'first-name'
  | 'last-name'
  | 'company'
  | 'email'
  | 'phone'
  | 'address'
  | 'street'
  | 'city'
  | 'postcode';

/**
 * @param digest 32 characters, a byte each
 * @param most characters that there is room for
 */
export function fake(kind: FakeKind, digest: string, most: number): string {
  const text = MAKE[kind](digest, most);
  return text.length > most ? text.slice(0, most).trimEnd() : text;
}

/** Bits of what can come out: how likely two values become the same. @param most characters that there is room for */
export function fakeBits(kind: FakeKind, most: number): number {
  if (kind === 'email') return Math.min(ID_LETTERS, Math.max(0, most - DOMAIN.length)) * 5;
  if (kind === 'phone') return Math.min(12, Math.max(0, most - 4)) * Math.log2(10);
  return BITS[kind];
}

/** The most characters that one can have. */
export const fakeLength = (kind: FakeKind): number => LENGTHS[kind];

export const FAKE_KINDS: ReadonlySet<string> = new Set([
  ...[
    'name',
    'first-name',
    'last-name',
    'company',
    'email',
    'phone',
    'address',
    'street',
    'city',
    'postcode',
  ],
]);

/** In lower case; also what first names are known by. */
export const FIRST_NAMES: readonly string[] =
  `ada adam agnes alan albert alex alice amelia amir amy ana andrea andrew anika anna anton arthur astrid ava beatrice ben bianca boris bruno
camille carla carlos carmen caroline chen chloe clara claudia daniel daria david deborah diana diego dmitri edith eduardo elena elias elisa
emil emily emma eric erika ernest esther eva fatima felix fiona florian frank frida gabriel george gloria greta grace hana hannah harry hassan
heidi helen henry hugo ida ines ingrid irene isaac isabel ivan jack jakob james jan jana jasmin jenny joan john jonas jorge jose joseph judith
julia julian kai karen karin karl kate kim kofi lara laura lena leo lily linda liam lisa lucas lucia luis maria marta martin mary maya mia
michael mila mina mona nadia nina noah nora olga oliver oscar paul peter`.split(/\s+/);

// --- internal -----------------------------------------------------------------------------------

const LAST_NAMES =
  `abbott adler alves anders archer ashby bailey baker barros bauer becker bell berg bishop blake bond boyd brandt bright brooks burke byrne
calder carter castro chang clarke cole conrad cooper costa craig cruz dalton daly dean diaz dixon doyle drake dubois duran eaton ebert
ellis engel evans farrow faust fischer fleming flores ford foster fox frank frost garcia gibbs gomez graves gray green grimm haas hale
hansen harper hart haynes heller hobbs holm horn hughes hunt ito jansen jensen jordan kaya keller kent kerr klein koch kovacs kraus
lane larsen lehmann lemaire lind long lopez lowe lund maier marsh mason meyer miller moore moreno morris mueller nash navarro nolan novak
olsen ortega osborn page park pereira perez petrov pope pratt price quinn ramos reid reyes rivera rossi roth rowe ruiz sato schmidt shaw`.split(
    /\s+/,
  );

const STREETS =
  `Acorn Alder Ash Bank Beech Birch Bridge Brook Castle Cedar Chapel Cherry Church Clover Elm Fern Field Forest Garden Hazel Heath Hill
Holly Lake Laurel Lime Linden Maple Market Meadow Mill Oak Orchard Park Pine Pond Poplar Quarry River Rose School Spring Station Stone
Sunset Sycamore Temple Valley Vine Walnut Water Well Willow Wood`.split(/\s+/);

const WAYS = ['Street', 'Road', 'Lane', 'Avenue', 'Way', 'Close', 'Court', 'Drive'];

const CITIES =
  `Ashford Barwick Bellmere Brookhaven Calder Carrow Crestholm Dunmore Eastvale Elmsworth Fairmont Glenrock Greyford Harrowgate Hartwell
Hollin Kelso Kingsbury Larkfield Lindale Marlow Midfield Millbrook Northam Norwick Oakley Pinehurst Redmoor Ridgeway Rosedale Sandford
Seabrook Silverton Southmere Stanmore Stonebridge Thornbury Upton Wakefield Waterford Westbrook Whitby Wickham Windmere Woodside`.split(
    /\s+/,
  );

const TRADES = ['Systems', 'Foods', 'Logistics', 'Textiles', 'Energy', 'Tools', 'Paper', 'Media'];
const FORMS = ['Ltd', 'GmbH', 'Inc', 'BV', 'SA', 'AB', 'LLC', 'Co'];

/** Never anybody's: RFC 2606. */
const DOMAIN = '@example.com';
/** A country's code that is nobody's: ITU-T E.164 keeps 999 spare. */
const CODE = '+999';
const ID_LETTERS = 13;
const LETTERS = 'abcdefghijklmnopqrstuvwxyz234567';

const at = (digest: string, i: number): number => digest.charCodeAt(i);
const pick = (list: readonly string[], digest: string, i: number): string =>
  list[(at(digest, i) * 256 + at(digest, i + 1)) % list.length]!;
const capital = (name: string): string => name[0]!.toUpperCase() + name.slice(1);
const first = (d: string): string => capital(pick(FIRST_NAMES, d, 0));
const last = (d: string): string => capital(pick(LAST_NAMES, d, 2));
const street = (d: string): string => `${1 + (at(d, 4) % 240)} ${pick(STREETS, d, 5)} ${WAYS[at(d, 7) % 8]}`;
const city = (d: string): string => pick(CITIES, d, 8);
const postcode = (d: string): string =>
  String(10_000 + ((at(d, 10) * 65_536 + at(d, 11) * 256 + at(d, 12)) % 90_000));

function id(d: string, letters: number): string {
  let text = '';
  for (let i = 0; i < letters; i++) text += LETTERS[at(d, 19 + i) & 31];
  return text;
}

const MAKE: Readonly<Record<FakeKind, (digest: string, most: number) => string>> = {
  name: d => `${first(d)} ${last(d)}`,
  'first-name': first,
  'last-name': last,
  company: d => `${last(d)} ${TRADES[at(d, 4) % 8]} ${FORMS[at(d, 5) % 8]}`,
  email(d, most) {
    const full = `${pick(FIRST_NAMES, d, 0)}.${pick(LAST_NAMES, d, 2)}.${id(d, ID_LETTERS)}${DOMAIN}`;
    return full.length <= most ? full : id(d, Math.min(ID_LETTERS, most - DOMAIN.length)) + DOMAIN;
  },
  phone(d, most) {
    let text = CODE;
    // 48 bits of it: ten digits and two more, each as likely as any other within a thousandth.
    let [high, low] = [0, 0];
    for (let i = 0; i < 3; i++) [high, low] = [high * 256 + at(d, i), low * 256 + at(d, i + 3)];
    text += String(high % 1_000_000).padStart(6, '0') + String(low % 1_000_000).padStart(6, '0');
    return text.slice(0, most);
  },
  address: d => `${street(d)}, ${postcode(d)} ${city(d)}`,
  street,
  city,
  postcode,
};

const BITS: Readonly<Record<FakeKind, number>> = {
  name: Math.log2(FIRST_NAMES.length * LAST_NAMES.length),
  'first-name': Math.log2(FIRST_NAMES.length),
  'last-name': Math.log2(LAST_NAMES.length),
  company: Math.log2(LAST_NAMES.length) + 6,
  email: 65,
  phone: 39,
  address: Math.log2(240 * STREETS.length * 8 * 90_000 * CITIES.length),
  street: Math.log2(240 * STREETS.length * 8),
  city: Math.log2(CITIES.length),
  postcode: Math.log2(90_000),
};

const longest = (list: readonly string[]): number => Math.max(...list.map(text => text.length));
const STREET = 4 + longest(STREETS) + 1 + longest(WAYS);
const LENGTHS: Readonly<Record<FakeKind, number>> = {
  name: longest(FIRST_NAMES) + 1 + longest(LAST_NAMES),
  'first-name': longest(FIRST_NAMES),
  'last-name': longest(LAST_NAMES),
  company: longest(LAST_NAMES) + 1 + longest(TRADES) + 1 + longest(FORMS),
  email: longest(FIRST_NAMES) + 1 + longest(LAST_NAMES) + 1 + ID_LETTERS + DOMAIN.length,
  phone: 16,
  address: STREET + 8 + longest(CITIES),
  street: STREET,
  city: longest(CITIES),
  postcode: 5,
};
