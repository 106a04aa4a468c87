/** What a file contains of one stream: its packets, counted to the end and not decoded, whatever the header says. */
export type Packets = {
  count: number;
  /** From the first packet to the end of the last. */
  seconds: number;
  /**
   * The sum of the durations of all packets, if they have some: less than `seconds` if there are gaps, or time stamps
   * that jump.
   */
  held: number;
  /** Packets per second. Undefined for fewer than two. */
  rate: number | undefined;
};

/** The fields to ask ffprobe for; one line per packet. */
export const packetOptions = ['-show_entries', 'packet=pts_time,dts_time,duration_time,flags', '-of', 'compact=p=0'];

/** In seconds. A packet that claims to last longer is followed by a wrong time stamp. */
const longest = 3_600;

/** Reads ffprobe's lines as they come, so that a long file takes no memory. */
export function createPacketCounter() {
  let rest = '';
  let count = 0;
  let [first, last, end, summed] = [Infinity, -Infinity, -Infinity, 0];

  function take(line: string): void {
    const fields = Object.fromEntries(line.split('|').map((field) => field.split('=') as [string, string]));
    const { pts_time, dts_time, duration_time, flags } = fields;
    // The second flag marks a packet that an edit list leaves out.
    if (flags === undefined || flags[1] === 'D') return;
    count++;
    const duration = Number(duration_time) < longest ? Number(duration_time) : 0;
    if (duration > 0) summed += duration;
    const at = [pts_time, dts_time].map(Number).find(Number.isFinite);
    if (at === undefined) return;
    first = Math.min(first, at);
    last = Math.max(last, at);
    end = Math.max(end, at + (duration > 0 ? duration : 0));
  }

  return {
    add(chunk: Buffer): void {
      const lines = (rest + chunk.toString('latin1')).split('\n');
      rest = lines.pop()!;
      for (const line of lines) take(line);
    },
    packets(): Packets {
      const steps = last > first ? (count - 1) / (last - first) : undefined;
      // The last packet counts as long as the others if it does not say.
      const seconds =
        count === 0 || !Number.isFinite(first) ? summed : Math.max(end, last + (steps ? 1 / steps : 0)) - first;
      return { count, seconds, held: summed > 0 ? Math.min(seconds, summed) : seconds, rate: steps };
    },
  };
}
