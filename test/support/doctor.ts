import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runRowmill } from './cli.ts';
import { createDatabase, type TestDatabase } from './database.ts';

type Found = Record<string, { state: string; detail: string; fix?: string }>;

/** A database and a folder, and `rowmill doctor` on them. */
export type Doctor = {
  db: TestDatabase;
  dir: string;
  examine(env?: Record<string, string>): Promise<{ code: number | null; ok: boolean; found: Found }>;
  close(): Promise<void>;
};

export async function createDoctor(): Promise<Doctor> {
  const [db, dir] = await Promise.all([createDatabase(), mkdtemp(join(tmpdir(), 'rowmill-doctor-'))]);
  return {
    db,
    dir,
    async examine(env = {}) {
      // The ffmpeg of npm is looked up at a tenth of what that of a system takes.
      const base = { DATABASE_URL: db.url, DATA_DIR: dir, TEMP_DIR: dir, PATH: '' };
      const { code, stdout, stderr } = await runRowmill(['doctor', '--json'], { env: { ...base, ...env } });
      assert.equal(stderr, '');
      const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: (Found[string] & { name: string })[] };
      for (const check of checks) if (check.state !== 'ok') assert.ok(check.fix, `${check.name} says how to fix it`);
      return { code, ok, found: Object.fromEntries(checks.map(({ name, ...check }) => [name, check])) };
    },
    async close() {
      await db.drop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
