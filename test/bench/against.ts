import { execFile } from 'node:child_process';
import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { atLeast, atMost, information, median, type Result } from './result.ts';

const here = join(import.meta.dirname, '../..');
/** A figure that is worse by more than this share has become worse. */
const tolerance = 0.03;

/**
 * Measures this checkout and another commit in turn, each by its own benchmarks, and compares their ratios to the
 * anchors: `ours` is the ratio of this checkout, `anchor` that of the other commit. A drift of the machine falls on
 * both.
 * @param revision what git can resolve
 * @param args for one run of bench.ts
 * @throws when git does not know the revision, or a benchmark fails
 */
export async function against(revision: string, args: string[], runs: number, notes: string[]): Promise<Result[]> {
  const other = await checkOut(revision);
  try {
    const ratios = { here: new Map<string, number[]>(), there: new Map<string, number[]>() };
    let latest: Result[] = [];
    for (let run = 0; run < runs; run++) {
      add(ratios.there, await measure(other, args));
      add(ratios.here, (latest = await measure(here, args)));
    }
    const unknown = latest.filter(({ name }) => !ratios.there.has(name));
    if (unknown.length > 0) notes.push(`not measured by ${revision}: ${unknown.map(({ name }) => name).join('; ')}`);
    return latest.filter((result) => !unknown.includes(result)).map((result) => compared(result, ratios));
  } finally {
    await removeCheckout(other);
  }
}

function compared({ name, goal_is }: Result, ratios: Record<'here' | 'there', Map<string, number[]>>): Result {
  const figures = { ours: median(ratios.here.get(name)!), anchor: median(ratios.there.get(name)!), unit: 'x' };
  if (goal_is === 'at least') return atLeast(1 - tolerance, name, figures);
  return goal_is === 'at most' ? atMost(1 + tolerance, name, figures) : information(name, figures);
}

/** A checkout of its own, with the packages of its lock file. @returns its folder, to be given to `removeCheckout` */
export async function checkOut(revision: string): Promise<string> {
  const dir = join(await mkdtemp(join(tmpdir(), 'rowmill-against-')), 'checkout');
  await git('worktree', 'add', '--detach', dir, revision);
  await run('npm', ['ci', '--no-audit', '--no-fund'], dir);
  return dir;
}

export async function removeCheckout(dir: string): Promise<void> {
  await git('worktree', 'remove', '--force', dir);
  await rm(join(dir, '..'), { recursive: true, force: true });
}

async function measure(dir: string, args: string[]): Promise<Result[]> {
  const bench = join(dir, 'test/bench/bench.ts');
  await access(bench);
  const node = join(dir, 'node_modules/.bin/node');
  const { stdout } = await run(node, [bench, ...args, '--runs', '1', '--json'], dir);
  return (JSON.parse(stdout.slice(stdout.lastIndexOf('{"results"'))) as { results: Result[] }).results;
}

function add(to: Map<string, number[]>, results: Result[]): void {
  for (const { name, ratio } of results) to.set(name, [...(to.get(name) ?? []), ratio]);
}

const git = (...args: string[]) => run('git', args, here);
const run = (file: string, args: string[], cwd: string) =>
  promisify(execFile)(file, args, { cwd, maxBuffer: 100_000_000 });
