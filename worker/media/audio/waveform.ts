/** The loudness of a sound over its whole length, computed from samples as they come, in a few kilobytes of memory. */
export type Waveform = {
  /** Adds samples of 16 bits, little endian, of all channels in turn. A chunk may end anywhere. */
  add(chunk: Uint8Array): void;
  /**
   * `count` whole numbers from 0 to 100: the loudest sample of each stretch, on any channel, relative to the loudest of
   * all. Silence is all 0.
   */
  bars(count: number): number[];
};

/** At this number of peaks, each two are merged into one that covers twice the time. */
const most = 4096;
export function createWaveform(channels: number): Waveform {
  const peaks = new Uint16Array(most);
  /** Samples per peak: at first one of each channel. */
  let covered = channels;
  /** The complete peaks; and of the next one, the number of samples and the loudest so far. */
  let full = 0;
  let filled = 0;
  let loudest = 0;
  let odd: number | undefined;

  function take(samples: Int16Array): void {
    for (let at = 0; at < samples.length;) {
      const end = Math.min(samples.length, at + covered - filled);
      filled += end - at;
      let peak = loudest;
      for (; at < end; at++) {
        const sample = samples[at]!;
        const size = sample < 0 ? -sample : sample;
        if (size > peak) peak = size;
      }
      loudest = peak;
      if (filled === covered) close();
    }
  }

  function close(): void {
    peaks[full++] = loudest;
    filled = loudest = 0;
    if (full < most) return;
    for (let index = 0; index < most / 2; index++) peaks[index] = Math.max(peaks[2 * index]!, peaks[2 * index + 1]!);
    full = most / 2;
    covered *= 2;
  }

  return {
    add(chunk) {
      const bytes = odd === undefined ? chunk : Buffer.concat([Buffer.of(odd), chunk]);
      odd = bytes.length % 2 === 1 ? bytes[bytes.length - 1] : undefined;
      const whole = bytes.length - (bytes.length % 2);
      const aligned = bytes.byteOffset % 2 === 0 ? bytes : new Uint8Array(bytes);
      take(new Int16Array(aligned.buffer, aligned.byteOffset, whole / 2));
    },

    bars(count) {
      const all = [...peaks.subarray(0, full), ...(filled > 0 ? [loudest] : [])];
      const top = Math.max(...all, 0);
      return Array.from({ length: count }, (_, index) => {
        const from = Math.floor((index * all.length) / count);
        const to = Math.ceil(((index + 1) * all.length) / count);
        const peak = Math.max(...all.slice(from, to), 0);
        return top === 0 ? 0 : Math.round((100 * peak) / top);
      });
    },
  };
}
