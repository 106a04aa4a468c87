import type { Coding } from '../colour.ts';

/**
 * The colour coding in an AV1 stream's first bytes; undefined where they hold no sequence header.
 * https://aomediacodec.github.io/av1-spec/#sequence-header-obu-syntax
 */
export function codingOfAv1(stream: Buffer): Coding | undefined {
  for (let at = 0; at < stream.length;) {
    const header = stream[at]!;
    at += (header & 4) === 0 ? 1 : 2;
    let size = 0;
    for (let shift = 0; (header & 2) !== 0; shift += 7, at++) {
      size += (stream[at]! & 0x7f) * 2 ** shift;
      if (!(stream[at]! & 0x80) || shift > 28) break;
    }
    at += header & 2 ? 1 : 0;
    if (((header >> 3) & 15) === 1) return colourConfig(new Bits(stream.subarray(at)));
    if ((header & 2) === 0) return undefined;
    at += size;
  }
  return undefined;
}

class Bits {
  private readonly bytes: Buffer;
  private at = 0;
  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  take(bits: number): number {
    let value = 0;
    for (; bits > 0; bits--, this.at++)
      value = value * 2 + (((this.bytes[this.at >> 3] ?? 0) >> (7 - (this.at & 7))) & 1);
    return value;
  }

  flag = (): boolean => this.take(1) === 1;
}

function colourConfig(bits: Bits): Coding {
  const profile = bits.take(3);
  bits.flag();
  const reduced = bits.flag();
  if (reduced) bits.take(5);
  else skipOperatingPoints(bits);
  const [widthBits, heightBits] = [bits.take(4) + 1, bits.take(4) + 1];
  bits.take(widthBits);
  bits.take(heightBits);
  if (!reduced && bits.flag()) bits.take(7);
  bits.take(3);
  if (!reduced) skipTools(bits);
  bits.take(3);

  const deep = bits.flag();
  if (profile === 2 && deep) bits.flag();
  const grey = profile !== 1 && bits.flag();
  const described = bits.flag();
  const [primaries, transfer, matrix] = described ? [bits.take(8), bits.take(8), bits.take(8)] : [2, 2, 2];
  const isSrgb = !grey && primaries === 1 && transfer === 13 && matrix === 0;
  return { primaries, transfer, matrix, full: isSrgb || bits.flag() };
}

function skipOperatingPoints(bits: Bits): void {
  let delayBits = 0;
  if (bits.flag()) {
    bits.take(64);
    if (bits.flag()) skipUvlc(bits);
    if (bits.flag()) {
      delayBits = bits.take(5) + 1;
      bits.take(42);
    }
  }
  const displayDelay = bits.flag();
  for (let left = bits.take(5) + 1; left > 0; left--) {
    bits.take(12);
    if (bits.take(5) > 7) bits.flag();
    if (delayBits > 0 && bits.flag()) bits.take(2 * delayBits + 1);
    if (displayDelay && bits.flag()) bits.take(4);
  }
}

function skipUvlc(bits: Bits): void {
  let zeros = 0;
  while (zeros < 32 && !bits.flag()) zeros++;
  if (zeros < 32) bits.take(zeros);
}

function skipTools(bits: Bits): void {
  bits.take(4);
  const orderHint = bits.flag();
  if (orderHint) bits.take(2);
  const forced = bits.flag() ? 2 : bits.take(1);
  if (forced > 0 && !bits.flag()) bits.flag();
  if (orderHint) bits.take(3);
}
