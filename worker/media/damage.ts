import { PermanentError } from '../base/errors.ts';

/**
 * How damaged a file is by what ffmpeg said of it. Not all that it says at level error is harm: clips of phones have references to
 * pictures before their cut, a last packet of sound that is short, time stamps out of order.
 */
export type Damage = {
  /** Packets or pictures that could not be decoded as they should. */
  faults: number;
  /** The container itself is broken: it ends too early, or its parts do not fit into each other. */
  broken: string | undefined;
};

// libavcodec's words for pictures and sound: h264_slice.c, mpeg4videodec.c, error of ffmpeg.c itself for every other codec.
const fault = /error while decoding|Error at MB:|Error submitting .*packet to decoder|corrupt(ed)? (macroblock|frame)/i;
// libavformat's: mov.c, matroskadec.c. Before ffmpeg 4.2 a Matroska that ends too early is a read error.
const structure =
  /partial file|File ended prematurely|\[matroska,webm @ \w+\] Read error$|EBML|exceeds containing master element|Unknown-sized element|moov atom not found/;
const repeated = /^\s+Last message repeated (\d+) times/;

export function damageOf(stderr: string): Damage {
  const damage: Damage = { faults: 0, broken: undefined };
  let before = false;
  for (const line of stderr.split('\n')) {
    const times = Number(repeated.exec(line)?.[1] ?? 0);
    if (times > 0) {
      if (before) damage.faults += times;
      continue;
    }
    before = fault.test(line);
    if (before) damage.faults++;
    // Without the place in memory, and the name of the part of ffmpeg.
    if (structure.test(line)) damage.broken ??= line.replace(/^\[[^\]]*\] */, '').slice(0, 200);
  }
  return damage;
}

/**
 * Whether so much is lost that the file counts as corrupt. Two faults, or one a minute, are a glitch that one hears or sees and that a person would
 * rather have than no video. Bytes changed at 16 places of a clip of 8 s make 3 to 13 faults in H.264 and MPEG-4; 16 kB overwritten break an MP4's
 * packets (20 and more) and a Matroska's structure.
 */
export function isCorrupt({ faults, broken }: Damage, seconds: number): boolean {
  return broken !== undefined || faults > Math.max(2, seconds / 60);
}

/** @throws PermanentError `media_truncated`, `media_corrupt` when that is what ffmpeg complained about */
export function checkDamage(stderr: string, seconds: number): void {
  const damage = damageOf(stderr);
  if (!isCorrupt(damage, seconds)) return;
  if (damage.broken && /partial|prematurely|Read error/.test(damage.broken))
    throw new PermanentError('media_truncated', 'The file is cut off: it ends in the middle');
  throw new PermanentError(
    'media_corrupt',
    `The file is damaged: ${damage.broken ?? `${damage.faults} parts of it cannot be decoded`}`,
  );
}

/**
 * By more than headers are rounded, and encoders delay.
 * @param said seconds that the file says it lasts @param found those that it does
 */
export const endsEarly = (said: number | undefined, found: number): boolean =>
  said !== undefined && said - found > Math.max(0.5, said * 0.01);

export const truncated = (said: number, found: number): PermanentError =>
  new PermanentError(
    'media_truncated',
    `The file says that it lasts ${said.toFixed(1)} s, but ends after ${found.toFixed(1)} s`,
  );
