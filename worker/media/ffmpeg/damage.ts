/**
 * How damaged a file is by what ffmpeg said of it. Not all that it says at level error is harm: clips of phones have references to
 * pictures before their cut, a last packet of sound that is short, time stamps out of order.
 */
export type Damage = {
  /** Packets or pictures that could not be decoded as they should. */
  faults: number;
  /**
   * The container itself is broken: it ends too early, or its parts do not fit into each other. `overrun`: a packet is longer than what is left
   * of the file, which is so of one that ends too early, and of any whose sizes are damaged.
   */
  broken: 'cut' | 'misfit' | 'overrun' | undefined;
};

// libavcodec's words for pictures and sound: h264_slice.c, mpeg4videodec.c, error of ffmpeg.c itself for every other codec.
const fault = /error while decoding|Error at MB:|Error submitting .*packet to decoder|corrupt(ed)? (macroblock|frame)/i;
// libavformat's: mov.c, matroskadec.c. Before ffmpeg 4.2 a Matroska that ends too early is a read error.
const cut = /partial file|File ended prematurely|\[matroska,webm @ \w+\] Read error$|moov atom not found/;
const misfit = /EBML|exceeds containing master element|Unknown-sized element/;
// libavformat's utils.c. In 2018 it is all that ffmpeg says of a Matroska that goes on after a damaged part.
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
 * Whether so much is lost that the file counts as corrupt. Two faults, or one a minute, are a glitch that one hears or sees and that a person would
 * rather have than no video. Bytes changed at 16 places of a clip of 8 s make 3 to 13 faults in H.264 and MPEG-4; 16 kB overwritten break an MP4's
 * packets (20 and more) and a Matroska's structure.
 */
export const areMany = (faults: number, seconds: number): boolean => faults > Math.max(2, seconds / 60);

/**
 * By more than headers are rounded, and encoders delay.
 * @param said seconds that the file says it lasts @param found those that it does
 */
export const endsEarly = (said: number | undefined, found: number): boolean =>
  said !== undefined && said - found > Math.max(0.5, said * 0.01);
