// PM2, on a machine with Node 24 and `apt-get install ffmpeg bubblewrap`:
//   npm ci && npm run build && pm2 start .deploy/ecosystem.config.cjs
// Settings: the file .env in the project's folder.
module.exports = {
  apps: [
    {
      name: 'rowmill',
      cwd: `${__dirname}/..`,
      script: 'dist/cli/index.js',
      args: 'start',
      // As in worker/cli/rowmill.js, which replaces its process, and so would lose PM2's channel to it.
      node_args: '--initial-old-space-size=64 --env-file-if-exists=.env',
      // Cluster mode would share one port: more workers are more processes of this kind.
      exec_mode: 'fork',
      instances: 1,
      env: {
        NODE_ENV: 'production',
        MALLOC_ARENA_MAX: '2',
        MALLOC_MMAP_THRESHOLD_: '69632',
        MALLOC_TRIM_THRESHOLD_: '131072',
      },
      // The process says when it listens.
      wait_ready: true,
      listen_timeout: 60_000,
      // Milliseconds from SIGINT to SIGKILL; PM2 sends SIGINT. More than SHUTDOWN_TIMEOUT, and the time to end what
      // still runs then. PM2's own default is 1.6 s.
      kill_timeout: 35_000,
      // More than MEDIA_MEMORY_MB and what the process itself needs.
      max_memory_restart: '1500M',
    },
  ],
};
