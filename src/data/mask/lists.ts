/** Lists as PostgreSQL writes them (§8.15.6), e.g. `{a,"b c",NULL}` or `[0:1]={{1,2},{3,4}}`: each element becomes another. */

/** @param element gets what an element is, without quotes; NULL stays. @throws Error when the text is no list */
export function mappedList(text: string, element: (value: string) => string): string {
  const dimensions = /^(?:\[[-+]?\d+:[-+]?\d+\])+=/.exec(text)?.[0] ?? '';
  let [out, at, deep] = [dimensions, dimensions.length, 0];
  if (text[at] !== '{') throw new Error('it is no list');
  while (at < text.length) {
    const letter = text[at]!;
    if (letter === '{' || letter === '}' || letter === ',') {
      deep += letter === '{' ? 1 : letter === '}' ? -1 : 0;
      out += letter;
      at += 1;
    } else if (letter === '"') {
      let value = '';
      for (at += 1; text[at] !== '"'; at += 1) {
        if (text[at] === '\\') at += 1;
        if (at >= text.length) throw new Error('it is no list');
        value += text[at];
      }
      at += 1;
      out += quoted(element(value));
    } else {
      // Only quoted elements hold a comma or a brace; a box is parted by semicolons, and no rule is for boxes.
      let end = at;
      while (end < text.length && text[end] !== ',' && text[end] !== '}') end += 1;
      const value = text.slice(at, end);
      out += value === 'NULL' ? value : quoted(element(value));
      at = end;
    }
  }
  if (deep !== 0) throw new Error('it is no list');
  return out;
}

// --- internal -----------------------------------------------------------------------------------

const quoted = (value: string): string => `"${value.replace(/["\\]/g, '\\$&')}"`;
