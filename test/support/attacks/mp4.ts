/** A box of an MP4 file, with those inside of it. ISO/IEC 14496-12, 4.2. */
export type Box = { type: string; head: Buffer; boxes: Box[]; body: Buffer };

/** Boxes that hold boxes, and how many bytes they have before these. */
const parents: Record<string, number> = {
  moov: 0,
  trak: 0,
  mdia: 0,
  minf: 0,
  dinf: 0,
  stbl: 0,
  udta: 0,
  edts: 0,
  dref: 8,
  stsd: 8,
};

export function readBoxes(bytes: Buffer): Box[] {
  const boxes: Box[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = bytes.readUInt32BE(at);
    const type = bytes.toString('latin1', at + 4, at + 8);
    const content = bytes.subarray(at + 8, at + size);
    const skip = parents[type];
    boxes.push(
      skip === undefined
        ? { type, head: Buffer.alloc(0), boxes: [], body: content }
        : { type, head: content.subarray(0, skip), boxes: readBoxes(content.subarray(skip)), body: Buffer.alloc(0) },
    );
    at += size;
  }
  return boxes;
}

export function box(type: string, body: Buffer, boxes: Box[] = []): Box {
  return { type, head: Buffer.alloc(0), boxes, body };
}

export function writeBoxes(boxes: Box[]): Buffer {
  return Buffer.concat(
    boxes.map(({ type, head, boxes: inner, body }) => {
      const content = Buffer.concat([head, writeBoxes(inner), body]);
      const start = Buffer.alloc(8);
      start.writeUInt32BE(content.length + 8);
      start.write(type, 4, 'latin1');
      return Buffer.concat([start, content]);
    }),
  );
}

/** All of a type, however deep. */
export function findBoxes(boxes: Box[], type: string): Box[] {
  return boxes.flatMap((one) => [...(one.type === type ? [one] : []), ...findBoxes(one.boxes, type)]);
}
