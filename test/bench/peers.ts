import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';

// The tools we are compared with that are no dependency of Rowmill: test/bench has a package.json of its own for them.

const dir = import.meta.dirname;

export type Peer = 'pg-boss' | 'bullmq' | 'ioredis' | '@electric-sql/pglite-pgmq';

/** A peer's module. Not by a literal name: types and checks must do without test/bench/node_modules. */
export async function loadPeer<Module>(peer: Peer): Promise<Module> {
  return (await import(peer)) as Module;
}

/** Installs the peers as locked where they are missing or of another version. @returns name and version of each */
export function installPeers(): Record<Peer, string> {
  const { dependencies } = packageOf(dir);
  const isInstalled = () => Object.entries(dependencies).every(([name, version]) => installed(name) === version);
  if (!isInstalled()) {
    console.error('Installing pg-boss, BullMQ and pgmq in test/bench/node_modules ...');
    // Their install scripts only look for prebuilt binaries.
    const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], {
      cwd: dir,
      stdio: ['ignore', 2, 2],
    });
    if (npm.status !== 0 || !isInstalled()) throw new Error('npm ci in test/bench failed');
  }
  return dependencies;
}

/** A file of a peer. */
export const peerFile = (peer: Peer, path: string) => join(dir, 'node_modules', peer, path);

/** Where BullMQ's Redis is. */
export const redisUrl = () => process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379';

export async function redisAnswers(): Promise<boolean> {
  const { hostname, port } = new URL(redisUrl());
  const socket = connect({ host: hostname, port: Number(port) || 6379, timeout: 2_000 });
  try {
    return await new Promise((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('timeout', () => resolve(false));
      socket.once('error', () => resolve(false));
    });
  } finally {
    socket.destroy();
  }
}

/** Of a package that Rowmill depends on. */
export const packageVersion = (name: string) => packageOf(join(dir, '../../node_modules', name)).version;

function installed(name: string): string | undefined {
  try {
    return packageOf(join(dir, 'node_modules', name)).version;
  } catch {
    return undefined;
  }
}

type Package = { version: string; dependencies: Record<Peer, string> };
const packageOf = (folder: string) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Package;
