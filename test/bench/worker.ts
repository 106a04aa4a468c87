import { listen, options, say } from './child.ts';
import { createTally } from './tally.ts';
import { load } from './tools/all.ts';
import type { ToolName, WorkOptions } from './tools/tool.ts';
import { startTrace } from './trace.ts';

// A worker of one tool, in a process of its own. Starts when told to, says when it works, and when all it waits for was
// handled.

const { tool, expect, traceFrom, ...rest } = options() as WorkOptions & { tool: ToolName; expect: number };
const { work } = await load(tool);
let stop = async () => {};

listen({
  async go() {
    stop = await work(rest, createTally(expect, traceFrom ? { from: traceFrom, ...startTrace() } : undefined));
    say('working');
  },
  async end() {
    await stop().catch(() => {});
    process.exit(0);
  },
});
say('ready');
