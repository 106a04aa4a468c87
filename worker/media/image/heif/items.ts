import type { FileHandle } from 'node:fs/promises';
import { piece, Reader, type Box } from './boxes.ts';

const mostExtents = 50_000;

/** The items in a HEIF file's `meta` box. ISO/IEC 14496-12, 8.11, and 23008-12, 6. */
export type Items = {
  primary: number;
  /** By id: `hvc1`, `av01`, `grid`, ... */
  types: Map<number, string>;
  /** The properties of an item, in the order in which they apply. */
  properties: (id: number) => Box[];
  /** Links from an item to those that it is composed of, or belongs to: `dimg`, `auxl`, `thmb`, ... */
  references: { type: string; from: number; to: number[] }[];
  /** Where the data of an item is. */
  extents: (id: number) => Extent[];
  /** The content of the idat box, which holds small items. */
  idat: Buffer;
};
/** `from`: offset in the whole file, or in the idat box. In bytes. */
type Extent = { from: 'file' | 'idat'; at: number; bytes: number };

/** @throws RangeError, TypeError for boxes with content that does not fit their type */
export function readItems(meta: Reader): Items | undefined {
  meta.full();
  const boxes = new Map<string, Reader>();
  for (const { type, data } of meta.boxes()) if (!boxes.has(type)) boxes.set(type, data);
  const pitm = boxes.get('pitm');
  if (!pitm) return undefined;
  const extents = readExtents(boxes.get('iloc'));
  return {
    primary: pitm.uint(pitm.full().version === 0 ? 2 : 4),
    types: readTypes(boxes.get('iinf')),
    properties: readProperties(boxes.get('iprp')),
    references: readReferences(boxes.get('iref')),
    extents: (id) => extents.get(id) ?? [],
    idat: boxes.get('idat')?.bytes ?? Buffer.alloc(0),
  };
}

/** The data of a small item. @throws RangeError for more than `mostBytes`, or beyond the end */
export async function itemBytes(file: FileHandle, items: Items, id: number, mostBytes: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let left = mostBytes;
  for (const { from, at, bytes } of items.extents(id)) {
    left -= bytes;
    if (left < 0) throw new RangeError(`item ${id} is larger than its kind can be`);
    if (from === 'idat' && at + bytes > items.idat.length) throw new RangeError(`item ${id} lies outside its box`);
    pieces.push(from === 'idat' ? items.idat.subarray(at, at + bytes) : await piece(file, at, bytes));
  }
  return Buffer.concat(pieces);
}

/** The first bytes of an item. @throws RangeError beyond the end of the file */
export async function itemHead(file: FileHandle, items: Items, id: number, mostBytes: number): Promise<Buffer> {
  const [first] = items.extents(id);
  return first?.from === 'file' ? piece(file, first.at, Math.min(first.bytes, mostBytes)) : Buffer.alloc(0);
}

function readTypes(iinf: Reader | undefined): Map<number, string> {
  const types = new Map<number, string>();
  if (!iinf) return types;
  iinf.uint(iinf.full().version === 0 ? 2 : 4);
  for (const { type, data } of iinf.boxes()) {
    if (type !== 'infe') continue;
    const { version } = data.full();
    if (version < 2) continue;
    const id = data.uint(version === 2 ? 2 : 4);
    data.uint(2);
    types.set(id, data.text(4));
  }
  return types;
}

function readProperties(iprp: Reader | undefined): (id: number) => Box[] {
  const all: Box[] = [];
  const indices = new Map<number, number[]>();
  for (const { type, data } of iprp?.boxes() ?? []) {
    if (type === 'ipco' && all.length === 0) all.push(...data.boxes());
    if (type === 'ipma') readAssociations(data, indices);
  }
  // A copy for each item: items may share a property, and each reads it from the start.
  return (id) =>
    (indices.get(id) ?? []).flatMap((index) => {
      const box = all[index - 1];
      return box ? [{ type: box.type, data: new Reader(box.data.bytes) }] : [];
    });
}

function readAssociations(ipma: Reader, indices: Map<number, number[]>): void {
  const { version, flags } = ipma.full();
  const wide = (flags & 1) === 1;
  for (let left = ipma.uint(4); left > 0; left--) {
    const id = ipma.uint(version === 0 ? 2 : 4);
    const own = Array.from({ length: ipma.uint(1) }, () => ipma.uint(wide ? 2 : 1) & (wide ? 0x7fff : 0x7f));
    if (!indices.has(id)) indices.set(id, own);
  }
}

function readReferences(iref: Reader | undefined): Items['references'] {
  if (!iref) return [];
  const bytes = iref.full().version === 0 ? 2 : 4;
  return [...iref.boxes()].map(({ type, data }) => {
    const from = data.uint(bytes);
    return { type, from, to: Array.from({ length: data.uint(2) }, () => data.uint(bytes)) };
  });
}

function readExtents(iloc: Reader | undefined): Map<number, Extent[]> {
  const extents = new Map<number, Extent[]>();
  let total = 0;
  if (!iloc) return extents;
  const { version } = iloc.full();
  const sizes = iloc.uint(2);
  const [offsetBytes, lengthBytes, baseBytes] = [sizes >> 12, (sizes >> 8) & 15, (sizes >> 4) & 15];
  const indexBytes = version === 0 ? 0 : sizes & 15;
  for (let left = iloc.uint(version < 2 ? 2 : 4); left > 0; left--) {
    const id = iloc.uint(version < 2 ? 2 : 4);
    const method = version === 0 ? 0 : iloc.uint(2) & 15;
    iloc.uint(2);
    const base = iloc.uint(baseBytes);
    const count = iloc.uint(2);
    // Where offset and length take 0 bytes, a file of a few bytes could announce millions of extents.
    if ((total += count) > mostExtents) throw new RangeError('its items are in too many pieces');
    const own = Array.from({ length: count }, (): Extent => {
      iloc.uint(indexBytes);
      const at = base + iloc.uint(offsetBytes);
      return { from: method === 1 ? 'idat' : 'file', at, bytes: iloc.uint(lengthBytes) };
    });
    // Data in another file, or composed of other items: not used for pictures.
    if (method <= 1) extents.set(id, own);
  }
  return extents;
}
