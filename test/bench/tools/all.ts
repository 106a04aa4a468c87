import type { Tool, ToolName } from './tool.ts';

/** Loads one tool and not the others, so that a process holds only what it measures. */
export async function load(name: ToolName): Promise<Tool> {
  switch (name) {
    case 'rowmill':
      return import('./rowmill.ts');
    case 'graphile-worker':
      return import('./graphile-worker.ts');
    case 'pg-boss':
      return import('./pg-boss.ts');
    case 'bullmq':
      return import('./bullmq.ts');
  }
}
