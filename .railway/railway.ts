import { defineRailway, github, postgres, preserve, project, service } from 'railway/iac';

// Railway's configuration as code: `railway config plan` shows what it would change, `railway config apply` does it.
// It replaces railway.toml, which Railway reads for existing services only. https://docs.railway.com/config-as-code
//
// Without this file, set the same by hand: the health check path /health in the service's settings, and the variables
// RAILWAY_DEPLOYMENT_DRAINING_SECONDS=35 and RAILWAY_DEPLOYMENT_OVERLAP_SECONDS=0. Railway's own default kills a worker
// at once.
export default defineRailway(() => {
  const database = postgres('Postgres');
  const worker = service('rowmill', {
    source: github('OWNER/REPOSITORY'),
    build: { builder: 'DOCKERFILE', dockerfilePath: 'Dockerfile' },
    healthcheck: '/health',
    healthcheckTimeout: 120,
    deploy: {
      restartPolicyType: 'ALWAYS',
      // Seconds from SIGTERM to SIGKILL: more than SHUTDOWN_TIMEOUT, and the time to end what still runs then.
      drainingSeconds: 35,
      // With no overlap, the old and the new worker do not need twice the connections.
      overlapSeconds: 0,
    },
    // preserve() keeps the value that is set in the dashboard.
    env: {
      DATABASE_URL: database.env.DATABASE_URL,
      SEAL_KEYS: preserve(),
      STORAGE_BUCKET: preserve(),
      AWS_REGION: preserve(),
      AWS_ACCESS_KEY_ID: preserve(),
      AWS_SECRET_ACCESS_KEY: preserve(),
      DASHBOARD_PASSWORD: preserve(),
    },
  });
  return project('rowmill', { resources: [database, worker] });
});
