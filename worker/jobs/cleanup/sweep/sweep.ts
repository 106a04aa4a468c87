import type { Statement } from '../../../base/db/sql.ts';
import type { JobContext } from '../../../queue/job.ts';
import { bytesIn, deleteObjects, hasDeletions, hasPostponed } from './deletions.ts';
import { cleanUp, inChunks, type CleanupPayload, type Counts, type End, type Report, type Run } from './run.ts';
import { checkTables, inChunk, inTurn, loadSteps, runStep } from './steps.ts';

type Figures = Pick<Counts, 'scanned' | 'deleted'>;
/** What a statement returns. Postgres returns sums as text, unless they are cast. */
type Answer<Name extends string> = Record<Name, number | string>;
type Chunk = Answer<keyof Figures> & { reached: Date | null };

/** A cleanup that consists of its statements only: sql/cleanup/<kind>.sql. */
export const sweep = (context: JobContext<CleanupPayload>): Promise<Report> => cleanUp(context, sweepRows);

async function sweepRows(run: Run<CleanupPayload>): Promise<End> {
  const steps = loadSteps(run.kind, ['preview', 'purge'], ['foresee', 'remove', 'repair']);
  await checkTables(run.app.db, steps);
  const due = await preview(run, steps.preview);
  if (run.dryRun) {
    await run.count(run.app.db, { ...due, bytes: await foreseeBytes(run, steps.foresee) });
    return { remaining: due.deleted > 0 };
  }
  if (run.fresh) await run.count(run.app.db, { scanned: due.skipped, skipped: due.skipped });
  let done = await inSteps(run, steps.purge, due.deleted);
  const objectsLeft = steps.foresee !== undefined && (await leavesObjects(run));
  if (steps.remove) done = (await inSteps(run, steps.remove, due.deleted)) && done;
  if (steps.repair) done = (await repair(run, steps.repair)) && done;
  const remaining = !done || objectsLeft || (await preview(run, steps.preview)).deleted > 0;
  return { remaining, cutOff: !done };
}

/** Objects of other cleanups that run now do not count, unless this run's time was over before it looked. */
async function leavesObjects(run: Run): Promise<boolean> {
  const left = (await deleteObjects(run)) ? hasPostponed : hasDeletions;
  return left(run.app.db);
}

export async function preview(run: Run, step: Statement): Promise<Figures & { skipped: number }> {
  const [row] = await inChunk(run.app.db, (tx) =>
    runStep<Answer<keyof Figures | 'skipped'>>(tx, step, { cutoff: run.cutoff }),
  );
  return { ...figures(row!), skipped: Number(row!.skipped) };
}

/** The size of the objects that would be deleted. */
async function foreseeBytes({ app, cutoff, signal }: Run, step: Statement | undefined): Promise<number> {
  if (!step) return 0;
  const [freed] = await inChunk(app.db, (tx) =>
    runStep<{ bytes: number | string; folders: string[] }>(tx, step, { cutoff }),
  );
  let sum = Number(freed!.bytes);
  for (const folder of freed!.folders) sum += await bytesIn(app.storage, folder, signal);
  return sum;
}

/** Repeats a step until it finds less than a chunk. @returns whether it finished within the budget */
export async function inSteps(run: Run<CleanupPayload>, step: Statement, expected: number): Promise<boolean> {
  const { cutoff, payload } = run;
  let after: Date | string = '-infinity';
  let done = 0;
  return inChunks(
    run,
    async (tx) => {
      const values = { cutoff, after, chunk: payload.chunk };
      const [chunk] = await runStep<Chunk>(tx, step, values);
      const counts = figures(chunk!);
      await run.count(tx, counts);
      after = chunk!.reached ?? after;
      const rows = Math.max(counts.scanned, counts.deleted);
      done += rows;
      run.progress((done / Math.max(expected, done)) * 95);
      return rows >= payload.chunk;
    },
    inTurn(run.kind),
  );
}

/** Corrects rows that are not as they should be. @returns whether it finished within the budget */
function repair(run: Run<CleanupPayload>, step: Statement): Promise<boolean> {
  const { cutoff, payload } = run;
  return inChunks(
    run,
    async (tx) => {
      const [row] = await runStep<Answer<'repaired'>>(tx, step, { cutoff, chunk: payload.chunk });
      return Number(row!.repaired) >= payload.chunk;
    },
    inTurn(run.kind),
  );
}

const figures = ({ scanned, deleted }: Answer<keyof Figures>): Figures => ({
  scanned: Number(scanned),
  deleted: Number(deleted),
});
