type GraphileWorker = {
  run(options: object): Promise<{ promise: Promise<void> }>;
  runMigrations(options: object): Promise<void>;
};

/** The versions of graphile-worker that applications beside ours may be on. */
export const graphileWorkers: Record<string, () => Promise<GraphileWorker>> = {
  '0.13': () => import('graphile-worker-13'),
  '0.16': () => import('graphile-worker-16'),
  '0.18': () => import('graphile-worker'),
};
