/**
 * Judges from ffmpeg's messages how damaged a file is. Not every message at level error is damage: clips of phones
 * refer to pictures before their cut, have a short last packet of sound, or time stamps out of order.
 */
export type Damage = {
  /** Packets or pictures that could not be decoded as they should be. */
  faults: number;
  /**
   * The container itself is broken: it ends too early, or its parts do not fit together. `overrun`: a packet is longer
   * than the rest of the file. That is so if the file is cut off, and also if its sizes are damaged.
   */
  broken: 'cut' | 'misfit' | 'overrun' | undefined;
};

// libavcodec's messages for pictures and sound: h264_slice.c, mpeg4videodec.c, error of ffmpeg.c itself for every other
// codec.
const fault = /error while decoding|Error at MB:|Error submitting .*packet to decoder|corrupt(ed)? (macroblock|frame)/i;
// libavformat's messages: mov.c, matroskadec.c. Before ffmpeg 4.2, a Matroska that ends too early is a read error.
const cut = /partial file|File ended prematurely|\[matroska,webm @ \w+\] Read error$|moov atom not found/;
const misfit = /EBML|exceeds containing master element|Unknown-sized element/;
// libavformat's utils.c. In 2018, this is ffmpeg's only message about a Matroska that goes on after a damaged part.
const overrun = /^Truncating packet of size/;
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
    if (overrun.test(line)) damage.broken ??= 'overrun';
    if (misfit.test(line) && damage.broken !== 'cut') damage.broken = 'misfit';
    if (cut.test(line)) damage.broken = 'cut';
  }
  return damage;
}

/**
 * Whether the file counts as corrupt. Two faults, or one per minute, are a glitch that one hears or sees, and that a
 * person prefers to no video. Bytes changed at 16 places of a clip of 8 s make 3 to 13 faults in H.264 and MPEG-4; 16
 * kB overwritten break an MP4's packets (20 and more) and a Matroska's structure.
 */
export const areMany = (faults: number, seconds: number): boolean => faults > Math.max(2, seconds / 60);

/**
 * Whether the file ends early, by more than headers are rounded and encoders delay.
 * @param said the seconds that the file claims
 * @param found the seconds that it has
 */
export const endsEarly = (said: number | undefined, found: number): boolean =>
  said !== undefined && said - found > Math.max(0.5, said * 0.01);
