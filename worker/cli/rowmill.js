#!/usr/bin/env node
// Starts Rowmill: worker/ in a checkout, dist/ in the package. An old Node must be able to parse this file, so that it
// can say that Node is too old.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const source = join(root, 'worker/cli/index.ts');
const index = existsSync(source) ? source : join(root, 'dist/cli/index.js');

const fault = faultOfPlace();
if (fault) {
  console.error(fault);
  process.exit(2);
}

// glibc reads these once, when a process starts. Without them, it does not give the memory of decoded pictures back to
// the system: what has 68 kB or more is mapped alone, and unmapped when it is freed. Not chunks of 64 kB, in which
// sockets and files are read: a download would take four times the CPU time.
const env = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '69632',
  MALLOC_TRIM_THRESHOLD_: '131072',
  ...process.env,
};
// The heap is small and the buffers beside it are large: without this, V8 collects the whole heap twice per picture.
const flags = [...process.execArgv, '--initial-old-space-size=64'];
// A variable of the environment wins over the file.
if (existsSync('.env')) flags.push('--env-file=.env');

if (process.execve) {
  // The process is replaced, so that signals, the exit code and the terminal need no process in between. The warning
  // that execve is experimental is suppressed.
  process.emitWarning = () => {};
  process.execve(process.execPath, [process.execPath, ...flags, index, ...process.argv.slice(2)], env);
} else {
  // Windows has no execve: it goes on without the settings.
  if (existsSync('.env')) process.loadEnvFile();
  await import(pathToFileURL(index).href);
}

/** Why Rowmill cannot start from here, if it cannot. */
function faultOfPlace() {
  const { node } = process.versions;
  if (Number(node.split('.')[0]) < 24)
    return (
      `rowmill needs Node 24 or later, and this is ${node}. Install it; or run npm ci, which brings one ` +
      '(not with --omit=dev, nor with NODE_ENV=production), and then npx rowmill.'
    );
  if (!existsSync(index)) return `The package in ${root} was not built: run npm run build there.`;
  try {
    createRequire(index).resolve('commander');
  } catch {
    return `The packages of rowmill are not installed: run npm ci in ${root}.`;
  }
  return undefined;
}
