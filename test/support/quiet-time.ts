import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

// Time as it would be on a quiet machine. Where three processes share a core, a second counts as a third of one. What a
// test promises about time it promises in this time, so that it holds on a busy machine too. Elsewhere than on Linux it
// is the time of clocks.

const sampleMs = 20;
let quietMs = 0;
let sampledAt = performance.now();
setInterval(advance, sampleMs).unref();

/** Milliseconds. */
export function quietNow(): number {
  advance();
  return quietMs;
}

/** @returns which part of the time since this call was that of a quiet machine: 1 on a quiet one */
export function quietShare(): () => number {
  const began = { wall: performance.now(), quiet: quietNow() };
  return () => Math.min(1, (quietNow() - began.quiet) / (performance.now() - began.wall));
}

function advance(): void {
  const now = performance.now();
  quietMs += (now - sampledAt) * Math.min(1, availableParallelism() / running());
  sampledAt = now;
}

/** Processes and threads of this machine that run, or could. proc_loadavg(5) */
function running(): number {
  try {
    return Math.max(1, Number(/ (\d+)\/\d+ /.exec(readFileSync('/proc/loadavg', 'utf8'))?.[1] ?? 1));
  } catch {
    return 1;
  }
}
