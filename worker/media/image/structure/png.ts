import type { Cursor } from '../../cursor.ts';
import { maxMetadataBytes, maxTextBlocks, tooMany, tooMuchMetadata } from './limits.ts';

/** Walks the chunks: length, type, data (skipped), checksum. https://www.w3.org/TR/png-3/#5Chunk-layout */
export async function walkPng(cursor: Cursor): Promise<{ cut: boolean }> {
  let [texts, metadata] = [0, 0];
  cursor.skip(8);
  for (;;) {
    const head = await cursor.take(8);
    if (!head) return { cut: true };
    const length = head.readUInt32BE(0);
    const type = head.toString('latin1', 4);
    // An invalid type means damage: the lengths that follow mean nothing.
    if (type === 'IEND' || !/^[a-z]{4}$/i.test(type)) return { cut: false };
    if (['zTXt', 'iTXt', 'iCCP'].includes(type) && ++texts > maxTextBlocks)
      throw tooMany('PNG', `text blocks`, maxTextBlocks);
    if (['tEXt', 'zTXt', 'iTXt', 'iCCP', 'eXIf'].includes(type)) metadata += length;
    if (metadata > maxMetadataBytes) throw tooMuchMetadata('PNG');
    cursor.skip(length + 4);
  }
}
