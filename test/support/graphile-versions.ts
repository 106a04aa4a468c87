type GraphileWorker = {
  run(options: object): Promise<{ promise: Promise<void> }>;
  runMigrations(options: object): Promise<void>;
};

/** The versions of graphile-worker that applications beside ours may be on. */
export const graphileWorkers: Record<string, () => Promise<GraphileWorker>> = {
  '0.13': async () => (await import('graphile-worker-13')) as unknown as GraphileWorker,
  '0.16': async () => (await import('graphile-worker-16')) as unknown as GraphileWorker,
  '0.18': async () => (await import('graphile-worker')) as unknown as GraphileWorker,
};
